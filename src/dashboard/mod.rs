//! `sidekick dashboard`: one page that shows what is announced, who watches, and what is wrong, from the store alone.
//!
//! ```text
//! store ──▶ memory (what, and since when) ──▶ view (items) ──▶ one feed for each page that is open
//! ```
//!
//! Rule: the dashboard only reads, and nothing that the store says is ever markup. The server sends data as JSON, the page
//! puts it into text nodes, and the content security policy lets nothing else in. Shell.

mod feed;
mod instance_key;
mod journal;
mod memory;
mod pages;
mod problems;
mod run;
mod server;
mod view;

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::model::listen_address::ListenAddress;
use crate::model::os::Signal;
use crate::model::prefix::Prefix;
use crate::store::Store;
use crate::system::http_server::{Limits, ListenError, Server};
use crate::system::sd_notify::{self, Watchdog};
use crate::system::signals::Signals;

/// What is shown, and where.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the page is served.
    pub listen: ListenAddress,
    /// Names by which people ask for it, besides addresses, `localhost` and the name of this host.
    pub names: Vec<String>,
    /// Where instances live in the store.
    pub prefix: Prefix,
    /// The store, without anything secret.
    pub store: String,
}

/// Why it is not served.
#[derive(Debug, Error)]
pub enum DashboardError {
    /// Nobody can listen there.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system takes the socket away.
    #[error("the dashboard cannot be served")]
    Serve(#[from] std::io::Error),
}

impl DashboardError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen(error) => error.hint(),
            Self::Serve(_) => "the system refuses what every process needs; see ulimit -n",
        }
    }
}

/// Serves the page until a signal comes that asks for the end.
///
/// It serves before the store has said anything, and says so on the page: a dashboard that fails with the store would be
/// gone when it is needed.
pub async fn run(
    plan: Plan,
    store: Arc<dyn Store>,
    mut signals: Signals,
) -> Result<(), DashboardError> {
    let server = Server::bind(&plan.listen, plan.names, Limits::default())?;
    let address = server.address().clone();
    if !address.is_local() {
        tracing::warn!(
            "{address} can be reached from other hosts: whoever does sees all that is announced, attributes included"
        );
    }
    let (views, keep) = run::views(store, plan.prefix, plan.store);
    let (opened, pages) = mpsc::channel(16);
    tracing::info!("the dashboard is at {}", link(&address));
    sd_notify::ready(&format!("serving {}", link(&address)));
    let mut watchdog = Watchdog::from_env();
    let (end, ended) = oneshot::channel();
    let stop = async {
        loop {
            tokio::select! {
                signal = signals.next() => if [Signal::TERM, Signal::INT].contains(&signal) { break },
                () = watchdog.beat() => {}
            }
        }
        // Pages that are open would hold up the end.
        drop(end);
    };
    let served = tokio::select! {
        served = server.serve(server::handler(opened), stop) => served,
        () = keep => Ok(()),
        never = server::feed_all(views, pages, ended) => match never {},
    };
    sd_notify::stopping("ending");
    Ok(served?)
}

/// What to give a browser.
fn link(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => format!("http://{address}/"),
        ListenAddress::Unix(_) => address.to_string(),
    }
}

#[cfg(test)]
mod tests;
