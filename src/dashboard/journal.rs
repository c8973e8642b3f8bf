//! The journal: the last hundred changes that the dashboard has seen, in sentences. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::instance_key::InstanceKey;
use crate::model::catalog::InstanceChange;
use crate::model::instance::{AttrName, Instance, State};

/// How many changes are kept.
const KEPT: usize = 100;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    /// Its number, counted from the start of the dashboard.
    pub(super) number: u64,
    /// When the dashboard saw it, in milliseconds since its start.
    pub(super) at: u64,
    /// The name of the item that the change is about.
    pub(super) about: String,
    /// How the page shows it.
    pub(super) mood: Mood,
    /// The sentence.
    pub(super) text: String,
}

/// How the page shows a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mood {
    /// Something has come, or works again.
    Good,
    /// Something has changed.
    Plain,
    /// Something is gone, or fails.
    Bad,
}

/// The changes, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    events: VecDeque<Event>,
    next: u64,
}

impl Journal {
    /// Adds a change.
    pub(super) fn add(&mut self, now: Duration, about: &str, mood: Mood, text: String) {
        self.events.push_back(Event {
            number: self.next,
            at: millis(now),
            about: about.to_owned(),
            mood,
            text,
        });
        self.next += 1;
        while self.events.len() > KEPT {
            self.events.pop_front();
        }
    }

    /// All changes that are kept.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }
}

/// A time since the start in whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Describes the change of an instance in a sentence.
pub(super) fn describe(change: &InstanceChange) -> (Mood, String) {
    let key = InstanceKey::of(change);
    match (change.before.as_deref(), change.now.as_deref()) {
        (None, Some(one)) => (Mood::Good, format!("{key} has come, at {}", one.addr())),
        (Some(before), Some(now)) => {
            let mood = match (before.state, now.state) {
                (State::Drain | State::Maint, State::Up) => Mood::Good,
                (State::Up | State::Drain | State::Maint, _) => Mood::Plain,
            };
            (mood, format!("{key}: {}", differences(before, now)))
        }
        (Some(one), None) if one.state == State::Up => {
            (Mood::Bad, format!("{key} is gone without a drain"))
        }
        (Some(_), None) => (Mood::Plain, format!("{key} is gone after a drain")),
        (None, None) => (Mood::Plain, format!("{key} has changed")),
    }
}

fn differences(before: &Instance, now: &Instance) -> String {
    let mut parts = Vec::new();
    if before.state != now.state {
        let (old, new) = (before.state.as_str(), now.state.as_str());
        parts.push(format!("state {old} → {new}"));
    }
    if before.addr() != now.addr() {
        parts.push(format!("address {} → {}", before.addr(), now.addr()));
    }
    if before.weight != now.weight {
        let shown =
            |weight: Option<u16>| weight.map_or_else(|| "none".to_owned(), |one| one.to_string());
        let (old, new) = (shown(before.weight), shown(now.weight));
        parts.push(format!("weight {old} → {new}"));
    }
    if before.host != now.host {
        parts.push(format!("host {} → {}", before.host(), now.host()));
    }
    let names = before.attrs.keys().chain(now.attrs.keys());
    let mut changed: Vec<&str> = names
        .filter(|name| before.attrs.get(*name) != now.attrs.get(*name))
        .map(AttrName::as_str)
        .collect();
    changed.sort_unstable();
    changed.dedup();
    parts.extend((!changed.is_empty()).then(|| format!("attributes {}", changed.join(", "))));
    if parts.is_empty() {
        parts.push("ports".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_changes_are_kept() {
        let mut journal = Journal::default();
        for number in 0..250 {
            let at = Duration::from_millis(number);
            journal.add(at, "x", Mood::Plain, number.to_string());
        }
        let events: Vec<_> = journal.events().collect();
        assert_eq!(events.len(), KEPT);
        assert_eq!((events[0].number, events[0].at), (150, 150));
        assert_eq!(events[99].text, "249");
    }
}
