//! What people do by hand: take an instance out of service and put it back, and see who has noticed. Shell.

mod mark;
mod status;

use std::sync::Arc;

use thiserror::Error;

pub use self::mark::{Order, mark};
pub use self::status::status;

use crate::model::catalog::Catalog;
use crate::model::update::{Prefix, Revision, Update};
use crate::model::watchers::{self, Watchers};
use crate::store::{Store, StoreError};

/// Why it was not done.
#[derive(Debug, Error)]
pub enum ManageError {
    /// Nobody has announced it.
    #[error("there is no instance {dir}; there {}", listed(.known))]
    Unknown {
        /// The instance.
        dir: Prefix,
        /// Those that the service has.
        known: Vec<String>,
    },
    /// The instance is in its new state, and nobody knows who has noticed.
    #[error("it is done, but who watches cannot be read")]
    Watchers(#[source] StoreError),
    /// The store did not do it.
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

/// The instances of a service, as far as they are complete and valid.
async fn instances(
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

/// Those who watch.
async fn watchers(store: &Arc<dyn Store>) -> Result<(Watchers, Revision), ManageError> {
    let snapshot = store.snapshot(&watchers::root()).await;
    let snapshot = snapshot.map_err(ManageError::Store)?;
    let revision = snapshot.revision;
    let mut all = Watchers::default();
    all.apply(Update::Reset(snapshot));
    Ok((all, revision))
}
