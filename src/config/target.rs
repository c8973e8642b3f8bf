//! The targets: what the files of `conf.d` say is to be rendered, from what, to where, and what to do about it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Problem;
use super::confd::{self, Confd};
use super::document::Document;
use crate::model::check::HttpCheck;
use crate::model::facts::Signal;
use crate::model::guard::Rules;
use crate::model::instance::ServiceName;
use crate::model::pace::Pace;
use crate::model::update::Prefix;

mod group;
mod haproxy;
mod output;
mod reload;

const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
const RELOAD_TIMEOUT: Duration = Duration::from_mins(1);

/// Files that belong together, mostly one: checked together, swapped together, and followed by one reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How it is called in the log: the name of its file in conf.d, without `.toml`.
    pub name: String,
    /// The file in conf.d.
    pub file: PathBuf,
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
    /// The problems.
    pub problems: Vec<Problem>,
    /// What is no problem, and should be known all the same.
    pub warnings: Vec<Problem>,
}

/// Reads `<conf_dir>/conf.d/*.toml`, and below it what is in confd's style.
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
    files.extend(confd::below(&dir));
    files.sort();
    if files.is_empty() {
        let problem = Problem::in_file(
            &dir,
            None,
            "there is no *.toml in it, so there is nothing to render",
        );
        all.problems.push(problem);
    }
    for file in files {
        match fs::read_to_string(&file) {
            Ok(text) => read(&file, &text, (conf_dir, &layout), &mut all),
            Err(error) => {
                all.problems.push(Problem::in_file(
                    &file,
                    None,
                    format!("cannot be read: {error}"),
                ));
            }
        }
    }
    no_two_for_one_file(&mut all);
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
    let mut first: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for target in &all.good {
        for output in &target.outputs {
            let Some(other) = first.insert(place(&output.dest), &target.file) else {
                continue;
            };
            let what = format!(
                "{} is the dest of {} already",
                output.dest.display(),
                other.display()
            );
            all.problems
                .push(Problem::in_file(&target.file, None, what));
        }
    }
}

/// Where a file lies, whatever links lead to it.
fn place(dest: &Path) -> PathBuf {
    let in_its_dir = || {
        let dir = fs::canonicalize(dest.parent()?).ok()?;
        Some(dir.join(dest.file_name()?))
    };
    fs::canonicalize(dest)
        .ok()
        .or_else(in_its_dir)
        .unwrap_or_else(|| dest.to_owned())
}

fn read(file: &Path, text: &str, (conf_dir, layout): (&Path, &Confd), all: &mut Targets) {
    let document = Document::new(file, text);
    let mut root = document.root();
    let sections = root.one_or_more("template");
    let is_confd = sections.iter().any(|table| layout.speaks(table));
    if is_confd {
        document.be_lenient();
    } else if file.parent() != Some(&conf_dir.join("conf.d")) {
        // Below conf.d are targets of confd only; what else lies there was put aside by somebody.
        return;
    }
    if sections.is_empty() {
        document.say(&(0..0), "there is no table [template]");
    } else {
        let confd = is_confd.then_some(layout);
        all.good
            .extend(group::target(sections, &document, (file, conf_dir), confd));
    }
    root.finish("[template] and the tables below it");
    all.warnings.extend(document.take_warnings());
    let problems = document.into_problems();
    if !problems.is_empty() {
        // A target is good as a whole or not at all.
        all.good.retain(|target| target.file != file);
    }
    all.problems.extend(problems);
}

#[cfg(test)]
mod tests;
