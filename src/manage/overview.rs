//! What `sidekick status` and `sidekick ls` show, made of what the store says: what is wrong first, then services, instances,
//! watchers and their targets. Pure.
//!
//! docs/json.md has the form of the JSON, which is kept. Times are seconds since 1970.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::model::catalog::Catalog;
use crate::model::date::{Date, length, time_of_day};
use crate::model::instance::{Instance, ServiceName};
use crate::model::key::Key;
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::model::printable::Printable;
use crate::model::problems::{Level, Problem, folded, problems};
use crate::model::report::counted;
use crate::model::screen::{Screen, Tone};
use crate::model::target_status::TargetStatus;
use crate::model::text_table::{Cell, Fit, Table};
use crate::model::times::LeaseTime;
use crate::model::update::Revision;
use crate::model::watcher_entry::{Seen, Watcher, Watchers};

/// Everything that the store says.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    /// The service that was asked for; all of them without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// The revision of the store.
    revision: u64,
    /// What is wrong, the worst first.
    pub(super) problems: Vec<Problem>,
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
    host: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ports: BTreeMap<String, u16>,
    state: &'static str,
    /// Since when it has this state, unless it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_since: Option<u64>,
    /// Who has put it into this state: `operator` or `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    announced_at: Option<u64>,
    #[serde(skip_serializing_if = "Lease::is_unknown")]
    lease: Lease,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: BTreeMap<String, String>,
}

/// How long the keys of an instance stand without another keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Lease {
    /// Nobody has asked, or the store does not say.
    Unknown,
    /// They hang on no lease: somebody has set them by hand, and they stay.
    None,
    /// In seconds: from the last keep-alive on, and from now on.
    Time {
        /// From the last keep-alive on.
        ttl: u64,
        /// From now on.
        left: u64,
    },
}

impl Lease {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// The times of the leases of all keys, if somebody has asked for them.
pub(super) type LeaseTimes = Option<BTreeMap<Key, LeaseTime>>;

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

/// A service, and how many of its instances are in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ServiceRow {
    service: String,
    up: usize,
    drain: usize,
    maint: usize,
}

/// What the store says now.
pub(super) struct StoreState<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) watchers: &'a Watchers,
    pub(super) missing: &'a BTreeMap<String, Seen>,
    pub(super) leases: &'a LeaseTimes,
    pub(super) revision: Revision,
}

/// How tables are drawn, and at which time.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableStyle {
    pub(super) screen: Screen,
    /// With attributes, however wide the tables become.
    pub(super) is_wide: bool,
    /// The time, in seconds since 1970.
    pub(super) now: u64,
}

impl TableStyle {
    fn screen(self) -> Screen {
        Screen {
            width: self.screen.width.filter(|_| !self.is_wide),
            ..self.screen
        }
    }
}

impl Overview {
    /// Of one service, or of all.
    pub(super) fn new(state: &StoreState<'_>, service: Option<&ServiceName>) -> Self {
        let dir = service.map(|service| state.catalog.prefix().join(service.as_str()));
        let serves = |watcher: &Watcher| match &dir {
            Some(dir) => watcher.applied_at(dir).is_some(),
            None => true,
        };
        let watchers = || state.watchers.iter().filter(|(_, one)| serves(one));
        Self {
            service: service.map(ToString::to_string),
            revision: state.revision.0,
            problems: problems(watchers(), state.catalog, state.missing),
            instances: instances(state.catalog, state.leases, service),
            watchers: watchers()
                .map(|(id, one)| watcher_row(id, one, state.watchers, dir.as_ref()))
                .collect(),
            missing: state.missing.iter().map(missing_row).collect(),
        }
    }

    /// What is wrong, as lines; empty if nothing is. Where a person reads them, those that many hosts have are one.
    pub(super) fn problem_lines(&self, style: TableStyle) -> String {
        if self.problems.is_empty() {
            return String::new();
        }
        let mut text = format!("{}:\n", counted(self.problems.len(), "problem"));
        let problems = match style.screen().width {
            Some(_) => &folded(&self.problems),
            None => &self.problems,
        };
        for problem in problems {
            let tone = match problem.level {
                Level::Error => Tone::Bad,
                Level::Warning => Tone::Notice,
            };
            let sentence = format!("{}{}", Printable(&problem.text), times(problem, style.now));
            let lines = style.screen().wrap(&sentence, 4);
            let _ = writeln!(text, "  {}", style.screen.paint(tone, &lines));
        }
        text
    }

    /// As tables, and what is wrong above them.
    pub(super) fn tables(&self, style: TableStyle) -> String {
        let mut parts = vec![self.problem_lines(style)];
        if self.service.is_none() {
            parts.push(service_table(&service_rows(&self.instances), style));
        }
        parts.push(instance_table(&self.instances, style));
        parts.push(self.watcher_table(style));
        parts.push(self.target_table(style));
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() {
            parts.push("nothing is announced, and nobody watches\n".to_owned());
        }
        parts.join("\n")
    }

