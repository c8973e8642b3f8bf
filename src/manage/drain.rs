//! `sidekick drain` and `sidekick undrain`: changes the state of an instance, and waits until its watchers have applied it.
//! Shell.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{ManageError, read_instances, suggest_service};
use crate::model::instance::{InstanceId, ServiceName, State};
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::model::state_change::{By, StateChange, StateValue};
use crate::model::suggestion::did_you_mean;
use crate::model::times::{StateBy, StateSince};
use crate::model::watcher_entry::Marks;
use crate::store::Store;
use crate::store::drain_wait;

/// An order: which instance gets which state.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where instances live in the store.
    pub prefix: Prefix,
    /// The service.
    pub service: ServiceName,
    /// The id of the instance.
    pub id: InstanceId,
    /// Its new state.
    pub state: State,
    /// How long to wait for the watchers; `None` waits for none.
    pub wait: Option<Duration>,
    /// The time, in seconds since 1970, to be written beside the state.
    pub now: u64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drained {
    service: String,
    id: String,
    state: &'static str,
    /// Whether the watchers were waited for.
    waited: bool,
    /// How long, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    /// The watchers that have applied it.
    applied_by: Vec<String>,
    /// Those that have not.
    pub missing: Vec<String>,
    #[serde(skip)]
    dir: Prefix,
}

/// Changes the state in the store and waits for the watchers.
pub async fn set_state(order: Order, store: Arc<dyn Store>) -> Result<Drained, ManageError> {
    let dir = keyspace::dir(&order.prefix, order.service.as_str(), order.id.as_str());
    let state = match order.state {
        State::Up => None,
        state @ (State::Drain | State::Maint) => {
            let (at, by) = (order.now, StateBy::Operator);
            Some(StateValue::new(state.as_str()).since(StateSince { at, by }))
        }
    };
    let by = By::Hand;
    let change = StateChange {
        dir: dir.clone(),
        state,
        by,
    };
    let since = store.set_state(&change).await.map_err(ManageError::Store)?;
    let Some(since) = since else {
        return Err(unknown(&order, dir, &store).await);
    };
    let mut drained = Drained {
        service: order.service.to_string(),
        id: order.id.to_string(),
        state: order.state.as_str(),
        waited: order.wait.is_some(),
        took_ms: None,
        applied_by: Vec::new(),
        missing: Vec::new(),
        dir: dir.clone(),
    };
    if let Some(limit) = order.wait {
        let marks = Marks::from([(dir, since)]);
        let waited = drain_wait::wait(store, &marks, limit).await;
        if let Some(why) = waited.unknown {
            return Err(ManageError::Watchers(why));
        }
        let applied = waited.watchers.difference(&waited.missing);
        drained.applied_by = applied.cloned().collect();
        drained.missing = waited.missing.into_iter().collect();
        drained.took_ms = u64::try_from(waited.took.as_millis()).ok();
    }
    Ok(drained)
}

async fn unknown(order: &Order, dir: Prefix, store: &Arc<dyn Store>) -> ManageError {
    let service = order.service.as_str();
    let catalog = match read_instances(store, &order.prefix, service).await {
        Ok(catalog) => catalog,
        Err(error) => return error,
    };
    let known = catalog.instances(service);
    let known: Vec<String> = known.map(|one| one.id.to_string()).collect();
    let similar = if known.is_empty() {
        suggest_service(store, &order.prefix, &order.service).await
    } else {
        did_you_mean(order.id.as_str(), known.iter().map(String::as_str))
    };
    ManageError::Unknown {
        dir,
        known,
        similar,
    }
}

/// A line for people.
impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in state {}", self.dir, self.state)?;
        match self.took_ms {
            None => writeln!(f, "; the watchers were not waited for"),
            Some(_) if !self.missing.is_empty() => writeln!(f),
            Some(_) if self.applied_by.is_empty() => writeln!(f, "; no watcher serves it"),
            Some(took) => {
                let who = self.applied_by.join(", ");
                writeln!(f, "; applied after {took} ms by {who}")
            }
        }
    }
}

impl Drained {
    /// Which watchers have not applied it in time, in a sentence; `None` if all have.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let took = self.took_ms.filter(|_| !self.missing.is_empty())?;
        let missing = self.missing.join(", ");
        Some(format!("after {took} ms it is not applied by {missing}"))
    }
}
