//! stub
use super::{Store, StoreError};
use crate::model::update::{Prefix, Update};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What following a prefix tells its consumer.
#[derive(Debug)]
pub enum Followed {
    /// The store said something.
    Update(Update),
    /// The store stopped answering; said once per outage.
    Outage(StoreError),
    /// The store answers again.
    Restored,
}

/// Follows a prefix for ever.
pub async fn follow(_store: Arc<dyn Store>, _prefix: Prefix, _to: mpsc::Sender<Followed>) {}
