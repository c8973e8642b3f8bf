//! What is wrong, in sentences, the worst first. Pure.

use std::time::Duration;

use serde::Serialize;

use super::journal::millis;
use super::memory::Memory;
use crate::model::instance::{Instance, State};
use crate::model::report::counted;
use crate::model::target_status::{HeldService, TargetStatus};

/// How long a watcher may take to say that it has applied a change: it tells of most changes within 15 s only.
pub(super) const LAG: Duration = Duration::from_secs(30);

/// How bad it is; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Requests may fail, or a proxy no longer follows.
    Error,
    /// Somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Problem {
    pub(super) level: Level,
    /// The item of the page that it is about.
    pub(super) about: String,
    /// The sentence.
    pub(super) text: String,
    /// Since when, in milliseconds since the start of the dashboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<u64>,
    /// Since when, in seconds since 1970, by the clock of the watcher that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<u64>,
}

impl Problem {
    fn new(level: Level, about: String, text: String) -> Self {
        Self {
            level,
            about,
            text,
            at: None,
            since: None,
        }
    }

    fn at(self, at: Duration) -> Self {
        Self {
            at: Some(millis(at)),
            ..self
        }
    }

    fn since(self, since: u64) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }
}

/// Everything that is wrong.
pub(super) fn problems(memory: &Memory, now: Duration) -> Vec<Problem> {
    let mut found = Vec::new();
    for (id, watcher) in memory.watchers().iter() {
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
    of_services(memory, now, &mut found);
    for (dir, error) in memory.catalog().skipped() {
        let text = format!("{dir} breaks a rule, and no watcher serves it: {error}");
        let about = format!("skipped:{dir}");
        found.push(Problem::new(Level::Warning, about, text));
    }
    for (id, seen, at) in memory.missing() {
        let text = format!(
            "the watcher on {} is gone, and nobody has taken its place: {id}",
            seen.host
        );
        let problem = Problem::new(Level::Error, about_watcher(id), text);
        found.push(match at {
            Some(at) => problem.at(at),
            None => problem,
        });
    }
    found.sort();
    found
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
        let text = format!("{name} on {host} {}", of_guard(held));
        found.push(Problem::new(Level::Warning, about, text).since(held.since));
    }
    if let Some(stale) = target.stale {
        let text = format!(
            "{name} on {host} serves what the store said before: the watcher does not reach it"
        );
        found.push(Problem::new(Level::Warning, about, text).since(stale));
    }
}

fn of_guard(held: &HeldService) -> String {
    let why = &held.why;
    match &held.service {
        Some(service) => {
            let count = counted(held.count, "instance");
            format!("still serves {count} of {service} that the store has no more: {why}")
        }
        None => format!("is left as it is by its guard: {why}"),
    }
}

fn about_watcher(id: &str) -> String {
    format!("watcher:{id}")
}

fn of_services(memory: &Memory, now: Duration, found: &mut Vec<Problem>) {
    for (service, instances) in memory.catalog().services() {
        let about = format!("service:{service}");
        let is_up = |one: &Instance| one.state == State::Up;
        if !instances.values().any(|one| is_up(one)) {
            let count = counted(instances.len(), "instance");
            let text = format!("no instance of {service} is in service; it has {count}");
            found.push(Problem::new(Level::Error, about.clone(), text));
        }
        let Some(changed) = memory.service_changed(service) else {
            continue;
        };
        let Some(revision) = changed.revision else {
            continue;
        };
        if now.saturating_sub(changed.at) < LAG {
            continue;
        }
        let dir = memory.catalog().prefix().join(service.as_str());
        for (id, watcher, applied) in memory.watchers().serving(&dir) {
            if applied < revision {
                let text = format!(
                    "{} has not applied revision {revision} of {service}; it has {applied}",
                    watcher.host
                );
                let about = about_watcher(id);
                found.push(Problem::new(Level::Error, about, text).at(changed.at));
            }
        }
    }
}
