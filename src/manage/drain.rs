//! `sidekick drain` and `sidekick undrain`: changes the state of an instance, and waits until its watchers have applied it.
//! Shell.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::{ManageError, read_instances, suggest_service};
use crate::model::instance::{InstanceId, ServiceName, State};
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::model::report::code;
use crate::model::state_change::{By, StateChange, StateValue};
use crate::model::suggestion::did_you_mean;
use crate::model::times::{StateBy, StateSince};
use crate::model::watchers::Marks;
use crate::store::Store;
use crate::store::drain_wait;
use crate::store::drain_wait::Waited;

/// Which instance gets which state.
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

/// Changes the state in the store and waits for the watchers; returns the text to print and the exit status.
pub async fn set_state(order: Order, store: Arc<dyn Store>) -> Result<(String, u8), ManageError> {
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
        let catalog = read_instances(&store, &order.prefix, order.service.as_str()).await?;
        let known = catalog.instances(order.service.as_str());
        let known: Vec<String> = known.map(|one| one.id.to_string()).collect();
        let similar = if known.is_empty() {
            suggest_service(&store, &order.prefix, &order.service).await
        } else {
            did_you_mean(order.id.as_str(), known.iter().map(String::as_str))
        };
        return Err(ManageError::Unknown {
            dir,
            known,
            similar,
        });
    };
    let is = format!("{dir} is in state {}", order.state.as_str());
    let Some(limit) = order.wait else {
        return Ok((format!("{is}; nobody was waited for\n"), 0));
    };
    let marks = Marks::from([(dir, since)]);
    let waited = drain_wait::wait(store, &marks, limit).await;
    outcome(&is, waited)
}

fn outcome(is: &str, waited: Waited) -> Result<(String, u8), ManageError> {
    let names = |ids: &BTreeSet<String>| ids.iter().cloned().collect::<Vec<_>>().join(", ");
    let took = waited.took.as_millis();
    if let Some(why) = waited.unknown {
        return Err(ManageError::Watchers(why));
    }
    if waited.missing.is_empty() {
        let who = match names(&waited.watchers) {
            who if who.is_empty() => "nobody watches it".to_owned(),
            who => format!("applied after {took} ms by {who}"),
        };
        return Ok((format!("{is}; {who}\n"), 0));
    }
    let missing = names(&waited.missing);
    let _ = writeln!(
        std::io::stderr(),
        "error: after {took} ms it is not applied by {missing}"
    );
    Ok((format!("{is}\n"), code::FAILED))
}