    fn watcher_table(&self, style: TableStyle) -> String {
        let mut table = Table::new(&[
            ("WATCHER", Fit::Shorten),
            ("HOST", Fit::Shorten),
            ("VERSION", Fit::Whole),
            ("APPLIED", Fit::Whole),
            ("BEHIND", Fit::Whole),
            ("OLD WORKERS", Fit::Whole),
        ]);
        for one in &self.watchers {
            table.push(vec![
                Cell::plain(&one.id),
                Cell::plain(&one.host),
                Cell::plain(&one.version),
                Cell::of(Some(one.applied)),
                Cell::of(Some(one.behind)),
                Cell::of(Some(one.old_workers).filter(|count| *count > 0)),
            ]);
        }
        draw(&table, style)
    }

    fn target_table(&self, style: TableStyle) -> String {
        let mut table = Table::new(&[
            ("TARGET", Fit::Shorten),
            ("HOST", Fit::Shorten),
            ("STATE", Fit::Whole),
            ("SINCE", Fit::Whole),
            ("REVISION", Fit::Whole),
        ]);
        for watcher in &self.watchers {
            for one in &watcher.targets {
                table.push(vec![
                    Cell::plain(&one.name),
                    Cell::plain(&watcher.host),
                    state_of(one),
                    Cell::of(one.since.map(|at| time_of_day(at, style.now))),
                    Cell::of(one.revision),
                ]);
            }
        }
        draw(&table, style)
    }
}

/// A table with its head, or nothing at all if it has no rows.
fn draw(table: &Table, style: TableStyle) -> String {
    if table.is_empty() {
        String::new()
    } else {
        table.draw(style.screen())
    }
}

fn times(problem: &Problem, now: u64) -> String {
    let time =
        |word: &str, at: Option<u64>| at.map(|at| format!("{word} {}", time_of_day(at, now)));
    let times = [time("since", problem.since), time("until", problem.until)];
    let times: Vec<String> = times.into_iter().flatten().collect();
    if times.is_empty() {
        String::new()
    } else {
        format!(" ({})", times.join(", "))
    }
}

/// Services with the numbers of their instances, sorted.
pub(super) fn service_rows(instances: &[InstanceRow]) -> Vec<ServiceRow> {
    let mut all: BTreeMap<&str, ServiceRow> = BTreeMap::new();
    for one in instances {
        let row = all.entry(&one.service).or_insert_with(|| ServiceRow {
            service: one.service.clone(),
            up: 0,
            drain: 0,
            maint: 0,
        });
        match one.state {
            "up" => row.up += 1,
            "drain" => row.drain += 1,
            _ => row.maint += 1,
        }
    }
    all.into_values().collect()
}

pub(super) fn service_table(rows: &[ServiceRow], style: TableStyle) -> String {
    let mut table = Table::new(&[
        ("SERVICE", Fit::Shorten),
        ("UP", Fit::Whole),
        ("DRAIN", Fit::Whole),
        ("MAINT", Fit::Whole),
    ]);
    let number = |count: usize, tone: Tone| {
        let tone = if count > 0 { tone } else { Tone::Plain };
        Cell::toned(tone, &count.to_string())
    };
    for one in rows {
        let up = if one.up > 0 { Tone::Good } else { Tone::Bad };
        table.push(vec![
            Cell::plain(&one.service),
            Cell::toned(up, &one.up.to_string()),
            number(one.drain, Tone::Notice),
            number(one.maint, Tone::Notice),
        ]);
    }
    draw(&table, style)
}

pub(super) fn instance_table(instances: &[InstanceRow], style: TableStyle) -> String {
    let since = if style.is_wide { "SINCE" } else { "FOR" };
    let mut table = Table::new(&[
        ("INSTANCE", Fit::Shorten),
        ("ADDRESS", Fit::Whole),
        ("STATE", Fit::Whole),
        (since, Fit::Whole),
        ("BY", Fit::Whole),
        ("WEIGHT", Fit::Whole),
        ("AGE", Fit::Whole),
        ("LEASE", Fit::Whole),
        ("ATTRIBUTES", Fit::Whole),
    ]);
    for one in instances {
        let tone = if one.state == "up" {
            Tone::Good
        } else {
            Tone::Notice
        };
        let attrs = one.attrs.iter().filter(|_| style.is_wide);
        let attrs: Vec<String> = attrs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        table.push(vec![
            Cell::plain(&format!("{}/{}", one.service, one.id)),
            Cell::plain(&one.addr),
            Cell::toned(tone, one.state),
            Cell::of(one.state_since.map(|at| {
                if style.is_wide {
                    Date::from_unix(at).to_string()
                } else {
                    length(style.now.saturating_sub(at))
                }
            })),
            Cell::of(one.state_by),
            Cell::of(one.weight),
            Cell::of(
                one.announced_at
                    .map(|at| length(style.now.saturating_sub(at))),
            ),
            Cell::of(match one.lease {
                Lease::Unknown => None,
                Lease::None => Some("none".to_owned()),
                Lease::Time { ttl, left } => Some(format!("{left}/{ttl} s")),
            }),
            Cell::plain(&attrs.join(" ")),
        ]);
    }
    draw(&table, style)
}

