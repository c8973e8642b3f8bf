//! What is wrong, in sentences, as the store tells it: the same for `sidekick status` and the dashboard. Pure.
//!
//! A sentence has no time in it, so that it stays the same while what it tells of does; the times stand beside it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalog::Catalog;
use super::instance::State;
use super::report::{counted, enumerate};
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
    /// How it is said of several hosts at once, if it is about one.
    #[serde(skip)]
    of_host: Option<OfHost>,
}

/// A sentence about a host as it is said of several: what stands before their names and behind them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct OfHost {
    host: String,
    before: String,
    after: String,
}

/// Of more hosts than this, the sentence that holds for all of them is said once.
const FEW: usize = 3;

impl Problem {
    fn new(level: Level, about: String, text: String) -> Self {
        Self {
            level,
            about,
            text,
            since: None,
            until: None,
            of_host: None,
        }
    }

    /// About this host: the text is what stands before its name, the name, and what stands behind it.
    fn of_host(level: Level, about: String, before: String, host: &str, after: String) -> Self {
        let problem = Self::new(level, about, format!("{before}{host}{after}"));
        problem.for_many(before, host, after)
    }

    /// Says how several hosts have it.
    fn for_many(self, before: String, host: &str, after: String) -> Self {
        let host = host.to_owned();
        Self {
            of_host: Some(OfHost {
                host,
                before,
                after,
            }),
            ..self
        }
    }

    /// What it has in common with the same problem of another host.
    fn kind(&self) -> (Level, Option<(&str, &str)>) {
        let of_host = self.of_host.as_ref();
        let words = of_host.map(|one| (one.before.as_str(), one.after.as_str()));
        (self.level, words)
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
            let (host, since) = (&watcher.host, format!("since the new one is wrong: {why}"));
            let text = format!("{host} goes on with its old configuration, {since}");
            let many = format!(" go on with their old configuration, {since}");
            let problem = Problem::new(Level::Error, about_watcher(id), text);
            found.push(problem.for_many(String::new(), host, many));
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
    let name = &target.name;
    let mut add = |level, about, after, since, until| {
        let problem = Problem::of_host(level, about, format!("{name} on "), host, after);
        found.push(Problem {
            until,
            ..problem.since(since)
        });
    };
    if let Some(failing) = &target.failing {
        let after = format!(" fails: {}: {}", failing.step, failing.why);
        add(Level::Error, about_watcher(id), after, failing.since, None);
    }
    for held in &target.held {
        let about = held.service.as_ref();
        let about = about.map_or_else(|| about_watcher(id), |service| format!("service:{service}"));
        let after = format!(" {}", of_guard(name, held));
        add(Level::Warning, about, after, held.since, held.until);
    }
    if let Some(stale) = target.stale {
        let after = " serves what the store said before: the watcher does not reach it".to_owned();
        add(Level::Warning, about_watcher(id), after, stale, None);
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
    let (host, before) = (&seen.host, format!("the watcher{of} on "));
    let after = " is gone, and nobody has taken its place".to_owned();
    let text = format!("{before}{host}{after}: {id}");
    let problem = Problem::new(Level::Error, about_watcher(id), text);
    problem.for_many(before, host, after)
}

/// The same for a person who reads from the top: what is wrong with many hosts is said once, in place of the first of them.
#[must_use]
pub fn folded(problems: &[Problem]) -> Vec<Problem> {
    let mut alike: BTreeMap<_, Vec<&Problem>> = BTreeMap::new();
    for problem in problems {
        alike.entry(problem.kind()).or_default().push(problem);
    }
    let mut folded = Vec::new();
    for problem in problems {
        match (&problem.of_host, alike.get(&problem.kind())) {
            (Some(of_host), Some(all)) if all.len() > FEW => {
                if all[0] == problem {
                    folded.push(of_many(of_host, all));
                }
            }
            _ => folded.push(problem.clone()),
        }
    }
    folded
}

/// What several hosts have, as one problem.
fn of_many(of_host: &OfHost, all: &[&Problem]) -> Problem {
    let hosts = all.iter().filter_map(|one| one.of_host.as_ref());
    let mut hosts: Vec<&str> = hosts.map(|one| one.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let others = hosts.len().saturating_sub(FEW);
    let mut names: Vec<String> = hosts.iter().take(FEW).map(ToString::to_string).collect();
    names.extend((others > 0).then(|| counted(others, "other host")));
    let OfHost { before, after, .. } = of_host;
    Problem {
        text: format!("{before}{}{after}", enumerate(names)),
        since: all.iter().filter_map(|one| one.since).min(),
        until: all.iter().filter_map(|one| one.until).max(),
        ..all[0].clone()
    }
}

fn about_watcher(id: &str) -> String {
    format!("watcher:{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target_status::Failing;

    fn failing(host: &str, why: &str, since: u64) -> Vec<Problem> {
        let target = TargetStatus {
            name: "haproxy".to_owned(),
            failing: Some(Failing::new(since, "check", why)),
            ..TargetStatus::default()
        };
        let mut found = Vec::new();
        of_target(&format!("{host}-1"), host, &target, &mut found);
        found
    }

    #[test]
    fn what_many_hosts_have_is_said_once() {
        let hosts = ["lb-1", "lb-2", "lb-3", "lb-4", "lb-5"];
        let said = |count: usize| {
            let same = hosts.iter().take(count).zip(10..);
            let same = same.flat_map(|(host, since)| failing(host, "no", since));
            let mut all: Vec<Problem> = same.chain(failing("lb-6", "other", 5)).collect();
            all.sort();
            let said = folded(&all).into_iter();
            said.map(|one| (one.text, one.since)).collect::<Vec<_>>()
        };
        assert_eq!(said(3).len(), 4);
        assert_eq!(said(3)[0].0, "haproxy on lb-1 fails: check: no");
        assert_eq!(
            said(5),
            [
                (
                    "haproxy on lb-1, lb-2, lb-3 and 2 other hosts fails: check: no".to_owned(),
                    Some(10)
                ),
                ("haproxy on lb-6 fails: check: other".to_owned(), Some(5)),
            ]
        );
    }

    #[test]
    fn what_is_about_no_host_is_never_folded() {
        let of = |service: &str| {
            let about = format!("service:{service}");
            Problem::new(Level::Error, about, format!("no instance of {service}"))
        };
        let all: Vec<Problem> = ["a", "b", "c", "d", "e"].map(of).into();
        assert_eq!(folded(&all), all);
    }
}
