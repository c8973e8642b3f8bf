//! Since when each instance has been announced without a break: `register` writes it beside the instance, for people. Pure.
//!
//! It is not a part of what an instance is: a configuration that is read again does not change it, and nobody repairs it. An
//! instance that is withdrawn and announced again begins anew; one that only moves to another lease goes on.

use std::collections::BTreeMap;

use crate::model::date::Date;
use crate::model::lease::Action;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Claim, Publication};
use crate::model::times::ANNOUNCED_AT;

/// The instances that are announced, the lease of each, and since when, in seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Announced(BTreeMap<Prefix, (LeaseId, u64)>);

impl Announced {
    /// The action, with the time in what it publishes. `now` is in seconds since 1970.
    pub(super) fn stamp(&mut self, action: Action, now: u64) -> Action {
        match action {
            Action::Publish(lease, publication) => {
                Action::Publish(lease, self.stamp_publication(lease, publication, now))
            }
            Action::Revoke(lease) => {
                self.0.retain(|_, (on, _)| *on != lease);
                Action::Revoke(lease)
            }
            other => other,
        }
    }

    fn stamp_publication(
        &mut self,
        lease: LeaseId,
        mut publication: Publication,
        now: u64,
    ) -> Publication {
        // Each owner of a shared instance would write another time.
        if publication.fields.is_empty() || publication.claim == Claim::Whole {
            self.0.remove(&publication.dir);
            return publication;
        }
        let (on, at) = self
            .0
            .entry(publication.dir.clone())
            .or_insert((lease, now));
        *on = lease;
        let value = Date::from_unix(*at).to_string();
        publication
            .fields
            .insert(ANNOUNCED_AT.to_owned(), value.into());
        publication
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn publication(fields: &[&str], claim: Claim) -> Publication {
        let fields = fields.iter().map(|name| ((*name).to_owned(), Vec::new()));
        Publication {
            dir: Prefix::parse("/services/web/a").unwrap(),
            fields: fields.collect(),
            state: None,
            claim,
            predecessors: BTreeSet::new(),
        }
    }

    /// What stands in the field after this was published.
    fn stamped(announced: &mut Announced, lease: i64, fields: &[&str], now: u64) -> Option<String> {
        let claim = Claim::Alone(BTreeSet::new().into());
        let action = Action::Publish(LeaseId(lease), publication(fields, claim));
        let Action::Publish(_, publication) = announced.stamp(action, now) else {
            panic!("it publishes no more");
        };
        let value = publication.fields.get(ANNOUNCED_AT)?;
        Some(String::from_utf8(value.clone()).unwrap())
    }

    #[test]
    fn the_time_lasts_until_the_instance_is_withdrawn() {
        let mut announced = Announced::default();
        let (first, later) = ("1970-01-01T00:00:05Z", "1970-01-01T00:00:09Z");
        let mut at = |lease, fields: &[&str], now| stamped(&mut announced, lease, fields, now);
        assert_eq!(at(1, &["ip"], 5).as_deref(), Some(first));
        assert_eq!(at(1, &["ip", "x"], 6).as_deref(), Some(first));
        // Another lease, since the first one was lost.
        assert_eq!(at(2, &["ip"], 7).as_deref(), Some(first));
        assert_eq!(at(2, &[], 8), None);
        assert_eq!(at(2, &["ip"], 9).as_deref(), Some(later));
        let revoke = |lease| Action::Revoke(LeaseId(lease));
        assert_eq!(announced.stamp(revoke(1), 10), revoke(1));
        assert_eq!(
            stamped(&mut announced, 2, &["ip"], 11).as_deref(),
            Some(later)
        );
        announced.stamp(revoke(2), 12);
        assert_ne!(
            stamped(&mut announced, 3, &["ip"], 13).as_deref(),
            Some(later)
        );
    }

    #[test]
    fn a_shared_instance_has_none() {
        let mut announced = Announced::default();
        let action = Action::Publish(LeaseId(1), publication(&["ip"], Claim::Whole));
        assert_eq!(announced.stamp(action.clone(), 5), action);
    }
}
