//! One service under guard: what is there, what was lost, what of that is held. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{End, Event, Why};
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

/// Why and until when the losses are held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub(crate) why: Why,
    pub(crate) since: Instant,
    pub(crate) until: Option<Instant>,
}

impl Service {
    /// Takes an instance away; whether it was lost.
    pub(crate) fn lose(&mut self, now: Instant, id: InstanceId) -> bool {
        match self.here.remove(&id) {
            Some(instance) if instance.state == State::Up => {
                self.lost.insert(id, (instance, now));
                true
            }
            Some(_) | None => false,
        }
    }

    /// Begins, changes or ends a hold, after everything has been taken in.
    pub(crate) fn settle(
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
            let why = is_losing.then(|| self.excess(rules)).flatten()?;
            return Some(self.begin(now, why, rules, name));
        };
        if self.lost.is_empty() {
            return Some(self.free(name, End::Returned));
        }
        match hold.until {
            Some(_) if is_empty => {
                let since = hold.since;
                Some(self.begin(since, Why::Empty, rules, name))
            }
            Some(at) if now >= at => Some(self.free(name, End::Over)),
            // The first one is back: the others get the time of a hold to follow.
            None if !is_empty => {
                hold.until = Some(now + rules.hold);
                None
            }
            Some(_) | None => None,
        }
    }

    /// Which limit the losses exceed.
    fn excess(&self, rules: &Rules) -> Option<Why> {
        let (here, lost) = (self.here.len(), self.lost.len());
        if here == 0 && rules.on_empty == OnEmpty::Hold {
            Some(Why::Empty)
        } else if here < rules.min_instances {
            Some(Why::Few)
        } else if rules.max_drop.is_exceeded_by(lost, here + lost) {
            Some(Why::Drop)
        } else {
            None
        }
    }

    pub(crate) fn begin(
        &mut self,
        since: Instant,
        why: Why,
        rules: &Rules,
        name: &ServiceName,
    ) -> Event {
        let until = (why != Why::Empty).then(|| since + rules.hold);
        self.hold = Some(Hold { why, since, until });
        Event::Held {
            service: name.clone(),
            why,
            lost: self.lost.keys().cloned().collect(),
            left: self.here.len(),
        }
    }

    pub(crate) fn free(&mut self, name: &ServiceName, end: End) -> Event {
        self.hold = None;
        let lost = std::mem::take(&mut self.lost);
        Event::Freed {
            service: name.clone(),
            end,
            lost: lost.into_keys().collect(),
        }
    }
}
