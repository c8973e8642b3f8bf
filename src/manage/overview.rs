//! What `sidekick status` and `sidekick ls` show, made of what the store says: what is wrong first, then services, instances,
//! watchers and their targets. Pure.
//!
//! The JSON is kept: fields may be added. Times are seconds since 1970.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::model::catalog::Catalog;
use crate::model::date::time_of_day;
use crate::model::instance::{Instance, ServiceName};
use crate::model::prefix::Prefix;
use crate::model::report::counted;
use crate::model::table::format_table;
use crate::model::target_status::{HeldService, TargetStatus};
use crate::model::update::Revision;
use crate::model::watchers::{Seen, Watcher, Watchers};

/// An id that is longer is shortened in a table, in the middle: its ends tell ids apart.
const ID: usize = 24;

/// Everything that the store says.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    /// The service that was asked for; all of them without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// The revision of the store.
    revision: u64,
    /// What is wrong, in sentences.
    pub(super) problems: Vec<String>,
    pub(super) instances: Vec<InstanceRow>,
    pub(super) watchers: Vec<WatcherRow>,
    /// Those that are gone without having stopped in order.
    missing: Vec<MissingRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct InstanceRow {
    service: String,
    id: String,
    addr: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub(super) struct WatcherRow {
    id: String,
    host: String,
    version: String,
    /// The last revision that its proxies have in use, of all that it serves.
    applied: u64,
    /// How many revisions the furthest watcher of the same paths is ahead of it.
    behind: u64,
    /// How many workers its proxies still have from before their last reloads.
    old_workers: usize,
    targets: Vec<TargetStatus>,
}

#[derive(Debug, Serialize)]
struct MissingRow {
    id: String,
    host: String,
    targets: Vec<String>,
}

/// How many instances of a service are in which state.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    up: usize,
    drain: usize,
    maint: usize,
}

/// What the store has said.
pub(super) struct Said<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) watchers: &'a Watchers,
    pub(super) missing: &'a BTreeMap<String, Seen>,
    pub(super) revision: Revision,
    /// Seconds since 1970.
    pub(super) now: u64,
}

impl Overview {
    /// Of one service, or of all.
    pub(super) fn new(said: &Said<'_>, service: Option<&ServiceName>) -> Self {
        let dir = service.map(|service| said.catalog.prefix().join(service.as_str()));
        let serves = |watcher: &Watcher| match &dir {
            Some(dir) => watcher.applied_at(dir).is_some(),
            None => true,
        };
        let watchers = || said.watchers.iter().filter(|(_, one)| serves(one));
        Self {
            service: service.map(ToString::to_string),
            revision: said.revision.0,
            problems: problems(said, watchers()),
            instances: instances(said.catalog, service),
            watchers: watchers()
                .map(|(id, one)| watcher_row(id, one, said.watchers, dir.as_ref()))
                .collect(),
            missing: said.missing.iter().map(missing_row).collect(),
        }
    }

    /// As tables, and what is wrong above them.
    pub(super) fn tables(&self, is_wide: bool, now: u64) -> String {
        let mut parts = Vec::new();
        if !self.problems.is_empty() {
            let mut text = format!("{}:\n", counted(self.problems.len(), "problem"));
            for problem in &self.problems {
                let _ = writeln!(text, "  {}", shown(problem));
            }
            parts.push(text);
        }
        if self.service.is_none() && !self.instances.is_empty() {
            parts.push(service_table(&counts(&self.instances)));
        }
        if !self.instances.is_empty() {
            parts.push(instance_table(&self.instances, is_wide));
        }
        if !self.watchers.is_empty() {
            parts.push(self.watcher_table());
            let targets = self.target_table(now);
            parts.extend(targets);
        }
        if parts.is_empty() {
            parts.push("nothing is announced, and nobody watches\n".to_owned());
        }
        parts.join("\n")
    }

    fn watcher_table(&self) -> String {
        let row = |one: &WatcherRow| {
            let old_workers = Some(one.old_workers).filter(|count| *count > 0);
            vec![
                shortened(&one.id),
                shortened(&one.host),
                shown(&one.version),
                one.applied.to_string(),
                one.behind.to_string(),
                old_workers.map_or_else(String::new, |count| count.to_string()),
            ]
        };
        let head = [
            "WATCHER",
            "HOST",
            "VERSION",
            "APPLIED",
            "BEHIND",
            "OLD WORKERS",
        ];
        format_table(&head, self.watchers.iter().map(row).collect())
    }

