//! The admin endpoint of `sidekick watch`. Adapter.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use super::change_latency::ChangeClocks;
use super::exposition::{Gauges, flag, timestamp, wall_seconds};
use super::liveness::LoopBeat;
use super::routes::{Board, Endpoint};
use crate::model::report::counted;
use crate::model::target_status::{HeldService, TargetStatus};
use crate::system::http_server::Server;

/// The buckets in seconds: from a runtime change of HAProxy to a reload that had to be repeated.
const APPLIED_BUCKETS: [f64; 15] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// The outcomes of a publish, as values of the label `outcome`.
pub const OUTCOMES: [&str; 8] = [
    "good",
    "would_change",
    "reload_owed",
    "refused_before",
    "overtaken",
    "given_up",
    "failed",
    "refused",
];

/// The end of one publish.
#[derive(Debug)]
pub struct PublishEnd<'a> {
    /// The target.
    pub target: &'a str,
    /// One of [`OUTCOMES`].
    pub outcome: &'static str,
    /// The step that failed, if one did.
    pub failed_step: Option<&'static str>,
    /// Whether the publish has asked for a reload.
    pub has_reloaded: bool,
    /// Whether the files are up to date and in force.
    pub is_good: bool,
    /// How long the publish took.
    pub took: Duration,
    /// How many runtime changes of `HAProxies` it has made.
    pub runtime_changes: u64,
}

/// The status of the watcher and its targets.
#[derive(Debug, Clone, Default)]
pub struct WatchStatus {
    /// All targets, also those whose configuration is wrong.
    pub targets: Vec<TargetStatus>,
    /// The mistake because of which the newest configuration is not in force.
    pub config: Option<String>,
    /// Whether the store answers; `None` until it has answered once.
    pub is_store_up: Option<bool>,
    /// Why it does not answer.
    pub outage: Option<String>,
    /// Whether every target has been published.
    pub is_ready: bool,
    /// How many instances the store has below the followed paths.
    pub instances: usize,
    /// The time at which this process has written the snapshot on disk last.
    pub snapshot_written: Option<Instant>,
    /// How many old workers there are.
    pub old_workers: usize,
    /// The time at which the entry of this watcher expires unless it is renewed.
    pub lease_expires: Option<Instant>,
}

type OfTarget = [(&'static str, String); 1];
type OfTwo = [(&'static str, String); 2];

/// The loop reports its events to this. Dropping it ends the server.
#[derive(Debug, Default)]
pub struct WatchAdmin {
    endpoint: Option<Endpoint<WatchBoard>>,
}

#[derive(Debug)]
struct WatchBoard {
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A description of the store.
    store: String,
    status: WatchStatus,
    clocks: ChangeClocks,
    /// The last good publish of each target, in seconds since 1970.
    good_at: BTreeMap<String, f64>,
}

#[derive(Debug, Clone)]
struct Metrics {
    applied: Family<OfTarget, Histogram, fn() -> Histogram>,
    duration: Family<OfTarget, Histogram, fn() -> Histogram>,
    publishes: Family<OfTwo, Counter>,
    failures: Family<OfTwo, Counter>,
    reloads: Family<OfTwo, Counter>,
    runtime_changes: Family<OfTarget, Counter>,
    outages: Counter,
}

impl WatchAdmin {
    /// Starts to answer for a watcher of `store`, a description without secrets.
    pub fn start(server: Server, store: String) -> io::Result<Self> {
        let mut registry = Registry::default();
        let state = State {
            store,
            ..State::default()
        };
        let board = WatchBoard {
            metrics: Metrics::register(&mut registry),
            state: Mutex::new(state),
        };
        let endpoint = Some(Endpoint::start(server, board, registry)?);
        Ok(Self { endpoint })
    }

    /// Whether there is an admin endpoint.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.endpoint.is_some()
    }

    /// The beat for the loop.
    #[must_use]
    pub fn loop_beat(&self) -> LoopBeat {
        LoopBeat::new(self.endpoint.as_ref().map(Endpoint::beat))
    }

    /// Keys that this target follows have changed.
    pub fn changed(&self, target: &str) {
        if let Some(endpoint) = &self.endpoint {
            endpoint
                .board
                .state()
                .clocks
                .changed(target, Instant::now());
        }
    }

    /// A publish begins.
    pub fn publish_started(&self, target: &str) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.board.state().clocks.publish_started(target);
        }
    }

    /// A publish has ended.
    pub fn publish_ended(&self, end: &PublishEnd<'_>) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.board.publish_ended(end);
        }
    }

    /// The store does not answer any more.
    pub fn store_lost(&self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.board.metrics.outages.inc();
        }
    }

    /// Another store is in use; a description of it without secrets.
    pub fn store_moved(&self, store: String) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.board.state().store = store;
        }
    }

    /// Reports the status. `status` is called only if there is an admin endpoint.
    pub fn update_status(&self, status: impl FnOnce() -> WatchStatus) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.board.update_status(status());
        }
    }
}

