//! argv → exit code, in five phases: parse, mean, log, runtime, run.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use sidekick::cli::{
    self, Check, Cli, Command, Format, Guard, GuardAction, Ip, LogArgs, LogFormat, LogLevel, Mark,
    Register, Render, Status, StoreArgs, Watch,
};
use sidekick::config::{self, Confd, Env, HostFile, Place, Source};
use sidekick::error::{self, Failure};
use sidekick::model::instance::State;
use sidekick::model::report::code;
use sidekick::system::signals::Held;
use sidekick::system::{init, output};
use sidekick::{manage, register, store, watch};
use tracing::{info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            let asked_for_help = error.exit_code() == 0;
            return ExitCode::from(match output::finish(printed) {
                _ if !asked_for_help => code::USAGE,
                Ok(()) => 0,
                Err(_) => code::OUTPUT,
            });
        }
    };
    let done = match cli.command {
        Command::Register(args) => register(&args),
        Command::Watch(args) => watch(&args),
        Command::Ip(args) => ip(&args),
        Command::Render(args) => render(&args),
        Command::Check(args) => check(&args),
        Command::Drain(args) => mark(&args, State::Drain),
        Command::Undrain(args) => mark(&args, State::Up),
        Command::Status(args) => status(&args),
        Command::Guard(args) => guard(&args),
        Command::Completions { shell } => output::print(&cli::completions(shell))
            .map(|()| 0)
            .map_err(|error| Failure::output(&error)),
        Command::Man { dir } => man(&dir),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let _ = write!(std::io::stderr(), "{failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn register(args: &Register) -> Result<u8, Failure> {
    // First of all: what is sent to us while we start waits, where PID 1 would never hear of it.
    let has_program = !args.command.is_empty();
    let held = if has_program {
        Held::forwardable()
    } else {
        Held::sidecar()
    };
    let held = held.map_err(no_system)?;
    let place = place(&args.store);
    let prefix = place.as_ref().ok().map(|place| &place.prefix);
    let registration = config::registration(args, prefix);
    let (registration, place) = both(registration, place)?;
    log(&args.log);
    name_store("register", &place);
    if has_program {
        init::adopt_orphans();
    }
    let plan = register::plan(registration, &place.location, &place.prefix)?;
    let store = open(&place)?;
    block_on(async {
        let signals = held.listen(plan.stop()).map_err(no_system)?;
        Ok(init::reaping(register::run(plan, store, signals)).await)
    })
}

fn mark(args: &Mark, state: State) -> Result<u8, Failure> {
    let (order, place) = (config::mark(args), place(&args.store));
    let ((service, id, wait), place) = both(order, place)?;
    log(&LogArgs::default());
    let verb = match state {
        State::Up => "undrain",
        State::Drain | State::Maint => "drain",
    };
    name_store(verb, &place);
    let store = open(&place)?;
    let order = manage::Order {
        prefix: place.prefix,
        service,
        id,
        state,
        wait,
    };
    let (text, status) = block_on(async { Ok(manage::mark(order, store).await?) })?;
    print(&text)?;
    Ok(status)
}

fn status(args: &Status) -> Result<u8, Failure> {
    let (service, place) = (config::service(&args.service), place(&args.store));
    let (service, place) = both(service, place)?;
    log(&LogArgs::default());
    name_store("status", &place);
    let store = open(&place)?;
    let json = args.format == Format::Json;
    let look = async { Ok(manage::status(&service, &place.prefix, json, store).await?) };
    let report = block_on(look)?;
    print(&report.text)?;
    report.missing.map_or(Ok(0), |missing| Err(missing.into()))
}

fn watch(args: &Watch) -> Result<u8, Failure> {
    let has_program = !args.command.is_empty();
    let held = if has_program {
        Held::forwardable()
    } else {
        Held::daemon(config::stop_signal(&args.stop))
    };
    let held = held.map_err(no_system)?;
    let host = HostFile::read(&env());
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), &host);
    let confd = Confd::read(&conf_dir).map_err(|problems| Failure::config(&problems))?;
    let pass = config::pass(args, &confd, (&env(), &host), is_root());
    let (pass, place) = both(pass, place_of_watch(args, &confd, &host))?;
    log(&args.log);
    name_store("watch", &place);
    warn_if_unreadable(&host);
    let targets = watch::load(&conf_dir, &pass).map_err(|problems| Failure::config(&problems))?;
    if has_program {
        init::adopt_orphans();
    }
    let store = open(&place)?;
    block_on(async {
        let signals = held.listen(pass.stop).map_err(no_system)?;
        let plan = watch::Plan {
            targets,
            prefix: place.prefix,
            pass,
            env: host.complete_for_templates(&env()),
            store: place.location.identity(),
            conf_dir,
        };
        Ok(init::reaping(watch::run(plan, store, signals)).await)
    })
}

/// The store that flags and environment name, else `confd.toml`, else the file of this host.
fn place_of_watch(
    args: &Watch,
    confd: &Confd,
    host: &HostFile,
) -> Result<Place, Vec<config::Problem>> {
    let (env, file) = confd.environment(&args.store, env())?;
    let mut place = config::location(&args.store, &env, host, is_root())?;
    if let Some(file) = file {
        place.source = Source::Confd(file.to_owned());
    }
    Ok(place)
}

