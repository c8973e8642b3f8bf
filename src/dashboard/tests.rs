//! Tests of memory and view together, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::memory::{Input, Memory, Scope};
use super::problems::LAG;
use super::view::{Store, View};
use crate::model::key::{Entries, Key, Value};
use crate::model::prefix::Prefix;
use crate::model::update::{Change, Revision, Snapshot, Update};

const SCOPES: [(Scope, &str); 3] = [
    (Scope::Instances, "/services/"),
    (Scope::Watchers, "/sidekick/watchers/"),
    (Scope::Seen, "/sidekick/seen/"),
];

/// A dashboard and the store that it follows.
struct World {
    memory: Memory,
    now: Duration,
    revision: u64,
}

impl World {
    /// A dashboard that has just started on a store with these keys.
    fn new(keys: &[(&str, &str)]) -> Self {
        let mut world = Self {
            memory: Memory::new(Prefix::parse("/services").unwrap()),
            now: Duration::ZERO,
            revision: 10,
        };
        world.reset(keys);
        world
    }

    fn reset(&mut self, keys: &[(&str, &str)]) {
        for (scope, root) in SCOPES {
            let of_scope = keys.iter().filter(|(key, _)| key.starts_with(root));
            let entries: Entries = of_scope
                .map(|(key, value)| (Key::from(*key), bytes(value)))
                .collect();
            let revision = Revision(self.revision);
            let update = Update::Reset(Snapshot { revision, entries });
            self.memory.handle(self.now, Input::Update(scope, update));
        }
    }

    fn change(&mut self, changes: &[(&str, Option<&str>)]) {
        self.revision += 1;
        let key = changes[0].0;
        let scope = SCOPES.iter().find(|(_, root)| key.starts_with(root));
        let scope = scope.expect("a part of the store").0;
        let one = |(key, value): &(&str, Option<&str>)| match value {
            Some(value) => Change::Put(Key::from(*key), bytes(value)),
            None => Change::Delete(Key::from(*key)),
        };
        let update = Update::Changed {
            revision: Revision(self.revision),
            changes: changes.iter().map(one).collect(),
        };
        self.memory.handle(self.now, Input::Update(scope, update));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.memory.tick(self.now);
    }

    fn view(&self) -> View {
        View::of(&self.memory, &Store::default(), self.now)
    }

    /// All items as the page gets them.
    fn items(&self) -> BTreeMap<String, Json> {
        let view = self.view();
        let news = serde_json::to_value(view.difference(None, self.now)).unwrap();
        serde_json::from_value(news["set"].clone()).unwrap()
    }

    fn item(&self, name: &str) -> Json {
        self.items().remove(name).unwrap_or_default()
    }

    fn problems(&self) -> Vec<String> {
        let list = self.item("problems")["list"].clone();
        let texts = list.as_array().unwrap().iter();
        texts
            .map(|one| one["text"].as_str().unwrap().to_owned())
            .collect()
    }

