//! What `sidekick watch` tells of itself. Adapter.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use super::beat::{Beat, LoopBeat};
use super::change_clock::ChangeClocks;
use super::exposition::{Gauges, flag, timestamp, wall_seconds};
use super::routes::{self, Board};
use crate::model::target_status::TargetStatus;
use crate::system::http_server::{Server, Serving};

/// From a change of a running HAProxy to a reload that somebody had to repeat, in seconds.
const APPLIED_BUCKETS: [f64; 15] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// How a publish can end, as the label `outcome` has it.
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
    /// The program was told to reload.
    pub has_reloaded: bool,
    /// Files and programs are as they should be.
    pub is_good: bool,
    /// How long it took.
    pub took: Duration,
    /// How many changes of running `HAProxies` were sent for it.
    pub runtime_changes: u64,
}

/// How things stand, apart from the publishes.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// All targets, also those whose configuration is wrong.
    pub targets: Vec<TargetStatus>,
    /// What is wrong with the configuration as a whole, if it is.
    pub config: Option<String>,
    /// Whether the store answers; not known before it has once.
    pub is_store_up: Option<bool>,
    /// Every target has been published.
    pub is_ready: bool,
    /// How many instances the store has of what is followed.
    pub instances: usize,
    /// When the snapshot on disk was written last by this process.
    pub snapshot_written: Option<Instant>,
    /// Workers of before the last reloads that are still there.
    pub old_workers: usize,
    /// When the entry of this watcher expires unless it is renewed.
    pub lease_expires: Option<Instant>,
}

