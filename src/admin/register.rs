//! What `sidekick register` tells of itself. Adapter.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use super::beat::{Beat, LoopBeat};
use super::exposition::{Gauges, flag, timestamp};
use super::routes::{self, Board};
use crate::model::prefix::Prefix;
use crate::system::http_server::{Server, Serving};

/// What the loop writes to. Dropping it ends the server.
#[derive(Debug, Default)]
pub struct RegisterAdmin {
    on: Option<On>,
}

#[derive(Debug)]
struct On {
    board: Arc<RegisterBoard>,
    beat: Arc<Beat>,
    _serving: Serving,
}

#[derive(Debug)]
struct RegisterBoard {
    store: String,
    checks: Family<[(&'static str, String); 2], Counter>,
    outages: Counter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<Prefix, Instance>,
    /// Not known before it has answered, or has not.
    is_store_up: Option<bool>,
    /// Why the configuration that was read last is not in force.
    config: Option<String>,
    lease_expires: Option<Instant>,
    is_stopping: bool,
}

/// One instance and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instance {
    is_announced: bool,
    /// Why it is not announced, or not to be.
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    Nothing,
    Unhealthy(String),
    Conflict(String),
    LeaseLost,
}

impl RegisterAdmin {
    /// Answers for a process that announces in `store`, which is a name without secrets.
    pub fn start(server: Server, store: String) -> io::Result<Self> {
        let mut registry = Registry::default();
        let (checks, outages) = (Family::default(), Counter::default());
        registry.register(
            "sidekick_checks",
            "Rounds of checks, by service and result",
            Family::clone(&checks),
        );
        registry.register(
            "sidekick_store_outages",
            "How often the store has ceased to answer",
            Counter::clone(&outages),
        );
        let board = Arc::new(RegisterBoard {
            store,
            checks,
            outages,
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

    /// What the loop beats.
    #[must_use]
    pub fn loop_beat(&self) -> LoopBeat {
        LoopBeat::new(self.on.as_ref().map(|on| Arc::clone(&on.beat)))
    }

    /// These are the instances now, and whether each has checks.
    pub fn replace<'a>(&self, instances: impl Iterator<Item = (&'a Prefix, bool)>) {
        let Some(on) = &self.on else { return };
        let mut state = on.board.state();
        let mut before = std::mem::take(&mut state.instances);
        for (dir, has_checks) in instances {
            if has_checks {
                on.board.begin_checks(dir);
            }
            let new = || Instance {
                is_announced: false,
                why: Why::Nothing,
            };
            let one = before.remove(dir).unwrap_or_else(new);
            state.instances.insert(dir.clone(), one);
        }
    }

    /// A round of checks has ended.
    pub fn checked(&self, dir: &Prefix, has_passed: bool) {
        if let Some(on) = &self.on {
            let labels = of(dir, if has_passed { "passed" } else { "failed" });
            on.board.checks.get_or_create(&labels).inc();
        }
    }

    /// It stands in the store.
    pub fn announced(&self, dir: &Prefix) {
        self.change(dir, |one| {
            *one = Instance {
                is_announced: true,
                why: Why::Nothing,
            };
        });
    }

    /// It does not any more.
    pub fn gone(&self, dir: &Prefix) {
        self.change(dir, |one| one.is_announced = false);
    }

    /// Its lease has ended, and it will be announced again.
    pub fn lease_lost(&self, dir: &Prefix) {
        self.change(dir, |one| {
            *one = Instance {
                is_announced: false,
                why: Why::LeaseLost,
            };
        });
    }

    /// Its checks pass.
    pub fn healthy(&self, dir: &Prefix) {
        self.change(dir, |one| one.why = Why::Nothing);
    }

    /// Its checks fail.
    pub fn unhealthy(&self, dir: &Prefix, why: &str) {
        self.change(dir, |one| one.why = Why::Unhealthy(why.to_owned()));
    }

    /// Another owner stands in its place.
    pub fn in_conflict(&self, dir: &Prefix, why: &str) {
        self.change(dir, |one| one.why = Why::Conflict(why.to_owned()));
    }

    /// Whether the store answers.
    pub fn store_answers(&self, is_up: bool) {
        let Some(on) = &self.on else { return };
        let mut state = on.board.state();
        if !is_up && state.is_store_up != Some(false) {
            on.board.outages.inc();
        }
        state.is_store_up = Some(is_up);
    }

    /// When the common lease ends unless it is renewed.
    pub fn lease_expires(&self, at: Option<Instant>) {
        if let Some(on) = &self.on {
            on.board.state().lease_expires = at;
        }
    }

    /// The configuration was read again; what is wrong with it, if it cannot be used.
    pub fn config_read(&self, problem: Option<String>) {
        if let Some(on) = &self.on {
            on.board.state().config = problem;
        }
    }

    /// Everything is about to be withdrawn.
    pub fn stopping(&self) {
        if let Some(on) = &self.on {
            on.board.state().is_stopping = true;
        }
    }

    fn change(&self, dir: &Prefix, change: impl FnOnce(&mut Instance)) {
        if let Some(on) = &self.on
            && let Some(one) = on.board.state().instances.get_mut(dir)
        {
            change(one);
        }
    }
}

/// The service of an instance, from its place in the store.
fn service(dir: &Prefix) -> &str {
    dir.as_str().rsplit('/').nth(1).unwrap_or_default()
}

fn of(dir: &Prefix, result: &str) -> [(&'static str, String); 2] {
    [
        ("service", service(dir).to_owned()),
        ("result", result.to_owned()),
    ]
}

impl RegisterBoard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From zero: a counter that appears with its first failure hides that failure from `rate()` and `increase()`.
    fn begin_checks(&self, dir: &Prefix) {
        for result in ["passed", "failed"] {
            let _ = self.checks.get_or_create(&of(dir, result));
        }
    }
}

impl Instance {
    fn why_not(&self) -> Option<String> {
        match &self.why {
            _ if self.is_announced => None,
            Why::Nothing => Some("is not announced yet".to_owned()),
            Why::Unhealthy(why) => Some(format!("is unhealthy: {why}")),
            Why::Conflict(why) => Some(format!("is not announced: {why}")),
            Why::LeaseLost => Some("is not announced: its lease is lost".to_owned()),
        }
    }
}

impl State {
    /// How many instances of each service are so.
    fn count(&self, is_so: impl Fn(&Instance) -> bool) -> BTreeMap<&str, f64> {
        let mut counts = BTreeMap::new();
        for (dir, one) in &self.instances {
            *counts.entry(service(dir)).or_default() += flag(is_so(one));
        }
        counts
    }
}

impl Board for RegisterBoard {
    fn mode(&self) -> &'static str {
        "register"
    }

