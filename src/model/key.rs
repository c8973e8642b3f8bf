//! Keys and values as a store has them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A full key, `/services/web/a/ip`. Cheap to clone.
pub type Key = Arc<str>;
/// A value as the store has it; whether it is text is the reader's question. Cheap to clone.
pub type Value = Arc<[u8]>;
/// Keys and their values, sorted by key.
pub type Entries = BTreeMap<Key, Value>;
