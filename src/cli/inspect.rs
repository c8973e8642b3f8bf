//! The flags of the commands that inspect and change nothing: `ip`, `render` and `check`.

use std::path::PathBuf;

use clap::Args;

use super::{Format, StoreArgs};

/// Show which address of this host would be announced, and why.
///
/// It prints the address to standard output, and the candidates that it looked at to standard error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick ip
  sidekick ip iface:eth1,default
  sidekick ip --format json | jq -r '.tried[].refused'

Exit status:
  0   there is an address
  64  the command line is wrong
  69  there is no address
  74  the output cannot be written
  78  a file that says which store, or how to get in, cannot be used")]
pub struct Ip {
    /// The way to the address, as --ip of `sidekick register`.
    ///
    /// ADDRESS, iface:NAME, cidr:NETWORK/BITS, default or store; several by commas.
    #[arg(value_name = "SPEC")]
    pub spec: Option<String>,
    /// The address, or JSON for programs.
    ///
    /// The JSON has all candidates; docs/json.md has its form.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
}

/// Render targets from a file that stands for the store.
///
/// With --with and --without: what would the files be if these instances came and went?
///
/// The file is JSON or YAML, as its extension says, else its first character: an object of keys and values, flat
/// ({"/services/web/a/ip": "10.0.0.1"}) or nested ({"services": {"web": {"a": {"ip": "10.0.0.1"}}}}); or what `etcdctl get --prefix / -w json` prints. `sidekick export` writes
/// one; sidekick-fixture(5) and docs/fixtures.md have its form. `sidekick render` prints to standard output, writes no file, runs no command and asks no store.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick export | sidekick render --from - haproxy
  sidekick export | sidekick render --from - --with web/x=10.0.0.9:80,weight=50 --without web/a --diff

Exit status:
  0   done
  1   a target cannot be rendered
  2   a file would change (--diff)
  64  the command line is wrong
  69  the fixture cannot be used
  74  the output cannot be written
  78  the configuration is wrong")]
pub struct Render {
    /// The file with keys and values; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// The targets to render; all of them without a name.
    ///
    /// A target has the name of its file in conf.d without .toml.
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The directory that holds conf.d and templates.
    ///
    /// Without it: /etc/sidekick.
    #[arg(long, value_name = "DIR", env = "SIDEKICK_CONF_DIR")]
    pub conf_dir: Option<PathBuf>,
    /// As if this instance were there.
    ///
    /// SERVICE/ID=IP:PORT[,FIELD=VALUE...], such as web/x=10.0.0.9:80,weight=50. It takes the place of one of the
    /// same id. May be repeated.
    #[arg(long, value_name = "INSTANCE")]
    pub with: Vec<String>,
    /// As if this instance were not there; before --with.
    ///
    /// SERVICE/ID, such as web/a. May be repeated.
    #[arg(long, value_name = "INSTANCE")]
    pub without: Vec<String>,
    /// Print a unified diff of each change, not the text.
    ///
    /// It compares with the live files; the exit status is 2 if there is a change.
    #[arg(long)]
    pub diff: bool,
    /// Where instances live in the store.
    ///
    /// Without it: /services.
    #[arg(long, value_name = "PATH", env = "SIDEKICK_PREFIX")]
    pub prefix: Option<String>,
}

/// Look for mistakes in conf.d, templates and commands, all at once.
///
/// It runs no command and asks no store. It prints mistakes and warnings to standard error, and their numbers to standard output;
/// as JSON, it prints all of it to standard output.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick check
  sidekick check haproxy nginx
  sidekick check --conf-dir ./etc --quiet           mistakes only, nothing if there are none
  sidekick check --format json | jq -r '.mistakes[].text'

Exit status:
  0   there is no mistake, whatever it warns of
  64  the command line is wrong, or there is no such target
  74  the output cannot be written
  78  there is a mistake")]
pub struct Check {
    /// The targets to check; all of them without a name.
    ///
    /// A target has the name of its file in conf.d without .toml.
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The directory that holds conf.d and templates.
    ///
    /// Without it: /etc/sidekick.
    #[arg(long, value_name = "DIR", env = "SIDEKICK_CONF_DIR")]
    pub conf_dir: Option<PathBuf>,
    /// Lines, or JSON for programs.
    ///
    /// docs/json.md has the form of the JSON.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}
