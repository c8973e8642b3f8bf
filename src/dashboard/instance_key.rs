//! The key of an instance among all services: service and id. Pure.

use std::fmt;

use crate::model::catalog::InstanceChange;
use crate::model::instance::{InstanceId, ServiceName};

/// A service and an id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InstanceKey {
    pub(super) service: ServiceName,
    pub(super) id: InstanceId,
}

impl InstanceKey {
    /// The key of a changed instance.
    pub(super) fn of(change: &InstanceChange) -> Self {
        Self {
            service: change.service.clone(),
            id: change.id.clone(),
        }
    }

    /// The name of its item on the page.
    pub(super) fn item(&self) -> String {
        format!("instance:{self}")
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.id)
    }
}
