//! The flags of the admin endpoint, and of those who ask it.

use clap::Args;

/// Where a running sidekick tells of itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Admin endpoint")]
pub struct AdminArgs {
    /// Answer /health, /ready, /status and /metrics (Prometheus) here: ADDRESS:PORT or unix:/PATH; off without it.
    ///
    /// Nothing can be changed there, and there is no password: 127.0.0.1:9465 and a socket are for this host only, with
    /// 0.0.0.0:9465 everybody who reaches the port reads it. A socket is open to its owner and group. --once and --noop
    /// pass by, and have none. docs/metrics.md lists the metrics.
    #[arg(long, value_name = "ADDRESS", env = "SIDEKICK_ADMIN")]
    pub admin: Option<String>,
    /// A host name under which the admin endpoint is asked from elsewhere; may be repeated.
    ///
    /// Names that a page of the web could point here (DNS rebinding) are refused. Addresses, localhost, names without a dot
    /// and the name of this host are always right.
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDEKICK_ADMIN_HOST",
        value_delimiter = ','
    )]
    pub admin_host: Vec<String>,
}

/// Ask a running sidekick whether it is healthy: for containers without curl.
///
/// It asks the admin endpoint of `sidekick watch` or `sidekick register` (--admin there) and prints the answer. Healthy is
/// whose loop makes progress; ready is who has published every target, or announced every instance.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick health --admin unix:/run/sidekick/watch.sock
  sidekick health --ready
  HEALTHCHECK CMD [\"sidekick\", \"health\"]         with SIDEKICK_ADMIN in the image

Exit status:
  0 it is; 1 it is not, or nobody answers; 64 the command line is wrong; 74 the output cannot be
  written.")]
pub struct Health {
    /// The address of the admin endpoint.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SIDEKICK_ADMIN",
        default_value = "127.0.0.1:9465"
    )]
    pub admin: String,
    /// Ask whether it is ready, too.
    #[arg(long)]
    pub ready: bool,
    /// How long an answer may take.
    #[arg(long, value_name = "TIME", default_value = "3s")]
    pub timeout: String,
}
