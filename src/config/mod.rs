//! The configuration: from the command line, the environment and files to values that the other layers use. All problems
//! are reported at once.

mod admin;
mod announcement;
mod arguments;
mod check;
mod color;
mod confd;
mod docker;
mod duration;
mod guard;
mod host_file;
mod input;
mod labels;
mod path;
mod registration;
mod services;
mod stop;
mod store;
mod store_choice;
mod style;
mod target;
mod toml_fields;
mod toml_file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use admin::{Admin, HealthQuestion, parse_admin, parse_health};
pub use announcement::{Announcement, IdSpec, Ownership};
pub use arguments::{parse_drain_args, parse_ip_arg, parse_service};
pub use color::has_color;
pub use confd::Confd;
pub use docker::{ContainerWays, Docker};
pub use duration::parse_duration;
pub use host_file::HostFile;
pub use labels::read_labels;
pub use registration::{Registration, read_registration};
pub use services::read_announcements;
pub use stop::stop_signal;
pub use store::{Source, StorePlace, choose_store};
pub use store_choice::StoreChoice;
pub use style::{Style, is_tera};
pub use target::{
    BadTarget, Haproxy, Output, Owner, Reload, Sources, Target, Targets, read_targets, real_path,
};

use crate::cli;
use crate::model::stop::Stop;

const STATE_DIR: &str = "SIDEKICK_STATE_DIR";
/// The default of `--interval`.
const INTERVAL: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// The default of `--prefix`: the path of the instances in the store.
const PREFIX: &str = "/services";
/// The default of `--conf-dir`.
const CONF_DIR: &str = "/etc/sidekick";

/// The variables of the environment whose names and values are valid UTF-8.
pub type Env = BTreeMap<String, String>;

/// One mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file and the line of the mistake, if it is in a file.
    pub place: Option<(PathBuf, Option<usize>)>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with the command line or the environment.
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

    /// The same problem with a hint what to do.
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

/// How `sidekick watch` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchOptions {
    /// Whether it publishes once and exits.
    pub once: bool,
    /// How long it waits for the store before it gives up; without a limit if `None`.
    pub timeout: Option<std::time::Duration>,
    /// Whether it changes nothing.
    pub noop: bool,
    /// Whether it prints the differences of the files.
    pub diff: bool,
    /// The directory for state that outlives the process, if there is one.
    pub state_dir: Option<PathBuf>,
    /// The longest time between two comparisons of a live file with the rendered one.
    pub interval: std::time::Duration,
    /// The command that `watch` starts and supervises, with its arguments, if there is one. With `once` it takes the place
    /// of the process instead, when every target has been published.
    pub program: Option<(OsString, Vec<OsString>)>,
    /// How that command is stopped.
    pub stop: Stop,
}

impl WatchOptions {
    /// The options for a check or a render without a store: nothing is published.
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

/// The path of the instances in the store: `--prefix`, or `SIDEKICK_PREFIX`, or the default.
pub fn prefix(flag: Option<&str>, env: &Env) -> Result<crate::model::prefix::Prefix, Problem> {
    let given = flag.or_else(|| env.get("SIDEKICK_PREFIX").map(String::as_str));
    let text = given.filter(|text| !text.is_empty()).unwrap_or(PREFIX);
    crate::model::prefix::Prefix::parse(text)
        .map_err(|error| Problem::with(format!("--prefix: {error}")))
}

/// The directory that holds conf.d and templates: the flag, or `SIDEKICK_CONF_DIR` of the host's file, or the default.
#[must_use]
pub fn conf_dir(flag: Option<&Path>, host: &HostFile) -> PathBuf {
    let in_file = || host.value("SIDEKICK_CONF_DIR").ok().flatten();
    let given = flag.or_else(|| in_file().map(Path::new));
    given.unwrap_or(Path::new(CONF_DIR)).to_owned()
}

/// The options of `sidekick watch`, from its flags, and from `confd.toml` where a flag is not given.
pub fn watch_options(
    args: &cli::Watch,
    confd: &Confd,
    (env, host): (&Env, &HostFile),
    is_root: bool,
) -> Result<WatchOptions, Vec<Problem>> {
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
    let stop = stop::parse_stop(&args.stop).unwrap_or_else(|more| {
        problems.extend(more);
        Stop::within(std::time::Duration::ZERO)
    });
    if interval.is_zero() {
        problems.push(Problem::with("--interval: it has to be longer than 0"));
    }
    if timeout.is_some() && !args.once && !args.noop {
        problems.push(
            Problem::with("--timeout has an effect with --once or --noop only")
                .hint("leave it out: without --once and --noop sidekick waits for the store without a limit"),
        );
    }
    if !args.command.is_empty() && args.noop {
        let what = "with --noop sidekick changes nothing, so it runs no command";
        problems.push(Problem::with(what).hint("leave the command out"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let program = args.command.split_first();
    Ok(WatchOptions {
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

/// The state directory of the `sidekick watch` of the same user, or of this host's unit.
pub fn watch_state_dir(
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
        || Problem::with("there is no state directory: neither XDG_STATE_HOME nor HOME is set");
    dir.or_else(|| state_dir(env, is_root))
        .ok_or_else(|| none().hint(hint))
}

/// The default state directory of this user.
fn state_dir(env: &Env, is_root: bool) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/sidekick"));
    }
    let var = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let home = || Some(Path::new(var("HOME")?).join(".local/state"));
    let state = var("XDG_STATE_HOME").map(PathBuf::from).or_else(home)?;
    Some(state.join("sidekick"))
}
