//! The flags of the admin endpoint, and of `sidekick health`, which asks it.

use clap::Args;

use super::Format;

/// Where a running sidekick answers questions about itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Admin endpoint")]
pub struct AdminArgs {
    /// Answer /health, /ready, /status and /metrics here.
    ///
    /// ADDRESS:PORT or unix:/PATH; off without it, or if it is empty. /metrics is for Prometheus.
    ///
    /// Clients can only read there, and need no password: 127.0.0.1:9465 and a socket are for this host only, with
    /// 0.0.0.0:9465 everybody who reaches the port can read it. A socket is open to its owner and group. With --once and
    /// --noop there is no endpoint. docs/metrics.md lists the metrics.
    #[arg(long, value_name = "ADDRESS", env = "SIDEKICK_ADMIN")]
    pub admin: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub allowed: AllowedHosts,
}

/// By which host names clients may ask a server of ours.
#[derive(Debug, Default, Args)]
pub struct AllowedHosts {
    /// A host name by which clients may ask.
    ///
    /// May be repeated, or several by commas.
    ///
    /// Addresses, localhost, names without a dot and the name of this host are always allowed. Any other name in a request
    /// is refused: a page of the web could let its own name point here (DNS rebinding), and read what only you may read.
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDEKICK_ALLOWED_HOST",
        value_delimiter = ','
    )]
    pub allowed_host: Vec<String>,
}

impl AllowedHosts {
    /// The names. An empty variable names none.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let given = self.allowed_host.iter();
        given.filter(|name| !name.is_empty()).cloned().collect()
    }
}

/// Ask a running sidekick whether it is healthy.
///
/// It is made for containers without curl.
///
/// It asks the admin endpoint of `sidekick watch` or `sidekick register` (--admin there) and prints the answer. A process is
/// healthy while its loop makes progress. A watcher is ready when it has published every target, a registration when it has
/// announced every instance.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick health --admin unix:/run/sidekick/watch.sock
  sidekick health --ready
  HEALTHCHECK CMD [\"sidekick\", \"health\"]         with SIDEKICK_ADMIN in the image

Exit status:
  0   it is
  1   it is not, nobody answers, or the endpoint is off (--admin is empty)
  64  the command line is wrong
  74  the output cannot be written")]
pub struct Health {
    /// Where the admin endpoint is.
    ///
    /// If it is empty, the endpoint is off, and nobody can be asked: exit status 1.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SIDEKICK_ADMIN",
        default_value = "127.0.0.1:9465"
    )]
    pub admin: String,
    /// Ask whether it is ready, not only healthy.
    #[arg(long)]
    pub ready: bool,
    /// How long an answer may take.
    #[arg(long, value_name = "TIME", default_value = "3s")]
    pub timeout: String,
    /// Lines, or JSON for programs.
    ///
    /// docs/json.md has the form of the JSON.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}
