//! The commands: each turns what was typed into a [`Job`], with every problem of the command line, the environment and the
//! files that it names at once. Nothing is done before the job is performed. Shell.
//!
//! One file for each command. `main.rs` has the phases that all of them share: parse, hold signals, resolve, log, run.

use std::fmt;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use tracing::{info, warn};

pub use self::complete::list_values;
use crate::cli::{Command, GuardAction, LogArgs, OutputArgs, StoreArgs};
use crate::config::{self, Env, HostFile, Problem, StorePlace};
use crate::error::Failure;
use crate::model::instance::State;
use crate::model::screen::Screen;
use crate::store::{self, Store};
use crate::system::dns;
use crate::system::http_server::{Limits, Server};
use crate::system::output;
use crate::system::signals::BlockedSignals;
use crate::system::terminal;

mod check;
mod complete;
mod dashboard;
mod drain;
mod export;
mod guard;
mod health;
mod history;
mod ip;
mod live;
mod pages;
mod register;
mod render;
mod status;
mod watch;

/// What a command does, as the exit status of the process. It begins when it is first polled, in the runtime.
pub type Work = Pin<Box<dyn Future<Output = Result<u8, Failure>>>>;

/// A command that is ready to run.
pub struct Job {
    /// How it logs.
    pub log: LogArgs,
    /// How its log begins. `None`: it has no such line, or says it itself, once it knows more.
    pub opening: Option<Opening>,
    /// What it does.
    pub work: Work,
}

impl Job {
    fn new(work: impl Future<Output = Result<u8, Failure>> + 'static) -> Self {
        Self {
            log: LogArgs::default(),
            opening: None,
            work: Box::pin(work),
        }
    }

    fn opening(self, opening: Opening) -> Self {
        Self {
            opening: Some(opening),
            ..self
        }
    }

    fn logging(self, log: LogArgs) -> Self {
        Self { log, ..self }
    }
}

/// How the log of a command begins: its version, and the store with where it was named, so that somebody who asks the
/// wrong store can see it; and what is wrong with the file of this host, where the command can go on without it.
#[derive(Debug, Default)]
pub struct Opening {
    first_line: Option<String>,
    warning: Option<String>,
}

impl Opening {
    fn on_store(verb: &str, place: &StorePlace) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            first_line: Some(format!("sidekick {version} {verb}: {place}")),
            warning: None,
        }
    }

    /// Without the file of this host, prefix, directories and templates are not known.
    fn warning_of(self, host: &HostFile) -> Self {
        let warning = host.problem().map(|problem| {
            format!(
                "{problem}; what it says about prefix, directories and templates is not known, and defaults are used"
            )
        });
        Self { warning, ..self }
    }

    /// Logs it. `subject` is what the command is about, if it knows that yet: its targets, or its instances.
    pub fn log(&self, subject: Option<&str>) {
        if let Some(line) = &self.first_line {
            let subject = subject.map_or_else(String::new, |subject| format!("; {subject}"));
            info!("{line}{subject}");
        }
        if let Some(warning) = &self.warning {
            warn!("{warning}");
        }
    }
}

/// `target a`, `2 targets: a, b`, or `no targets`; of many names only the first ones.
fn counted<T: fmt::Display>(noun: &str, names: &[T]) -> String {
    const NAMED: usize = 10;
    let first: Vec<String> = names.iter().take(NAMED).map(T::to_string).collect();
    let more = if names.len() > NAMED { ", …" } else { "" };
    match names.len() {
        0 => format!("no {noun}s"),
        1 => format!("{noun} {}", first.concat()),
        count => format!("{count} {noun}s: {}{more}", first.join(", ")),
    }
}

/// What a command finds where it is started.
pub struct Surroundings {
    env: Env,
    host: HostFile,
    is_root: bool,
    output: OutputArgs,
    /// What standard output is.
    screen: Screen,
}

impl Surroundings {
    /// The environment of this process, the file of this host, where standard output goes, and whether we are root.
    #[must_use]
    pub fn read(output: OutputArgs) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let env: Env = std::env::vars_os().filter_map(text).collect();
        let size = terminal::size();
        Self {
            output,
            screen: Screen {
                has_color: config::has_color(output.color, &env, size.is_some()),
                width: size.map(|(width, _)| width),
            },
            host: HostFile::read(&env),
            env,
            is_root: nix::unistd::geteuid().is_root(),
        }
    }

    /// Whether the log, which goes to standard error, is in colour.
    #[must_use]
    pub fn has_colored_log(&self) -> bool {
        let is_terminal = io::stderr().is_terminal();
        config::has_color(self.output.color, &self.env, is_terminal)
    }

    fn choose_store(&self, args: &StoreArgs) -> Result<StorePlace, Vec<Problem>> {
        config::choose_store(args, &self.env, &self.host, self.is_root)
    }
}

