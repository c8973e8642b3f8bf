//! The admin endpoint of `sidekick register`. Adapter.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use super::exposition::{Gauges, flag, timestamp};
use super::liveness::LoopBeat;
use super::routes::{Board, Endpoint};
use crate::model::prefix::Prefix;
use crate::system::http_server::Server;

/// The loop reports its events to this. Dropping it ends the server.
#[derive(Debug, Default)]
pub struct RegisterAdmin {
    endpoint: Option<Endpoint<RegisterBoard>>,
}

#[derive(Debug)]
struct RegisterBoard {
    store: String,
    checks: Family<[(&'static str, String); 2], Counter>,
    outages: Counter,
    state: Mutex<State>,
}

/// As many containers that cannot be announced are named beside the readiness; the status names them all.
const MOST_NOTES: usize = 10;

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<Prefix, Instance>,
    /// `None` until the first request to the store is over.
    is_store_up: Option<bool>,
    /// The Docker Engine whose containers are announced too.
    docker: Option<DockerState>,
    /// The mistake because of which the newest configuration is not in force.
    config: Option<String>,
    lease_expires: Option<Instant>,
    is_stopping: bool,
}

/// A Docker Engine, and what is known of its containers.
#[derive(Debug, Default)]
struct DockerState {
    address: String,
    /// Why it does not answer.
    problem: Option<String>,
    /// How many containers with labels can serve; not known before they have been inspected once.
    up: Option<usize>,
    /// Why some of these are not announced.
    refused: Vec<String>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instance {
    is_announced: bool,
    obstacle: Obstacle,
}

/// What keeps an instance from being announced.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Obstacle {
    None,
    Unhealthy(String),
    Conflict(String),
    LeaseLost,
}

impl RegisterAdmin {
    /// Starts to answer for a process that announces in `store`, a description without secrets.
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
        let board = RegisterBoard {
            store,
            checks,
            outages,
            state: Mutex::default(),
        };
        let endpoint = Some(Endpoint::start(server, board, registry)?);
        Ok(Self { endpoint })
    }

    /// The beat for the loop.
    #[must_use]
    pub fn loop_beat(&self) -> LoopBeat {
        LoopBeat::new(self.endpoint.as_ref().map(Endpoint::beat))
    }

