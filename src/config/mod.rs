//! What the command line, the environment and the files of conf.d mean. Every problem is found at once.

mod admin;
mod announcement;
mod arguments;
mod check;
mod color;
mod confd;
mod duration;
mod guard;
mod host_file;
mod input;
mod registration;
mod services;
mod stop;
mod store;
mod style;
mod target;
mod toml_file;
mod toml_table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use admin::{Admin, HealthQuestion, admin, health};
pub use announcement::{Announcement, IdSpec, Ownership};
pub use arguments::{addresses, mark, service};
pub use color::has_color;
pub use confd::Confd;
pub use duration::parse_duration;
pub use host_file::HostFile;
pub use registration::{Registration, registration};
pub use services::announcements;
pub use stop::stop_signal;
pub use store::{Place, Source, location};
pub use style::{Style, is_tera};
pub use target::{
    BadTarget, Haproxy, Output, Owner, Reload, Sources, Target, Targets, place, targets,
};

use crate::cli;
use crate::model::stop::Stop;

const STATE_DIR: &str = "SIDEKICK_STATE_DIR";
/// The longest time between two comparisons if nobody says.
const INTERVAL: std::time::Duration = std::time::Duration::from_mins(5);

/// Where instances live in the store if nobody says.
const PREFIX: &str = "/services";
/// Where conf.d and templates are if nobody says.
const CONF_DIR: &str = "/etc/sidekick";

/// The environment, as far as it is text.
pub type Env = BTreeMap<String, String>;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file and the line, if it stands in a file.
    pub place: Option<(PathBuf, Option<usize>)>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with what was typed, or with the environment.
    #[must_use]
    pub fn with(what: impl fmt::Display) -> Self {
        Self {
            place: None,
            what: what.to_string(),
            hint: None,
        }
    }

    /// A problem in a file.
    #[must_use]
    pub fn in_file(file: &Path, line: Option<usize>, what: impl fmt::Display) -> Self {
        Self {
            place: Some((file.to_owned(), line)),
            ..Self::with(what)
        }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Self {
            hint: Some(hint.to_string()),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some((file, Some(line))) => write!(f, "{}:{line}: {}", file.display(), self.what),
            Some((file, None)) => write!(f, "{}: {}", file.display(), self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// How `sidekick watch` goes about its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Publish once and leave.
    pub once: bool,
    /// How long to wait for the store before leaving, if there is a limit.
    pub timeout: Option<std::time::Duration>,
    /// Change nothing.
    pub noop: bool,
    /// Print diffs.
    pub diff: bool,
    /// Where is kept what outlives the process; nowhere if there is no place.
    pub state_dir: Option<PathBuf>,
    /// The longest time between two comparisons of a file with what it should be.
    pub interval: std::time::Duration,
    /// The program that reads the files, and its arguments, if it is ours to start.
    pub program: Option<(OsString, Vec<OsString>)>,
    /// How the program is asked to end.
    pub stop: Stop,
}

impl Pass {
    /// A pass in which nothing is published.
    #[must_use]
    pub fn offline() -> Self {
        Self {
            program: None,
            stop: Stop::within(std::time::Duration::ZERO),
            once: true,
            timeout: None,
            noop: true,
            diff: false,
            state_dir: None,
            interval: std::time::Duration::MAX,
        }
    }
}

/// What `--prefix` means, or `SIDEKICK_PREFIX` in its place.
pub fn prefix(flag: Option<&str>, env: &Env) -> Result<crate::model::prefix::Prefix, Problem> {
    let given = flag.or_else(|| env.get("SIDEKICK_PREFIX").map(String::as_str));
    let text = given.filter(|text| !text.is_empty()).unwrap_or(PREFIX);
    crate::model::prefix::Prefix::parse(text)
        .map_err(|error| Problem::with(format!("--prefix: {error}")))
}

/// The directory that holds conf.d and templates.
#[must_use]
pub fn conf_dir(flag: Option<&Path>, host: &HostFile) -> PathBuf {
    let in_file = || host.value("SIDEKICK_CONF_DIR").ok().flatten();
    let given = flag.or_else(|| in_file().map(Path::new));
    given.unwrap_or(Path::new(CONF_DIR)).to_owned()
}

/// What the flags of `sidekick watch` mean, and what `confd.toml` says where they say nothing.
pub fn pass(
    args: &cli::Watch,
    confd: &Confd,
    (env, host): (&Env, &HostFile),
    is_root: bool,
) -> Result<Pass, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut time = |flag: &str, text: &str| {
        parse_duration(text).unwrap_or_else(|what| {
            problems.push(Problem::with(format!("{flag}: {what}")));
            std::time::Duration::MAX
        })
    };
    let interval = match &args.interval {
        Some(text) => time("--interval", text),
        None => confd.interval.unwrap_or(INTERVAL),
    };
    let timeout = args.timeout.as_deref().map(|text| time("--timeout", text));
    let stop = stop::stop(&args.stop).unwrap_or_else(|more| {
        problems.extend(more);
        Stop::within(std::time::Duration::ZERO)
    });
    if interval.is_zero() {
        problems.push(Problem::with("--interval: it must be longer than nothing"));
    }
    if timeout.is_some() && !args.once && !args.noop {
        problems.push(
            Problem::with("--timeout has a meaning with --once or --noop only")
                .hint("without them sidekick waits for the store for ever"),
        );
    }
    if !args.command.is_empty() && (args.once || args.noop) {
        let what = "--once and --noop leave when they are done, so there is no use for a command";
        problems.push(Problem::with(what));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let program = args.command.split_first();
    Ok(Pass {
        program: program.map(|(program, args)| (program.clone(), args.to_vec())),
        stop,
        once: args.once || args.noop,
        timeout,
        noop: args.noop,
        diff: args.diff,
        state_dir: args
            .state_dir
            .clone()
            .or_else(|| host.value(STATE_DIR).ok().flatten().map(PathBuf::from))
            .or_else(|| state_dir(env, is_root)),
        interval,
    })
}

/// Where the `sidekick watch` of the same user, or of this host's unit, keeps what outlives it.
pub fn state_of_watch(
    args: &cli::StateArgs,
    (env, host): (&Env, &HostFile),
    is_root: bool,
) -> Result<PathBuf, Problem> {
    let hint = "give the one of `sidekick watch` with --state-dir";
    if let Some(dir) = &args.state_dir {
        return Ok(dir.clone());
    }
    let in_file = host
        .value(STATE_DIR)
        .map_err(|problem| problem.hint(hint))?;
    let dir = in_file.map(PathBuf::from);
    let none =
        || Problem::with("there is no place for state: neither XDG_STATE_HOME nor HOME is set");
    dir.or_else(|| state_dir(env, is_root))
        .ok_or_else(|| none().hint(hint))
}

/// Where programs keep what outlives them.
fn state_dir(env: &Env, is_root: bool) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/sidekick"));
    }
    let var = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let home = || Some(Path::new(var("HOME")?).join(".local/state"));
    let state = var("XDG_STATE_HOME").map(PathBuf::from).or_else(home)?;
    Some(state.join("sidekick"))
}