    fn events(&self) -> Vec<String> {
        let items = self.items();
        let events = items.iter().filter(|(name, _)| name.starts_with("event:"));
        events
            .map(|(_, one)| one["text"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn bytes(text: &str) -> Value {
    Value::from(text.as_bytes())
}

const A: [(&str, &str); 2] = [
    ("/services/web/a/ip", "10.0.0.1"),
    ("/services/web/a/port", "80"),
];
const B: [(&str, &str); 2] = [
    ("/services/web/b/ip", "10.0.0.2"),
    ("/services/web/b/port", "80"),
];
const LB: [(&str, &str); 2] = [
    ("/sidekick/watchers/lb-1/host", "lb"),
    ("/sidekick/watchers/lb-1/applied", "10 /services"),
];

fn puts<'a>(keys: &[(&'a str, &'a str)]) -> Vec<(&'a str, Option<&'a str>)> {
    keys.iter()
        .map(|(key, value)| (*key, Some(*value)))
        .collect()
}

fn deletes<'a>(keys: &[(&'a str, &'a str)]) -> Vec<(&'a str, Option<&'a str>)> {
    keys.iter().map(|(key, _)| (*key, None)).collect()
}

#[test]
fn entries_from_before_the_start_have_no_exact_time_and_no_event() {
    let mut world = World::new(&[A, LB].concat());
    world.pass(Duration::from_secs(7));
    world.change(&puts(&B));
    let (a, b) = (world.item("instance:web/a"), world.item("instance:web/b"));
    assert_eq!(a["came"], json!({"at": 0, "is_exact": false}));
    assert_eq!(
        b["came"],
        json!({"at": 7000, "is_exact": true, "revision": 11})
    );
    assert_eq!(a["addr"], "10.0.0.1:80");
    assert_eq!(world.item("service:web")["up"], 2);
    assert_eq!(world.item("service:web")["serving"], 1);
    assert_eq!(world.events(), ["web/b has come, at 10.0.0.2:80"]);
}

#[test]
fn an_instance_that_goes_leaves_an_event() {
    let mut world = World::new(&[A, B].concat());
    world.change(&[("/services/web/a/state", Some("drain"))]);
    assert_eq!(world.item("instance:web/a")["state"], "drain");
    world.change(&[deletes(&A), vec![("/services/web/a/state", None)]].concat());
    world.change(&deletes(&B));
    assert!(
        !world
            .items()
            .keys()
            .any(|name| name.starts_with("instance:"))
    );
    assert_eq!(
        world.events(),
        [
            "web/a: state up → drain",
            "web/a is gone after a drain",
            "web/b is gone without a drain"
        ]
    );
}

#[test]
fn a_watcher_that_does_not_apply_a_change_becomes_a_problem() {
    let mut world = World::new(&[A, LB].concat());
    assert_eq!(
        world.item("instance:web/a")["applied"],
        Json::Null,
        "not known"
    );
    world.change(&puts(&B));
    assert_eq!(world.item("instance:web/b")["applied"], 0);
    world.pass(LAG / 2);
    assert_eq!(world.problems(), [""; 0]);
    world.pass(LAG);
    assert_eq!(
        world.problems(),
        ["lb has not applied revision 11 of web; it has 10"]
    );
    world.change(&[(LB[1].0, Some("11 /services"))]);
    assert_eq!(world.problems(), [""; 0]);
    assert_eq!(world.item("instance:web/b")["applied"], 1);
}

#[test]
fn a_watcher_is_missing_until_it_is_forgotten_or_replaced() {
    let seen = [
        ("/sidekick/seen/lb-1/host", "lb"),
        ("/sidekick/seen/lb-1/targets", "haproxy"),
    ];
    let mut world = World::new(&[LB, seen].concat());
    assert_eq!(world.problems(), [""; 0]);
    world.pass(Duration::from_secs(60));
    world.change(&deletes(&LB));
    let missed = ["the watcher of haproxy on lb is gone, and nobody has taken its place: lb-1"];
    assert_eq!(world.problems(), missed);
    let item = world.item("watcher:lb-1");
    assert_eq!(
        (&item["is_missing"], &item["gone"]),
        (&json!(true), &json!(60_000))
    );
    assert_eq!(item["targets"][0]["name"], "haproxy");
    let other = [
        ("/sidekick/watchers/lb-2/host", "lb"),
        ("/sidekick/watchers/lb-2/targets", r#"[{"name":"haproxy"}]"#),
    ];
    world.change(&puts(&other));
    assert_eq!(world.problems(), [""; 0], "it has been replaced");
    world.change(&deletes(&other));
    assert_eq!(world.problems(), missed);
    world.change(&deletes(&seen));
    assert_eq!(world.problems(), [""; 0], "it is forgotten");
    assert_eq!(world.item("watcher:lb-1"), Json::Null);
}

#[test]
fn a_wrong_configuration_of_a_watcher_is_a_problem() {
    let keys = [("/sidekick/watchers/lb-1/config", "a.toml: no such key")];
    let mut world = World::new(&[&LB[..], &keys].concat());
    let problem =
        "lb goes on with its old configuration, since the new one is wrong: a.toml: no such key";
    assert_eq!(world.problems(), [problem]);
    world.change(&deletes(&keys));
    assert_eq!(world.problems(), [""; 0]);
}

const HELD: &str = r#"[{"name":"haproxy","since":1000,"revision":10,
    "held":[{"service":"web","count":1,"since":1100,"until":1160,"why":"none would be left"}]}]"#;

#[test]
fn a_held_instance_is_marked_if_it_is_clear_which_one_it_is() {
    let mut world = World::new(&[&A[..], &B, &LB].concat());
    world.change(&deletes(&A));
    let targets = "/sidekick/watchers/lb-1/targets";
    world.change(&[(targets, Some(HELD))]);
    let held = world.item("instance:web/a");
    assert_eq!((&held["state"], &held["gone"]), (&json!("held"), &json!(0)));
    assert_eq!(world.item("service:web")["held"][0]["count"], 1);
    assert_eq!(
        world.problems(),
        [
            "haproxy on lb still serves 1 instance of web that the store has no more: none would be left; \
             `sidekick guard release haproxy` there ends that"
        ]
    );
    // Two are gone and one is held: it is not clear which.
    world.change(&deletes(&B));
    assert_eq!(world.item("instance:web/a"), Json::Null);
    assert_eq!(world.item("service:web")["held"][0]["count"], 1);
    world.change(&puts(&B));
    assert_eq!(world.item("instance:web/a")["state"], "held");
    world.change(&[(targets, Some("[]"))]);
    assert_eq!(world.item("instance:web/a"), Json::Null);
    assert_eq!(world.problems(), [""; 0]);
}

#[test]
fn failing_targets_are_the_first_problems() {
    let targets = r#"[{"name":"nginx","stale":900,"held":[{"count":0,"since":800,"why":"none would be left"}]},
        {"name":"haproxy","failing":{"since":1000,"step":"check","why":"no such keyword"}}]"#;
    let keys = [("/sidekick/watchers/lb-1/targets", targets)];
    let world = World::new(&[&A[..], &LB, &keys].concat());
    assert_eq!(
        world.problems(),
        [
            "haproxy on lb fails: check: no such keyword",
            "nginx on lb is left as it is by its guard: none would be left; `sidekick guard release nginx` there ends that",
            "nginx on lb serves what the store said before: the watcher does not reach it"
        ]
    );
}

