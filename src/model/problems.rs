//! What is wrong, in sentences, as the store tells it: the same for `sidekick status` and the dashboard. Pure.
//!
//! A sentence has no time in it, so that it stays the same while what it tells of does; the times stand beside it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalog::Catalog;
use super::instance::State;
use super::report::counted;
use super::target_status::{HeldService, TargetStatus};
use super::update::Revision;
use super::watcher_entry::{Seen, Watcher};

/// How bad it is; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Requests may fail, or a proxy no longer follows.
    Error,
    /// Somebody should look.
    Warning,
}

/// One thing that is wrong. Problems are sorted by their fields, in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// What it is about: `watcher:ID`, `service:NAME` or `skipped:PATH`.
    pub about: String,
    /// The sentence.
    pub text: String,
    /// Since when, in seconds since 1970, by the clock of the watcher that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Until when at most, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Problem {
    fn new(level: Level, about: String, text: String) -> Self {
        Self {
            level,
            about,
            text,
            since: None,
            until: None,
        }
    }

    fn since(self, since: u64) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }
}

/// Everything that these watchers, the catalog and the list of missing watchers tell, the worst first.
pub fn problems<'a>(
    watchers: impl Iterator<Item = (&'a str, &'a Watcher)>,
    catalog: &Catalog,
    missing: &BTreeMap<String, Seen>,
) -> Vec<Problem> {
    let mut found = Vec::new();
    for (id, watcher) in watchers {
        if let Some(why) = &watcher.config {
            let text = format!(
                "{} goes on with its old configuration, since the new one is wrong: {why}",
                watcher.host
            );
            found.push(Problem::new(Level::Error, about_watcher(id), text));
        }
        for target in &watcher.targets {
            of_target(id, &watcher.host, target, &mut found);
        }
    }
    for (service, instances) in catalog.services() {
        if !instances.values().any(|one| one.state == State::Up) {
            let count = counted(instances.len(), "instance");
            let text = format!("no instance of {service} is in service; it has {count}");
            found.push(Problem::new(
                Level::Error,
                format!("service:{service}"),
                text,
            ));
        }
    }
    for (dir, error) in catalog.skipped() {
        let text = format!("{dir} breaks a rule, and no watcher serves it: {error}");
        found.push(Problem::new(Level::Warning, format!("skipped:{dir}"), text));
    }
    found.extend(missing.iter().map(|(id, seen)| of_missing(id, seen)));
    found.sort();
    found
}

/// A watcher that should have applied a revision of a service by now.
#[must_use]
pub fn lagging(
    id: &str,
    watcher: &Watcher,
    service: &str,
    wanted: Revision,
    applied: Revision,
) -> Problem {
    let host = &watcher.host;
    let text = format!("{host} has not applied revision {wanted} of {service}; it has {applied}");
    Problem::new(Level::Error, about_watcher(id), text)
}

fn of_target(id: &str, host: &str, target: &TargetStatus, found: &mut Vec<Problem>) {
    let about = about_watcher(id);
    let name = &target.name;
    if let Some(failing) = &target.failing {
        let text = format!("{name} on {host} fails: {}: {}", failing.step, failing.why);
        found.push(Problem::new(Level::Error, about.clone(), text).since(failing.since));
    }
    for held in &target.held {
        let about = held.service.as_ref();
        let about = about.map_or_else(|| about_watcher(id), |service| format!("service:{service}"));
        let text = format!("{name} on {host} {}", of_guard(name, held));
        found.push(Problem {
            until: held.until,
            ..Problem::new(Level::Warning, about, text).since(held.since)
        });
    }
    if let Some(stale) = target.stale {
        let text = format!(
            "{name} on {host} serves what the store said before: the watcher does not reach it"
        );
        found.push(Problem::new(Level::Warning, about, text).since(stale));
    }
}

fn of_guard(target: &str, held: &HeldService) -> String {
    let why = &held.why;
    let what = match &held.service {
        Some(service) => {
            let count = counted(held.count, "instance");
            format!("still serves {count} of {service} that the store has no more: {why}")
        }
        None => format!("is left as it is by its guard: {why}"),
    };
    format!("{what}; `sidekick guard release {target}` there ends that")
}

fn of_missing(id: &str, seen: &Seen) -> Problem {
    let targets: Vec<&str> = seen.targets.iter().map(String::as_str).collect();
    let of = if targets.is_empty() {
        String::new()
    } else {
        format!(" of {}", targets.join(", "))
    };
    let text = format!(
        "the watcher{of} on {} is gone, and nobody has taken its place: {id}",
        seen.host
    );
    Problem::new(Level::Error, about_watcher(id), text)
}

fn about_watcher(id: &str) -> String {
    format!("watcher:{id}")
}