    fn target_table(&self, now: u64) -> Option<String> {
        let row = |host: &str, one: &TargetStatus| {
            let since = one
                .since
                .map_or_else(String::new, |at| time_of_day(at, now));
            let revision = one.revision.map_or_else(String::new, |one| one.to_string());
            vec![
                shortened(&one.name),
                shortened(host),
                state_of(one),
                since,
                revision,
            ]
        };
        let rows: Vec<Vec<String>> = self
            .watchers
            .iter()
            .flat_map(|one| one.targets.iter().map(|target| row(&one.host, target)))
            .collect();
        let head = ["TARGET", "HOST", "STATE", "SINCE", "REVISION"];
        (!rows.is_empty()).then(|| format_table(&head, rows))
    }
}

/// Services with the number of their instances.
pub(super) fn counts(instances: &[InstanceRow]) -> BTreeMap<String, Counts> {
    let mut all: BTreeMap<String, Counts> = BTreeMap::new();
    for one in instances {
        let counts = all.entry(one.service.clone()).or_default();
        match one.state {
            "up" => counts.up += 1,
            "drain" => counts.drain += 1,
            _ => counts.maint += 1,
        }
    }
    all
}

pub(super) fn service_table(counts: &BTreeMap<String, Counts>) -> String {
    let row = |(service, counts): (&String, &Counts)| {
        let numbers = [counts.up, counts.drain, counts.maint].map(|count| count.to_string());
        [vec![service.clone()], numbers.to_vec()].concat()
    };
    let rows = counts.iter().map(row).collect();
    format_table(&["SERVICE", "UP", "DRAIN", "MAINT"], rows)
}

/// Addresses are never shortened.
pub(super) fn instance_table(instances: &[InstanceRow], is_wide: bool) -> String {
    let row = |one: &InstanceRow| {
        let name = if is_wide {
            format!("{}/{}", one.service, one.id)
        } else {
            format!("{}/{}", one.service, shortened(&one.id))
        };
        let weight = one.weight.map_or_else(String::new, |one| one.to_string());
        let mut cells = vec![name, one.addr.clone(), one.state.to_owned(), weight];
        if is_wide {
            let attrs = one.attrs.iter();
            let attrs: Vec<String> = attrs
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            cells.push(shown(&attrs.join(" ")));
        }
        cells
    };
    let head = ["INSTANCE", "ADDRESS", "STATE", "WEIGHT", "ATTRIBUTES"];
    let head = &head[..if is_wide { 5 } else { 4 }];
    format_table(head, instances.iter().map(row).collect())
}

/// The instances of one service, or of all, sorted.
pub(super) fn instances(catalog: &Catalog, service: Option<&ServiceName>) -> Vec<InstanceRow> {
    let row = |one: &Instance| InstanceRow {
        service: one.service.to_string(),
        id: one.id.to_string(),
        addr: one.addr().to_string(),
        state: one.state.as_str(),
        weight: one.weight,
        attrs: one
            .attrs
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
            .collect(),
    };
    let all = catalog.services().iter();
    let wanted = all.filter(|(name, _)| service.is_none_or(|service| *name == service));
    wanted
        .flat_map(|(_, instances)| instances.values().map(|one| row(one)))
        .collect()
}

fn watcher_row(id: &str, one: &Watcher, all: &Watchers, dir: Option<&Prefix>) -> WatcherRow {
    let furthest = |path: &Prefix| {
        all.iter()
            .filter_map(|(_, other)| other.applied.get(path))
            .max()
    };
    let behind = |(path, applied): (&Prefix, &Revision)| {
        let furthest = furthest(path).unwrap_or(applied);
        furthest.0.saturating_sub(applied.0)
    };
    let (applied, behind) = match dir {
        // Those that serve it may do so by different paths.
        Some(dir) => {
            let applied = one.applied_at(dir).unwrap_or_default().0;
            let furthest = all.serving(dir).map(|(_, _, applied)| applied.0).max();
            (
                applied,
                furthest.unwrap_or_default().saturating_sub(applied),
            )
        }
        None => (
            one.applied
                .values()
                .map(|applied| applied.0)
                .min()
                .unwrap_or_default(),
            one.applied.iter().map(behind).max().unwrap_or_default(),
        ),
    };
    WatcherRow {
        id: id.to_owned(),
        host: one.host.clone(),
        version: one.version.clone(),
        applied,
        behind,
        old_workers: one.old_workers,
        targets: one.targets.clone(),
    }
}

fn missing_row((id, seen): (&String, &Seen)) -> MissingRow {
    MissingRow {
        id: id.clone(),
        host: seen.host.clone(),
        targets: seen.targets.iter().cloned().collect(),
    }
}

