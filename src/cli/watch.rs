//! The flags of `sidekick watch`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{AdminArgs, LogArgs, StopArgs, StoreArgs};

/// Keep rendered files equal to what is announced.
///
/// Targets are the TOML files in CONF_DIR/conf.d, their templates lie in CONF_DIR/templates. Each target is rendered
/// when something it follows changes; a result that differs from the live file is staged beside it, checked with
/// `check_cmd`, swapped in by a rename, and put to use with `reload_cmd` or a signal. A failed check leaves the live
/// file alone, a failed reload brings the previous one back; both are tried again until they work. While the store is
/// down nothing on disk changes; at a start without it, what it said last stands in for it. sidekick-conf.d(5) and
/// docs/conf.d.md have all that a target can say.
///
/// With a command, sidekick is the entrypoint of the proxy: the command starts when every target has been published
/// once, `[template.reload] child = true` signals it, and so does every signal sent to sidekick except HUP; its exit
/// status is sidekick's. Until it is started no reload_cmd is run: it finds the files when it starts. With --once the
/// command takes the place of sidekick, which has published everything and follows nothing.
///
/// A directory made for confd works as it is: --conf-dir /etc/confd. Its templates, *.tmpl, are Go text/template with
/// confd's functions; confd.toml is read for prefix, interval and nodes. docs/confd.md says what is different.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick watch --store etcd://10.0.0.1:2379
  sidekick watch -- haproxy -W -db -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/sidekick.d
  sidekick watch --once                     wait for the store, publish every target, leave
  sidekick watch --once --store env: -- haproxy -W -db -f /etc/haproxy/haproxy.cfg
  sidekick watch --noop --diff              show what would change, change nothing
  sidekick watch --conf-dir /etc/confd      in place of confd

Exit status:
  0      done
  1      a target failed (--once)
  2      something would change (--noop)
  64     the command line is wrong
  69     the store did not answer within --timeout, the store or the admin endpoint cannot be
         opened, or a file of --store file: is wrong (--once)
  74     the difference cannot be printed (--noop --diff)
  78     the configuration is wrong, or a file that says which store, or how to get in, cannot be
         used
  128+n  signal n came before the work of --once or --noop was done, or before the command was
         started
  any    with a command: the command's own; 128+n if signal n killed it, 127 if it was not found,
         126 if it cannot be run")]
pub struct Watch {
    /// The directory that holds conf.d and templates.
    ///
    /// Without it: /etc/sidekick.
    #[arg(long, value_name = "DIR", env = "SIDEKICK_CONF_DIR")]
    pub conf_dir: Option<PathBuf>,
    /// Publish every target once, then exit.
    ///
    /// The exit status is 0 if all went well, 1 if a target failed. With a command, it takes the place of sidekick if all
    /// went well, under the same process id.
    #[arg(long)]
    pub once: bool,
    /// How long --once and --noop wait for the store.
    ///
    /// Without it: for ever.
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Change nothing; exit 2 if a target would change.
    ///
    /// The exit status is 0 if none would.
    #[arg(long)]
    pub noop: bool,
    /// Print a unified diff of each change to standard output.
    #[arg(long)]
    pub diff: bool,
    /// Where sidekick keeps what it has to remember.
    ///
    /// That is which file each proxy has loaded, what its guards hold, and what the store said last.
    ///
    /// A reload that is owed is made after a restart; `sidekick guard` sees and releases what is held. A start without a
    /// store waits for it for 5 seconds; then files are rendered from what it said last, and are stale until it answers.
    /// That is not for --once and --noop, which wait.
    ///
    /// Without it: /var/lib/sidekick for root, $XDG_STATE_HOME/sidekick or ~/.local/state/sidekick for others.
    #[arg(long, value_name = "DIR", env = "SIDEKICK_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// How often every file is compared, and repaired.
    ///
    /// Every file is compared with what it should be at least this often, and what was edited by hand is repaired.
    ///
    /// Without it: the interval of CONF_DIR/confd.toml, else 5m.
    #[arg(long, value_name = "TIME")]
    pub interval: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub stop: StopArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub admin: AdminArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub log: LogArgs,
    /// The proxy to run, in the foreground, and its arguments.
    #[arg(last = true, value_name = "COMMAND", help_heading = None::<&str>)]
    pub command: Vec<OsString>,
}
