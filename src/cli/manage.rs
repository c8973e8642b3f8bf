//! The flags of the commands by which people see and change how things stand: `drain`, `undrain`, `ls`, `status`, `export`,
//! `history` and `guard`.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::StoreArgs;

macro_rules! with_exit_status_of_drain {
    ($examples:literal) => {
        concat!(
            "Examples:\n",
            $examples,
            "\nExit status:\n",
            "  0   all watchers have applied it, or --no-wait is given\n",
            "  1   some have not within --wait, and are named\n",
            "  64  the command line is wrong\n",
            "  69  there is no such instance, or the store cannot be used\n",
            "  74  the output cannot be written\n",
            "  78  a file that says which store, or how to get in, cannot be used"
        )
    };
}

/// Examples and exit statuses of `drain`.
pub(super) const DRAIN_HELP: &str = with_exit_status_of_drain!(
    "  sidekick drain web web-1-8080
  sidekick drain web web-1-8080 --wait 60s
  sidekick drain web web-1-8080 --no-wait --format json\n"
);

/// Examples and exit statuses of `undrain`.
pub(super) const UNDRAIN_HELP: &str = with_exit_status_of_drain!(
    "  sidekick undrain web web-1-8080
  sidekick undrain web web-1-8080 --no-wait\n"
);

/// What `drain` and `undrain` are about; their own docs say what they do.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// The instance.
    #[arg(value_name = "ID")]
    pub id: String,
    /// How long to wait for the watchers.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub wait: String,
    /// Do not wait for the watchers.
    #[arg(long, conflicts_with = "wait")]
    pub no_wait: bool,
    /// A line, or JSON for programs.
    ///
    /// docs/json.md has the form of the JSON.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
}

/// Show what is wrong, and how instances, watchers and targets stand.
///
/// What is wrong comes first, and makes the exit status 1: targets that fail, watchers that are gone without having
/// stopped (for 30 min), what guards hold, what is served from a snapshot, instances that break a rule. With a service, only
/// its instances and the watchers that serve it are shown.
///
/// APPLIED is the last revision of the store that the proxies of a watcher have in use, BEHIND how many revisions the
/// furthest watcher is ahead of it. OLD WORKERS is how many worker processes its HAProxies and nginxes still have from
/// before their last reloads, for connections that have not ended. SINCE is when the files of a target became what they are,
/// REVISION what they were made from. Watchers report a drain at once, what has become wrong or right within 2 s, old workers
/// within 20 s, and all else within 15 s.
///
/// FOR and BY say how long an instance has been out of service, and who did that: an operator, or its own stop. LEASE says how
/// many seconds of its lease are left, such as 9/15 s; it is shown for one service, and with --wide. A column in which no row
/// has anything to say is left out.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick status
  sidekick status web --wide
  sidekick status --watch               follows it on the terminal
  sidekick status --format json | jq '.problems'

Exit status:
  0   it is shown, and nothing is wrong, or a signal ended --watch
  1   something is wrong
  64  the command line is wrong
  69  there is no instance of the service, or the store cannot be used
  74  the output cannot be written
  78  a file that says which store, or how to get in, cannot be used")]
pub struct Status {
    /// The service; all of them without it.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Show everything, however wide the tables become.
    ///
    /// It shows names in full, attributes, leases, and dates in place of ages.
    #[arg(long)]
    pub wide: bool,
    /// Show it again whenever it changes, until Ctrl-C.
    ///
    /// It needs a terminal.
    #[arg(short, long)]
    pub watch: bool,
    /// A table, or JSON for programs.
    ///
    /// docs/json.md has the form of the JSON.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
}

/// List services, or the instances of one.
///
/// Without a service it shows how many instances each service has in each state: in service, draining, in maintenance.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick ls                          services, and how many instances they have
  sidekick ls web                      the instances of one service
  sidekick ls web --watch              follows them on the terminal
  sidekick ls web --format json | jq -r '.[].addr'

Exit status:
  0   it is shown
  64  the command line is wrong
  69  there is no instance of the service, or the store cannot be used
  74  the output cannot be written
  78  a file that says which store, or how to get in, cannot be used")]
pub struct Ls {
    /// The service whose instances are listed.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Show everything, however wide the tables become.
    ///
    /// It shows names in full, attributes, leases, and dates in place of ages.
    #[arg(long)]
    pub wide: bool,
    /// Show it again whenever it changes, until Ctrl-C.
    ///
    /// It needs a terminal.
    #[arg(short, long)]
    pub watch: bool,
    /// A table, or JSON for programs.
    ///
    /// docs/json.md has the form of the JSON.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
}