fn render(args: &Render) -> Result<u8, Failure> {
    let host = HostFile::read(&env());
    let env = host.complete_for_templates(&env());
    let prefix = config::prefix(args.prefix.as_deref(), &env);
    let prefix = prefix.map_err(|problem| Failure::usage(&[problem]))?;
    log(&LogArgs::default());
    warn_if_unreadable(&host);
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), &host);
    let targets = watch::load_some(&conf_dir, &args.targets)?;
    let entries = watch::fixture(&args.from).map_err(|error| {
        Failure::unavailable(
            &error,
            "a fixture is an object of keys and values, in JSON or YAML",
        )
    })?;
    let show = if args.diff {
        watch::Show::Diff
    } else {
        watch::Show::Text
    };
    watch::render_offline(targets, entries, &prefix, env, show)
        .map_err(|error| Failure::output(&error))
}

fn check(args: &Check) -> Result<u8, Failure> {
    let host = HostFile::read(&env());
    log(&LogArgs::default());
    warn_if_unreadable(&host);
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), &host);
    let found = watch::check(&conf_dir, &args.targets)?;
    let _ = write!(std::io::stderr(), "{}", error::findings(&found));
    print(&format!("{}\n", error::summary(&found)))?;
    Ok(if found.mistakes.is_empty() {
        0
    } else {
        code::CONFIG
    })
}

fn guard(args: &Guard) -> Result<u8, Failure> {
    let state = match &args.action {
        GuardAction::List(state) => state,
        GuardAction::Release(release) => &release.state,
    };
    let env = env();
    let host = HostFile::read(&env);
    let dir = config::state_of_watch(state, (&env, &host), is_root());
    let dir = dir.map_err(|problem| Failure::usage(&[problem]))?;
    let (text, status) = match &args.action {
        GuardAction::List(_) => (watch::guard_list(&dir)?, 0),
        GuardAction::Release(release) => {
            let service = release.service.as_deref().map(config::service).transpose();
            let service = service.map_err(|problems| Failure::usage(&problems))?;
            let (text, any) =
                watch::guard_release(&dir, &release.targets, release.all, service.as_ref())?;
            (text, if any { 0 } else { code::FAILED })
        }
    };
    print(&text)?;
    Ok(status)
}

fn print(text: &str) -> Result<(), Failure> {
    output::print(text.as_bytes()).map_err(|error| Failure::output(&error))
}

fn man(dir: &std::path::Path) -> Result<u8, Failure> {
    let write = || {
        std::fs::create_dir_all(dir)?;
        let pages = cli::manuals()?;
        pages
            .iter()
            .try_for_each(|(name, text)| std::fs::write(dir.join(name), text))
    };
    let hint = "give a directory that can be written";
    write().map_err(|error: std::io::Error| Failure::unavailable(&error, hint))?;
    Ok(0)
}

fn ip(args: &Ip) -> Result<u8, Failure> {
    let (specs, place) = (config::addresses(args.spec.as_deref()), place(&args.store));
    let (specs, place) = both(specs, place)?;
    log(&LogArgs::default());
    name_store("ip", &place);
    let choice = register::address(&specs, &place.location);
    // Nothing can be done about a terminal that is gone.
    let _ = write!(std::io::stderr(), "{choice}");
    let Some(ip) = choice.ip else {
        return Ok(code::UNAVAILABLE);
    };
    print(&format!("{ip}\n"))?;
    Ok(0)
}

/// Both results, or the problems of both.
fn both<A, B>(
    a: Result<A, Vec<config::Problem>>,
    b: Result<B, Vec<config::Problem>>,
) -> Result<(A, B), Failure> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => {
            let problems = [a.err(), b.err()].into_iter().flatten().flatten();
            Err(Failure::usage(&problems.collect::<Vec<_>>()))
        }
    }
}

fn env() -> Env {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn place(args: &StoreArgs) -> Result<Place, Vec<config::Problem>> {
    let env = env();
    config::location(args, &env, &HostFile::read(&env), is_root())
}

/// The first line of the log: whoever asks the wrong store can see it.
fn name_store(verb: &str, place: &Place) {
    info!("sidekick {} {verb}: {place}", env!("CARGO_PKG_VERSION"));
}

/// What the file of this host says about templates and directories is then not known.
fn warn_if_unreadable(host: &HostFile) {
    if let Some(problem) = host.problem() {
        warn!(
            "{problem}; what it says about prefix, directories and templates is not known, and defaults are used"
        );
    }
}

fn open(place: &Place) -> Result<std::sync::Arc<dyn store::Store>, Failure> {
    store::open(&place.location).map_err(|mut error| {
        let advice = error.take_advice();
        Failure::unavailable(&error, &advice)
    })
}

/// One thread is enough: what takes long (rendering, writing) has threads of its own. Those that are still at work in
/// the end, in a template that goes on for ever or a lookup that nobody answers, are left behind.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_system)?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err passes")]
fn no_system(error: std::io::Error) -> Failure {
    Failure::unavailable(
        &error,
        "the system refuses what every process needs; see ulimit -n",
    )
}

fn log(args: &LogArgs) {
    let level = match args.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What libraries say is for those who look for trouble.
    let libraries = level.max(LevelFilter::ERROR).min(LevelFilter::WARN);
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("sidekick", level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let layer = match args.log_format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
}