    /// Replaces the instances by these; the flag says whether each has checks.
    pub fn replace<'a>(&self, instances: impl Iterator<Item = (&'a Prefix, bool)>) {
        let Some(endpoint) = &self.endpoint else {
            return;
        };
        let mut state = endpoint.board.state();
        let mut before = std::mem::take(&mut state.instances);
        for (dir, has_checks) in instances {
            if has_checks {
                endpoint.board.begin_checks(dir);
            }
            let new = || Instance {
                is_announced: false,
                obstacle: Obstacle::None,
            };
            let one = before.remove(dir).unwrap_or_else(new);
            state.instances.insert(dir.clone(), one);
        }
    }

    /// A round of checks has ended.
    pub fn checked(&self, dir: &Prefix, has_passed: bool) {
        if let Some(endpoint) = &self.endpoint {
            let labels = labels(dir, if has_passed { "passed" } else { "failed" });
            endpoint.board.checks.get_or_create(&labels).inc();
        }
    }

    /// An instance is announced.
    pub fn announced(&self, dir: &Prefix) {
        self.change(dir, |one| {
            *one = Instance {
                is_announced: true,
                obstacle: Obstacle::None,
            };
        });
    }

    /// An instance is not announced any more.
    pub fn gone(&self, dir: &Prefix) {
        self.change(dir, |one| one.is_announced = false);
    }

    /// The lease of an instance is lost; it will be announced on a new one.
    pub fn lease_lost(&self, dir: &Prefix) {
        self.change(dir, |one| {
            *one = Instance {
                is_announced: false,
                obstacle: Obstacle::LeaseLost,
            };
        });
    }

    /// The checks of an instance pass.
    pub fn healthy(&self, dir: &Prefix) {
        self.change(dir, |one| one.obstacle = Obstacle::None);
    }

    /// The checks of an instance fail.
    pub fn unhealthy(&self, dir: &Prefix, why: &str) {
        self.change(dir, |one| {
            one.obstacle = Obstacle::Unhealthy(why.to_owned());
        });
    }

    /// Another owner has the place of an instance.
    pub fn in_conflict(&self, dir: &Prefix, why: &str) {
        self.change(dir, |one| one.obstacle = Obstacle::Conflict(why.to_owned()));
    }

    /// Whether the store has answered the last request.
    pub fn store_answers(&self, is_up: bool) {
        let Some(endpoint) = &self.endpoint else {
            return;
        };
        let mut state = endpoint.board.state();
        if !is_up && state.is_store_up != Some(false) {
            endpoint.board.outages.inc();
        }
        state.is_store_up = Some(is_up);
    }

    /// The time at which the process's own lease ends unless it is renewed.
    pub fn lease_expires(&self, at: Option<Instant>) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.board.state().lease_expires = at;
        }
    }

    /// A config reload is over; `problem` is the first mistake, if the new configuration cannot be used.
    pub fn config_read(&self, problem: Option<String>) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.board.state().config = problem;
        }
    }

    /// Whether the Docker Engine at this address answers; why not, if it does not.
    pub fn docker_answers(&self, address: &str, problem: Option<String>) {
        let Some(endpoint) = &self.endpoint else {
            return;
        };
        let mut state = endpoint.board.state();
        let docker = state.docker.get_or_insert_default();
        address.clone_into(&mut docker.address);
        docker.problem = problem;
    }

    /// So many containers with labels can serve; why some of them are not announced.
    pub fn containers(&self, up: usize, refused: Vec<String>) {
        let Some(endpoint) = &self.endpoint else {
            return;
        };
        let mut state = endpoint.board.state();
        let docker = state.docker.get_or_insert_default();
        (docker.up, docker.refused) = (Some(up), refused);
    }

    /// The process stops, and withdraws all instances.
    pub fn stopping(&self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.board.state().is_stopping = true;
        }
    }

    fn change(&self, dir: &Prefix, change: impl FnOnce(&mut Instance)) {
        if let Some(endpoint) = &self.endpoint
            && let Some(one) = endpoint.board.state().instances.get_mut(dir)
        {
            change(one);
        }
    }
}

/// The service of an instance, from its path in the store.
fn service(dir: &Prefix) -> &str {
    dir.as_str().rsplit('/').nth(1).unwrap_or_default()
}

fn labels(dir: &Prefix, result: &str) -> [(&'static str, String); 2] {
    [
        ("service", service(dir).to_owned()),
        ("result", result.to_owned()),
    ]
}

impl RegisterBoard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the counters of a service with the value 0: `rate()` and `increase()` miss the first event of a counter that
    /// appears with it.
    fn begin_checks(&self, dir: &Prefix) {
        for result in ["passed", "failed"] {
            let _ = self.checks.get_or_create(&labels(dir, result));
        }
    }
}

impl Instance {
    fn why_not(&self) -> Option<String> {
        match &self.obstacle {
            _ if self.is_announced => None,
            Obstacle::None => Some("is not announced yet".to_owned()),
            Obstacle::Unhealthy(why) => Some(format!("is unhealthy: {why}")),
            Obstacle::Conflict(why) => Some(format!("is not announced: {why}")),
            Obstacle::LeaseLost => Some("is not announced: its lease is lost".to_owned()),
        }
    }
}

