//! What people do by hand: take an instance out of service and put it back, and see how things stand. Shell.
//!
//! `drain` changes states and waits for watchers; `status` asks the store, and `overview` turns the answers into tables and
//! JSON; `export` writes a fixture.

mod drain;
mod export;
mod overview;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

pub use self::drain::{Drained, Order, set_state};
pub use self::export::export;
pub use self::status::{Form, Question, Report, list, report_changes, status};

use crate::model::catalog::Catalog;
use crate::model::instance::ServiceName;
use crate::model::prefix::Prefix;
use crate::model::suggestion::did_you_mean;
use crate::model::update::{Revision, Update};
use crate::model::watcher_entry::{self, Watchers};
use crate::store::{Store, StoreError};

/// Why a command failed.
#[derive(Debug, Error)]
pub enum ManageError {
    /// There is no such instance.
    #[error("there is no instance {dir}; there {}", listed(.known))]
    Unknown {
        /// The instance.
        dir: Prefix,
        /// Those that the service has.
        known: Vec<String>,
        /// What was probably meant.
        similar: Option<String>,
    },
    /// The service has no instance.
    #[error("no instance of {service} is announced below {prefix}")]
    Nobody {
        /// The service.
        service: ServiceName,
        /// Where instances live.
        prefix: Prefix,
        /// What was probably meant.
        similar: Option<String>,
    },
    /// The instance is in its new state, but the watchers cannot be read, so it is not known who has applied that.
    #[error("the instance is in its new state, but the watchers cannot be read")]
    Watchers(#[source] StoreError),
    /// Values that are no text.
    #[error("these keys have values that are no text: {}", .0.join(", "))]
    Binary(Vec<String>),
    /// The store did not do what was asked.
    #[error("the store cannot be used")]
    Store(#[source] StoreError),
}

fn listed(ids: &[String]) -> String {
    match ids {
        [] => "is no instance of this service at all".to_owned(),
        [one] => format!("is {one}"),
        [..] => format!("are {}", ids.join(", ")),
    }
}

/// Reads the instances of a service, as far as they are complete and valid.
async fn read_instances(
    store: &Arc<dyn Store>,
    prefix: &Prefix,
    service: &str,
) -> Result<Catalog, ManageError> {
    let dir = prefix.join(service);
    let snapshot = store.snapshot(&dir).await.map_err(ManageError::Store)?;
    let mut catalog = Catalog::new(prefix.clone());
    catalog.apply(&dir, Update::Reset(snapshot));
    Ok(catalog)
}

/// Reads the instances that a question is about.
async fn read_catalog(store: &Arc<dyn Store>, question: &Question) -> Result<Catalog, ManageError> {
    let prefix = &question.prefix;
    if let Some(service) = &question.service {
        return read_instances(store, prefix, service.as_str()).await;
    }
    let snapshot = store.snapshot(prefix).await.map_err(ManageError::Store)?;
    let mut catalog = Catalog::new(prefix.clone());
    catalog.apply(prefix, Update::Reset(snapshot));
    Ok(catalog)
}

/// Reads the watchers that are gone without having stopped. A user who may not read below `/sidekick/seen` gets none.
async fn read_missing(
    store: &Arc<dyn Store>,
    present: &Watchers,
) -> BTreeMap<String, watcher_entry::Seen> {
    match store.snapshot(&watcher_entry::seen_root()).await {
        Ok(snapshot) => {
            let seen = snapshot.entries.iter();
            watcher_entry::missing(seen.map(|(key, value)| (key, &**value)), present)
        }

        Err(_) => BTreeMap::new(),
    }
}

/// Returns the announced service that was probably meant; `None` for a user who may not read all services.
async fn suggest_service(
    store: &Arc<dyn Store>,
    prefix: &Prefix,
    service: &ServiceName,
) -> Option<String> {
    let snapshot = store.snapshot(prefix).await.ok()?;
    let mut catalog = Catalog::new(prefix.clone());
    catalog.apply(prefix, Update::Reset(snapshot));
    let known = catalog.services().keys().map(ServiceName::as_str);
    did_you_mean(service.as_str(), known)
}

/// Reads the watchers.
async fn read_watchers(store: &Arc<dyn Store>) -> Result<(Watchers, Revision), ManageError> {
    let snapshot = store.snapshot(&watcher_entry::root()).await;
    let snapshot = snapshot.map_err(ManageError::Store)?;
    let revision = snapshot.revision;
    let mut all = Watchers::default();
    all.apply(Update::Reset(snapshot));
    Ok((all, revision))
}