/// What is wrong, in sentences: first what fails, then what is missing, held and stale, then what is skipped.
fn problems<'a>(
    said: &Said<'_>,
    watchers: impl Iterator<Item = (&'a str, &'a Watcher)>,
) -> Vec<String> {
    let since = |seconds| time_of_day(seconds, said.now);
    let (mut failing, mut kept) = (Vec::new(), Vec::new());
    for (
        _,
        Watcher {
            host,
            config,
            targets,
            ..
        },
    ) in watchers
    {
        if let Some(why) = config {
            failing.push(format!(
                "{host}: the configuration is wrong, so the one of before is in force: {why}"
            ));
        }
        for target in targets {
            let name = format!("{host}: {}", target.name);
            if let Some(one) = &target.failing {
                failing.push(format!(
                    "{name} fails since {}: {}: {}",
                    since(one.since),
                    one.step,
                    one.why
                ));
            }
            for held in &target.held {
                kept.push(format!("{name}: {}", hold(held, &target.name, said.now)));
            }
            if let Some(stale) = target.stale {
                kept.push(format!(
                    "{name} is served from a snapshot of {}, since the store did not answer",
                    since(stale)
                ));
            }
        }
    }
    let missing = said.missing.iter().map(|(id, seen)| {
        let targets: Vec<&str> = seen.targets.iter().map(String::as_str).collect();
        format!(
            "{}: the watcher of {} is gone without having stopped: {id}",
            seen.host,
            targets.join(", ")
        )
    });
    failing.extend(missing);
    failing.extend(kept);
    let skipped = said.catalog.skipped().iter();
    failing.extend(skipped.map(|(dir, error)| format!("{dir} is served by nobody: {error}")));
    failing
}

fn hold(held: &HeldService, target: &str, now: u64) -> String {
    let since = time_of_day(held.since, now);
    let until = held.until.map_or_else(
        || "until it returns".to_owned(),
        |until| format!("until {}", time_of_day(until, now)),
    );
    let what = match &held.service {
        Some(service) => format!("{} of {service}", counted(held.count, "instance")),
        None => "the file as it is".to_owned(),
    };
    format!(
        "the guard holds {what} since {since}, {until}: {}; `sidekick guard release {target}` there ends that",
        held.why
    )
}

/// In a word or two.
fn state_of(target: &TargetStatus) -> String {
    let mut words = Vec::new();
    if let Some(failing) = &target.failing {
        words.push(format!("failing at {}", shown(&failing.step)));
    }
    if !target.held.is_empty() {
        words.push("held".to_owned());
    }
    if target.stale.is_some() {
        words.push("stale".to_owned());
    }
    if target.owed {
        words.push("reload owed".to_owned());
    }
    match words.as_slice() {
        [] if target.since.is_none() => "starting".to_owned(),
        [] => "good".to_owned(),
        words => words.join(", "),
    }
}

/// An id for a table, with its middle left out if it is long.
fn shortened(id: &str) -> String {
    let id = shown(id);
    let length = id.chars().count();
    if length <= ID {
        return id;
    }
    let head = id.chars().take(ID / 2);
    let tail = id.chars().skip(length - (ID - ID / 2 - 1));
    head.chain(['…']).chain(tail).collect()
}

