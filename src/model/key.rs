//! Keys and values as a store has them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A full key, `/services/web/a/ip`. Cheap to clone.
pub type Key = Arc<str>;
/// The bytes of a value as the store has them; a reader checks whether they are text. Cheap to clone.
pub type Value = Arc<[u8]>;
/// Keys and their values, sorted by key.
pub type Entries = BTreeMap<Key, Value>;
