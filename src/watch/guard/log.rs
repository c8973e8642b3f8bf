//! What a guard says in the log and in its record. Shell.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::guards::{Guarded, Guards};
use super::machine::{Counters, EndReason, Event, HoldReason, Status};
use super::state_file::{HoldRecord, Record, Records, fields};
use crate::model::date::Date;
use crate::model::guard::OnEmpty;
use crate::model::instance::{Instance, ServiceName};
use crate::model::report::counted;
use crate::model::target_status::HeldService;
use crate::system::{bounded, process};
use crate::watch::host::THIS_HOST;

/// How many names a line of the log has at most.
const NAMES: usize = 5;

impl Guarded {
    /// One line for each hold that begins or ends.
    pub(crate) fn log_events(&self, events: &[Event]) {
        let (name, rules, file) = (&self.name, self.guard.rules(), self.dests[0].display());
        let release = format!("`sidekick guard release {name}`");
        for event in events {
            match event {
                Event::Held {
                    service,
                    why,
                    lost,
                    left,
                } => {
                    let (count, all, names) = (lost.len(), lost.len() + left, names(lost));
                    let (is, stay) = if count == 1 {
                        ("is", "stays")
                    } else {
                        ("are", "stay")
                    };
                    // What does not answer is there.
                    let is_there = bounded::within(&self.dests[0], Path::exists);
                    let where_held = if is_there.unwrap_or(true) {
                        format!("{stay} in {file}")
                    } else {
                        format!("{is} kept for {file}, which is not there yet,")
                    };
                    let (why, until) = match why {
                        HoldReason::Empty => (
                            if count == 1 {
                                "the only instance is lost".to_owned()
                            } else {
                                format!("all {count} instances are lost")
                            },
                            "until one returns".to_owned(),
                        ),
                        HoldReason::Few => (
                            format!(
                                "{count} of {all} instances {is} lost, and min_instances is {}",
                                rules.min_instances
                            ),
                            format!("for {:?} at most", rules.hold),
                        ),
                        HoldReason::Drop => (
                            format!(
                                "{count} of {all} instances {is} lost within {:?}, and max_drop is {}%",
                                rules.window, rules.max_drop.0
                            ),
                            format!("for {:?} at most", rules.hold),
                        ),
                    };
                    warn!(
                        target = %name, %service, "{name}: {service}: {why}: {names} {where_held} {until}; {release} ends that"
                    );
                }
                Event::Freed { service, end, lost } if lost.is_empty() => {
                    info!(
                        target = %name, %service, "{name}: {service}: nothing is held any more, {}",
                        end_reason(*end)
                    );
                }
                Event::Freed { service, end, lost } => {
                    info!(
                        target = %name, %service, "{name}: {service}: {} given up, {}",
                        names_and_verb(lost),
                        end_reason(*end)
                    );
                }
                Event::Frozen(services) => {
                    let (which, until) = (
                        nothing_of(services),
                        match services.len() {
                            0 => "something is",
                            1 => "that is back",
                            _ => "each of them is back",
                        },
                    );
                    warn!(
                        target = %name, "{name}: {which} is announced after the start, and what there was is not known: {file} stays as \
                         it is until {until}; {release} renders what there is"
                    );
                }
                Event::Thawed(end) => {
                    info!(target = %name, "{name}: {file} is rendered again, {}", end_reason(*end));
                }
            }
        }
    }

    /// With `--noop`: names what the guard of the running process holds and this one does not. The difference shows those
    /// instances as gone, and the running process keeps them.
    pub(super) fn warn_of_holds_elsewhere(&self, records: &Records) {
        let Some(record) = records.read(&self.dests[0]) else {
            return;
        };
        if !process::exists(record.pid) {
            return;
        }
        let (name, pid) = (&self.name, record.pid);
        for held in &record.held {
            let until = held.until.map_or_else(
                || "until it returns".to_owned(),
                |at| format!("until {}", Date::from_unix(at)),
            );
            let Some(service) = &held.service else {
                if !self.guard.is_frozen() {
                    warn!(
                        target = %name, "{name}: the running `sidekick watch` (process {pid}) leaves the whole file as it is {until}, \
                         whatever a difference says here"
                    );
                }
                continue;
            };
            let is_held_here = service.parse().is_ok_and(|one| self.guard.holds(&one));
            if !is_held_here {
                let count = counted(held.instances.len(), "instance");
                warn!(
                    target = %name, %service, "{name}: {service}: the guard of the running `sidekick watch` (process {pid}) holds {count} \
                     {until}: they stay in the file until then, whatever a difference says here"
                );
            }
        }
    }

