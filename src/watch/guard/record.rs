//! Fills the record of a guard and its part of the watcher's status: what is held, why, since when and until when.
//! Shell.

use std::time::{Duration, Instant};

use tracing::debug;

use super::guards::{Guarded, Guards};
use super::log::nothing_of;
use super::machine::{HoldReason, Status};
use super::state_file::{HoldRecord, Record, Records, fields};
use crate::model::target_status::HeldService;
use crate::watch::host::WORLD;

impl Guarded {
    /// Writes the record if it has changed. `published`: the live file now shows what the guard lets through.
    pub(crate) fn write_record_if_changed(&mut self, records: Option<&Records>, published: bool) {
        let Some(records) = records else { return };
        let record = self.build_record(published);
        let is_news = self.recorded.as_ref() != Some(&record);
        let is_empty = record.shown.is_none() && record.held.is_empty();
        if !is_news || (self.recorded.is_none() && is_empty) {
            return;
        }
        if let Err(error) = records.write(&record) {
            debug!(
                "{}: the guard's record cannot be written: {error}",
                self.name
            );
        }
        self.recorded = Some(record);
    }

    /// The record as it has to be now. What the file shows is known only when it has been published.
    fn build_record(&self, published: bool) -> Record {
        let counters = self.guard.counters();
        let shown = self.guard.shown().into_iter();
        let shown = shown.map(|(service, count)| (service.to_string(), count));
        let before = || self.recorded.as_ref()?.shown.clone();
        Record {
            target: self.name.clone(),
            dest: self.dests[0].clone(),
            pid: std::process::id(),
            shown: if published {
                Some(shown.collect())
            } else {
                before()
            },
            held: self.guard.status().into_iter().map(hold_record).collect(),
            lost_total: counters.lost,
            holds_total: counters.holds,
            held_total: counters.held,
            released_total: counters.by_hand,
            outside: self.outside.len(),
        }
    }
}

impl Guards {
    /// What the guard of a target holds, for the status of the watcher.
    pub(crate) fn held_services(&self, name: &str) -> Vec<HeldService> {
        let guarded = self.by_name.get(name);
        let status = guarded.map(|one| one.guard.status()).unwrap_or_default();
        status.into_iter().map(held_service).collect()
    }
}

/// A hold as the status of the watcher has it.
fn held_service(status: Status) -> HeldService {
    HeldService {
        why: reason(&status),
        service: status.service.map(|service| service.to_string()),
        count: status.lost.len(),
        since: unix_seconds(status.since),
        until: status.until.map(unix_seconds),
    }
}

/// Why something is held, as text for people.
fn reason(status: &Status) -> String {
    match status.why {
        None => format!(
            "{} is announced after the start",
            nothing_of(&status.missing)
        ),
        Some(HoldReason::Empty) => "none is left".to_owned(),
        Some(HoldReason::Few) => "fewer than min_instances are left".to_owned(),
        Some(HoldReason::Drop) => "more than max_drop are lost".to_owned(),
    }
}

/// A hold as the record has it.
fn hold_record(status: Status) -> HoldRecord {
    HoldRecord {
        why: reason(&status),
        service: status.service.map(|service| service.to_string()),
        since: unix_seconds(status.since),
        until: status.until.map(unix_seconds),
        instances: status.lost.iter().map(|one| one.id.to_string()).collect(),
        fields: status.lost.iter().map(|one| fields(one)).collect(),
    }
}

/// A time in seconds since 1970, for people only: nothing is decided by it, so a clock that is stepped does no harm.
fn unix_seconds(at: Instant) -> u64 {
    let (now, clock) = (Instant::now(), (WORLD.now)());
    let past = now.saturating_duration_since(at);
    let future = at.saturating_duration_since(now);
    // Rounded to the nearest second, so that the same instant always gives the same figure.
    let exact = (clock + future).saturating_sub(past) + Duration::from_millis(500);
    exact.as_secs()
}
