//! Contract: leases, and what happens to keys when they end.

use std::sync::Arc;
use std::time::Duration;

use sidekick::model::key::Entries;
use sidekick::model::lease_id::LeaseId;
use sidekick::store::Store;

use super::{
    Bench, LONG, Readable, SHORT, Watcher, assert_lost, expected, grant, keys, prefix, publication,
    publish,
};
use crate::harness::wait_for_async;

const A: &str = "/services/web/a";
const B: &str = "/services/web/b";

async fn two_instances(store: &Arc<dyn Store>, ttl: Duration) -> LeaseId {
    let lease = grant(store, ttl).await;
    for dir in [A, B] {
        publish(store, lease, dir, &[("ip", "10.0.0.1"), ("port", "80")]).await;
    }
    lease
}

/// A watch of four keys of one lease goes from all of them to none, and nowhere between.
async fn until_all_gone(watcher: &mut Watcher) {
    let all_or_none = |entries: &Entries| assert!([0, 4].contains(&entries.len()), "{entries:?}");
    watcher.until(Entries::is_empty, all_or_none).await;
}

pub(crate) async fn an_expired_lease_takes_all_its_keys_at_once<S: Bench>(bench: S) {
    let store = bench.store();
    two_instances(&store, SHORT).await;
    let mut watcher = Watcher::start(&store, "/services").await;
    assert_eq!(watcher.fold.entries.len(), 4);
    until_all_gone(&mut watcher).await;
    assert_eq!(keys(&store, "/").await, Readable::new());
}

pub(crate) async fn a_revoked_lease_takes_all_its_keys_at_once<S: Bench>(bench: S) {
    let store = bench.store();
    let lease = two_instances(&store, LONG).await;
    let mut watcher = Watcher::start(&store, "/services").await;
    store.revoke(lease).await.expect("revoke");
    assert_eq!(keys(&store, "/").await, Readable::new());
    until_all_gone(&mut watcher).await;
    store
        .revoke(lease)
        .await
        .expect("a lease that is gone is gone");
}

/// A lease that nobody renews is the clock: when its key goes, its TTL has passed.
async fn until_ttl_has_passed(store: &Arc<dyn Store>, mut meanwhile: impl AsyncFnMut()) {
    let clock = grant(store, SHORT).await;
    publish(store, clock, "/clock/runs", &[("down", "1")]).await;
    wait_for_async("the end of a TTL", async || {
        meanwhile().await;
        keys(store, "/clock").await.is_empty().then_some(())
    })
    .await;
}

pub(crate) async fn keep_alive_outlives_the_ttl<S: Bench>(bench: S) {
    let store = bench.store();
    let lease = two_instances(&store, SHORT).await;
    let mut watcher = Watcher::start(&store, "/services").await;
    for _ in 0..2 {
        until_ttl_has_passed(&store, async || {
            let ttl = store.keep_alive(lease).await.expect("keep a lease alive");
            assert!(ttl >= SHORT);
        })
        .await;
        assert_eq!(keys(&store, "/services").await.len(), 4);
    }
    store.revoke(lease).await.expect("revoke");
    // The watch would have told of an absence in between.
    until_all_gone(&mut watcher).await;
}

pub(crate) async fn a_dead_lease_is_lost<S: Bench>(bench: S) {
    let store = bench.store();
    let publication = publication(A, &[("ip", "10.0.0.1")]);
    let (expired, revoked) = (grant(&store, SHORT).await, grant(&store, LONG).await);
    store.publish(expired, &publication).await.expect("publish");
    store.revoke(revoked).await.expect("revoke");
    wait_for_async("the expiry of a lease", async || {
        keys(&store, "/services").await.is_empty().then_some(())
    })
    .await;
    for lease in [expired, revoked] {
        assert_lost(lease, store.keep_alive(lease).await);
        assert_lost(lease, store.publish(lease, &publication).await);
        store.revoke(lease).await.expect("revoke a dead lease");
    }
    assert_eq!(keys(&store, "/").await, Readable::new());
}

