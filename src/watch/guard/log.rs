//! Writes to the log what guards do. Shell.

use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::guards::Guarded;
use super::machine::{EndReason, Event, HoldReason};
use crate::model::instance::{Instance, InstanceId, ServiceName};
use crate::system::bounded;

/// How many names a line of the log has at most.
const NAMES: usize = 5;

impl Guarded {
    /// Logs each hold and freeze that begins or ends, one line each.
    pub(crate) fn log_events(&self, events: &[Event]) {
        let (name, file) = (&self.name, self.dests[0].display());
        for event in events {
            match event {
                Event::Held {
                    service,
                    why,
                    lost,
                    left,
                } => self.log_hold(service, *why, lost, *left),
                Event::Freed { service, end, lost } => {
                    let (what, end) = (released(lost), end_reason(*end));
                    info!("{name}: {service}: {what}, {end}");
                }
                Event::Frozen(services) => self.log_freeze(services),
                Event::Thawed(end) => info!("{name}: {file} follows again, {}", end_reason(*end)),
            }
        }
    }

    /// Logs that the instances `lost` are held; `left` are still there.
    fn log_hold(&self, service: &ServiceName, why: HoldReason, lost: &[InstanceId], left: usize) {
        let (count, rules) = (lost.len(), self.guard.rules());
        let (is, stay) = match count {
            1 => ("is", "stays"),
            _ => ("are", "stay"),
        };
        let lost_of_all = format!("{count} of {} instances {is} lost", count + left);
        let why_held = match why {
            HoldReason::Empty if count == 1 => "the only instance is lost".to_owned(),
            HoldReason::Empty => format!("all {count} instances are lost"),
            HoldReason::Few => {
                let least = rules.min_instances;
                format!("{lost_of_all}, and min_instances is {least}")
            }
            HoldReason::Drop => {
                let (window, drop) = (rules.window, rules.max_drop.0);
                format!("{lost_of_all} within {window:?}, and max_drop is {drop}%")
            }
        };
        let until = match why {
            HoldReason::Empty => "until one returns".to_owned(),
            HoldReason::Few | HoldReason::Drop => format!("for {:?} at most", rules.hold),
        };
        let file = self.dests[0].display();
        // A file system that does not answer has the file, as far as we know.
        let is_there = bounded::within(&self.dests[0], Path::exists).unwrap_or(true);
        let where_held = if is_there {
            format!("{stay} in {file}")
        } else {
            format!("{is} kept for {file}, which is not there yet,")
        };
        let (name, names) = (&self.name, names(lost));
        warn!(
            "{name}: {service}: {why_held}: {names} {where_held} {until}; `sidekick guard release {name}` ends that"
        );
    }

    /// Logs that the file is frozen, because these services are empty.
    fn log_freeze(&self, services: &[ServiceName]) {
        let until = match services.len() {
            0 => "something is",
            1 => "that is back",
            _ => "each of them is back",
        };
        let (name, which) = (&self.name, nothing_of(services));
        let file = self.dests[0].display();
        warn!(
            "{name}: {which} is announced after the start, and sidekick does not know which instances there were: \
             {file} stays as it is until {until}; `sidekick guard release {name}` renders what there is"
        );
    }

    /// Whether the address of an instance lies within the networks of the target. An instance outside of them is
    /// remembered, and logged unless it is `known` already.
    pub(crate) fn admits(&mut self, instance: &Arc<Instance>, known: bool) -> bool {
        if self.guard.rules().admits(instance.ip) {
            return true;
        }
        let (name, service, id, ip) = (&self.name, &instance.service, &instance.id, instance.ip);
        if !known {
            warn!("{name}: {service}/{id} is skipped: its address {ip} is outside of networks");
        }
        self.outside.insert((service.clone(), id.clone()));
        false
    }
}

/// The services as the subject of a sentence: nothing of them is there.
pub(super) fn nothing_of(services: &[ServiceName]) -> String {
    match services {
        [] => "nothing it follows".to_owned(),
        some => format!("nothing of {}", names(some)),
    }
}

/// Why a hold or a freeze has ended, as the end of a sentence.
fn end_reason(end: EndReason) -> &'static str {
    match end {
        EndReason::Returned => "since what was lost is back",
        EndReason::Over => "since they were held long enough",
        EndReason::ByHand => "by hand",
        EndReason::Rules => "since the limits are others now",
        EndReason::Unfollowed => "since no target follows it any more",
        EndReason::NoFile => "since it is not there: there is nothing to keep",
    }
}

/// What has become of the instances that were held to the end.
fn released(lost: &[InstanceId]) -> String {
    match lost.len() {
        0 => "nothing is held any more".to_owned(),
        1 => format!("{} is given up", names(lost)),
        _ => format!("{} are given up", names(lost)),
    }
}

/// A few names, and how many more there are.
pub(crate) fn names<T: ToString>(all: &[T]) -> String {
    let shown: Vec<String> = all.iter().take(NAMES).map(T::to_string).collect();
    let more = all.len() - shown.len();
    let shown = shown.join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}