impl Surroundings {
    /// The store of a command that writes to it.
    fn place_to_write(&self, verb: &str, args: &StoreArgs) -> Result<StorePlace, Vec<Problem>> {
        let place = self.choose_store(args)?;
        if !place.location.is_read_only() {
            return Ok(place);
        }
        let store = place.location.identity();
        let what = format!(
            "sidekick {verb} changes the store, and {store} is only read ({})",
            place.source
        );
        let hint = "write the change where the keys come from, or name a store that can be changed: --store \
                    etcd://HOST:2379 or dir:///PATH";
        Err(vec![Problem::with(what).hint(hint)])
    }
}

/// Blocks signals for the commands that run until a signal stops them: a signal that comes while they start waits, and is not
/// lost, as it would be for process 1.
pub fn hold_signals(command: &Command) -> Result<Option<BlockedSignals>, Failure> {
    let held = match command {
        Command::Register(args) if args.command.is_empty() => BlockedSignals::sidecar(),
        // A command that takes our place is not there yet when signals come to us.
        Command::Watch(args) if args.command.is_empty() || args.once => {
            BlockedSignals::daemon(config::stop_signal(&args.stop))
        }
        Command::Dashboard(_) => BlockedSignals::daemon(None),
        command if is_watching(command) => BlockedSignals::daemon(None),
        Command::Register(_) | Command::Watch(_) => BlockedSignals::forwardable(),
        _ => return Ok(None),
    };
    held.map(Some).map_err(|error| no_system(&error))
}

/// Whether a command shows something until it is stopped (`--watch`).
fn is_watching(command: &Command) -> bool {
    match command {
        Command::Ls(args) => args.watch,
        Command::Status(args) => args.watch,
        Command::History(args) => args.watch,
        Command::Guard(args) => match &args.action {
            GuardAction::List(args) => args.watch,
            GuardAction::Release(_) => false,
        },
        _ => false,
    }
}

/// What a command means. `held` are the signals of [`hold_signals`].
pub fn resolve(
    command: Command,
    held: Option<BlockedSignals>,
    here: &Surroundings,
) -> Result<Job, Failure> {
    match (command, held) {
        (Command::Register(args), Some(held)) => register::resolve(*args, held, here),
        (Command::Watch(args), Some(held)) => watch::resolve(*args, held, here),
        (Command::Dashboard(args), Some(held)) => dashboard::resolve(args, held, here),
        (Command::Register(_) | Command::Watch(_) | Command::Dashboard(_), None) => {
            unreachable!("hold_signals holds them for all of them")
        }
        (Command::Ip(args), _) => ip::resolve(&args, here),
        (Command::Export(args), _) => export::resolve(&args, here),
        (Command::Render(args), _) => render::resolve(args, here),
        (Command::Check(args), _) => Ok(check::resolve(args, here)),
        (Command::Drain(args), _) => drain::resolve(&args, State::Drain, here),
        (Command::Undrain(args), _) => drain::resolve(&args, State::Up, here),
        (Command::Ls(args), held) => status::resolve_ls(&args, held, here),
        (Command::Status(args), held) => status::resolve(&args, held, here),
        (Command::Health(args), _) => health::resolve(&args, here),
        (Command::History(args), held) => history::resolve(args, held, here),
        (Command::Guard(args), held) => guard::resolve(args, held, here),
        (Command::Completions(args), _) => Ok(pages::completions(args.shell)),
        (Command::Man(args), _) => Ok(pages::man(args.dir)),
    }
}

/// Returns both results, or the problems of both.
fn both<A, B>(a: Result<A, Vec<Problem>>, b: Result<B, Vec<Problem>>) -> Result<(A, B), Failure> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => {
            let problems = [a.err(), b.err()].into_iter().flatten().flatten();
            Err(Failure::usage(&problems.collect::<Vec<_>>()))
        }
    }
}

fn open(place: &StorePlace) -> Result<Arc<dyn Store>, Failure> {
    store::open(&place.location, dns::srv_records).map_err(|mut error| {
        let advice = error.take_advice();
        Failure::unavailable(&error, &advice)
    })
}

/// Claims the address of the admin endpoint, if there is to be one.
fn bind(admin: Option<config::Admin>) -> Result<Option<Server>, Failure> {
    let Some(admin) = admin else { return Ok(None) };
    let server = Server::bind(&admin.address, admin.names, Limits::default())
        .map_err(|error| Failure::unavailable(&error, error.hint()))?;
    let address = server.address();
    if address.is_local() {
        info!("/health, /ready, /status and /metrics are answered at {address}");
    } else {
        warn!(
            "/health, /ready, /status and /metrics are answered at {address}, also to other hosts: who reaches it sees \
             names, addresses and errors, and can change nothing"
        );
    }
    Ok(Some(server))
}

/// Prints a value as JSON. docs/json.md has the form of each; tests/it/json.rs compares the two.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    // All keys are strings, and there are no floats that could fail.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    print(text + "\n")
}

fn print(text: impl fmt::Display) -> Result<(), Failure> {
    output::print(text.to_string().as_bytes()).map_err(|error| Failure::output(&error))
}

/// The system refuses what every process needs.
#[must_use]
pub fn no_system(error: &std::io::Error) -> Failure {
    let hint = "the system refuses what every process needs; see ulimit -n";
    Failure::unavailable(error, hint)
}