impl State {
    /// How many instances of each service match.
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
        if let Some(docker) = state.docker.as_ref().filter(|docker| docker.up.is_none()) {
            let why = docker.problem.as_deref().unwrap_or("it was not asked yet");
            return vec![format!(
                "the containers of Docker at {} are not known: {why}",
                docker.address
            )];
        }
        if state.instances.is_empty() && state.docker.is_none() {
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
            format!("the new configuration cannot be used, so the previous one is in force: {why}")
        });
        let docker = state.docker.iter();
        let docker = docker.flat_map(|docker| {
            let lost = docker
                .problem
                .iter()
                .map(|why| format!("Docker at {} does not answer: {why}", docker.address));
            lost.chain(docker.refused.iter().take(MOST_NOTES).cloned())
        });
        down.into_iter().chain(config).chain(docker).collect()
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
            "docker": state.docker.as_ref().map(|docker| json!({
                "address": docker.address,
                "up": docker.problem.is_none(),
                "problem": docker.problem,
                "containers": docker.up,
                "refused": docker.refused,
            })),
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
        gauges.write_one(
            "sidekick_store_up",
            "Whether the store answers; absent before the first request.",
            state.is_store_up.map(flag),
        )?;
        gauges.write_one(
            "sidekick_config_wrong",
            "Whether the newest configuration cannot be used, so that the previous one is in force.",
            Some(flag(state.config.is_some())),
        )?;
        let docker = state.docker.as_ref();
        let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        gauges.write_one(
            "sidekick_docker_up",
            "Whether the Docker Engine answers; absent without --docker.",
            docker.map(|docker| flag(docker.problem.is_none())),
        )?;
        gauges.write_one(
            "sidekick_docker_containers",
            "Containers with labels that run and are healthy; absent before they are known.",
            docker.and_then(|docker| docker.up).map(count),
        )?;
        gauges.write_one(
            "sidekick_docker_containers_refused",
            "Containers that cannot be announced as their labels ask.",
            docker.map(|docker| count(docker.refused.len())),
        )?;
        gauges.write_one(
            "sidekick_lease_expires_timestamp_seconds",
            "When the lease ends unless it is renewed, in seconds since 1970.",
            state.lease_expires.map(timestamp),
        )?;
        gauges.write_by(
            of("sidekick_instances"),
            "Instances to be announced, by service.",
            state.count(|_| true),
        )?;
        gauges.write_by(
            of("sidekick_instances_announced"),
            "Instances that are announced in the store, by service.",
            state.count(|one| one.is_announced),
        )?;
        gauges.write_by(
            of("sidekick_instances_unhealthy"),
            "Instances whose checks fail, by service.",
            state.count(|one| matches!(one.obstacle, Obstacle::Unhealthy(_))),
        )?;
        gauges.write_by(
            of("sidekick_instances_conflicting"),
            "Instances whose place another owner has, by service.",
            state.count(|one| matches!(one.obstacle, Obstacle::Conflict(_))),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        let board = Arc::clone(&admin.endpoint.as_ref().unwrap().board);
        (admin, board, Registry::default())
    }

    fn dir(text: &str) -> Prefix {
        Prefix::parse(text).unwrap()
    }

    #[test]
    fn an_instance_that_is_not_announced_is_named_with_the_reason() {
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
        // An instance that stays keeps its state in a config reload.
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

    #[test]
    fn an_engine_and_its_containers() {
        let (admin, board, registry) = on();
        let at = "unix:/run/docker.sock";
        admin.docker_answers(at, Some("no such file".to_owned()));
        let unknown =
            "the containers of Docker at unix:/run/docker.sock are not known: no such file";
        assert_eq!(board.not_ready(), [unknown]);
        admin.docker_answers(at, None);
        admin.containers(0, Vec::new());
        assert_eq!(board.not_ready(), [""; 0], "no container is nothing wrong");
        let refused: Vec<String> = (0..30).map(|n| format!("container {n}")).collect();
        admin.containers(31, refused);
        assert_eq!(board.notes().len(), MOST_NOTES);
        assert_eq!(
            board.status()["docker"]["refused"]
                .as_array()
                .unwrap()
                .len(),
            30
        );
        let text = metrics(board, registry);
        for line in [
            "\nsidekick_docker_up 1.0\n",
            "\nsidekick_docker_containers 31.0\n",
            "\nsidekick_docker_containers_refused 30.0\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
