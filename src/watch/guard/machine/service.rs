//! One service under guard: what is there, what was lost, what of that is held. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{EndReason, Event, HoldReason};
use crate::model::catalog::Instances;
use crate::model::guard::{OnEmpty, Rules};
use crate::model::instance::{Instance, InstanceId, ServiceName, State};

/// One service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    pub(crate) here: Instances,
    /// While nothing is held: what was lost within the window. Else: what is held.
    pub(crate) lost: BTreeMap<InstanceId, (Arc<Instance>, Instant)>,
    pub(crate) hold: Option<Hold>,
}

/// Since when and until when the losses are held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub(crate) since: Instant,
    pub(crate) until: Option<Instant>,
}

impl Service {
    /// Takes an instance away; whether it was lost.
    pub(crate) fn remove(&mut self, now: Instant, id: InstanceId) -> bool {
        match self.here.remove(&id) {
            Some(instance) if instance.state == State::Up => {
                self.lost.insert(id, (instance, now));
                true
            }
            Some(_) | None => false,
        }
    }

    /// Begins, changes or ends a hold, after everything has been taken in.
    pub(crate) fn update_hold(
        &mut self,
        now: Instant,
        rules: &Rules,
        is_losing: bool,
        name: &ServiceName,
    ) -> Option<Event> {
        let is_empty = self.here.is_empty() && rules.on_empty == OnEmpty::Hold;
        let Some(hold) = &mut self.hold else {
            let recent = |at: Instant| now.saturating_duration_since(at) < rules.window;
            self.lost.retain(|_, (_, at)| recent(*at));
            let why = is_losing.then(|| self.exceeded_limit(rules)).flatten()?;
            return Some(self.begin_hold(now, why, rules, name));
        };
        if self.lost.is_empty() {
            return Some(self.end_hold(name, EndReason::Returned));
        }
        match hold.until {
            Some(_) if is_empty => {
                let since = hold.since;
                Some(self.begin_hold(since, HoldReason::Empty, rules, name))
            }
            Some(at) if now >= at => Some(self.end_hold(name, EndReason::Over)),
            // The first one is back: the others get the time of a hold to follow.
            None if !is_empty => {
                hold.until = Some(now + rules.hold);
                None
            }
            Some(_) | None => None,
        }
    }

    /// Which limit the losses exceed.
    pub(crate) fn exceeded_limit(&self, rules: &Rules) -> Option<HoldReason> {
        let (here, lost) = (self.here.len(), self.lost.len());
        if here == 0 && rules.on_empty == OnEmpty::Hold {
            Some(HoldReason::Empty)
        } else if here < rules.min_instances {
            Some(HoldReason::Few)
        } else if rules.max_drop.is_exceeded_by(lost, here + lost) {
            Some(HoldReason::Drop)
        } else {
            None
        }
    }

    pub(crate) fn begin_hold(
        &mut self,
        since: Instant,
        why: HoldReason,
        rules: &Rules,
        name: &ServiceName,
    ) -> Event {
        let until = (why != HoldReason::Empty).then(|| since + rules.hold);
        self.hold = Some(Hold { since, until });
        Event::Held {
            service: name.clone(),
            why,
            lost: self.lost.keys().cloned().collect(),
            left: self.here.len(),
        }
    }

    pub(crate) fn end_hold(&mut self, name: &ServiceName, end: EndReason) -> Event {
        self.hold = None;
        let lost = std::mem::take(&mut self.lost);
        Event::Freed {
            service: name.clone(),
            end,
            lost: lost.into_keys().collect(),
        }
    }
}
