//! stub
use super::{BoxFuture, Store, StoreError, Watch};
use crate::model::update::{LeaseId, Prefix, Publication, Revision, Snapshot};
use std::path::Path;
use std::time::Duration;
/// The embedded store.
#[derive(Debug)]
pub struct DirectoryStore;
impl DirectoryStore {
    /// Opens it.
    pub fn open(_path: &Path) -> Result<Self, StoreError> {
        Ok(Self)
    }
}
impl Store for DirectoryStore {
    fn snapshot<'a>(&'a self, _: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        todo!()
    }
    fn watch<'a>(
        &'a self,
        _: &'a Prefix,
        _: Revision,
    ) -> BoxFuture<'a, Result<Box<dyn Watch>, StoreError>> {
        todo!()
    }
    fn grant(&self, _: Duration) -> BoxFuture<'_, Result<(LeaseId, Duration), StoreError>> {
        todo!()
    }
    fn publish<'a>(
        &'a self,
        _: LeaseId,
        _: &'a Publication,
    ) -> BoxFuture<'a, Result<Revision, StoreError>> {
        todo!()
    }
    fn keep_alive(&self, _: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        todo!()
    }
    fn revoke(&self, _: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        todo!()
    }
}
