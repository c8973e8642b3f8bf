//! The command line: its syntax only. [`crate::config`] says what it means.

#![expect(
    clippy::doc_markdown,
    reason = "these docs are the help text, where backticks would show"
)]

mod admin;
mod brief;
mod complete;
mod dashboard;
mod docker;
mod inspect;
mod log;
mod manage;
mod output;
mod pages;
mod register;
mod roff;
mod stop;
mod store;
mod watch;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::admin::{AdminArgs, AllowedHosts, Health};
pub use self::complete::{Completions, Noun, Typed, complete, completions};
pub use self::dashboard::Dashboard;
pub use self::docker::{DockerAddress, DockerArgs};
pub use self::inspect::{Check, Ip, Render};
pub use self::log::{LogArgs, LogFormat, LogLevel};
pub use self::manage::{
    DrainArgs, Export, ExportFormat, Format, Guard, GuardAction, GuardList, GuardRelease, History,
    Ls, StateArgs, Status,
};
pub use self::output::{ColorWhen, OutputArgs};
pub use self::pages::{Man, manuals};
pub use self::register::{
    CHECK_INTERVAL, CHECK_STATUS, CHECK_TIMEOUT, CheckArgs, FALL, RISE, Register,
};
pub use self::stop::StopArgs;
pub use self::store::StoreArgs;
pub use self::watch::Watch;

/// What `sidekick --version` prints: the version, and for a release the commit and its date.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SIDEKICK_BUILD"), ")");

/// Announces services, and keeps proxy configurations equal to what is announced.
///
/// `sidekick register` puts host, ip and port of a service under /services in a store, for as long as the service
/// lives. `sidekick watch` follows those keys, renders configuration files from templates, checks them, swaps them in
/// atomically and reloads the proxy.
///
/// The store is etcd, or a directory for a single host. Files and the environment can be read as one.
#[derive(Debug, Parser)]
#[command(name = "sidekick", version = VERSION, max_term_width = 100)]
#[command(after_long_help = "\
Examples:
  sidekick register --name web --port 8080 -- ./server --listen :8080
  sidekick watch --store etcd://10.0.0.1:2379
  sidekick status --watch

Exit status:
  0   done
  1   what was asked is bad
  2   something would change
  64  the command line is wrong
  69  something needed is not there
  74  standard output cannot be written
  78  the configuration is wrong
  any  of a command behind --: its own; 128+n if signal n killed it")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub output: OutputArgs,
}

impl Cli {
    /// What the command line of this process says, or the help or the mistake to print in its place.
    pub fn read() -> Result<Self, clap::Error> {
        // Help and mistakes are printed before the command line is understood, and in colour or not.
        let args = || {
            std::env::args_os()
                .filter_map(|arg| arg.into_string().ok())
                .skip(1)
                .take_while(|arg| arg != "--")
        };
        let split = args().skip_while(|arg| arg != "--color").nth(1);
        let joined = args().find_map(|arg| arg.strip_prefix("--color=").map(str::to_owned));
        let choice = match split.or(joined).as_deref() {
            Some("always") => ColorChoice::Always,
            Some("never") => ColorChoice::Never,
            Some(_) | None => ColorChoice::Auto,
        };
        let mut command = Self::command().color(choice);
        if args().any(|arg| is_short_help(&arg)) {
            command = brief::brief(command);
        }
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

/// Whether a word asks for the short help: `-h`, or `-qh`.
fn is_short_help(word: &str) -> bool {
    let letters = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
    letters.is_some_and(|letters| letters.contains('h'))
}

/// The commands.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a doc of a variant would hide the longer one of its arguments"
)]
pub enum Command {
    Register(Box<Register>),
    Watch(Box<Watch>),
    Ip(Ip),
    Render(Render),
    Export(Export),
    Check(Check),
    /// Take an instance out of service.
    ///
    /// What it has it finishes, new requests go to others.
    ///
    /// It sets the state of the instance to `drain`, and waits until the proxies of every `sidekick watch` that serves the
    /// instance use that; where no watcher serves it, there is no wait. The state is a key of the instance, on its lease: it
    /// goes with the instance, and stays as long as its `sidekick register` runs, or until `sidekick undrain`.
    #[command(after_long_help = manage::DRAIN_HELP)]
    Drain(DrainArgs),
    /// Put an instance back into service.
    ///
    /// It sets the state of the instance, which `sidekick drain` has changed, to `up`, and waits until the proxies of every
    /// `sidekick watch` that serves the instance use that; where no watcher serves it, there is no wait.
    #[command(after_long_help = manage::UNDRAIN_HELP)]
    Undrain(DrainArgs),
    Ls(Ls),
    Status(Status),
    Health(Health),
    Dashboard(Dashboard),
    History(History),
    Guard(Guard),
    Completions(Completions),
    Man(Man),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_has_examples_that_parse_and_exit_statuses() {
        let mut root = Cli::command();
        root.build();
        let mut commands = vec![root];
        let mut parsed = 0;
        while let Some(mut command) = commands.pop() {
            let of = command.get_bin_name().unwrap_or_default().to_owned();
            let help = command.render_long_help().to_string();
            let (_, examples) = help.split_once("\nExamples:\n").expect(&of);
            let (examples, _) = examples.split_once("\n\nExit status:\n  ").expect(&of);
            let lines = examples_of_sidekick(examples);
            assert!(!lines.is_empty(), "{of} has no example: {examples}");
            for line in lines {
                if let Err(error) = Cli::command().try_get_matches_from(line.split_whitespace()) {
                    panic!("{of} has a wrong example: {line}\n{error}");
                }
                parsed += 1;
            }
            let below = command.get_subcommands().cloned();
            commands.extend(below.filter(|sub| sub.get_name() != "help"));
        }
        assert!(parsed > 40, "{parsed} examples");
    }

    /// The command lines of sidekick in examples, without what follows in three or more blanks, and without redirections.
    fn examples_of_sidekick(examples: &str) -> Vec<String> {
        let whole = examples.replace("\\\n      ", "");
        let lines = whole.lines().map(str::trim_start);
        let typed = lines.map(|line| line.split_once("   ").map_or(line, |(typed, _)| typed));
        let parts = typed.flat_map(|line| line.split(['|', '>']));
        let ours = parts
            .map(str::trim)
            .filter(|part| part.starts_with("sidekick "));
        ours.map(str::to_owned).collect()
    }

    #[test]
    fn the_help_of_a_command_has_what_its_arguments_say_of_it() {
        let mut root = Cli::command();
        root.build();
        let mut commands = vec![root];
        while let Some(command) = commands.pop() {
            let long = command.get_long_about().map(ToString::to_string);
            let about = command.get_about().map(ToString::to_string);
            let (long, about) = (long.unwrap_or_default(), about.unwrap_or_default());
            // More than one paragraph, of which the first is the short one.
            let has_more = long.starts_with(&about) && long.contains("\n\n");
            assert!(has_more, "{}: {long:?}", command.get_name());
            let below = command.get_subcommands().cloned();
            commands.extend(below.filter(|sub| sub.get_name() != "help"));
        }
    }
}
