//! The text of the snapshot file: the state of the store, encoded by one process and decoded by the next. Pure.
//!
//! ```json
//! {"format": 1, "store": "etcd://10.0.0.1:2379", "revision": 812, "paths": ["/services/web"],
//!  "entries": {"/services/web/a/ip": "10.0.3.17"}}
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::model::catalog::Catalog;
use crate::model::key::Entries;
use crate::model::prefix::Prefix;
use crate::model::update::Revision;

/// The version of the format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// Why a snapshot cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SnapshotError {
    #[error("it is damaged")]
    Damaged(#[from] serde_json::Error),
    #[error("it has format {0}, of another version of sidekick")]
    Format(u32),
    #[error("it is of another store, {0}")]
    Store(String),
    #[error("it has nothing of {0}")]
    Lacks(Prefix),
}

/// What a snapshot says of the paths that were asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SavedSnapshot {
    /// The revision that the store had when the snapshot was written. It is for the log only: the store may have been
    /// rebuilt since, so nothing may be followed from this revision.
    pub(crate) revision: Revision,
    /// The keys and values of each path that was asked for.
    pub(crate) entries: Vec<Entries>,
}

/// The text as it is read.
#[derive(Deserialize)]
struct Body<'a> {
    store: Cow<'a, str>,
    revision: u64,
    paths: Vec<Cow<'a, str>>,
    entries: BTreeMap<Cow<'a, str>, StoredValue<'a>>,
}

/// The text as it is written. It goes through the entries where they are: a list of them all would take more memory than the
/// catalog itself, and the process would keep a part of that.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    store: &'a str,
    revision: u64,
    paths: Vec<String>,
    entries: Below<'a>,
}

/// All that a catalog has below these paths.
struct Below<'a> {
    paths: &'a [Prefix],
    catalog: &'a Catalog,
}

impl Serialize for Below<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tree = self.catalog.tree();
        let entries = self.paths.iter().flat_map(|path| tree.under(path));
        serializer.collect_map(entries.map(|(key, value)| (key.text(), StoredValue::of(value))))
    }
}

/// The version of the format, which is read before anything else.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// A value of the store: as text if it is UTF-8, else as bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredValue<'a> {
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> StoredValue<'a> {
    fn of(value: &'a [u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok(text) => Self::Text(text.into()),
            Err(_) => Self::Bytes(value.into()),
        }
    }
}

/// Encodes all that a catalog has below these paths. `store` is the identity of its store.
pub(crate) fn encode(
    store: &str,
    paths: &[Prefix],
    catalog: &Catalog,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Written {
        format: FORMAT,
        store,
        revision: catalog.revision().0,
        paths: paths.iter().map(Prefix::to_string).collect(),
        entries: Below { paths, catalog },
    })
}

/// Decodes what a text has of each of these paths.
///
/// # Errors
///
/// The text is damaged, of another version or of another store, or lacks one of the paths.
pub(crate) fn decode(
    text: &[u8],
    store: &str,
    paths: &[Prefix],
) -> Result<SavedSnapshot, SnapshotError> {
    let Head { format } = serde_json::from_slice(text)?;
    if format != FORMAT {
        return Err(SnapshotError::Format(format));
    }
    let body: Body<'_> = serde_json::from_slice(text)?;
    if body.store != store {
        return Err(SnapshotError::Store(body.store.into_owned()));
    }
    let has: Vec<Prefix> = body
        .paths
        .iter()
        .filter_map(|path| Prefix::parse(path).ok())
        .collect();
    let lacks = |path: &&Prefix| !has.iter().any(|one| one.covers(path.as_str()));
    if let Some(path) = paths.iter().find(lacks) {
        return Err(SnapshotError::Lacks(path.clone()));
    }
    let mut entries = vec![Entries::new(); paths.len()];
    for (key, value) in body.entries {
        let value = match value {
            StoredValue::Text(text) => text.into_owned().into_bytes(),
            StoredValue::Bytes(bytes) => bytes.into_owned(),
        };
        if let Some(at) = paths.iter().position(|path| path.covers(&key)) {
            entries[at].insert(key.into(), value.into());
        }
    }
    Ok(SavedSnapshot {
        revision: Revision(body.revision),
        entries,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::key::{Key, Value};
    use crate::model::update::{Snapshot, Update};

    const STORE: &str = "etcd://a:2379";

    fn paths(texts: &[&str]) -> Vec<Prefix> {
        texts
            .iter()
            .map(|text| Prefix::parse(text).unwrap())
            .collect()
    }

    fn catalog(entries: Entries) -> Catalog {
        let mut catalog = Catalog::new(Prefix::parse("/services").unwrap());
        let snapshot = Snapshot {
            revision: Revision(812),
            entries,
        };
        catalog.apply(&Prefix::root(), Update::Reset(snapshot));
        catalog
    }

    fn entry(key: &str, value: &[u8]) -> (Key, Value) {
        (key.into(), value.into())
    }

    #[test]
    fn each_path_gets_its_own_keys_and_no_other_key_is_saved() {
        let all = catalog(
            [
                entry("/a/1", b"one"),
                entry("/a/b/2", b"two\n\"quoted\" \xff"),
                entry("/a-b", b"no"),
                entry("/c/3", "drei \u{1f980}".as_bytes()),
                entry("/d/4", b"not followed"),
            ]
            .into(),
        );
        let text = encode(STORE, &paths(&["/a", "/c"]), &all).unwrap();
        assert!(text.starts_with(b"{\"format\":1,"));
        assert!(!String::from_utf8_lossy(&text).contains("not followed"));
        let saved = decode(&text, STORE, &paths(&["/a/b", "/c"])).unwrap();
        assert_eq!(saved.revision, Revision(812));
        assert_eq!(
            saved.entries,
            [
                Entries::from([entry("/a/b/2", b"two\n\"quoted\" \xff")]),
                Entries::from([entry("/c/3", "drei \u{1f980}".as_bytes())]),
            ]
        );
    }

    #[test]
    fn a_snapshot_that_cannot_be_used_is_refused() {
        let all = catalog([entry("/a/1", b"one")].into());
        let good = encode(STORE, &paths(&["/a"]), &all).unwrap();
        let refused = |text: &[u8], store, wanted: &[&str]| {
            decode(text, store, &paths(wanted)).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&good, "dir:///x", &["/a"]),
            "it is of another store, etcd://a:2379"
        );
        for wanted in ["/b", "/", "/a-b"] {
            let want = format!("it has nothing of {wanted}");
            assert_eq!(refused(&good, STORE, &["/a", wanted]), want);
        }
        let newer = br#"{"format": 2, "else": "everything"}"#;
        assert!(refused(newer, STORE, &["/a"]).contains("format 2"));
        for cut in 0..good.len() {
            assert_eq!(refused(&good[..cut], STORE, &["/a"]), "it is damaged");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            entries in proptest::collection::btree_map("/[a-z\"\\\\é]{1,8}/[a-z]{1,3}", any::<Vec<u8>>(), 0..20)
        ) {
            let entries: Entries = entries.iter().map(|(key, value)| entry(key, value)).collect();
            let all = paths(&["/"]);
            let text = encode(STORE, &all, &catalog(entries.clone())).unwrap();
            prop_assert_eq!(&decode(&text, STORE, &all).unwrap().entries, &[entries]);
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in any::<Vec<u8>>()) {
            let _ = decode(&text, STORE, &paths(&["/a"]));
        }
    }
}
