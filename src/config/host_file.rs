//! The host's file `/etc/sidekick/sidekick.env`: the settings of this host's units also apply to whoever calls `sidekick`
//! by hand.
//!
//! systemd reads the file for the units (`EnvironmentFile=`), so its syntax is systemd's. A flag or a variable of the
//! environment takes precedence over the file. Only the variables of sidekick and of `etcdctl` are taken from it.

use std::io;
use std::path::{Path, PathBuf};

use super::{Env, Problem};

const FILE: &str = "/etc/sidekick/sidekick.env";
/// The variable that names another file, for tests and for hosts that keep the file elsewhere.
const FILE_VARIABLE: &str = "SIDEKICK_ENV_FILE";
const OURS: [&str; 2] = ["SIDEKICK_", "ETCDCTL_"];

/// The host's file. It has no `Debug`, because its values may be secret.
pub struct HostFile {
    path: PathBuf,
    content: Result<Env, Problem>,
}

impl HostFile {
    /// Reads the file. If it does not exist, it has no variables.
    #[must_use]
    pub fn read(env: &Env) -> Self {
        let path = env.get(FILE_VARIABLE).filter(|path| !path.is_empty());
        let path = PathBuf::from(path.map_or(FILE, String::as_str));
        let content = match std::fs::read(&path) {
            Ok(bytes) => Ok(keep_ours(parse(&String::from_utf8_lossy(&bytes)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Env::new()),
            Err(error) => Err(unreadable(&path, &error)),
        };
        Self { path, content }
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a variable in the file; an error if the file cannot be read.
    pub fn value(&self, variable: &str) -> Result<Option<&str>, Problem> {
        let content = self.content.as_ref().map_err(Clone::clone)?;
        let value = content.get(variable).map(String::as_str);
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// The environment, completed by the variables of the file that the environment does not set.
    pub fn complete(&self, env: &Env) -> Result<Env, Problem> {
        let content = self.content.as_ref().map_err(Clone::clone)?;
        Ok(add_missing(env, content.iter()))
    }

    /// The environment that templates see: completed as for a unit, but without the variables of `etcdctl`, which give
    /// access to the store.
    #[must_use]
    pub fn complete_for_templates(&self, env: &Env) -> Env {
        let content = self.content.iter().flatten();
        add_missing(env, content.filter(|(name, _)| name.starts_with(OURS[0])))
    }

    /// Why the file cannot be read, if it cannot.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        self.content.as_ref().err()
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::in_file(path, None, format!("cannot be read: {error}")).hint(
        "the units of this host take the store and other settings from it: run this as a user who may read it (sudo), or \
         name the store with --store or SIDEKICK_STORE",
    )
}

/// Adds the variables of the file to those of the environment. An empty variable counts as not set.
fn add_missing<'a>(env: &Env, file: impl Iterator<Item = (&'a String, &'a String)>) -> Env {
    let mut all = env.clone();
    for (name, value) in file {
        let given = all.entry(name.clone()).or_default();
        if given.is_empty() {
            given.clone_from(value);
        }
    }
    all
}

fn keep_ours(pairs: Vec<(String, String)>) -> Env {
    let is_ours = |name: &str| OURS.iter().any(|prefix| name.starts_with(prefix));
    let pairs = pairs.into_iter();
    pairs.filter(|(name, _)| is_ours(name)).collect()
}

/// The part of a line that the next character belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    LineStart,
    Comment,
    Name,
    /// Outside of quotes, before the value or between two quoted pieces of it.
    ValueStart,
    Value,
    SingleQuoted,
    DoubleQuoted,
}

/// The assignments of a file in the syntax of `EnvironmentFile=`, in their order. Lines without `=` are ignored.
fn parse(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut name, mut value) = (String::new(), String::new());
    // How much of the value certainly belongs to it: blanks at the end of an unquoted value do not.
    let mut certain = 0;
    let mut part = Part::LineStart;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        part = match (part, character) {
            (Part::LineStart, '#' | ';') => Part::Comment,
            (Part::LineStart, character) if character.is_whitespace() => Part::LineStart,
            (Part::LineStart, character) => {
                name = String::from(character);
                Part::Name
            }
            (Part::Comment | Part::Name, '\n') => Part::LineStart,
            (Part::Comment, _) => Part::Comment,
            (Part::Name, '=') => {
                (value, certain) = (String::new(), 0);
                Part::ValueStart
            }
            (Part::Name, character) => {
                name.push(character);
                Part::Name
            }
            (Part::ValueStart | Part::Value, '\n') => {
                value.truncate(certain);
                found.push((name.trim_end().to_owned(), std::mem::take(&mut value)));
                Part::LineStart
            }
            (Part::ValueStart, '\'') => Part::SingleQuoted,
            (Part::ValueStart, '"') => Part::DoubleQuoted,
            (Part::ValueStart, character) if character.is_whitespace() => Part::ValueStart,
            (Part::ValueStart | Part::Value, '\\') => {
                if let Some(next) = characters.next_if(|next| *next != '\n') {
                    value.push(next);
                    certain = value.len();
                } else {
                    // The value goes on in the next line.
                    characters.next();
                }
                Part::Value
            }
            (Part::ValueStart | Part::Value, character) => {
                value.push(character);
                if !character.is_whitespace() {
                    certain = value.len();
                }
                Part::Value
            }
            (Part::SingleQuoted, '\'') | (Part::DoubleQuoted, '"') => {
                certain = value.len();
                Part::ValueStart
            }
            (Part::DoubleQuoted, '\\') => {
                match characters.next() {
                    Some('\n') | None => {}
                    Some(next @ ('"' | '\\' | '`' | '$')) => value.push(next),
                    Some(next) => value.extend(['\\', next]),
                }
                Part::DoubleQuoted
            }
            (Part::SingleQuoted | Part::DoubleQuoted, character) => {
                value.push(character);
                part
            }
        };
    }
    let is_open = match part {
        Part::LineStart | Part::Comment | Part::Name => false,
        Part::ValueStart | Part::Value => {
            value.truncate(certain);
            true
        }
        Part::SingleQuoted | Part::DoubleQuoted => true,
    };
    if is_open {
        found.push((name.trim_end().to_owned(), value));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<String> {
        parse(text).pop().map(|(_, value)| value)
    }

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        for (text, want) in [
            ("A=b", "b"),
            ("A=b c  \n", "b c"),
            ("A=", ""),
            (" A = b", "b"),
            ("A=\"b c \"", "b c "),
            ("A='b \"c\" \\n'", "b \"c\" \\n"),
            ("A=\"b\\\"c\\$d\\n\"", "b\"c$d\\n"),
            ("A=b\\\nc", "bc"),
            ("A=\"b\\\nc\"", "bc"),
            ("A=\"b\nc\"", "b\nc"),
            ("A='a'\"b\"", "ab"),
            ("A='a' b", "ab"),
            ("A=a\"b\"", "a\"b\""),
            ("A=a\\ ", "a "),
            ("A=b # c", "b # c"),
            ("A=b\r\n", "b"),
            ("A=b\\", "b"),
            ("A='b", "b"),
            ("A=etcd://a:2379,b:2379", "etcd://a:2379,b:2379"),
            ("A=b=c", "b=c"),
        ] {
            assert_eq!(value(text).as_deref(), Some(want), "{text:?}");
        }
        let text = "# A=1\n; B=2\n\n# C=3 \\\nD=4\nexport\n  E=5\n#F=6";
        let pairs = [("D", "4"), ("E", "5")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(parse(text), pairs);
    }

    #[test]
    fn the_environment_takes_precedence_and_other_variables_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sidekick.env");
        let text =
            "SIDEKICK_STORE=dir:///file\nSIDEKICK_PREFIX=/file\nETCDCTL_PASSWORD=p\nPATH=/file\n";
        std::fs::write(&path, text).unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let env = Env::from([
            pair(FILE_VARIABLE, &path.display().to_string()),
            pair("SIDEKICK_STORE", "dir:///environment"),
            pair("SIDEKICK_PREFIX", ""),
        ]);
        let file = HostFile::read(&env);
        let all = file.complete(&env).unwrap();
        assert_eq!(all["SIDEKICK_STORE"], "dir:///environment");
        assert_eq!(all["SIDEKICK_PREFIX"], "/file");
        assert_eq!(all["ETCDCTL_PASSWORD"], "p");
        assert!(!all.contains_key("PATH"));
        let templates = file.complete_for_templates(&env);
        assert_eq!(templates["SIDEKICK_PREFIX"], "/file");
        assert!(!templates.contains_key("ETCDCTL_PASSWORD"));
    }

    #[test]
    fn a_missing_file_has_no_variables_and_an_unreadable_one_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &Path| {
            let pair = (FILE_VARIABLE.to_owned(), path.display().to_string());
            HostFile::read(&Env::from([pair]))
        };
        let absent = at(&dir.path().join("none"));
        assert_eq!(absent.value("SIDEKICK_STORE"), Ok(None));
        let directory = at(dir.path());
        let problem = directory.value("SIDEKICK_STORE").unwrap_err();
        assert!(problem.to_string().contains("cannot be read"), "{problem}");
        assert_eq!(directory.problem(), Some(&problem));
    }
}