/// Without what a terminal would take for a command: anybody may write into the store.
fn shown(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::{Key, Value};
    use crate::model::target_status::Failing;
    use crate::model::update::{Snapshot, Update};
    use crate::model::watchers::Applied;

    /// 2026-11-26 03:12 UTC.
    const AT: u64 = 1_795_662_720;

    fn catalog(keys: &[(&str, &str)]) -> Catalog {
        let prefix = Prefix::parse("/services").unwrap();
        let mut catalog = Catalog::new(prefix.clone());
        let entry = |(key, value): &(&str, &str)| {
            let key = format!("/services/{key}");
            (Key::from(key.as_str()), Value::from(value.as_bytes()))
        };
        let snapshot = Snapshot {
            revision: Revision(9),
            entries: keys.iter().map(entry).collect(),
        };
        catalog.apply(&prefix, Update::Reset(snapshot));
        catalog
    }

    fn watcher(host: &str, revision: u64, targets: Vec<TargetStatus>) -> Watcher {
        let path = Prefix::parse("/services").unwrap();
        Watcher {
            host: host.to_owned(),
            applied: Applied::from([(path, Revision(revision))]),
            version: "0.1.0".to_owned(),
            targets,
            ..Watcher::default()
        }
    }

    fn watchers(all: &[(&str, Watcher)]) -> Watchers {
        let mut watchers = Watchers::default();
        let entries = all.iter().flat_map(|(id, one)| {
            let publication = one.encode(id);
            let key = |field: &String| Key::from(publication.key(field));
            let fields = publication.fields.iter();
            fields
                .map(|(field, value)| (key(field), Value::from(value.as_slice())))
                .collect::<Vec<_>>()
        });
        watchers.apply(Update::Reset(Snapshot {
            revision: Revision(9),
            entries: entries.collect(),
        }));
        watchers
    }

    fn target(name: &str) -> TargetStatus {
        TargetStatus {
            name: name.to_owned(),
            since: Some(AT),
            revision: Some(7),
            ..TargetStatus::default()
        }
    }

    fn text(
        catalog: &Catalog,
        all: &[(&str, Watcher)],
        missing: &BTreeMap<String, Seen>,
    ) -> String {
        let said = Said {
            catalog,
            watchers: &watchers(all),
            missing,
            revision: Revision(9),
            now: AT + 60,
        };
        Overview::new(&said, None).tables(false, AT + 60)
    }

    #[test]
    fn all_is_well() {
        let catalog = catalog(&[
            ("web/a/ip", "10.0.0.1"),
            ("web/a/port", "80"),
            ("web/a/weight", "7"),
            ("web/b/ip", "10.0.0.2"),
            ("web/b/port", "80"),
            ("web/b/state", "drain"),
        ]);
        let one = watcher("proxy-1", 9, vec![target("haproxy")]);
        assert_eq!(
            text(&catalog, &[("proxy-1-123-00ab", one)], &BTreeMap::new()),
            "SERVICE  UP  DRAIN  MAINT\n\
             web      1   1      0\n\n\
             INSTANCE  ADDRESS      STATE  WEIGHT\n\
             web/a     10.0.0.1:80  up     7\n\
             web/b     10.0.0.2:80  drain\n\n\
             WATCHER           HOST     VERSION  APPLIED  BEHIND  OLD WORKERS\n\
             proxy-1-123-00ab  proxy-1  0.1.0    9        0\n\n\
             TARGET   HOST     STATE  SINCE      REVISION\n\
             haproxy  proxy-1  good   03:12 UTC  7\n"
        );
        assert_eq!(
            text(&self::catalog(&[]), &[], &BTreeMap::new()),
            "nothing is announced, and nobody watches\n"
        );
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let catalog = catalog(&[("web/a/ip", "no address"), ("web/a/port", "80")]);
        let wrong = TargetStatus {
            failing: Some(Failing::new(AT, "check", "line 3 is wrong")),
            held: vec![HeldService {
                service: Some("web".to_owned()),
                count: 2,
                since: AT,
                until: Some(AT + 60),
                why: "none is left".to_owned(),
            }],
            stale: Some(AT - 86_400),
            ..target("haproxy")
        };
        let mut one = watcher("proxy-1", 7, vec![wrong]);
        one.config = Some("a.toml:3: no".to_owned());
        let all = [("x", one), ("y", watcher("proxy-2", 9, Vec::new()))];
        let missing = BTreeMap::from([(
            "z-1-2".to_owned(),
            Seen {
                host: "proxy-3".to_owned(),
                targets: ["haproxy".to_owned()].into(),
            },
        )]);
        let text = text(&catalog, &all, &missing);
        let (problems, rest) = text.split_once("\n\n").unwrap();
        assert_eq!(
            problems,
            "6 problems:\n  \
             proxy-1: the configuration is wrong, so the one of before is in force: a.toml:3: no\n  \
             proxy-1: haproxy fails since 03:12 UTC: check: line 3 is wrong\n  \
             proxy-3: the watcher of haproxy is gone without having stopped: z-1-2\n  \
             proxy-1: haproxy: the guard holds 2 instances of web since 03:12 UTC, until 03:13 UTC: none is left; \
             `sidekick guard release haproxy` there ends that\n  \
             proxy-1: haproxy is served from a snapshot of 2026-11-25 03:12 UTC, since the store did not answer\n  \
             /services/web/a is served by nobody: ip \"no address\" is not usable: it is neither an IPv4 nor an IPv6 address (without brackets)"
        );
        assert!(
            rest.contains("x        proxy-1  0.1.0    7        2\n"),
            "{rest}"
        );
        assert!(rest.contains("failing at check, held, stale"), "{rest}");
    }

    #[test]
    fn long_ids_are_shortened_and_nothing_commands_a_terminal() {
        assert_eq!(
            shortened("a-rather-long-host-name-123-00abcdef"),
            "a-rather-lon…23-00abcdef"
        );
        assert_eq!(shown("a\u{1b}[31m\n"), "a\u{fffd}[31m\u{fffd}");
    }
}