    /// Says what has become of losses: the limits let them pass, or they are held. `before` are the previous counts.
    pub(super) fn log_decision(&self, before: Counters) {
        let now = self.guard.counters();
        let (lost, held) = (now.lost - before.lost, now.held - before.held);
        if lost == 0 {
            return;
        }
        let (name, rules) = (&self.name, self.guard.rules());
        let on_empty = match rules.on_empty {
            OnEmpty::Hold => "hold",
            OnEmpty::Render => "render",
        };
        let limits = format!(
            "on_empty {on_empty}, min_instances {}, max_drop {}% within {:?}",
            rules.min_instances, rules.max_drop.0, rules.window
        );
        if held == 0 {
            debug!(target = %name, "{name}: a loss of {lost} is within the limits ({limits}), so the file follows");
        } else {
            debug!(target = %name, "{name}: a loss of {lost} is beyond the limits ({limits}), so {held} are held");
        }
    }

    /// Whether an instance may be served. Warns of one that may not, unless it is `known` from before.
    pub(crate) fn admits(&mut self, instance: &Arc<Instance>, known: bool) -> bool {
        if self.guard.rules().admits(instance.ip) {
            return true;
        }
        let (name, service, id, ip) = (&self.name, &instance.service, &instance.id, instance.ip);
        if !known {
            warn!(target = %name, %service, instance = %id, "{name}: {service}/{id} is skipped: its address {ip} is outside of networks");
        }
        self.outside.insert((service.clone(), id.clone()));
        false
    }

    /// Writes the record if it says something else by now.
    pub(crate) fn write_record_if_changed(&mut self, records: Option<&Records>, published: bool) {
        let Some(records) = records else { return };
        let record = self.build_record(published);
        let is_news = self.recorded.as_ref() != Some(&record);
        let is_empty = record.shown.is_none() && record.held.is_empty();
        if !is_news || (self.recorded.is_none() && is_empty) {
            return;
        }
        records.write(&record);
        self.recorded = Some(record);
    }

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

impl Event {
    /// Whether it is the beginning of a hold.
    pub(crate) fn is_beginning(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::Frozen(_))
    }

    /// In a few words, for the history and as the cause of a publish.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Held {
                service, why, lost, ..
            } => {
                let why = match why {
                    HoldReason::Empty => "none is left",
                    HoldReason::Few => "fewer than min_instances are left",
                    HoldReason::Drop => "more than max_drop are lost",
                };
                format!("the guard holds {} of {service}: {why}", names(lost))
            }
            Self::Freed { service, end, lost } if lost.is_empty() => {
                format!(
                    "the guard holds nothing of {service} any more, {}",
                    end_reason(*end)
                )
            }
            Self::Freed { service, end, lost } => {
                format!(
                    "the guard gave up {} of {service}, {}",
                    names(lost),
                    end_reason(*end)
                )
            }
            Self::Frozen(services) => format!(
                "the guard leaves the file as it is: {} is announced after the start",
                nothing_of(services)
            ),
            Self::Thawed(end) => {
                format!("the guard lets the file follow again, {}", end_reason(*end))
            }
        }
    }
}

impl Guards {
    /// What is held of a target.
    pub(crate) fn held_services(&self, name: &str) -> Vec<HeldService> {
        let guarded = self.by_name.get(name);
        let status = guarded.map(|one| one.guard.status()).unwrap_or_default();
        status.into_iter().map(held_service).collect()
    }
}

fn held_service(status: Status) -> HeldService {
    HeldService {
        why: reason(&status),
        service: status.service.map(|service| service.to_string()),
        count: status.lost.len(),
        since: unix_seconds(status.since),
        until: status.until.map(unix_seconds),
    }
}

fn reason(status: &Status) -> String {
    match status.why {
        None if status.service.is_none() => format!(
            "{} is announced after the start",
            nothing_of(&status.missing)
        ),
        None => "enough are left again, and the others have time to return".to_owned(),
        Some(HoldReason::Empty) => "none is left".to_owned(),
        Some(HoldReason::Few) => "fewer than min_instances are left".to_owned(),
        Some(HoldReason::Drop) => "more than max_drop are lost".to_owned(),
    }
}

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

fn nothing_of(services: &[ServiceName]) -> String {
    match services {
        [] => "nothing it follows".to_owned(),
        some => format!("nothing of {}", names(some)),
    }
}

/// For people only: a clock that is stepped shows something else, and changes nothing.
fn unix_seconds(at: Instant) -> u64 {
    let (now, clock) = (Instant::now(), (THIS_HOST.now)());
    let past = now.saturating_duration_since(at);
    let future = at.saturating_duration_since(now);
    // To the nearest second, so that the same instant is the same date each time.
    let exact = (clock + future).saturating_sub(past) + Duration::from_millis(500);
    exact.as_secs()
}

fn end_reason(end: EndReason) -> &'static str {
    match end {
        EndReason::Returned => "what was lost is back",
        EndReason::Over => "since they were held long enough",
        EndReason::ByHand => "by hand",
        EndReason::Rules => "since the limits are others now",
        EndReason::Unfollowed => "since no target follows it any more",
        EndReason::NoFile => "since it is not there: there is nothing to keep",
    }
}

/// Their names, and that they are something.
fn names_and_verb<T: ToString>(all: &[T]) -> String {
    let is = if all.len() == 1 { "is" } else { "are" };
    format!("{} {is}", names(all))
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