impl WatchBoard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_ended(&self, end: &PublishEnd<'_>) {
        let target = [("target", end.target.to_owned())];
        let with =
            |label, value: &str| [("target", end.target.to_owned()), (label, value.to_owned())];
        let metrics = &self.metrics;
        metrics
            .publishes
            .get_or_create(&with("outcome", end.outcome))
            .inc();
        metrics
            .duration
            .get_or_create(&target)
            .observe(end.took.as_secs_f64());
        if let Some(step) = end.failed_step {
            metrics.failures.get_or_create(&with("step", step)).inc();
        }
        if end.has_reloaded {
            let result = if end.is_good { "made" } else { "failed" };
            metrics.reloads.get_or_create(&with("result", result)).inc();
        }
        if end.runtime_changes > 0 {
            let commands = metrics.runtime_changes.get_or_create(&target);
            commands.inc_by(end.runtime_changes);
        }
        let mut state = self.state();
        let took = state
            .clocks
            .publish_ended(end.target, Instant::now(), end.is_good);
        if let Some(took) = took {
            metrics
                .applied
                .get_or_create(&target)
                .observe(took.as_secs_f64());
        }
        if end.is_good {
            state.good_at.insert(end.target.to_owned(), wall_seconds());
        }
    }

    fn update_status(&self, status: WatchStatus) {
        let mut state = self.state();
        let names = |status: &WatchStatus| -> Vec<String> {
            status.targets.iter().map(|one| one.name.clone()).collect()
        };
        let now = names(&status);
        if now != names(&state.status) {
            state
                .clocks
                .retain(|target| now.iter().any(|name| name == target));
            state.good_at.retain(|target, _| now.contains(target));
            for target in &now {
                self.metrics.begin(target);
            }
        }
        state.status = status;
    }
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let applied = || Histogram::new(APPLIED_BUCKETS);
        let metrics = Self {
            applied: Family::new_with_constructor(applied),
            duration: Family::new_with_constructor(applied),
            publishes: Family::default(),
            failures: Family::default(),
            reloads: Family::default(),
            runtime_changes: Family::default(),
            outages: Counter::default(),
        };
        let shared = metrics.clone();
        registry.register(
            "sidekick_change_applied_seconds",
            "Seconds from the arrival of a change of the store until it is in force, by target",
            shared.applied,
        );
        registry.register(
            "sidekick_publish_duration_seconds",
            "Duration of publishes in seconds, with any outcome, by target",
            shared.duration,
        );
        registry.register(
            "sidekick_publishes",
            "Publishes by target and outcome",
            shared.publishes,
        );
        registry.register(
            "sidekick_publish_failures",
            "Publishes that failed, by target and the step that failed",
            shared.failures,
        );
        registry.register(
            "sidekick_reloads",
            "Reloads that publishes have asked for, by target and result; equal reloads of several targets are made once",
            shared.reloads,
        );
        registry.register(
            "sidekick_runtime_changes",
            "Servers of running HAProxies that were changed, added or removed without a reload, by target",
            shared.runtime_changes,
        );
        registry.register(
            "sidekick_store_outages",
            "How often the store has ceased to answer",
            shared.outages,
        );
        metrics
    }

    /// Creates the counters of a target with the value 0: `rate()` and `increase()` miss the first event of a counter that
    /// appears with it.
    fn begin(&self, target: &str) {
        let with = |label, value: &str| [("target", target.to_owned()), (label, value.to_owned())];
        for outcome in OUTCOMES {
            let _ = self.publishes.get_or_create(&with("outcome", outcome));
        }
        for result in ["made", "failed"] {
            let _ = self.reloads.get_or_create(&with("result", result));
        }
        let of = [("target", target.to_owned())];
        let _ = self.runtime_changes.get_or_create(&of);
        let _ = self.applied.get_or_create(&of);
        let _ = self.duration.get_or_create(&of);
    }
}

