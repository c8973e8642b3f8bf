//! argv → exit code, in five phases that all commands share: parse, hold signals, resolve, log, run.

use std::fmt::{self, Debug};
use std::io::Write;
use std::process::ExitCode;

use sidekick::cli::{self, Cli, LogFormat, LogLevel, OutputArgs};
use sidekick::command::{self, Job, Surroundings, Work};
use sidekick::error::Failure;
use sidekick::model::printable::LogMessage;
use sidekick::model::report::code;
use sidekick::system::error_stream::ErrorStream;
use sidekick::system::{output, process};
use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    process::keep_little_memory();
    if cli::complete(command::list_values) {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(answer(&error)),
    };
    match perform(cli) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => ExitCode::from(told(&failure)),
    }
}

/// What is printed in place of a command: the help that was asked for, or what is wrong with the command line.
fn answer(error: &clap::Error) -> u8 {
    let printed = match ErrorStream::detect() {
        ErrorStream::Journal if error.use_stderr() => {
            ErrorStream::Journal.write(Level::ERROR, &error.to_string())
        }
        ErrorStream::Plain | ErrorStream::Journal => error.print(),
    };
    let printed = printed.and_then(|()| std::io::stdout().flush());
    match output::finish(printed) {
        _ if error.exit_code() != 0 => code::USAGE,
        Ok(()) => 0,
        Err(error) => told(&Failure::output(&error)),
    }
}

/// Tells of a failure; the exit status.
fn told(failure: &Failure) -> u8 {
    let _ = ErrorStream::detect().write(Level::ERROR, &failure.to_string());
    failure.code()
}

fn perform(cli: Cli) -> Result<u8, Failure> {
    let held = command::hold_signals(&cli.command)?;
    let here = Surroundings::read(cli.output);
    let job = command::resolve(cli.command, held, &here)?;
    start_log(&job, cli.output, here.has_colored_log());
    run(job.work)
}

fn start_log(job: &Job, output: OutputArgs, has_color: bool) {
    let level = job.log.log_level.shifted(output);
    log(job.log.log_format, level, has_color);
    if let Some(opening) = &job.opening {
        opening.log(None);
    }
}

/// One thread is enough: what takes long (rendering, writing) has threads of its own. Those that are still at work in
/// the end, in a template that goes on for ever or a lookup that nobody answers, are left behind.
fn run(work: Work) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| command::no_system(&error))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

fn write_message(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(writer, "{}", LogMessage(&format!("{value:?}"))),
        _ => Ok(()),
    }
}

fn log(format: LogFormat, level: LogLevel, has_color: bool) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Operators read the warnings and errors of libraries; their other lines are for the authors of these.
    let libraries = level.max(LevelFilter::ERROR).min(LevelFilter::WARN);
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("sidekick", level);
    let stream = ErrorStream::detect();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(stream)
        .with_ansi(has_color)
        .with_target(false);
    let layer = match format {
        // The message says in words what the fields say to programs.
        LogFormat::Text => {
            let layer = layer.fmt_fields(debug_fn(write_message));
            match stream {
                ErrorStream::Plain => layer.boxed(),
                // The journal has a time of its own for each line.
                ErrorStream::Journal => layer.without_time().boxed(),
            }
        }
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
}
