//! What a watcher says about its targets, in the form that the page reads. Pure.
//!
//! What cannot be read is left out: a watcher of a later version may say more than is known here, and one of an earlier
//! version says nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::update::{Change, Update};
use crate::model::watchers;

/// One target. Times are in seconds since 1970, by the watcher's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(super) struct Target {
    pub(super) name: String,
    /// Since when the present files are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<u64>,
    /// The revision they were made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failing: Option<Failing>,
    /// Whether a change waits for its reload.
    #[serde(default)]
    pub(super) owed: bool,
    #[serde(default)]
    pub(super) held: Vec<Held>,
    /// Of when the snapshot is that stands in for the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stale: Option<u64>,
}

/// A target that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failing {
    pub(super) since: u64,
    #[serde(default)]
    pub(super) step: String,
    #[serde(default)]
    pub(super) why: String,
}

/// What a guard holds of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) service: String,
    pub(super) count: usize,
    pub(super) since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<u64>,
    #[serde(default)]
    pub(super) why: String,
}

/// What watchers say of themselves beyond what they have applied, by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Statuses {
    targets: BTreeMap<String, Vec<Target>>,
    versions: BTreeMap<String, String>,
}

impl Statuses {
    /// Takes in what the store said about the watchers.
    pub(super) fn apply(&mut self, update: &Update) {
        match update {
            Update::Reset(snapshot) => {
                *self = Self::default();
                for (key, value) in &snapshot.entries {
                    self.set(key, Some(value));
                }
            }
            Update::Changed { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Put(key, value) => self.set(key, Some(value)),
                        Change::Delete(key) => self.set(key, None),
                    }
                }
            }
        }
    }

    fn set(&mut self, key: &str, value: Option<&[u8]>) {
        let root = watchers::root();
        let below = key
            .strip_prefix(root.as_str())
            .and_then(|rest| rest.strip_prefix('/'));
        match below.and_then(|below| below.split_once('/')) {
            Some((id, "targets")) => {
                self.targets.remove(id);
                let targets = value.map(read).filter(|targets| !targets.is_empty());
                self.targets
                    .extend(targets.map(|targets| (id.to_owned(), targets)));
            }
            Some((id, "version")) => {
                self.versions.remove(id);
                let version = value.map(|value| String::from_utf8_lossy(value).into_owned());
                self.versions
                    .extend(version.map(|version| (id.to_owned(), version)));
            }
            Some(_) | None => {}
        }
    }

    /// The targets of a watcher; none if it does not tell of them.
    pub(super) fn targets(&self, id: &str) -> &[Target] {
        self.targets.get(id).map_or(&[], Vec::as_slice)
    }

    /// The version of a watcher.
    pub(super) fn version(&self, id: &str) -> Option<&str> {
        self.versions.get(id).map(String::as_str)
    }
}

/// The targets that can be read.
fn read(json: &[u8]) -> Vec<Target> {
    let all: Vec<serde_json::Value> = serde_json::from_slice(json).unwrap_or_default();
    let read = all.into_iter().map(serde_json::from_value);
    read.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let one = r#"{"name":"haproxy","since":7,"later":[1],"held":[{"service":"web","count":2,"since":9}]}"#;
        for (text, names) in [
            (format!("[{one}]"), vec!["haproxy"]),
            (format!(r#"[{{"name":7}},{one},null]"#), vec!["haproxy"]),
            ("[]".to_owned(), vec![]),
            ("{".to_owned(), vec![]),
            (r#"{"name":"x"}"#.to_owned(), vec![]),
        ] {
            let targets = read(text.as_bytes());
            let read: Vec<_> = targets.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(read, names, "{text}");
        }
        let target = &read(format!("[{one}]").as_bytes())[0];
        assert_eq!(
            (target.since, target.owed, target.held[0].count),
            (Some(7), false, 2)
        );
    }
}
