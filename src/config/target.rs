//! The targets: each file of `conf.d` says what is rendered, from which keys, to which file, and how it is checked and
//! reloaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Problem;
use super::confd::{self, Confd};
use super::style::Style;
use crate::model::check::HttpCheck;
use crate::model::guard::Rules;
use crate::model::instance::ServiceName;
use crate::model::os::Signal;
use crate::model::pace::Pace;
use crate::model::prefix::Prefix;
use crate::system::bounded;

mod file;
mod group;
mod haproxy;
mod output;
mod reload;

use file::{Read, TargetFile};

const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// One or more files that are checked together and swapped together, and followed by one reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in the log: that of its file in conf.d, without `.toml`.
    pub name: String,
    /// The file in conf.d.
    pub file: PathBuf,
    /// How that file is read.
    pub style: Style,
    /// The files that sidekick keeps up to date; at least one.
    pub outputs: Vec<Output>,
    /// The directory of which a check gets a copy with all candidates in place, if it asks for one.
    pub tree: Option<PathBuf>,
    /// How long a check may take.
    pub check_timeout: Duration,
    /// How the program that reads the files is reloaded.
    pub reload: Option<Reload>,
    /// How long a reload may take.
    pub reload_timeout: Duration,
    /// The page on which the program shows the generation of the files that it runs, if it has one.
    pub generation: Option<HttpCheck>,
    /// How changes are gathered, and how far reloads are apart.
    pub pace: Pace,
    /// How many instances may be lost at once.
    pub guard: Rules,
}

pub use haproxy::Haproxy;

/// One file that sidekick renders and keeps up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The template's file.
    pub src: PathBuf,
    /// The template's text.
    pub template: String,
    /// The destination: the live file.
    pub dest: PathBuf,
    /// What the template reads from the store.
    pub sources: Sources,
    /// Whether missing directories above the destination are made.
    pub make_dirs: bool,
    /// The beginning of each key that the template does not see, as with confd's `prefix`.
    pub root: Prefix,
    /// The permission bits; if `None`, those of the existing file, or 0644.
    pub mode: Option<u32>,
    /// The owner and the group.
    pub owner: Owner,
    /// The command that judges the candidate.
    pub check: Option<String>,
    /// The `HAProxies` whose servers are changed at run time.
    pub haproxy: Option<Haproxy>,
}

/// What a template reads from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// The instances of every service, also of those that are announced later.
    AllServices,
    /// The instances of these services.
    Services(Vec<ServiceName>),
    /// All keys under these paths.
    Keys(Vec<Prefix>),
}

/// The owner and group of a file; if `None`, those of the existing file, or those of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

/// How a program is asked to reload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reload {
    /// By a command.
    Command(String),
    /// By a signal to the process whose id stands in a file.
    Signal {
        /// The signal.
        signal: Signal,
        /// The file.
        pidfile: PathBuf,
        /// Whether the reload is verified, if sidekick knows the daemon.
        verify: bool,
    },
    /// By a signal to the command of `sidekick watch`.
    Child {
        /// The signal.
        signal: Signal,
        /// Whether the reload is verified, if sidekick knows the daemon.
        verify: bool,
    },
    /// By systemd.
    Unit {
        /// The unit's whole name.
        unit: String,
        /// The signal to its main process, if it is not the reload that the unit describes.
        signal: Option<Signal>,
        /// Whether the reload is verified, if sidekick knows the daemon.
        verify: bool,
    },
    /// By a command over the socket of HAProxy's master.
    HaproxyMaster(PathBuf),
}

/// All targets of a directory, and all problems with them.
#[derive(Debug, Default)]
pub struct Targets {
    /// The targets without problems, sorted by file.
    pub good: Vec<Target>,
    /// The targets that cannot be used.
    pub bad: Vec<BadTarget>,
    /// The problems with the directory as a whole.
    pub problems: Vec<Problem>,
    /// The warnings.
    pub warnings: Vec<Problem>,
}

/// A file in conf.d that gives no usable target, because something in it or in its templates is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTarget {
    /// The name that the target would have.
    pub name: String,
    /// The file in conf.d.
    pub file: PathBuf,
    /// How that file is read.
    pub style: Style,
    /// The problems; at least one.
    pub problems: Vec<Problem>,
    /// The texts that were read. While they stay the same, the problems do, too.
    pub texts: Vec<String>,
}

impl Targets {
    /// All problems, in the order of the files.
    #[must_use]
    pub fn all_problems(&self) -> Vec<Problem> {
        let of_targets = self.bad.iter().flat_map(|bad| &bad.problems);
        self.problems.iter().chain(of_targets).cloned().collect()
    }

