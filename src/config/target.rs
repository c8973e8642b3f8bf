//! The targets: what the files of `conf.d` say is to be rendered, from what, to where, and what to do about it.

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

use file::{File, Read};

const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
const RELOAD_TIMEOUT: Duration = Duration::from_mins(1);

/// Files that belong together, mostly one: checked together, swapped together, and followed by one reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How it is called in the log: the name of its file in conf.d, without `.toml`.
    pub name: String,
    /// The file in conf.d.
    pub file: PathBuf,
    /// How that file is read.
    pub style: Style,
    /// The files to be kept; at least one.
    pub outputs: Vec<Output>,
    /// The directory of which a check sees a copy with all new files in place, if it asks for one.
    pub tree: Option<PathBuf>,
    /// How long a check may take.
    pub check_timeout: Duration,
    /// How the program that reads the files is told.
    pub reload: Option<Reload>,
    /// How long that may take.
    pub reload_timeout: Duration,
    /// The page on which the program shows the generation of the files that it runs.
    pub generation: Option<HttpCheck>,
    /// How fast they follow.
    pub pace: Pace,
    /// What they may lose at once.
    pub guard: Rules,
}

pub use haproxy::Haproxy;

/// One file to be kept equal to what is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The template's file.
    pub src: PathBuf,
    /// The template's text.
    pub template: String,
    /// The file to be kept.
    pub dest: PathBuf,
    /// What the template reads.
    pub sources: Sources,
    /// Whether missing directories above the file are made.
    pub make_dirs: bool,
    /// What is left out at the start of each key in the template, as confd does with its `prefix`.
    pub root: Prefix,
    /// The permission bits; those of the existing file, or 0644, if not said.
    pub mode: Option<u32>,
    /// The owners.
    pub owner: Owner,
    /// A command that says whether the staged file is good.
    pub check: Option<String>,
    /// The `HAProxies` whose servers are changed while they run.
    pub haproxy: Option<Haproxy>,
}

/// What a template reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// The instances of every service, also of those that are announced later.
    AllServices,
    /// The instances of these services.
    Services(Vec<ServiceName>),
    /// All keys under these paths.
    Keys(Vec<Prefix>),
}

/// The owner and group of a file; those of the existing file, or our own, if not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

/// How a program is told of a new file.
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
        /// Whether it is looked at until it runs the new file, if it is a daemon that we know.
        verify: bool,
    },
    /// By a signal to the command of `sidekick watch`.
    Child {
        /// The signal.
        signal: Signal,
        /// As above.
        verify: bool,
    },
    /// By the service manager.
    Unit {
        /// The unit's whole name.
        unit: String,
        /// Sent to its main process, in place of the reload that the unit describes.
        signal: Option<Signal>,
        /// As above.
        verify: bool,
    },
    /// By the socket of HAProxy's master.
    HaproxyMaster(PathBuf),
}

/// All targets of a directory, and everything that is wrong with them.
#[derive(Debug, Default)]
pub struct Targets {
    /// The good ones, sorted by file.
    pub good: Vec<Target>,
    /// Those that cannot be used.
    pub bad: Vec<BadTarget>,
    /// What is wrong with the directory as a whole.
    pub problems: Vec<Problem>,
    /// What is no problem, and should be known all the same.
    pub warnings: Vec<Problem>,
}

/// A file in conf.d that gives no target, because something in it or in its templates is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTarget {
    /// The name that the target would have.
    pub name: String,
    /// The file in conf.d.
    pub file: PathBuf,
    /// How that file is read.
    pub style: Style,
    /// What is wrong; at least one.
    pub problems: Vec<Problem>,
    /// The texts that were read. As long as they are the same, nobody has tried to mend it.
    pub texts: Vec<String>,
}

impl Targets {
    /// Everything that is wrong, in the order of the files.
    #[must_use]
    pub fn all_problems(&self) -> Vec<Problem> {
        let of_targets = self.bad.iter().flat_map(|bad| &bad.problems);
        self.problems.iter().chain(of_targets).cloned().collect()
    }

    /// The style of a file that does not show one: that of all others, if they have the same.
    fn common_style(&self) -> Style {
        let good = self.good.iter().map(|target| target.style);
        let mut styles = good.chain(self.bad.iter().map(|bad| bad.style)).peekable();
        if styles.peek().is_some() && styles.all(|style| style == Style::Confd) {
            Style::Confd
        } else {
            Style::Own
        }
    }

    /// Takes a target out of the good ones. `what` is wrong with it.
    fn spoil(&mut self, file: &Path, what: &str) {
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
    /// The target as one that cannot be used.
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

/// Reads `<conf_dir>/conf.d/*.toml`, and what else is in confd's style there and below.
#[must_use]
pub fn targets(conf_dir: &Path) -> Targets {
    let mut all = Targets::default();
    let layout = Confd::read(conf_dir).unwrap_or_else(|problems| {
        all.problems.extend(problems);
        Confd::default()
    });
    all.warnings.clone_from(&layout.warnings);
    let dir = conf_dir.join("conf.d");
    let mut files = match list(&dir) {
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
    // A hidden file comes last: it may be the copy that an editor has left of another one.
    let others = confd::others(&dir, &files);
    let mut seen = 0;
    let mut in_doubt = Vec::new();
    for (file, is_plain) in
        (files.iter().map(|file| (file, true))).chain(others.iter().map(|file| (file, false)))
    {
        let file = File {
            path: file,
            conf_dir,
            is_plain,
            confd: &layout,
        };
        match file.read(&mut all) {
            Read::Nothing => {}
            Read::Target => seen += 1,
            Read::InDoubt(bad) => {
                seen += 1;
                in_doubt.push(bad);
            }
        }
    }
    if seen == 0 {
        let what = "there is no *.toml in it, so there is nothing to render";
        all.problems.push(Problem::in_file(&dir, None, what));
    }
    let style = all.common_style();
    all.bad
        .extend(in_doubt.into_iter().map(|bad| BadTarget { style, ..bad }));
    no_two_for_one_file(&mut all);
    all.bad.sort_by(|one, other| one.file.cmp(&other.file));
    all
}

/// The files `*.toml` of a directory that are not hidden.
pub(super) fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
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

fn no_two_for_one_file(all: &mut Targets) {
    let mut first: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut second = Vec::new();
    for target in &all.good {
        for output in &target.outputs {
            let Some(other) = first.insert(place(&output.dest), target.file.clone()) else {
                continue;
            };
            let (dest, other) = (output.dest.display(), other.display());
            let what = format!("{dest} is the dest of {other} already");
            second.push((target.file.clone(), what));
        }
    }
    for (file, what) in second {
        all.spoil(&file, &what);
    }
}

/// Where a file lies, whatever links lead to it. Where the file system does not answer, that is `dest` itself.
#[must_use]
pub fn place(dest: &Path) -> PathBuf {
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
