//! Finds the members of the cluster in the DNS, before each connection. Adapter.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::model::srv::{Found, SrvDomain, SrvLookup};
use crate::model::store_url::EtcdOptions;

/// How long each of the two look-ups may take: both together leave time to connect.
const FIRST: Duration = Duration::from_millis(1_500);
/// The same where the members are known from before, so that a DNS that is down delays no new connection for long.
const AGAIN: Duration = Duration::from_millis(500);
/// An answer is good for this long, so that one request tries all members of one answer.
const FRESH: Duration = Duration::from_secs(1);

/// The domain of the members, and how to ask for them.
pub(super) struct Discovery {
    pub(super) domain: SrvDomain,
    lookup: SrvLookup,
    /// Whether the operator wants TLS.
    needs_tls: bool,
}

/// What the last look-up has found, and when.
#[derive(Default)]
pub(super) struct LastLookup {
    at: Option<Instant>,
    found: Option<Found>,
}

impl Discovery {
    pub(super) fn new(domain: SrvDomain, options: &EtcdOptions, lookup: SrvLookup) -> Self {
        Self {
            domain,
            lookup,
            needs_tls: options.tls.is_some(),
        }
    }

    /// The members, if they are others than at the last look-up. Those of before are kept where the DNS gives none.
    pub(super) async fn find(&self, last: &mut LastLookup) -> Result<Option<Found>, String> {
        let is_fresh = last.at.is_some_and(|at| at.elapsed() < FRESH);
        if is_fresh && last.found.is_some() {
            return Ok(None);
        }
        // Who has spoken TLS once goes on to do so, whatever the DNS says.
        let has_tls = last.found.as_ref().is_some_and(|found| found.has_tls);
        let limit = if last.found.is_some() { AGAIN } else { FIRST };
        let (domain, lookup) = (self.domain.clone(), self.lookup);
        let needs_tls = self.needs_tls || has_tls;
        let asked = spawn_blocking(move || domain.find(needs_tls, limit, lookup));
        let answer = match timeout(2 * limit + AGAIN, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err("the look-up in the DNS does not end".to_owned()),
        };
        last.at = Some(Instant::now());
        match answer {
            Ok(found) if last.found.as_ref() == Some(&found) => Ok(None),
            Ok(found) => {
                last.found = Some(found.clone());
                Ok(Some(found))
            }
            Err(why) if last.found.is_some() => {
                tracing::debug!("{why}; sidekick goes on with the members that it knows");
                Ok(None)
            }
            Err(why) => Err(why),
        }
    }
}