    /// The style of a file that does not show its own: confd's if all other files have it.
    fn common_style(&self) -> Style {
        let good = self.good.iter().map(|target| target.style);
        let mut styles = good.chain(self.bad.iter().map(|bad| bad.style)).peekable();
        if styles.peek().is_some() && styles.all(|style| style == Style::Confd) {
            Style::Confd
        } else {
            Style::Own
        }
    }

    /// Makes a good target a bad one, with this problem.
    fn reject(&mut self, file: &Path, what: &str) {
        let is_it = |target: &mut Target| target.file == file;
        let spoiled: Vec<Target> = self.good.extract_if(.., is_it).collect();
        let bad = spoiled.into_iter().map(|target| {
            let problem = Problem::in_file(&target.file, None, what);
            target.into_bad(vec![problem])
        });
        self.bad.extend(bad);
    }
}

impl Target {
    /// Makes it a target that cannot be used.
    #[must_use]
    pub fn into_bad(self, problems: Vec<Problem>) -> BadTarget {
        let outputs = self.outputs.into_iter();
        BadTarget {
            name: self.name,
            file: self.file,
            style: self.style,
            problems,
            texts: outputs.map(|output| output.template).collect(),
        }
    }
}

/// Reads `<conf_dir>/conf.d/*.toml`, and further files there and below that are in confd's style.
#[must_use]
pub fn read_targets(conf_dir: &Path) -> Targets {
    let mut all = Targets::default();
    let layout = Confd::read(conf_dir).unwrap_or_else(|problems| {
        all.problems.extend(problems);
        Confd::default()
    });
    all.warnings.clone_from(&layout.warnings);
    let dir = conf_dir.join("conf.d");
    let mut files = match list_toml_files(&dir) {
        Ok(files) => files,
        Err(error) => {
            let problem = Problem::in_file(&dir, None, format!("cannot be read: {error}"));
            all.problems.push(
                problem.hint("--conf-dir names the directory that holds conf.d and templates"),
            );
            return all;
        }
    };
    files.sort();
    // Hidden files come last, because one may be a copy of another file that an editor has left.
    let others = confd::other_files(&dir, &files);
    let mut seen = 0;
    let mut of_unknown_style = Vec::new();
    for (file, is_plain) in
        (files.iter().map(|file| (file, true))).chain(others.iter().map(|file| (file, false)))
    {
        let file = TargetFile {
            path: file,
            conf_dir,
            is_plain,
            confd: &layout,
        };
        match file.read(&mut all) {
            Read::Nothing => {}
            Read::Target => seen += 1,
            Read::UnknownStyle(bad) => {
                seen += 1;
                of_unknown_style.push(bad);
            }
        }
    }
    if seen == 0 {
        let what = "there is no *.toml in it, so there is nothing to render";
        let hint =
            "write one, or copy one of the examples into it; docs/conf.d.md has every setting";
        let problem = Problem::in_file(&dir, None, what).hint(hint);
        all.problems.push(problem);
    }
    let style = all.common_style();
    all.bad.extend(
        of_unknown_style
            .into_iter()
            .map(|bad| BadTarget { style, ..bad }),
    );
    reject_shared_destinations(&mut all);
    all.bad.sort_by(|one, other| one.file.cmp(&other.file));
    all
}

/// The files `*.toml` of a directory that are not hidden.
pub(super) fn list_toml_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    Ok(files)
}

/// Rejects each target with a destination that an earlier target has, too.
fn reject_shared_destinations(all: &mut Targets) {
    let mut first: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut second = Vec::new();
    for target in &all.good {
        for output in &target.outputs {
            let Some(other) = first.insert(real_path(&output.dest), target.file.clone()) else {
                continue;
            };
            let (dest, other) = (output.dest.display(), other.display());
            let what = format!("the dest {dest} is already taken by {other}");
            second.push((target.file.clone(), what));
        }
    }
    for (file, what) in second {
        all.reject(&file, &what);
    }
}

/// The real path of a file, with symbolic links resolved. If the file system does not answer in time, it is `dest` itself.
#[must_use]
pub fn real_path(dest: &Path) -> PathBuf {
    let real = |dest: &Path| {
        let in_its_dir = || {
            let dir = fs::canonicalize(dest.parent()?).ok()?;
            Some(dir.join(dest.file_name()?))
        };
        fs::canonicalize(dest).ok().or_else(in_its_dir)
    };
    let real = bounded::within(dest, real);
    real.ok().flatten().unwrap_or_else(|| dest.to_owned())
}

#[cfg(test)]
mod tests;
