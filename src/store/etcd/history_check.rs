//! Recognises a history by a landmark: a key, and when it last changed as of some revision. Adapter.
//!
//! A store that was wiped or restored counts its revisions anew and gives no other sign of it; names and numbers of
//! cluster and members stay the same. Where it has overtaken the old count by the time a watch resumes, a watch "after
//! revision 5" would go on in another history and miss what lies before. So we resume a watch only if the landmark is
//! still as it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use etcd_client::{GetOptions, GetResponse};

use super::error::{Failure, Kind};
use super::keys;
use super::session::{Connection, Session};
use crate::model::key::Key;
use crate::model::prefix::Prefix;
use crate::model::update::Revision;

/// When a key last changed, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Landmark {
    at: Revision,
    key: Key,
    /// When the key was last written; nothing if it was deleted.
    written: Option<i64>,
}

/// The latest landmark of each followed prefix, and the number of the cluster that has listed it.
#[derive(Debug, Clone, Default)]
pub(super) struct Landmarks(
    Arc<Mutex<BTreeMap<Prefix, Landmark>>>,
    Arc<Mutex<BTreeMap<Prefix, u64>>>,
);

impl Landmark {
    /// A key that changed at this revision.
    pub(super) fn changed(key: &Key, at: i64, is_put: bool) -> Self {
        Self {
            at: keys::revision(at),
            key: key.clone(),
            written: is_put.then_some(at),
        }
    }

    /// Keeps the key that was written last.
    pub(super) fn keep_latest(latest: &mut Option<Self>, key: &Key, written: i64) {
        if latest
            .as_ref()
            .is_none_or(|mark| mark.written < Some(written))
        {
            *latest = Some(Self::changed(key, written, true));
        }
    }

    /// The same key, still unchanged at a later revision.
    pub(super) fn seen_at(self, at: Revision) -> Self {
        Self { at, ..self }
    }

    /// Fails if the key last changed at another revision than the landmark says: the store has another history.
    pub(super) async fn verify(
        &self,
        session: &Session,
        connection: &Connection,
    ) -> Result<(), Failure> {
        let options = GetOptions::new()
            .with_revision(keys::wire(self.at))
            .with_keys_only();
        let key = self.key.as_bytes().to_vec();
        let found = session.get(connection, key, options).await?;
        if self.written == written(&found) {
            Ok(())
        } else {
            let reason = format!("its past has changed at {}: it was rebuilt", self.key);
            Err(Failure::new(Kind::History, reason))
        }
    }
}

fn written(found: &GetResponse) -> Option<i64> {
    found.kvs().first().map(etcd_client::KeyValue::mod_revision)
}

impl Landmarks {
    /// Remembers the landmark of a prefix; an empty prefix has none.
    pub(super) fn set(&self, prefix: &Prefix, mark: Option<Landmark>) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match mark {
            Some(mark) => marks.insert(prefix.clone(), mark),
            None => marks.remove(prefix),
        };
    }

    /// Remembers the number of the cluster that has listed a prefix: two young clusters may have equal landmarks.
    pub(super) fn set_cluster(&self, prefix: &Prefix, cluster: u64) {
        let mut clusters = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.insert(prefix.clone(), cluster);
    }

    /// The number of the cluster that has listed a prefix, 0 if it is not known.
    pub(super) fn cluster(&self, prefix: &Prefix) -> u64 {
        let clusters = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.get(prefix).copied().unwrap_or_default()
    }

    /// The landmark of a prefix as of exactly this revision, if there is one.
    pub(super) fn get(&self, prefix: &Prefix, at: Revision) -> Option<Landmark> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(prefix).filter(|mark| mark.at == at).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_key_is_the_landmark() {
        let mut latest = None;
        for (key, written) in [("/a", 3), ("/b", 7), ("/c", 5)] {
            Landmark::keep_latest(&mut latest, &key.into(), written);
        }
        let mark = latest.unwrap().seen_at(Revision(9));
        assert_eq!((&*mark.key, mark.written), ("/b", Some(7)));
        let marks = Landmarks::default();
        let prefix = Prefix::parse("/").unwrap();
        marks.set(&prefix, Some(mark.clone()));
        assert_eq!(marks.get(&prefix, Revision(9)), Some(mark));
        assert_eq!(marks.get(&prefix, Revision(8)), None);
    }
}
