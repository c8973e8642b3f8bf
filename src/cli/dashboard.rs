//! The flags of `dashboard`.

use clap::Args;

use super::{AllowedHosts, LogArgs, StoreArgs};

/// Show services, watchers and what is wrong on a web page.
///
/// The page follows the store.
///
/// The page shows load balancers, services and instances as a graph and as tables: their states and ages, what each load
/// balancer has applied, what fails and what guards hold. It changes nothing, and needs only the store: no `sidekick watch`
/// on this host, no files, no other server.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick dashboard                                    then open http://127.0.0.1:9466/
  sidekick dashboard --store etcd://10.0.0.1:2379
  ssh -L 9466:127.0.0.1:9466 HOST                       look at the dashboard of another host

Exit status:
  0   it was stopped by a signal
  64  the command line is wrong
  69  nobody can listen there, or the store cannot be opened
  78  a file that says which store, or how to get in, cannot be used")]
pub struct Dashboard {
    /// Where the page is served.
    ///
    /// ADDRESS:PORT, or unix:/PATH for a proxy in front of it.
    ///
    /// Everybody who reaches it sees all that is announced, attributes included; there is no login. docs/dashboard.md says how to
    /// put one in front of it.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9466",
        env = "SIDEKICK_DASHBOARD_LISTEN"
    )]
    pub listen: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub allowed: AllowedHosts,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub store: StoreArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc here would become the command's help")]
    pub log: LogArgs,
}
