//! What was typed: the command line, its syntax only. What it means is the business of [`crate::config`].

#![expect(
    clippy::doc_markdown,
    reason = "these docs are the help text, where backticks would show"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Announces services, and keeps proxy configurations equal to what is announced.
///
/// `sidekick register` puts host, ip and port of a service under /services in a store, for as long as the service
/// lives. `sidekick watch` follows those keys, renders configuration files from templates, checks them, swaps them in
/// atomically and reloads the proxy.
///
/// The store is etcd, or a directory for a single host.
#[derive(Debug, Parser)]
#[command(name = "sidekick", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The modes.
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
    /// Look for mistakes in conf.d, templates and commands, all at once.
    Check(Check),
    /// Take an instance out of service: what it has it finishes, new requests go to others.
    Drain(Mark),
    /// Put an instance back into service.
    Undrain(Mark),
    /// Show the instances of a service, and which watchers have applied what.
    Status(Status),
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

/// Announce an instance of a service for as long as it lives.
///
/// With a command, sidekick is its entrypoint: it starts the command, announces it, and exits with the command's status.
/// At SIGTERM or SIGINT it marks it as draining, waits until all who watch have applied that (--drain), withdraws it, and
/// only then passes the signal on. Without a command it is a sidecar: it announces until a signal, then drains, withdraws
/// and exits 0. With checks it announces only while they pass.
///
/// All keys are written in one transaction and hang on one lease. A store that is down never harms the command; it is
/// announced as soon as the store is back.
///
/// With --config it announces several services. SIGHUP reads the configuration again, and is passed on to a command that
/// handles it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick register --name web --port 8080 -- ./server --listen :8080
  sidekick register --name web --port 8080 --check http://:8080/healthz -- ./server
  sidekick register --store etcd://10.0.0.1:2379,10.0.0.2:2379 --name search \\
      --port http=9200 --port transport=9300 --attr vhost=search.example.org
  sidekick register --config /etc/sidekick/services.toml

Exit status:
  that of the command (128+n if signal n killed it, 127 if it was not found, 126 if it cannot
  be run); without a command 0; 64 if the command line is wrong, 69 if there is no address to
  announce, 78 if a file named on the command line, or the configuration, cannot be used.")]
