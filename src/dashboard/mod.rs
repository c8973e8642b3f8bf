//! `sidekick dashboard`: one page that shows instances, watchers and problems. It needs the store alone.
//!
//! ```text
//! store ──▶ memory (content and times) ──▶ view (items) ──▶ one feed for each page that is open
//! ```
//!
//! `run` follows the store; `memory` has what it has sent and when; `journal` has the last changes in sentences, and `problems`
//! what is wrong; `view` makes the items of the page, each instance under its `instance_key`; `server` answers browsers with
//! the files of `pages` and with a `feed`.
//!
//! Rule: the dashboard only reads, and no value of the store ever becomes markup. The server sends data as JSON, the page
//! puts it into text nodes, and the content security policy allows nothing else. Shell.

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

/// The settings of the dashboard.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The address at which the page is served.
    pub listen: ListenAddress,
    /// Host names that requests may use, besides addresses, `localhost` and the name of this host.
    pub names: Vec<String>,
    /// The path of the instances in the store.
    pub prefix: Prefix,
    /// A description of the store, without secrets.
    pub store: String,
}

/// Why the dashboard cannot be served.
#[derive(Debug, Error)]
pub enum DashboardError {
    /// The process cannot listen at the address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server has failed while it ran.
    #[error("the dashboard cannot be served")]
    Serve(#[from] std::io::Error),
}

impl DashboardError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen(error) => error.hint(),
            Self::Serve(_) => "the system refuses a thread or a file; see ulimit -n and ulimit -u",
        }
    }
}

/// Serves the page until SIGTERM or SIGINT.
///
/// The page is served even before the store has answered, and says so: a dashboard that fails with the store would be gone
/// when it is needed.
pub async fn run(
    plan: Plan,
    store: Arc<dyn Store>,
    mut signals: Signals,
) -> Result<(), DashboardError> {
    let server = Server::bind(&plan.listen, plan.names, Limits::default())?;
    let address = server.address().clone();
    if !address.is_local() {
        tracing::warn!(
            "{address} can be reached from other hosts: everybody who reaches it sees all instances with their attributes"
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
                () = watchdog.ping() => {}
            }
        }
        // The feeds of open pages end, because the server waits for them.
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

/// The address for a browser.
fn link(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => format!("http://{address}/"),
        ListenAddress::Unix(_) => address.to_string(),
    }
}

#[cfg(test)]
mod tests;
