//! Several owners of one place: who gives way to whom, and what hands may do.

use std::collections::BTreeSet;
use std::sync::Arc;

use sidekick::model::lease_id::LeaseId;
use sidekick::model::publication::{Claim, Publication};
use sidekick::model::shared::Shared;
use sidekick::model::state_change::{By, StateChange, StateValue};
use sidekick::store::{Store, StoreError};

use super::{Bench, LONG, SHORT, expected, grant, keys, publication, verify};
use crate::harness::wait_for_async;

const A: &str = "/services/web/a";

/// A publication of `ip` and `port` that yields to nobody but itself.
async fn stands(
    store: &Arc<dyn Store>,
    lease: LeaseId,
    publication: &Publication,
) -> Result<bool, StoreError> {
    let standing = verify(store, lease, publication).await;
    standing.map(|standing| standing.is_whole)
}

fn sole(ip: &str, port: &str) -> Publication {
    let mut publication = publication(A, &[("ip", ip), ("note", ip), ("port", port)]);
    publication.claim = Claim::Restart(["ip", "port"].map(str::to_owned).into_iter().collect());
    publication
}

pub(crate) async fn the_same_endpoint_takes_over_at_once<B: Bench>(bench: B) {
    let store = bench.store();
    let (old, new) = (grant(&store, LONG).await, grant(&store, LONG).await);
    store
        .publish(old, &sole("10.0.0.1", "80"))
        .await
        .expect("the first");
    store
        .publish(new, &sole("10.0.0.1", "80"))
        .await
        .expect("its restart");
    store.revoke(old).await.expect("revoke");
    assert_eq!(keys(&store, A).await.len(), 3);
}

pub(crate) async fn another_endpoint_is_a_conflict_until_its_owner_is_gone<B: Bench>(bench: B) {
    let store = bench.store();
    let (theirs, ours) = (grant(&store, SHORT).await, grant(&store, LONG).await);
    store
        .publish(theirs, &sole("10.0.0.1", "80"))
        .await
        .expect("the first");
    for other in [sole("10.0.0.2", "80"), sole("10.0.0.1", "81")] {
        let refused = store.publish(ours, &other).await;
        let Err(StoreError::Conflict(why)) = refused else {
            panic!("no conflict: {refused:?}");
        };
        assert!(why.contains("10.0.0.1") || why.contains("80"), "{why}");
    }
    assert_eq!(
        keys(&store, A)
            .await
            .get("/services/web/a/ip")
            .map(String::as_str),
        Some("10.0.0.1")
    );
    wait_for_async("the other owner to expire", async || {
        store.publish(ours, &sole("10.0.0.2", "80")).await.ok()
    })
    .await;
    assert_eq!(
        keys(&store, A)
            .await
            .get("/services/web/a/ip")
            .map(String::as_str),
        Some("10.0.0.2")
    );
}

pub(crate) async fn a_take_over_takes_over_and_the_old_owner_sees_it<B: Bench>(bench: B) {
    let store = bench.store();
    let (old, new) = (grant(&store, LONG).await, grant(&store, LONG).await);
    let first = sole("10.0.0.1", "80");
    store.publish(old, &first).await.expect("the first");
    assert_eq!(stands(&store, old, &first).await, Ok(true));
    let mut second = sole("10.0.0.2", "80");
    second.claim = Claim::TakeOver(BTreeSet::from(["ip".to_owned()]).into());
    store.publish(new, &second).await.expect("the take-over");
    assert_eq!(stands(&store, old, &first).await, Ok(false));
    assert_eq!(stands(&store, new, &second).await, Ok(true));
    let back = store.publish(old, &first).await;
    assert!(matches!(back, Err(StoreError::Conflict(_))), "{back:?}");
}

pub(crate) async fn what_stands_of_several_is_one_question<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let of = |id: usize| {
        publication(
            &format!("/services/web/i{id}"),
            &[("ip", "1"), ("port", "2")],
        )
    };
    let all: Vec<Publication> = (0..100).map(of).collect();
    for one in &all {
        store.publish(lease, one).await.expect("publish");
    }
    bench.delete("/services/web/i7/port").await;
    let mark = StateChange {
        dir: all[9].dir.clone(),
        state: Some(StateValue::new("drain")),
        by: By::Hand,
    };
    store.set_state(&mark).await.expect("mark");
    let found = store.verify(lease, &all).await.expect("look");
    let broken: Vec<usize> = (0..all.len()).filter(|at| !found[*at].is_whole).collect();
    let marked: Vec<usize> = (0..all.len())
        .filter(|at| found[*at].state.is_some())
        .collect();
    assert_eq!((broken, marked), (vec![7], vec![9]));
    assert!(store.verify(lease, &[]).await.expect("look").is_empty());
}

pub(crate) async fn what_hands_delete_does_not_stand<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let ours = sole("10.0.0.1", "80");
    assert_eq!(stands(&store, lease, &ours).await, Ok(false));
    store.publish(lease, &ours).await.expect("publish");
    bench.delete("/services/web/a/port").await;
    assert_eq!(stands(&store, lease, &ours).await, Ok(false));
    store.publish(lease, &ours).await.expect("publish");
    assert_eq!(stands(&store, lease, &ours).await, Ok(true));
    // A key that a hand has added is nobody's business.
    bench.set("/services/web/a/state", b"maint").await;
    assert_eq!(stands(&store, lease, &ours).await, Ok(true));
}

pub(crate) async fn a_lease_of_a_wanted_id_is_joined_and_lives_as_long_as_one_renews_it<
    B: Bench,
>(
    bench: B,
) {
    let store = bench.store();
    let id = LeaseId(4711);
    for _ in 0..2 {
        let granted = store.grant(SHORT, Some(id)).await.expect("grant or join");
        assert_eq!(granted.0, id);
        let shared = publication(A, &[("ip", "10.0.0.1"), ("port", "80")]);
        store.publish(id, &shared).await.expect("publish");
    }
    store.keep_alive(id).await.expect("the lease lives");
    let want = expected(&[
        ("/services/web/a/ip", "10.0.0.1"),
        ("/services/web/a/port", "80"),
    ]);
    assert_eq!(keys(&store, A).await, want);
    wait_for_async("the lease to end when nobody renews it", async || {
        keys(&store, A).await.is_empty().then_some(())
    })
    .await;
    let again = store.grant(SHORT, Some(id)).await.expect("grant it anew");
    assert_eq!(again.0, id);
}

pub(crate) async fn what_is_taken_back_is_our_own<B: Bench>(bench: B) {
    let store = bench.store();
    let (ours, theirs) = (grant(&store, LONG).await, grant(&store, LONG).await);
    let publication = sole("10.0.0.1", "80");
    let nothing = Publication {
        fields: Shared::default(),
        state: None,
        claim: Claim::Ours,
        predecessors: std::collections::BTreeSet::new(),
        ..publication.clone()
    };
    store.publish(ours, &publication).await.expect("the first");
    bench.set("/services/web/a/state", b"maint").await;
    store.publish(ours, &nothing).await.expect("taken back");
    let left = expected(&[("/services/web/a/state", "maint")]);
    assert_eq!(keys(&store, A).await, left, "the hand's");
    store.publish(ours, &publication).await.expect("again");
    store
        .publish(theirs, &publication)
        .await
        .expect("taken over");
    let before = keys(&store, A).await;
    store.publish(ours, &nothing).await.expect("nothing to do");
    assert_eq!(keys(&store, A).await, before);
}