pub struct Register {
    /// The service: one path segment of A-Z a-z 0-9 . _ : -, 63 characters at most.
    #[arg(long, value_name = "SERVICE", required_unless_present = "config")]
    pub name: Option<String>,
    /// A port, 1 to 65535; NAME=PORT for further, named ports.
    #[arg(long, value_name = "PORT", required_unless_present = "config")]
    pub port: Vec<String>,
    /// Several services, in place of the flags that tell of one: a TOML file, with a table `service` in double brackets for
    /// each, or a directory of such files.
    ///
    /// All hang on one lease. SIGHUP reads it again: what stays is never absent, and a file with a mistake in it changes
    /// nothing. docs/register.md lists the keys, which are the flags' names.
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with_all = [
            "name", "port", "ip", "host", "id", "take_over", "shared", "attr", "weight", "check",
            "check_interval", "check_timeout", "rise", "fall", "check_status", "check_header", "check_body"
        ]
    )]
    pub config: Option<PathBuf>,
    /// The address to announce, or the way to it: ADDRESS, iface:NAME, cidr:NETWORK/BITS, default (the source address
    /// of the default route) or store (the source address used to reach the store). Of several, separated by commas,
    /// the first one that leads to an address counts.
    ///
    /// Without it: store,default. Loopback, link-local and docker's bridge addresses are refused unless the address or
    /// its interface is named. `sidekick ip` shows the choice.
    #[arg(long, value_name = "SPEC")]
    pub ip: Option<String>,
    /// The host name to announce; this host's own without it.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// The name of this instance among those of the service; `uuid` makes a random one.
    ///
    /// Without it: HOSTNAME-PORT, so that an instance that comes back after a crash replaces itself.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Take the place of another owner of the same id who is alive at another address.
    ///
    /// Without it that is a conflict: sidekick waits one TTL for it to go, then gives up (exit 69), or, with a command,
    /// goes on unannounced and tries again. The same id at the same address and ports is a restart and takes over at once.
    #[arg(long, conflicts_with = "shared")]
    pub take_over: bool,
    /// Several hosts announce this id on purpose, and any of them keeps it alive; it needs --id.
    #[arg(long, requires = "id")]
    pub shared: bool,
    /// How long the keys outlive sidekick if it dies without a word; 2s at least. Renewed every third of it.
    #[arg(long, value_name = "TIME", default_value = "15s")]
    pub ttl: String,
    /// A further key of the instance, such as `vhost=www.example.org`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub attr: Vec<String>,
    /// The instance's share of the load, 0 to 256.
    #[arg(long, value_name = "N")]
    pub weight: Option<String>,
    /// At a stop: how long to wait until everybody who watches has stopped to send new requests here; 0s does not wait.
    ///
    /// The instance is marked with state=drain first, and withdrawn, and the command told to stop, when every
    /// `sidekick watch` that serves it has this in use, or after this time. Where nobody watches, nobody waits.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub drain: String,
    /// How long the command may take to end after SIGTERM before it is killed.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub stop_grace: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub checks: CheckArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub log: LogArgs,
    /// The command to run and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
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
    /// Announce the instance only while it passes: `tcp`, `http://:PORT/PATH` or `exec:COMMAND`; may be repeated.
    ///
    /// `tcp` connects to the announced address and port, `tcp:PORT` and `tcp:HOST:PORT` elsewhere. `http://:PORT/PATH`
    /// asks the announced address, `http://HOST:PORT/PATH` another one; redirects are not followed. `exec:COMMAND` is
    /// run by the shell and passes with exit status 0.
    ///
    /// Of several checks every one has to pass. Without any, the instance is announced while the command runs.
    #[arg(long, value_name = "CHECK")]
    pub check: Vec<String>,
    /// The pause between two rounds of checks.
    #[arg(long, value_name = "TIME", default_value = CHECK_INTERVAL, requires = "check")]
    pub check_interval: String,
    /// How long each check may take; one that takes longer has failed, and its command is killed with all it started.
    #[arg(long, value_name = "TIME", default_value = CHECK_TIMEOUT, requires = "check")]
    pub check_timeout: String,
    /// So many passed rounds in a row announce the instance.
    #[arg(long, value_name = "N", default_value = RISE, requires = "check")]
    pub rise: String,
    /// So many failed rounds in a row withdraw it; the command goes on.
    #[arg(long, value_name = "N", default_value = FALL, requires = "check")]
    pub fall: String,
    /// The right statuses of an http check: one, or a range.
    #[arg(
        long,
        value_name = "STATUS",
        default_value = CHECK_STATUS,
        requires = "check"
    )]
    pub check_status: String,
    /// A header for the request of an http check, such as `Host: www.example.org`; may be repeated.
    #[arg(long, value_name = "NAME: VALUE", requires = "check")]
    pub check_header: Vec<String>,
    /// Text that the first 64 KiB of the body of a right answer hold.
    #[arg(long, value_name = "TEXT", requires = "check")]
    pub check_body: Option<String>,
}

/// Show which address of this host would be announced, and why.
///
/// The address goes to standard output, what was looked at to standard error. Exits 69 if there is no address.
#[derive(Debug, Args)]
pub struct Ip {
    /// As --ip of `sidekick register`: ADDRESS, iface:NAME, cidr:NETWORK/BITS, default or store; several by commas.
    #[arg(value_name = "SPEC")]
    pub spec: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
}

/// Keep rendered files equal to what is announced.
///
/// Targets are the TOML files in CONF_DIR/conf.d, their templates lie in CONF_DIR/templates. Each target is rendered
/// when something it follows changes; a result that differs from the live file is staged beside it, checked with
/// `check_cmd`, swapped in by a rename, and put to use with `reload_cmd` or a signal. A failed check leaves the live
/// file alone, a failed reload brings the previous one back; both are tried again until they work. While the store is
/// down nothing on disk changes; at a start without it, what it said last stands in for it.
///
/// With a command, sidekick is the entrypoint of the proxy: the command starts when every target has been published
/// once, `[template.reload] child = true` signals it, and so does every signal sent to sidekick except HUP; its exit
/// status is sidekick's.
///
/// A directory made for confd works as it is: --conf-dir /etc/confd. Its templates, *.tmpl, are Go text/template with
/// confd's functions; confd.toml is read for prefix, interval and nodes. docs/confd.md says what is different.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick watch --store etcd://10.0.0.1:2379
  sidekick watch -- haproxy -W -db -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/sidekick.d
  sidekick watch --once                     wait for the store, publish every target, leave
  sidekick watch --noop --diff              show what would change, change nothing
  sidekick watch --conf-dir /etc/confd      in place of confd