    fn not_ready(&self) -> Vec<String> {
        let state = self.state();
        if state.is_stopping {
            return vec!["it is stopping".to_owned()];
        }
        if state.instances.is_empty() {
            return vec!["there is nothing to announce yet".to_owned()];
        }
        let whys = state.instances.iter();
        whys.filter_map(|(dir, one)| Some(format!("{dir} {}", one.why_not()?)))
            .collect()
    }

    fn notes(&self) -> Vec<String> {
        let state = self.state();
        let down = "the store does not answer; what is announced stays until its lease ends";
        let down = (state.is_store_up == Some(false)).then(|| down.to_owned());
        let config = state.config.iter();
        let config = config.map(|why| {
            format!("the configuration cannot be used, so the one of before is in force: {why}")
        });
        down.into_iter().chain(config).collect()
    }

    fn status(&self) -> Map<String, Value> {
        let state = self.state();
        let instance = |(dir, one): (&Prefix, &Instance)| {
            let why = one.why_not();
            json!({ "key": dir.as_str(), "service": service(dir), "announced": one.is_announced, "why": why })
        };
        let instances: Vec<Value> = state.instances.iter().map(instance).collect();
        let left = state.lease_expires;
        let left = left.map(|at| at.saturating_duration_since(Instant::now()).as_secs());
        let status = json!({
            "store": { "description": self.store, "up": state.is_store_up },
            "config": state.config,
            "instances": instances,
            "lease_seconds_left": left,
        });
        match status {
            Value::Object(status) => status,
            _ => Map::new(),
        }
    }