/// Print what the store has, as a file for `sidekick render --from`.
///
/// It prints what the store has below the prefix.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick export > today.json
  sidekick export --format yaml --prefix /
  sidekick export | sidekick render --from - --without web/a --diff

Exit status:
  0   it is printed
  64  the command line is wrong
  69  the store cannot be used, or a value is no text
  74  the output cannot be written
  78  a file that says which store, or how to get in, cannot be used")]
pub struct Export {
    /// JSON or YAML.
    ///
    /// Both are an object of keys and values.
    #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
    pub format: ExportFormat,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
}

/// The form of a fixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The form of what a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    Table,
    /// JSON, whose form is kept: docs/json.md.
    Json,
}

/// Show what was published, and why.
///
/// Each line is a publish, or a hold of a guard that began or ended: when (UTC), which target, what was done, and what had
/// happened: instances that came (+web/a) and went (-web/a), what changed, edits of conf.d and templates, files that somebody
/// else had changed. Below it stand the store's revision, how long each step took, and what went wrong.
///
/// The history lies in the state directory of `sidekick watch`: two files of 1 MiB at most, some thousand publishes.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick history                     the last 20 publishes of all targets
  sidekick history haproxy --diff      those of one target, with what changed in its files
  sidekick history --format json -n 1000

Exit status:
  0   it is shown
  64  the command line is wrong, or there is nothing of this target
  69  the state directory is not there, or the history cannot be read
  74  the output cannot be written
  78  /etc/sidekick/sidekick.env, where the state directory is looked for, cannot be used")]
pub struct History {
    /// The target; all of them without it.
    ///
    /// A target has the name of its file in conf.d without .toml.
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// How many entries, the newest ones.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub limit: usize,
    /// Show the differences of the files, too.
    ///
    /// The history keeps none that is longer than 16 KiB.
    #[arg(long)]
    pub diff: bool,
    /// Show it again whenever it changes, until Ctrl-C.
    ///
    /// It needs a terminal.
    #[arg(short, long)]
    pub watch: bool,
    /// A table, or JSON for programs.
    ///
    /// docs/json.md has the form of the JSON.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub state: StateArgs,
}

/// See and release what the guards of `sidekick watch` hold.
///
/// A guard holds instances that vanish without draining, when they are more than [template.guard] allows; docs/guards.md tells
/// when, and for how long.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick guard list
  sidekick guard release haproxy --service web

Exit status:
  0   done
  1   nothing was held
  64  the command line is wrong
  69  the state directory cannot be used, or no `sidekick watch` answers
  74  the output cannot be written
  78  /etc/sidekick/sidekick.env, where the state directory is looked for, cannot be used")]
pub struct Guard {
    /// What to do.
    #[command(subcommand)]
    pub action: GuardAction,
}

/// What can be done about guards.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a doc of a variant would hide the longer one of its arguments"
)]
pub enum GuardAction {
    List(GuardList),
    Release(GuardRelease),
}

/// Show what is held, since when, why, and until when.
///
/// It reads what `sidekick watch` writes in its state directory, and needs no store.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick guard list
  sidekick guard list --watch           follows it on the terminal
  sidekick guard list --format json

Exit status:
  0   it is shown, whether anything is held or not
  64  the command line is wrong
  69  the state directory is not there or cannot be read
  74  the output cannot be written
  78  /etc/sidekick/sidekick.env, where the state directory is looked for, cannot be used")]
pub struct GuardList {
    /// Show it again whenever it changes, until Ctrl-C.
    ///
    /// It needs a terminal.
    #[arg(short, long)]
    pub watch: bool,
    /// A table, or JSON for programs.
    ///
    /// docs/json.md has the form of the JSON.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub state: StateArgs,
}

/// Let go what is held.
///
/// It tells the `sidekick watch` that holds the instances, and waits until that has let them go and renders what is announced.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick guard release haproxy
  sidekick guard release haproxy nginx --service web
  sidekick guard release --all

Exit status:
  0   something was held, and is released
  1   nothing was held
  64  the command line is wrong, or there is no such target
  69  the state directory cannot be used, or no `sidekick watch` answers
  74  the output cannot be written
  78  /etc/sidekick/sidekick.env, where the state directory is looked for, cannot be used")]
pub struct GuardRelease {
    /// The targets, by name or by dest.
    ///
    /// A target has the name of its file in conf.d without .toml.
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    pub targets: Vec<String>,
    /// Release only what is held of this service.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Release all that is held of any target.
    #[arg(long, conflicts_with = "targets")]
    pub all: bool,
    /// Lines, or JSON for programs.
    ///
    /// docs/json.md has the form of the JSON.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
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