pub(crate) async fn an_unknown_lease_is_lost<S: Bench>(bench: S) {
    let store = bench.store();
    let lease = LeaseId(0x1234_5678);
    assert_lost(lease, store.keep_alive(lease).await);
    let publication = publication(A, &[("ip", "10.0.0.1")]);
    assert_lost(lease, store.publish(lease, &publication).await);
    store.revoke(lease).await.expect("revoke an unknown lease");
}

/// Two leases publish the same directory; the keys are the second one's.
async fn take_over(store: &Arc<dyn Store>, old_ttl: Duration) -> (LeaseId, LeaseId, Readable) {
    let (old, new) = (grant(store, old_ttl).await, grant(store, LONG).await);
    publish(store, old, A, &[("ip", "10.0.0.1"), ("port", "80")]).await;
    publish(store, old, B, &[("ip", "10.0.0.3")]).await;
    publish(store, new, A, &[("host", "two"), ("ip", "10.0.0.2")]).await;
    let want = expected(&[
        ("/services/web/a/host", "two"),
        ("/services/web/a/ip", "10.0.0.2"),
    ]);
    assert_eq!(keys(store, A).await, want);
    (old, new, want)
}

pub(crate) async fn the_new_owner_outlives_a_revoked_old_one<S: Bench>(bench: S) {
    let store = bench.store();
    let (old, new, want) = take_over(&store, LONG).await;
    let mut watcher = Watcher::start(&store, A).await;
    store.revoke(old).await.expect("revoke");
    assert_eq!(keys(&store, "/").await, want);
    store.revoke(new).await.expect("revoke");
    watcher
        .until(Entries::is_empty, |entries| {
            assert_ne!(entries.len(), 1);
        })
        .await;
    assert_eq!(keys(&store, "/").await, Readable::new());
}

pub(crate) async fn the_new_owner_outlives_an_expired_old_one<S: Bench>(bench: S) {
    let store = bench.store();
    let (old, new, want) = take_over(&store, SHORT).await;
    // The key that only the old lease has tells of its end.
    wait_for_async("the expiry of the old lease", async || {
        keys(&store, B).await.is_empty().then_some(())
    })
    .await;
    assert_lost(old, store.keep_alive(old).await);
    // A new lease is an occasion to clear away what has expired.
    grant(&store, LONG).await;
    assert_eq!(keys(&store, "/").await, want);
    store.keep_alive(new).await.expect("the new lease lives");
}

pub(crate) async fn ttls_are_never_shortened<S: Bench>(bench: S) {
    let store = bench.store();
    for asked in [100, 2_000, 2_500, 15_000].map(Duration::from_millis) {
        let (lease, ttl) = store.grant(asked, None).await.expect("grant a lease");
        assert!(ttl >= asked, "{ttl:?} for {asked:?}");
        assert!(
            ttl <= asked + Duration::from_secs(5),
            "{ttl:?} for {asked:?}"
        );
        let again = store.keep_alive(lease).await.expect("keep a lease alive");
        assert!(again >= asked, "{again:?} for {asked:?}");
    }
}

pub(crate) async fn the_time_left_of_leases_is_told<B: Bench>(bench: B) {
    let store = bench.store();
    let services = prefix("/services");
    let times = async || store.lease_times(&services).await.expect("times");
    assert!(times().await.is_empty());
    let lease = grant(&store, LONG).await;
    publish(&store, lease, "/services/web/a", &[("ip", "1")]).await;
    publish(&store, lease, "/servicesx/web/a", &[("ip", "1")]).await;
    bench.set("/services/web/b/ip", b"2").await;
    let found = times().await;
    let keys: Vec<&str> = found.keys().map(|key| &**key).collect();
    assert_eq!(keys, ["/services/web/a/ip"]);
    let time = found[keys[0]];
    assert_eq!(time.ttl, LONG.as_secs());
    assert!(
        time.left <= time.ttl && time.left > time.ttl / 2,
        "{time:?}"
    );
    // What has another owner now hangs on the lease of that one.
    let other = grant(&store, LONG * 2).await;
    publish(&store, other, "/services/web/a", &[("ip", "1")]).await;
    let found = times().await;
    assert_eq!(found["/services/web/a/ip"].ttl, LONG.as_secs() * 2);
    store.revoke(other).await.expect("revoke");
    assert!(times().await.is_empty());
}
