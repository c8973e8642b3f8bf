//! States that are set on an instance: by its owner before it goes, and by others.

use std::sync::Arc;

use sidekick::model::lease_id::LeaseId;
use sidekick::model::state_change::{By, StateChange, StateValue};
use sidekick::model::update::Revision;
use sidekick::store::Store;

use super::{Bench, LONG, expected, grant, keys, prefix, publication, verify};

const A: &str = "/services/web/a";
const IP: (&str, &str) = ("/services/web/a/ip", "1");

/// The time beside a state.
const SINCE: (&str, &str) = ("/services/web/a/state_since", "then");

fn with_time(state: &str) -> StateValue {
    StateValue {
        since: Some(SINCE.1.into()),
        ..StateValue::new(state)
    }
}

async fn mark(store: &Arc<dyn Store>, state: Option<&str>, by: By) -> Option<Revision> {
    let mark = StateChange {
        dir: prefix(A),
        state: state.map(with_time),
        by,
    };
    store.set_state(&mark).await.expect("mark")
}

async fn publish(store: &Arc<dyn Store>, lease: LeaseId) -> Revision {
    let published = store.publish(lease, &publication(A, &[("ip", "1")])).await;
    published.expect("publish")
}

/// Asserts that it is in this state, with the time beside it.
async fn assert_state(store: &Arc<dyn Store>, state: Option<&str>) {
    let since = state.map(|_| SINCE);
    let state = state.map(|state| ("/services/web/a/state", state));
    let all: Vec<_> = [IP].into_iter().chain(state).chain(since).collect();
    assert_eq!(keys(store, "/services").await, expected(&all));
}

/// Asserts that it is in this state, which a hand has set, and nobody knows since when.
async fn assert_set(store: &Arc<dyn Store>, state: &str) {
    let all = [IP, ("/services/web/a/state", state)];
    assert_eq!(keys(store, "/services").await, expected(&all));
}

pub(crate) async fn a_mark_is_a_later_change_and_goes_with_its_lease<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let published = publish(&store, lease).await;
    let marked = mark(&store, Some("drain"), By::Owner(lease)).await;
    assert!(marked.expect("it stands") > published);
    assert_state(&store, Some("drain")).await;
    store.revoke(lease).await.expect("revoke");
    assert_eq!(keys(&store, "/services").await, expected(&[]));
}

pub(crate) async fn what_does_not_stand_is_not_marked<B: Bench>(bench: B) {
    let store = bench.store();
    let (lease, other) = (grant(&store, LONG).await, grant(&store, LONG).await);
    assert_eq!(mark(&store, Some("drain"), By::Owner(lease)).await, None);
    assert_eq!(mark(&store, Some("drain"), By::Hand).await, None);
    publish(&store, other).await;
    assert_eq!(mark(&store, Some("drain"), By::Owner(lease)).await, None);
    assert_state(&store, None).await;
}

pub(crate) async fn an_owner_leaves_a_state_alone<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease).await;
    let maint = mark(&store, Some("maint"), By::Hand).await;
    // It has been so since then: whoever has applied that has nothing more to apply.
    let drain = mark(&store, Some("drain"), By::Owner(lease)).await;
    assert_eq!(drain, maint);
    assert_state(&store, Some("maint")).await;
    mark(&store, None, By::Hand).await.expect("it stands");
    bench.set("/services/web/a/state", b"maint").await;
    assert!(
        mark(&store, Some("drain"), By::Owner(lease))
            .await
            .is_some()
    );
    assert_set(&store, "maint").await;
}

pub(crate) async fn a_hand_changes_any_state<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease).await;
    bench.set("/services/web/a/state", b"maint").await;
    let mut last = Revision::default();
    for state in [Some("drain"), Some("maint"), None] {
        let marked = mark(&store, state, By::Hand).await.expect("it stands");
        assert!(marked > last);
        last = marked;
        assert_state(&store, state).await;
    }
    assert!(mark(&store, None, By::Hand).await.is_some());
    mark(&store, Some("drain"), By::Hand).await;
    store.revoke(lease).await.expect("revoke");
    assert_eq!(keys(&store, "/services").await, expected(&[]));
}

pub(crate) async fn a_state_outlives_a_publication_on_its_lease<B: Bench>(bench: B) {
    let store = bench.store();
    let (lease, other) = (grant(&store, LONG).await, grant(&store, LONG).await);
    publish(&store, lease).await;
    mark(&store, Some("drain"), By::Hand).await;
    publish(&store, lease).await;
    assert_state(&store, Some("drain")).await;
    let mut brought = publication(A, &[("ip", "1")]);
    let standing = verify(&store, lease, &brought).await.expect("look");
    assert!(standing.is_whole);
    assert_eq!(standing.state, Some(with_time("drain")));
    // On another lease it is what its owner brings along, and nothing without that.
    publish(&store, other).await;
    assert_state(&store, None).await;
    brought.state = Some(with_time("drain"));
    store.publish(lease, &brought).await.expect("publish");
    assert_state(&store, Some("drain")).await;
    let standing = verify(&store, lease, &brought).await.expect("look");
    assert_eq!(standing.state, Some(with_time("drain")));
    store.revoke(other).await.expect("revoke");
    assert_state(&store, Some("drain")).await;
    // What is brought along gives way to what a hand has set.
    mark(&store, None, By::Hand).await;
    bench.set("/services/web/a/state", b"maint").await;
    store.publish(lease, &brought).await.expect("publish");
    assert_set(&store, "maint").await;
}