type OfTarget = [(&'static str, String); 1];
type OfTwo = [(&'static str, String); 2];

/// What the loop writes to. Dropping it ends the server.
#[derive(Debug, Default)]
pub struct WatchAdmin {
    on: Option<On>,
}

#[derive(Debug)]
struct On {
    board: Arc<WatchBoard>,
    beat: Arc<Beat>,
    _serving: Serving,
}

#[derive(Debug)]
struct WatchBoard {
    store: String,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    standing: Standing,
    clocks: ChangeClocks,
    /// When each target was found as it should be last, in seconds since 1970.
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
    /// Answers for a watcher of `store`, which is a name without secrets.
    pub fn start(server: Server, store: String) -> io::Result<Self> {
        let mut registry = Registry::default();
        let board = Arc::new(WatchBoard {
            store,
            metrics: Metrics::register(&mut registry),
            state: Mutex::default(),
        });
        let beat = Arc::new(Beat::new());
        let shown = Arc::clone(&board) as Arc<dyn Board>;
        let serving = routes::serve(server, shown, Arc::clone(&beat), registry)?;
        let on = Some(On {
            board,
            beat,
            _serving: serving,
        });
        Ok(Self { on })
    }

    /// Whether anybody may look.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// What the loop beats.
    #[must_use]
    pub fn loop_beat(&self) -> LoopBeat {
        LoopBeat::new(self.on.as_ref().map(|on| Arc::clone(&on.beat)))
    }

    /// The store has said something that concerns this target.
    pub fn changed(&self, target: &str) {
        if let Some(on) = &self.on {
            on.board.state().clocks.changed(target, Instant::now());
        }
    }

    /// A publish begins.
    pub fn publish_started(&self, target: &str) {
        if let Some(on) = &self.on {
            on.board.state().clocks.publish_started(target);
        }
    }

    /// A publish has ended.
    pub fn publish_ended(&self, end: &PublishEnd<'_>) {
        if let Some(on) = &self.on {
            on.board.publish_ended(end);
        }
    }

    /// The store does not answer any more.
    pub fn store_lost(&self) {
        if let Some(on) = &self.on {
            on.board.metrics.outages.inc();
        }
    }

    /// How things stand now; `standing` is asked only if somebody may look.
    pub fn stands(&self, standing: impl FnOnce() -> Standing) {
        if let Some(on) = &self.on {
            on.board.stands(standing());
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

    fn stands(&self, standing: Standing) {
        let mut state = self.state();
        let names = |standing: &Standing| -> Vec<String> {
            standing
                .targets
                .iter()
                .map(|one| one.name.clone())
                .collect()
        };
        let now = names(&standing);
        if now != names(&state.standing) {
            state
                .clocks
                .retain(|target| now.iter().any(|name| name == target));
            state.good_at.retain(|target, _| now.contains(target));
            for target in &now {
                self.metrics.begin(target);
            }
        }
        state.standing = standing;
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
            "From the arrival of a change of the store to the moment when it is in force, by target",
            shared.applied,
        );
        registry.register(
            "sidekick_publish_duration_seconds",
            "How long a publish took, whatever its outcome, by target",
            shared.duration,
        );
        registry.register(
            "sidekick_publishes",
            "Publishes by target and outcome",
            shared.publishes,
        );
        registry.register(
            "sidekick_publish_failures",
            "Publishes that failed, by target and the step that did",
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

    /// From zero: a counter that appears with its first failure hides that failure from `rate()` and `increase()`.
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
        let standing = &state.standing;
        let mut whys = Vec::new();
        if standing.is_store_up.is_none() {
            whys.push("the store has not said anything yet".to_owned());
        }
        for target in &standing.targets {
            let name = &target.name;
            match (&target.since, &target.failing) {
                (None, Some(failing)) => {
                    whys.push(format!(
                        "{name} has not been published: {}: {}",
                        failing.step, failing.why
                    ));
                }
                (None, None) if !standing.is_ready => {
                    whys.push(format!("{name} has not been published yet"));
                }
                (None, None) | (Some(_), _) => {}
            }
            if target.stale.is_some() {
                let from = "the store has not answered since the start";
                whys.push(format!("{name} is rendered from the snapshot: {from}"));
            }
        }
        if whys.is_empty() && !standing.is_ready {
            whys.push("not every target has been published".to_owned());
        }
        whys
    }

    fn notes(&self) -> Vec<String> {
        let state = self.state();
        let standing = &state.standing;
        let mut notes = Vec::new();
        if standing.is_store_up == Some(false) {
            notes.push("the store does not answer; what is live stays as it is".to_owned());
        }
        if let Some(problem) = &standing.config {
            notes.push(format!(
                "the configuration is wrong, so the one of before is in force: {problem}"
            ));
        }
        for target in &standing.targets {
            let name = &target.name;
            if let Some(failing) = target.failing.as_ref().filter(|_| target.since.is_some()) {
                notes.push(format!("{name} fails at {}: {}", failing.step, failing.why));
            }
            let held: usize = target.held.iter().map(|held| held.count).sum();
            if !target.held.is_empty() {
                notes.push(format!("the guard of {name} holds {held} instances"));
            }
            if target.owed {
                notes.push(format!("{name} owes a reload, for which it is too early"));
            }
        }
        notes
    }

    fn status(&self) -> Map<String, Value> {
        let state = self.state();
        let standing = &state.standing;
        let status = json!({
            "store": { "description": self.store, "up": standing.is_store_up },
            "config": standing.config,
            "targets": standing.targets,
            "instances": standing.instances,
            "old_workers": standing.old_workers,
        });
        match status {
            Value::Object(status) => status,
            _ => Map::new(),
        }
    }

    fn gauges(&self, gauges: &mut Gauges<'_>) -> std::fmt::Result {
        let state = self.state();
        let standing = &state.standing;
        let targets = || standing.targets.iter();
        let of = |name| (name, "target");
        gauges.one(
            "sidekick_store_up",
            "Whether the store answers; absent before it has once.",
            standing.is_store_up.map(flag),
        )?;
        gauges.one(
            "sidekick_config_wrong",
            "Whether the configuration cannot be used, so that the one of before is in force.",
            Some(flag(standing.config.is_some())),
        )?;
        #[expect(clippy::cast_precision_loss, reason = "there are not so many")]
        let count = |count: usize| count as f64;
        gauges.one(
            "sidekick_instances_known",
            "Instances in the store of what is followed.",
            Some(count(standing.instances)),
        )?;
        gauges.one(
            "sidekick_old_workers",
            "Workers of HAProxy and nginx from before their last reloads that have not ended.",
            Some(count(standing.old_workers)),
        )?;
        gauges.one(
            "sidekick_lease_expires_timestamp_seconds",
            "When the lease ends unless it is renewed, in seconds since 1970.",
            standing.lease_expires.map(timestamp),
        )?;
        gauges.one(
            "sidekick_snapshot_written_timestamp_seconds",
            "When this process has written the snapshot last, in seconds since 1970.",
            standing.snapshot_written.map(timestamp),
        )?;
        gauges.by(
            of("sidekick_target_last_good_publish_timestamp_seconds"),
            "When the files were found or made as they should be last, in seconds since 1970.",
            state
                .good_at
                .iter()
                .map(|(target, at)| (target.as_str(), *at)),
        )?;
        gauges.by(
            of("sidekick_target_failing"),
            "Whether the last publish failed, or the configuration of the target is wrong.",
            targets().map(|one| (one.name.as_str(), flag(one.failing.is_some()))),
        )?;
        gauges.by(
            of("sidekick_target_reload_owed"),
            "Whether a reload is owed for which it is too early (min_interval).",
            targets().map(|one| (one.name.as_str(), flag(one.owed))),
        )?;
        gauges.by(
            of("sidekick_target_held"),
            "Whether the guard holds instances, or the files as a whole.",
            targets().map(|one| (one.name.as_str(), flag(!one.held.is_empty()))),
        )?;
        let held = |one: &TargetStatus| one.held.iter().map(|held| held.count).sum();
        gauges.by(
            of("sidekick_target_held_instances"),
            "Instances that the store has lost and the guard holds in the files.",
            targets().map(|one| (one.name.as_str(), count(held(one)))),
        )?;
        gauges.by(
            of("sidekick_target_stale"),
            "Whether the files are rendered from the snapshot, because the store has not answered since the start.",
            targets().map(|one| (one.name.as_str(), flag(one.stale.is_some()))),
        )?;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let written = targets().filter_map(|one| Some((one.name.as_str(), one.stale? as f64)));
        gauges.by(
            of("sidekick_target_snapshot_timestamp_seconds"),
            "When the snapshot was written from which the files are rendered, in seconds since 1970; absent unless stale.",
            written,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::routes::tests::metrics;
    use crate::model::target_status::{Failing, HeldService};

    fn board() -> (Arc<WatchBoard>, Registry) {
        let mut registry = Registry::default();
        let board = WatchBoard {
            store: "the store".to_owned(),
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

    fn standing(targets: Vec<TargetStatus>) -> Standing {
        Standing {
            targets,
            is_store_up: Some(true),
            is_ready: true,
            ..Standing::default()
        }
    }

    #[test]
    fn ready_is_who_has_published_every_target_from_what_the_store_says() {
        let (board, _) = board();
        assert_eq!(board.not_ready(), ["the store has not said anything yet"]);
        board.stands(standing(vec![target("a"), target("b")]));
        assert_eq!(board.not_ready(), [""; 0]);
        let new = TargetStatus {
            since: None,
            failing: Some(Failing::new(1, "check", "refused")),
            ..target("b")
        };
        board.stands(standing(vec![target("a"), new]));
        assert_eq!(
            board.not_ready(),
            ["b has not been published: check: refused"]
        );
        let stale = TargetStatus {
            stale: Some(50),
            ..target("a")
        };
        board.stands(standing(vec![stale]));
        assert!(board.not_ready()[0].starts_with("a is rendered from the snapshot"));
    }

    #[test]
    fn what_is_wrong_and_does_not_hinder_is_a_note() {
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
        board.stands(Standing {
            is_store_up: Some(false),
            config: Some("a.toml:1: no".to_owned()),
            ..standing(vec![wrong])
        });
        assert_eq!(board.not_ready(), [""; 0]);
        assert_eq!(board.notes().len(), 5, "{:?}", board.notes());
    }

    #[test]
    fn a_change_is_measured_until_it_is_in_force() {
        let (board, registry) = board();
        board.stands(standing(vec![target("a")]));
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
        board.stands(standing(Vec::new()));
        assert!(board.state().good_at.is_empty());
    }
}