/// The instances of one service, or of all, sorted.
pub(super) fn instances(
    catalog: &Catalog,
    leases: &LeaseTimes,
    service: Option<&ServiceName>,
) -> Vec<InstanceRow> {
    let lease = |one: &Instance| {
        let dir = keyspace::dir(catalog.prefix(), one.service.as_str(), one.id.as_str());
        let Some(leases) = leases else {
            return Lease::Unknown;
        };
        let time = leases.get(dir.join("ip").as_str());
        time.map_or(Lease::None, |time| Lease::Time {
            ttl: time.ttl,
            left: time.left,
        })
    };
    let row = |one: &Instance| InstanceRow {
        state_since: one.times.state_since.map(|since| since.at),
        state_by: one.times.state_since.map(|since| since.by.as_str()),
        announced_at: one.times.announced_at,
        lease: lease(one),
        service: one.service.to_string(),
        id: one.id.to_string(),
        addr: one.addr().to_string(),
        host: one.host(),
        ports: one
            .ports
            .named()
            .iter()
            .map(|(name, port)| (name.as_str().to_owned(), *port))
            .collect(),
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

/// How a target stands, in a word or two.
fn state_of(target: &TargetStatus) -> Cell {
    let mut words = Vec::new();
    if let Some(failing) = &target.failing {
        words.push(format!("failing at {}", failing.step));
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
        [] if target.since.is_none() => Cell::toned(Tone::Notice, "starting"),
        [] => Cell::toned(Tone::Good, "good"),
        words if target.is_wrong() => Cell::toned(Tone::Bad, &words.join(", ")),
        words => Cell::toned(Tone::Notice, &words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::Value;
    use crate::model::target_status::{Failing, HeldService};
    use crate::model::update::{Snapshot, Update};
    use crate::model::watcher_entry::Applied;

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
        let state = StoreState {
            catalog,
            watchers: &watchers(all),
            missing,
            leases: &None,
            revision: Revision(9),
        };
        let style = TableStyle {
            screen: Screen::default(),
            is_wide: false,
            now: AT + 60,
        };
        Overview::new(&state, None).tables(style)
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
             WATCHER           HOST     VERSION  APPLIED  BEHIND\n\
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
             haproxy on proxy-1 fails: check: line 3 is wrong (since 03:12 UTC)\n  \
             proxy-1 goes on with its old configuration, since the new one is wrong: a.toml:3: no\n  \
             the watcher of haproxy on proxy-3 is gone, and nobody has taken its place: z-1-2\n  \
             haproxy on proxy-1 still serves 2 instances of web that the store has no more: none is left; \
             `sidekick guard release haproxy` there ends that (since 03:12 UTC, until 03:13 UTC)\n  \
             /services/web/a breaks a rule, and no watcher serves it: ip \"no address\" is not usable: it is neither an \
             IPv4 nor an IPv6 address (without brackets)\n  \
             haproxy on proxy-1 serves what the store said before: the watcher does not reach it (since 2026-11-25 \
             03:12 UTC)"
        );
        assert!(
            rest.contains("x        proxy-1  0.1.0    7        2\n"),
            "{rest}"
        );
        assert!(rest.contains("failing at check, held, stale"), "{rest}");
    }

    #[test]
    fn what_many_hosts_have_is_one_sentence_on_a_terminal_and_whole_elsewhere() {
        let failing = || TargetStatus {
            failing: Some(Failing::new(AT, "check", "no")),
            ..target("haproxy")
        };
        let hosts = ["lb-1", "lb-2", "lb-3", "lb-4", "lb-5"];
        let all = hosts.map(|host| (host, watcher(host, 9, vec![failing()])));
        let state = StoreState {
            catalog: &catalog(&[]),
            watchers: &watchers(&all),
            missing: &BTreeMap::new(),
            leases: &None,
            revision: Revision(9),
        };
        let lines = |width: Option<usize>, is_wide: bool| {
            let screen = Screen {
                width,
                ..Screen::default()
            };
            let style = TableStyle {
                screen,
                is_wide,
                now: AT + 60,
            };
            Overview::new(&state, None).problem_lines(style)
        };
        assert_eq!(
            lines(Some(100), false),
            "5 problems:\n  \
             haproxy on lb-1, lb-2, lb-3 and 2 other hosts fails: check: no (since 03:12 UTC)\n"
        );
        assert_eq!(lines(Some(100), true).lines().count(), 6);
        assert_eq!(lines(None, false).lines().count(), 6);
    }
}