impl Board for WatchBoard {
    fn mode(&self) -> &'static str {
        "watch"
    }

    fn not_ready(&self) -> Vec<String> {
        let state = self.state();
        let status = &state.status;
        let mut whys = Vec::new();
        if status.is_store_up.is_none() {
            whys.push("the store has not answered yet".to_owned());
        }
        for target in &status.targets {
            let name = &target.name;
            match (&target.since, &target.failing) {
                (None, Some(failing)) => {
                    whys.push(format!(
                        "{name} has not been published: {}: {}",
                        failing.step, failing.why
                    ));
                }
                (None, None) if !status.is_ready => {
                    whys.push(format!("{name} has not been published yet"));
                }
                (None, None) | (Some(_), _) => {}
            }
            if target.stale.is_some() {
                let from = "the store has not answered since the start";
                whys.push(format!("{name} is rendered from the snapshot: {from}"));
            }
        }
        if whys.is_empty() && !status.is_ready {
            whys.push("not every target has been published".to_owned());
        }
        whys
    }

    fn notes(&self) -> Vec<String> {
        let state = self.state();
        let status = &state.status;
        let mut notes = Vec::new();
        if status.is_store_up == Some(false) {
            let why = status.outage.as_deref();
            let why = why.unwrap_or("the store does not answer");
            notes.push(format!("{why}; the live files stay as they are"));
        }
        if let Some(problem) = &status.config {
            notes.push(format!(
                "the new configuration is wrong, so the previous one is in force: {problem}"
            ));
        }
        for target in &status.targets {
            let name = &target.name;
            if let Some(failing) = target.failing.as_ref().filter(|_| target.since.is_some()) {
                notes.push(format!("{name} fails at {}: {}", failing.step, failing.why));
            }
            notes.extend(target.held.iter().map(|held| held_note(name, held)));
            if target.owed {
                notes.push(format!(
                    "{name} owes a reload, which has to wait for min_interval"
                ));
            }
        }
        notes
    }

    fn status(&self) -> Map<String, Value> {
        let state = self.state();
        let status = &state.status;
        let status = json!({
            "store": { "description": state.store, "up": status.is_store_up, "why": status.outage },
            "config": status.config,
            "targets": status.targets,
            "instances": status.instances,
            "old_workers": status.old_workers,
        });
        match status {
            Value::Object(status) => status,
            _ => Map::new(),
        }
    }

    fn gauges(&self, gauges: &mut Gauges<'_>) -> std::fmt::Result {
        let state = self.state();
        let status = &state.status;
        let targets = || status.targets.iter();
        let of = |name| (name, "target");
        gauges.write_one(
            "sidekick_store_up",
            "Whether the store answers; absent before its first answer.",
            status.is_store_up.map(flag),
        )?;
        gauges.write_one(
            "sidekick_config_wrong",
            "Whether the newest configuration cannot be used, so that the previous one is in force.",
            Some(flag(status.config.is_some())),
        )?;
        #[expect(clippy::cast_precision_loss, reason = "there are not so many")]
        let count = |count: usize| count as f64;
        gauges.write_one(
            "sidekick_instances_known",
            "Instances in the store below the followed paths.",
            Some(count(status.instances)),
        )?;
        gauges.write_one(
            "sidekick_old_workers",
            "Old workers of HAProxy and nginx, which still serve by earlier files.",
            Some(count(status.old_workers)),
        )?;
        gauges.write_one(
            "sidekick_lease_expires_timestamp_seconds",
            "When the lease ends unless it is renewed, in seconds since 1970.",
            status.lease_expires.map(timestamp),
        )?;
        gauges.write_one(
            "sidekick_snapshot_written_timestamp_seconds",
            "The last time at which this process wrote the snapshot, in seconds since 1970.",
            status.snapshot_written.map(timestamp),
        )?;
        gauges.write_by(
            of("sidekick_target_last_good_publish_timestamp_seconds"),
            "The last time at which the files were found or brought up to date, in seconds since 1970.",
            state
                .good_at
                .iter()
                .map(|(target, at)| (target.as_str(), *at)),
        )?;
        gauges.write_by(
            of("sidekick_target_failing"),
            "Whether the last publish failed, or the configuration of the target is wrong.",
            targets().map(|one| (one.name.as_str(), flag(one.failing.is_some()))),
        )?;
        gauges.write_by(
            of("sidekick_target_reload_owed"),
            "Whether a reload is owed that has to wait for min_interval.",
            targets().map(|one| (one.name.as_str(), flag(one.owed))),
        )?;
        gauges.write_by(
            of("sidekick_target_held"),
            "Whether the guard holds instances, or the files as a whole.",
            targets().map(|one| (one.name.as_str(), flag(!one.held.is_empty()))),
        )?;
        let held = |one: &TargetStatus| one.held.iter().map(|held| held.count).sum();
        gauges.write_by(
            of("sidekick_target_held_instances"),
            "Instances that the store has lost and the guard holds in the files.",
            targets().map(|one| (one.name.as_str(), count(held(one)))),
        )?;
        gauges.write_by(
            of("sidekick_target_stale"),
            "Whether the files are rendered from the snapshot, because the store has not answered since the start.",
            targets().map(|one| (one.name.as_str(), flag(one.stale.is_some()))),
        )?;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let written = targets().filter_map(|one| Some((one.name.as_str(), one.stale? as f64)));
        gauges.write_by(
            of("sidekick_target_snapshot_timestamp_seconds"),
            "The time at which the snapshot was written that the files are rendered from, in seconds since 1970; absent unless stale.",
            written,
        )
    }
}

