//! The flags of `sidekick register`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{AdminArgs, DockerArgs, LogArgs, StopArgs, StoreArgs};

/// Announce an instance of a service for as long as it lives.
///
/// With a command, sidekick is its entrypoint: it starts the command, announces it, and exits with the command's status.
/// At SIGTERM, SIGINT or --stop-signal it marks it as draining, waits until all who watch have applied that (--drain),
/// withdraws it, and only then tells the command to stop. Without a command it is a sidecar: it announces until a signal, then drains, withdraws
/// and exits 0. With checks it announces only while they pass.
///
/// All keys are written in one transaction and hang on one lease. A store that is down never harms the command; it is
/// announced as soon as the store is back.
///
/// With --config it announces several services. SIGHUP reads the configuration again, and is passed on to a command that
/// handles it. With --docker it announces the containers of this host by their labels.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick register --name web --port 8080 -- ./server --listen :8080
  sidekick register --name web --port 8080 --check http://:8080/healthz -- ./server
  sidekick register --store etcd://10.0.0.1:2379,10.0.0.2:2379 --name search \\
      --port http=9200 --port transport=9300 --attr vhost=search.example.org
  sidekick register --config /etc/sidekick/services.toml
  sidekick register --docker --docker-address published

Exit status:
  0    without a command: it was stopped by a signal
  any  with a command: the command's own; 128+n if signal n killed it, 127 if it was not found,
       126 if it cannot be run
  64   the command line is wrong
  69   the store or the admin endpoint cannot be opened, or two instances have the same id; without
       a command also: there is no address to announce, or the id stays another owner's
  78   a file that is named on the command line, or the configuration, cannot be used")]
pub struct Register {
    /// The name of the service.
    ///
    /// One path segment of A-Z a-z 0-9 . _ : -, 63 characters at most.
    #[arg(
        long,
        value_name = "SERVICE",
        required_unless_present_any = ["config", "docker"],
        requires = "port"
    )]
    pub name: Option<String>,
    /// A port, 1 to 65535; NAME=PORT for further, named ports.
    #[arg(
        long,
        value_name = "PORT",
        required_unless_present_any = ["config", "docker"],
        requires = "name"
    )]
    pub port: Vec<String>,
    /// Several services, from a file or a directory of files.
    ///
    /// It stands in place of the flags that tell of one: a TOML file, with a table `service` in double brackets for
    /// each, or a directory of such files.
    ///
    /// All hang on one lease. SIGHUP reads it again: what stays is never absent, and a file with a mistake in it changes
    /// nothing. sidekick-services.toml(5) and docs/register.md list the keys, which are the flags' names.
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with_all = [
            "name", "port", "ip", "host", "id", "take_over", "shared", "attr", "weight", "check",
            "check_interval", "check_timeout", "rise", "fall", "check_status", "check_header", "check_body"
        ]
    )]
    pub config: Option<PathBuf>,
    /// The address to announce, or the way to it.
    ///
    /// ADDRESS, iface:NAME, cidr:NETWORK/BITS, default (the source address of the default route) or store (the source
    /// address used to reach the store). Of several, separated by commas, the first one that leads to an address
    /// counts.
    ///
    /// Without it: store,default. Loopback, link-local and docker's bridge addresses are refused unless the address or
    /// its interface is named. `sidekick ip` shows the choice.
    #[arg(long, value_name = "SPEC")]
    pub ip: Option<String>,
    /// The host name to announce; this host's own without it.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// The name of this instance among those of the service.
    ///
    /// `uuid` makes a random one.
    ///
    /// Without it: HOSTNAME-PORT, so that an instance that comes back after a crash replaces itself.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Take the place of another owner of the same id.
    ///
    /// That is one who is alive at another address.
    ///
    /// Without it that is a conflict: sidekick waits one TTL for it to go, then gives up (exit 69), or, with a command,
    /// goes on unannounced and tries again. The same id at the same address and ports is a restart and takes over at once.
    #[arg(long, conflicts_with = "shared")]
    pub take_over: bool,
    /// Several hosts announce this id; any keeps it alive.
    ///
    /// They do so on purpose, and any of them keeps the instance alive. It needs --id.
    #[arg(long, requires = "id")]
    pub shared: bool,
    /// How long the keys outlive sidekick.
    ///
    /// They do so if it dies before it can withdraw them. 2s at least; the lease is renewed every third of it.
    #[arg(long, value_name = "TIME", default_value = "15s")]
    pub ttl: String,
    /// A further key of the instance; may be repeated.
    ///
    /// `vhost=www.example.org`, for example.
    #[arg(long, value_name = "KEY=VALUE")]
    pub attr: Vec<String>,
    /// The instance's share of the load, 0 to 256.
    #[arg(long, value_name = "N")]
    pub weight: Option<String>,
    /// How long a stop waits for the watchers.
    ///
    /// It waits until everybody who watches has stopped to send new requests here; 0s does not wait.
    ///
    /// The instance is marked with state=drain first, and withdrawn, and the command told to stop, when every
    /// `sidekick watch` that serves it has this in use, or after this time. Where nobody watches, nobody waits.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub drain: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub stop: StopArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub checks: CheckArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub docker: DockerArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub admin: AdminArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub log: LogArgs,
    /// The command to run and its arguments.
    #[arg(last = true, value_name = "COMMAND", help_heading = None::<&str>)]
    pub command: Vec<OsString>,
}