Exit status:
  0 done; 1 a target failed (--once); 2 something would change (--noop); 64 the command line is
  wrong; 69 the store did not answer within --timeout; 78 the configuration is wrong; with a
  command its own (128+n if signal n killed it, 127 if it was not found, 126 if it cannot be
  run).")]
pub struct Watch {
    /// The directory that holds conf.d and templates.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/etc/sidekick",
        env = "SIDEKICK_CONF_DIR"
    )]
    pub conf_dir: PathBuf,
    /// Publish every target once, then exit: 0 if all went well, 1 if a target failed.
    #[arg(long)]
    pub once: bool,
    /// How long --once and --noop wait for the store; for ever without it.
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Change nothing; exit 2 if a target would change, 0 if none would.
    #[arg(long)]
    pub noop: bool,
    /// Print a unified diff of each change to standard output.
    #[arg(long)]
    pub diff: bool,
    /// Where sidekick remembers which file each proxy has loaded, what its guards hold, and what the store said last.
    ///
    /// A reload that is owed is made after a restart; `sidekick guard` sees and releases what is held. A start without a
    /// store waits for it for 5 seconds; then files are rendered from what it said last, and are stale until it answers.
    /// That is not for --once and --noop, which wait.
    ///
    /// Without it: /var/lib/sidekick for root, $XDG_STATE_HOME/sidekick or ~/.local/state/sidekick for others.
    #[arg(long, value_name = "DIR", env = "SIDEKICK_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Compare every file with what it should be at least this often, and repair what was edited by hand; 5m by default.
    ///
    /// Without it: the interval of CONF_DIR/confd.toml, else 5m.
    #[arg(long, value_name = "TIME")]
    pub interval: Option<String>,
    /// How long the command may take to end after SIGTERM before it is killed.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub stop_grace: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub log: LogArgs,
    /// The proxy to run, in the foreground, and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Change the state of an instance, and wait until everybody who watches it has applied that.
///
/// The state is a key of the instance, on its lease: it goes with the instance, and stays as long as its `sidekick register`
/// runs. The wait is over when every `sidekick watch` that serves the instance has it in use; where nobody watches, nobody
/// waits.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0 all who watch have applied it; 1 some have not within --wait, and are named; 64 the command
  line is wrong; 69 there is no such instance, or the store cannot be used.")]
pub struct Mark {
    /// The service.
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// The instance.
    #[arg(value_name = "ID")]
    pub id: String,
    /// How long to wait for those who watch.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub wait: String,
    /// Wait for nobody.
    #[arg(long, conflicts_with = "wait")]
    pub no_wait: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
}

/// Show the instances of a service with their states, and the watchers that serve it.
///
/// APPLIED is the last revision of the store that the proxies of a watcher have in use, BEHIND how many revisions the
/// furthest watcher is ahead of it. OLD WORKERS is how many worker processes its HAProxies and nginxes still have from
/// before their last reloads, for connections that have not ended; empty if none. A watcher tells at once of a drain, of
/// old workers within 20 s, and of all else within 15 s.
#[derive(Debug, Args)]
pub struct Status {
    /// The service.
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// A table for people, or JSON for programs.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
}

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns.
    Table,
    /// JSON.
    Json,
}

/// Which store, and how to get in.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// etcd://HOST:PORT[,HOST:PORT...], or dir:///PATH for a directory of this host.
    ///
    /// Without it: the endpoints in ETCDCTL_ENDPOINTS, else a directory: /run/sidekick for root,
    /// $XDG_RUNTIME_DIR/sidekick for others.
    #[arg(long, value_name = "URL", env = "SIDEKICK_STORE")]
    pub store: Option<String>,
    /// Where instances live in the store.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/services",
        env = "SIDEKICK_PREFIX"
    )]
    pub prefix: String,
    /// The certificate authority of the etcd servers; also from ETCDCTL_CACERT.
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Our certificate for etcd; also from ETCDCTL_CERT.
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The key of our certificate; also from ETCDCTL_KEY.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The etcd user; also from ETCDCTL_USER. The password comes from --password-file or ETCDCTL_PASSWORD.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A file whose first line is the password of --user.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Render targets from a file that stands for the store.
///
/// The file is JSON or YAML, as its extension says, else its first character: an object of keys and values, flat
/// ({"/services/web/a/ip": "10.0.0.1"}) or nested ({"services": {"web": {"a": {"ip": "10.0.0.1"}}}}). Nothing is written but to standard output; no command is run, no store is asked.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0 done; 1 a target cannot be rendered; 2 a file would change (--diff); 64 the command line is
  wrong; 69 the fixture cannot be used; 78 the configuration is wrong.")]