/// The sentence about what the guard of a target holds.
fn held_note(target: &str, held: &HeldService) -> String {
    match &held.service {
        Some(service) => {
            let count = counted(held.count, "instance");
            format!(
                "the guard of {target} holds {count} of {service}: {}",
                held.why
            )
        }
        None => format!(
            "the guard of {target} leaves its file as it is: {}",
            held.why
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::routes::tests::metrics;
    use crate::model::target_status::Failing;

    fn board() -> (Arc<WatchBoard>, Registry) {
        let mut registry = Registry::default();
        let board = WatchBoard {
            metrics: Metrics::register(&mut registry),
            state: Mutex::default(),
        };
        (Arc::new(board), registry)
    }

    fn target(name: &str) -> TargetStatus {
        TargetStatus {
            name: name.to_owned(),
            since: Some(100),
            ..TargetStatus::default()
        }
    }

    fn status(targets: Vec<TargetStatus>) -> WatchStatus {
        WatchStatus {
            targets,
            is_store_up: Some(true),
            is_ready: true,
            ..WatchStatus::default()
        }
    }

    #[test]
    fn a_watcher_is_ready_when_it_has_published_every_target() {
        let (board, _) = board();
        assert_eq!(board.not_ready(), ["the store has not answered yet"]);
        board.update_status(status(vec![target("a"), target("b")]));
        assert_eq!(board.not_ready(), [""; 0]);
        let new = TargetStatus {
            since: None,
            failing: Some(Failing::new(1, "check", "refused")),
            ..target("b")
        };
        board.update_status(status(vec![target("a"), new]));
        assert_eq!(
            board.not_ready(),
            ["b has not been published: check: refused"]
        );
        let stale = TargetStatus {
            stale: Some(50),
            ..target("a")
        };
        board.update_status(status(vec![stale]));
        assert!(board.not_ready()[0].starts_with("a is rendered from the snapshot"));
    }

    #[test]
    fn trouble_that_does_not_keep_it_from_being_ready_is_a_note() {
        let (board, _) = board();
        let held = HeldService {
            service: Some("web".to_owned()),
            count: 3,
            since: 1,
            until: None,
            why: "too many".to_owned(),
        };
        let wrong = TargetStatus {
            failing: Some(Failing::new(1, "reload", "no answer")),
            held: vec![held],
            owed: true,
            ..target("a")
        };
        board.update_status(WatchStatus {
            is_store_up: Some(false),
            config: Some("a.toml:1: no".to_owned()),
            ..status(vec![wrong])
        });
        assert_eq!(board.not_ready(), [""; 0]);
        assert_eq!(board.notes().len(), 5, "{:?}", board.notes());
    }

    #[test]
    fn a_note_names_what_a_guard_holds() {
        let held = |service: Option<&str>, count| HeldService {
            service: service.map(str::to_owned),
            count,
            since: 1,
            until: None,
            why: "too many".to_owned(),
        };
        let (board, _) = board();
        board.update_status(status(vec![TargetStatus {
            held: vec![held(Some("web"), 1), held(Some("db"), 2), held(None, 0)],
            ..target("a")
        }]));
        assert_eq!(
            board.notes(),
            [
                "the guard of a holds 1 instance of web: too many",
                "the guard of a holds 2 instances of db: too many",
                "the guard of a leaves its file as it is: too many",
            ]
        );
    }

    #[test]
    fn a_change_is_measured_until_it_is_in_force() {
        let (board, registry) = board();
        board.update_status(status(vec![target("a")]));
        let end = |is_good| PublishEnd {
            target: "a",
            outcome: if is_good { "good" } else { "failed" },
            failed_step: (!is_good).then_some("check"),
            has_reloaded: is_good,
            is_good,
            took: Duration::from_millis(5),
            runtime_changes: 0,
        };
        board.state().clocks.changed("a", Instant::now());
        for is_good in [false, true, true] {
            board.state().clocks.publish_started("a");
            board.publish_ended(&end(is_good));
        }
        let text = metrics(Arc::clone(&board) as Arc<dyn Board>, registry);
        for line in [
            "sidekick_change_applied_seconds_count{target=\"a\"} 1",
            "sidekick_publish_duration_seconds_count{target=\"a\"} 3",
            "sidekick_publishes_total{target=\"a\",outcome=\"good\"} 2",
            "sidekick_publishes_total{target=\"a\",outcome=\"refused\"} 0",
            "sidekick_publish_failures_total{target=\"a\",step=\"check\"} 1",
            "sidekick_reloads_total{target=\"a\",result=\"made\"} 2",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        assert!(board.state().good_at.contains_key("a"));
        // A target that is gone leaves no gauge behind.
        board.update_status(status(Vec::new()));
        assert!(board.state().good_at.is_empty());
    }
}