#[test]
fn services_without_an_instance_in_service_and_invalid_instances_are_problems() {
    let keys = [
        ("/services/web/a/state", "drain"),
        ("/services/api/x/ip", "<b>"),
    ];
    let world = World::new(&[&A[..], &keys].concat());
    let problems = world.problems();
    assert_eq!(
        problems[0],
        "no instance of web is in service; it has 1 instance"
    );
    assert!(
        problems[1].starts_with("/services/api/x breaks a rule"),
        "{problems:?}"
    );
}

#[test]
fn an_outage_is_shown_while_it_lasts_and_changes_no_item() {
    let mut world = World::new(&A);
    let before = world.item("instance:web/a");
    world.memory.handle(
        world.now,
        Input::Outage(Scope::Instances, "no route".to_owned()),
    );
    assert_eq!(
        world.item("store")["outage"],
        json!([0, "The store does not answer: no route"])
    );
    assert_eq!(world.item("instance:web/a"), before);
    world
        .memory
        .handle(world.now, Input::Restored(Scope::Instances));
    assert_eq!(world.item("store")["outage"], Json::Null);
}

fn keys() -> impl Strategy<Value = (String, Option<&'static str>)> {
    let instance = (
        "[ab]",
        "[xyz]",
        prop_oneof![Just("ip"), Just("port"), Just("state"), Just("note")],
    )
        .prop_map(|(service, id, field)| format!("/services/{service}/{id}/{field}"));
    let watcher = (
        "[12]",
        prop_oneof![Just("host"), Just("applied"), Just("targets")],
    )
        .prop_map(|(id, field)| format!("/sidekick/watchers/{id}/{field}"));
    let value = prop_oneof![
        Just("10.0.0.1"),
        Just("80"),
        Just("drain"),
        Just("12 /services"),
        Just(HELD)
    ];
    (prop_oneof![instance, watcher], proptest::option::of(value))
}

proptest! {
    /// A page that has followed all differences has the same items as a page that is just opened, and no item is sent without
    /// a change.
    #[test]
    fn differences_lead_to_the_view(history in proptest::collection::vec((keys(), 0u64..40), 1..30)) {
        let mut world = World::new(&[]);
        let mut told = world.view();
        let mut page = world.items();
        for ((key, value), seconds) in history {
            world.pass(Duration::from_secs(seconds));
            world.change(&[(&key, value)]);
            let view = world.view();
            let news = serde_json::to_value(view.difference(Some(&told), world.now)).unwrap();
            let set: BTreeMap<String, Json> = serde_json::from_value(news["set"].clone()).unwrap();
            for (name, item) in set {
                prop_assert_ne!(page.get(&name), Some(&item), "sent for nothing");
                page.insert(name, item);
            }
            for name in news["gone"].as_array().unwrap() {
                prop_assert!(page.remove(name.as_str().unwrap()).is_some());
            }
            prop_assert_eq!(&page, &world.items());
            told = view;
        }
    }
}
