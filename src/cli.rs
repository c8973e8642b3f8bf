//! The command line: its syntax only. [`crate::config`] says what it means.

#![expect(
    clippy::doc_markdown,
    reason = "these docs are the help text, where backticks would show"
)]

mod admin;
mod complete;
mod dashboard;
mod docker;
mod inspect;
mod log;
mod manage;
mod output;
mod pages;
mod register;
mod stop;
mod store;
mod watch;

use std::path::PathBuf;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::admin::{AdminArgs, AllowedHosts, Health};
pub use self::complete::{Noun, Typed, complete, completions};
pub use self::dashboard::Dashboard;
pub use self::docker::{DockerAddress, DockerArgs};
pub use self::inspect::{Check, Ip, Render};
pub use self::log::{LogArgs, LogFormat, LogLevel};
pub use self::manage::{
    DrainArgs, Export, ExportFormat, Format, Guard, GuardAction, GuardList, GuardRelease, History,
    Ls, StateArgs, Status,
};
pub use self::output::{ColorWhen, OutputArgs};
pub use self::pages::manuals;
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
/// The store is etcd, or a directory for a single host.
#[derive(Debug, Parser)]
#[command(name = "sidekick", version = VERSION, max_term_width = 100)]
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
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Announce an instance of a service for as long as it lives.
    Register(Box<Register>),
    /// Keep rendered files equal to what is announced.
    Watch(Box<Watch>),
    /// Show which address of this host would be announced, and why.
    Ip(Ip),
    /// Render targets from a file that stands for the store.
    Render(Render),
    /// Print what the store has, as such a file.
    Export(Export),
    /// Look for mistakes in conf.d, templates and commands, all at once.
    Check(Check),
    /// Take an instance out of service: what it has it finishes, new requests go to others.
    Drain(DrainArgs),
    /// Put an instance back into service.
    Undrain(DrainArgs),
    /// List services, or the instances of one.
    Ls(Ls),
    /// Show what is wrong, and how services, instances, watchers and their targets stand.
    Status(Status),
    /// Ask a running sidekick whether it is healthy: for containers without curl.
    Health(Health),
    /// Show it all on a web page that follows the store.
    Dashboard(Dashboard),
    /// Show what was published, and why.
    History(History),
    /// See and release what the guards of `sidekick watch` hold.
    Guard(Guard),
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    Man {
        /// The directory; it is made if it is not there.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
