//! What a watcher says about its targets, in the form that the page reads. Pure.

use serde::Serialize;

use crate::model::watchers::Watcher;

/// One target. Times are in seconds since 1970, by the watcher's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub(super) struct Target {
    pub(super) name: String,
    /// Since when the present files are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<u64>,
    /// The revision they were made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failing: Option<Failing>,
    /// Whether a change waits for its reload.
    pub(super) owed: bool,
    pub(super) held: Vec<Held>,
    /// Of when the snapshot is that stands in for the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stale: Option<u64>,
}

/// A target that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failing {
    pub(super) since: u64,
    pub(super) step: String,
    pub(super) why: String,
}

/// What a guard holds of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    pub(super) service: String,
    pub(super) count: usize,
    pub(super) since: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<u64>,
    pub(super) why: String,
}

/// The targets of a watcher; none if it is of a version that does not tell of them.
pub(super) fn targets(_watcher: &Watcher) -> Vec<Target> {
    Vec::new()
}