pub struct Render {
    /// The file with the keys and values.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// The targets to be rendered, by the names of their files in conf.d without .toml; all of them without it.
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The directory that holds conf.d and templates.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/etc/sidekick",
        env = "SIDEKICK_CONF_DIR"
    )]
    pub conf_dir: PathBuf,
    /// Print a unified diff of each change to the live files, in place of the text; exit 2 if there is one.
    #[arg(long)]
    pub diff: bool,
    /// Where instances live in the store.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/services",
        env = "SIDEKICK_PREFIX"
    )]
    pub prefix: String,
}

/// Look for mistakes in conf.d, templates and commands, all at once.
///
/// Nothing is rendered, no command is run, no store is asked. Exits 0 if all is well, 78 if not.
#[derive(Debug, Args)]
pub struct Check {
    /// The directory that holds conf.d and templates.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/etc/sidekick",
        env = "SIDEKICK_CONF_DIR"
    )]
    pub conf_dir: PathBuf,
}

/// See and release what the guards of `sidekick watch` hold.
///
/// A guard holds instances that were lost without a word, when that is more than [template.guard] allows; docs/guards.md
/// tells when, and for how long.
#[derive(Debug, Args)]
pub struct Guard {
    /// What to do.
    #[command(subcommand)]
    pub action: GuardAction,
}

/// What can be done about guards.
#[derive(Debug, Subcommand)]
pub enum GuardAction {
    /// Show what is held, since when, why, and until when.
    ///
    /// Exits 0, whether anything is held or not; 69 if the state directory cannot be read.
    List(StateArgs),
    /// Let go what is held: the running `sidekick watch` renders what is announced.
    ///
    /// Exits 0 if something was held, 1 if nothing was, 64 if there is no such target, 69 if no `sidekick watch` answers.
    Release(GuardRelease),
}

/// What is to be let go.
#[derive(Debug, Args)]
pub struct GuardRelease {
    /// The targets, by the names of their files in conf.d without .toml, or by their dest.
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    pub targets: Vec<String>,
    /// All targets of which something is held.
    #[arg(long, conflicts_with = "targets")]
    pub all: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub state: StateArgs,
}

/// Where a running `sidekick watch` keeps what it remembers.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// The state directory of `sidekick watch`.
    ///
    /// Without it: /var/lib/sidekick for root, $XDG_STATE_HOME/sidekick or ~/.local/state/sidekick for others.
    #[arg(long, value_name = "DIR", env = "SIDEKICK_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// The completions for a shell, as a script for it.
#[must_use]
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sidekick", &mut script);
    script
}

/// The manual pages: the name of each, and its text.
pub fn manuals() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command();
    // Without this the pages of the commands lack what they share.
    command.build();
    let mut pages = Vec::new();
    collect("sidekick", &command, &mut pages)?;
    Ok(pages)
}

/// The page of a command, and those of the commands below it.
fn collect(
    name: &str,
    command: &clap::Command,
    into: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    into.push(page(name, command.clone())?);
    let below = command.get_subcommands();
    for sub in below.filter(|sub| sub.get_name() != "help") {
        collect(&format!("{name}-{}", sub.get_name()), sub, into)?;
    }
    Ok(())
}

fn page(name: &str, command: clap::Command) -> std::io::Result<(String, Vec<u8>)> {
    // clap keeps names for as long as the program runs.
    let kept: &'static str = name.to_owned().leak();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.name(kept)).render(&mut text)?;
    Ok((format!("{name}.1"), text))
}

/// What is said, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// How much is said: error, warn, info, debug or trace.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "SIDEKICK_LOG_LEVEL"
    )]
    pub log_level: LogLevel,
    /// How it is said: one line of text, or one JSON object, per event. The log goes to standard error.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        env = "SIDEKICK_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
}

impl Default for LogArgs {
    fn default() -> Self {
        Self {
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
        }
    }
}

/// How much is said.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogLevel {
    /// What failed for good.
    Error,
    /// What failed and is tried again.
    Warn,
    /// State changes.
    Info,
    /// Each decision.
    Debug,
    /// Everything.
    Trace,
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