/// The pause between two rounds of checks if nobody says how long it is.
pub const CHECK_INTERVAL: &str = "2s";
/// How long a check may take if nobody says.
pub const CHECK_TIMEOUT: &str = "1s";
/// How many passed rounds announce an instance if nobody says.
pub const RISE: &str = "2";
/// How many failed rounds withdraw it if nobody says.
pub const FALL: &str = "3";
/// The statuses that are right if nobody says which.
pub const CHECK_STATUS: &str = "200-399";

/// What an instance has to pass before it is announced, and while it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Checks")]
pub struct CheckArgs {
    /// Announce it only while this check passes.
    ///
    /// `tcp`, `http://:PORT/PATH` or `exec:COMMAND`; may be repeated.
    ///
    /// `tcp` connects to the announced address and port, `tcp:PORT` and `tcp:HOST:PORT` elsewhere. `http://:PORT/PATH`
    /// asks the announced address, `http://HOST:PORT/PATH` another one; redirects are not followed. `exec:COMMAND` is
    /// run by the shell and passes with exit status 0.
    ///
    /// Of several checks every one has to pass. Without any, the instance is announced while the command runs.
    #[arg(long, value_name = "CHECK")]
    pub check: Vec<String>,
    /// The pause between two rounds.
    #[arg(long, value_name = "TIME", default_value = CHECK_INTERVAL, requires = "check")]
    pub check_interval: String,
    /// How long each check may take.
    ///
    /// One that takes longer has failed, and its command is killed with all it started.
    #[arg(long, value_name = "TIME", default_value = CHECK_TIMEOUT, requires = "check")]
    pub check_timeout: String,
    /// Passed rounds that announce it.
    ///
    /// So many passed rounds in a row announce the instance.
    #[arg(long, value_name = "N", default_value = RISE, requires = "check")]
    pub rise: String,
    /// Failed rounds that withdraw it.
    ///
    /// So many failed rounds in a row withdraw the instance; the command goes on.
    #[arg(long, value_name = "N", default_value = FALL, requires = "check")]
    pub fall: String,
    /// Which statuses are right.
    ///
    /// Those of an http check: one, or a range.
    #[arg(
        long,
        value_name = "STATUS",
        default_value = CHECK_STATUS,
        requires = "check"
    )]
    pub check_status: String,
    /// A header for the request of http checks.
    ///
    /// `Host: www.example.org`, for example; may be repeated.
    #[arg(long, value_name = "NAME: VALUE", requires = "check")]
    pub check_header: Vec<String>,
    /// Text that the body of a right answer holds.
    ///
    /// It is looked for in the first 64 KiB of the body.
    #[arg(long, value_name = "TEXT", requires = "check")]
    pub check_body: Option<String>,
}