    fn gauges(&self, gauges: &mut Gauges<'_>) -> std::fmt::Result {
        let state = self.state();
        let of = |name| (name, "service");
        gauges.one(
            "sidekick_store_up",
            "Whether the store answers; absent before it was asked.",
            state.is_store_up.map(flag),
        )?;
        gauges.one(
            "sidekick_config_wrong",
            "Whether the configuration cannot be used, so that the one of before is in force.",
            Some(flag(state.config.is_some())),
        )?;
        gauges.one(
            "sidekick_lease_expires_timestamp_seconds",
            "When the lease ends unless it is renewed, in seconds since 1970.",
            state.lease_expires.map(timestamp),
        )?;
        gauges.by(
            of("sidekick_instances"),
            "Instances to be announced, by service.",
            state.count(|_| true),
        )?;
        gauges.by(
            of("sidekick_instances_announced"),
            "Instances that stand in the store, by service.",
            state.count(|one| one.is_announced),
        )?;
        gauges.by(
            of("sidekick_instances_unhealthy"),
            "Instances whose checks fail, by service.",
            state.count(|one| matches!(one.why, Why::Unhealthy(_))),
        )?;
        gauges.by(
            of("sidekick_instances_conflicting"),
            "Instances in whose place another owner stands, by service.",
            state.count(|one| matches!(one.why, Why::Conflict(_))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::routes::tests::metrics;

    fn on() -> (RegisterAdmin, Arc<RegisterBoard>, Registry) {
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(
            &any,
            Vec::new(),
            crate::system::http_server::Limits::default(),
        );
        let admin = RegisterAdmin::start(server.unwrap(), "the store".to_owned()).unwrap();
        let board = Arc::clone(&admin.on.as_ref().unwrap().board);
        (admin, board, Registry::default())
    }

    fn dir(text: &str) -> Prefix {
        Prefix::parse(text).unwrap()
    }

    #[test]
    fn who_is_not_announced_is_named_with_the_reason() {
        let (admin, board, _) = on();
        assert_eq!(board.not_ready(), ["there is nothing to announce yet"]);
        let (a, b) = (dir("/services/web/a"), dir("/services/web/b"));
        admin.replace([(&a, true), (&b, false)].into_iter());
        assert_eq!(board.not_ready().len(), 2);
        admin.announced(&a);
        admin.in_conflict(&b, "another owner is there");
        let expected = "/services/web/b is not announced: another owner is there";
        assert_eq!(board.not_ready(), [expected]);
        admin.announced(&b);
        assert_eq!(board.not_ready(), [""; 0]);
        admin.lease_lost(&a);
        let expected = "/services/web/a is not announced: its lease is lost";
        assert_eq!(board.not_ready(), [expected]);
        admin.announced(&a);
        admin.unhealthy(&a, "connection refused");
        admin.gone(&a);
        let expected = "/services/web/a is unhealthy: connection refused";
        assert_eq!(board.not_ready(), [expected]);
        // Who stays keeps its state when the configuration is another one.
        admin.replace(std::iter::once((&b, false)));
        assert_eq!(board.not_ready(), [""; 0]);
        admin.stopping();
        assert_eq!(board.not_ready(), ["it is stopping"]);
    }

    #[test]
    fn metrics_do_not_grow_with_the_instances() {
        let lines = |count: usize| {
            let (admin, board, registry) = on();
            let all: Vec<Prefix> = (0..count)
                .map(|n| dir(&format!("/services/web/{n}")))
                .collect();
            admin.replace(all.iter().map(|dir| (dir, true)));
            for dir in &all {
                admin.announced(dir);
            }
            let text = metrics(board, registry);
            let announced =
                format!("\nsidekick_instances_announced{{service=\"web\"}} {count}.0\n");
            assert!(text.contains(&announced), "{text}");
            text.lines().count()
        };
        assert_eq!(lines(1), lines(1000));
    }

    #[test]
    fn an_outage_counts_once() {
        let (admin, board, _) = on();
        for is_up in [true, false, false, true, false] {
            admin.store_answers(is_up);
        }
        assert_eq!(board.outages.get(), 2);
        assert_eq!(board.notes().len(), 1);
    }
}
