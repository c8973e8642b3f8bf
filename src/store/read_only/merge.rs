//! Makes one tree of keys of the texts of all files. Pure.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::model::fingerprint::content_hash;
use crate::model::fixture;
use crate::model::key::Entries;

/// A file, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// How messages call it; `None` where the name of the store says it already.
    pub(super) name: Option<PathBuf>,
    /// The extension, which says the format.
    pub(super) extension: Option<String>,
    pub(super) bytes: Vec<u8>,
}

impl Text {
    /// What is wrong with this file.
    fn problem(&self, what: impl std::fmt::Display) -> String {
        match &self.name {
            Some(name) => format!("{}: {what}", name.display()),
            None => what.to_string(),
        }
    }

    fn parse(&self) -> Result<Entries, String> {
        let text = str::from_utf8(&self.bytes).map_err(|error| {
            let good = &self.bytes[..error.valid_up_to()];
            let line = String::from_utf8_lossy(good).matches('\n').count() + 1;
            self.problem(format_args!("line {line}: it is not UTF-8"))
        })?;
        let format = fixture::find_format(self.extension.as_deref(), text);
        fixture::parse(text, format).map_err(|fault| self.problem(fault))
    }
}

/// A number that changes with the texts.
pub(super) fn hash(texts: &[Text]) -> u64 {
    let parts = texts.iter().flat_map(|text| {
        let name = text.name.as_deref().map_or(&[][..], |name| {
            let name: &std::path::Path = name;
            name.as_os_str().as_bytes()
        });
        [name, &text.bytes]
    });
    content_hash(parts)
}

/// All keys of all files; else what is wrong with each of them. A key that is in two files is a mistake: nobody could say
/// which of the two counts.
pub(super) fn merge(texts: &[Text]) -> Result<Entries, String> {
    let parsed: Vec<Result<Entries, String>> = texts.iter().map(Text::parse).collect();
    let (mut all, mut problems) = (Entries::new(), Vec::new());
    for (at, one) in parsed.iter().enumerate() {
        let entries = match one {
            Ok(entries) => entries,
            Err(problem) => {
                problems.push(problem.clone());
                continue;
            }
        };
        let twice = entries.keys().find(|key| all.contains_key(*key));
        if let Some(key) = twice {
            let mut before = texts.iter().zip(&parsed).take(at);
            let first = before.find(|(_, one)| one.as_ref().is_ok_and(|one| one.contains_key(key)));
            let name = |text: &Text| {
                let name = text.name.as_deref();
                name.map_or_else(String::new, |name| name.display().to_string())
            };
            let first = first.map_or_else(String::new, |(text, _)| name(text));
            problems.push(format!("{key} is in both {first} and {}", name(&texts[at])));
        }
        all.extend(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
    }
    if problems.is_empty() {
        Ok(all)
    } else {
        Err(problems.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, text: &str) -> Text {
        Text {
            name: Some(name.into()),
            extension: name.rsplit_once('.').map(|(_, end)| end.to_owned()),
            bytes: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn files_become_one_tree() {
        let all = merge(&[
            text("a.yaml", "services: {web: {a: {ip: 10.0.0.1}}}"),
            text("b.json", r#"{"/services/web/a/port": 80, "names": ["x"]}"#),
        ])
        .unwrap();
        let keys: Vec<&str> = all.keys().map(|key| &**key).collect();
        assert_eq!(
            keys,
            ["/names/0", "/services/web/a/ip", "/services/web/a/port"]
        );
    }

    #[test]
    fn every_problem_is_named_with_its_file() {
        let latin = Text {
            bytes: b"a: 1\nb: \xe9\n".to_vec(),
            ..text("d.yaml", "")
        };
        let problems = merge(&[
            text("a.yaml", "x: {y: 1}"),
            text("b.yaml", "a: 1\nb:\n"),
            text("c.json", r#"{"/x/y": 2}"#),
            latin,
        ])
        .unwrap_err();
        assert_eq!(
            problems,
            "b.yaml: line 2: /b is null; a value is a text, a number, true or false; /x/y is in both a.yaml and c.json; \
             d.yaml: line 2: it is not UTF-8"
        );
        let alone = Text {
            name: None,
            ..text("a.yaml", "a: [")
        };
        assert!(merge(&[alone]).unwrap_err().starts_with("line "));
    }

    #[test]
    fn the_hash_changes_with_names_and_texts() {
        let of = |name, what| hash(&[text(name, what)]);
        assert_eq!(of("a", "x"), of("a", "x"));
        assert_ne!(of("a", "x"), of("b", "x"));
        assert_ne!(of("a", "x"), of("a", "y"));
        assert_ne!(of("a", "x"), hash(&[]));
    }
}
