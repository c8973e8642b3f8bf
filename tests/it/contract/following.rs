//! Contract: whoever follows a store ends with the store's state, whatever happens on the way.

use super::{
    Bench, Compact, Follower, LONG, Pause, Readable, Rebuild, Stop, expected, grant, publish,
};
use crate::harness::wait_for_async;

const A: &str = "/services/web/a";
const B: &str = "/services/web/b";
const SERVICES: &str = "/services";

fn ip(dir: &str, value: &str) -> Readable {
    expected(&[(&format!("{dir}/ip"), value)])
}

/// Publishes anew until the store that has come back takes it, as a registrar does.
async fn publish_at_last<S: Bench>(bench: &S, dir: &str, value: &str) {
    let store = bench.store();
    let publication = super::publication(dir, &[("ip", value)]);
    wait_for_async("a publication to be taken", async || {
        let (lease, _) = store.grant(LONG, None).await.ok()?;
        store.publish(lease, &publication).await.ok()
    })
    .await;
}

pub(crate) async fn a_follower_ends_with_the_state_of_the_store<S: Bench>(bench: S) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "0")]).await;
    let mut follower = Follower::start(bench.store(), SERVICES);
    follower.until_is(&ip(A, "0")).await;
    for n in 1..30 {
        publish(&store, lease, A, &[("ip", &n.to_string())]).await;
    }
    bench.set("/services/web/b/ip", b"by hand").await;
    let mut want = ip(A, "29");
    want.extend(ip(B, "by hand"));
    follower.until_is(&want).await;
    store.revoke(lease).await.expect("revoke");
    follower.until_is(&ip(B, "by hand")).await;
    bench.delete("/services/web/b/ip").await;
    follower.until_is(&Readable::new()).await;
}

pub(crate) async fn a_follower_survives_a_stop<S: Stop>(mut bench: S) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "1")]).await;
    let mut follower = Follower::start(bench.store(), SERVICES);
    follower.until_is(&ip(A, "1")).await;
    for round in 1..=2 {
        bench.stop().await;
        follower
            .until("word of the outage", |f| f.outages == round)
            .await;
        // An outage is no news about the keys.
        assert_eq!(super::readable(&follower.fold.entries).len(), round);
        bench.restart().await;
        publish_at_last(&bench, &format!("{B}{round}"), "2").await;
        let want = round + 1;
        follower
            .until("what was published after the outage", |f| {
                f.fold.entries.len() == want && f.restored == round
            })
            .await;
    }
}

pub(crate) async fn a_follower_starts_before_the_store<S: Stop>(mut bench: S) {
    bench.stop().await;
    let mut follower = Follower::start(bench.store(), SERVICES);
    follower
        .until("word of the outage", |f| f.outages == 1)
        .await;
    assert_eq!(follower.fold.updates, 0);
    bench.restart().await;
    publish_at_last(&bench, A, "1").await;
    follower.until_is(&ip(A, "1")).await;
}

pub(crate) async fn a_follower_survives_a_rebuild<S: Rebuild>(mut bench: S) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    for n in 0..50 {
        publish(&store, lease, A, &[("ip", &n.to_string())]).await;
    }
    let mut follower = Follower::start(bench.store(), SERVICES);
    follower.until_is(&ip(A, "49")).await;
    bench.rebuild().await;
    publish_at_last(&bench, B, "new").await;
    follower.until_is(&ip(B, "new")).await;
    // It follows the new store, and is not waiting for the old one's revisions.
    publish_at_last(&bench, B, "newer").await;
    follower.until_is(&ip(B, "newer")).await;
}

pub(crate) async fn a_follower_notices_a_rebuild_to_nothing<S: Rebuild>(mut bench: S) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "1")]).await;
    let mut follower = Follower::start(bench.store(), SERVICES);
    follower.until_is(&ip(A, "1")).await;
    bench.rebuild().await;
    follower.until_is(&Readable::new()).await;
}

pub(crate) async fn a_follower_survives_a_pause<S: Pause>(mut bench: S) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "1")]).await;
    let mut follower = Follower::start(bench.store(), SERVICES);
    follower.until_is(&ip(A, "1")).await;
    bench.pause().await;
    follower
        .until("word of the silence", |f| f.outages == 1)
        .await;
    bench.resume().await;
    publish_at_last(&bench, B, "2").await;
    let mut want = ip(A, "1");
    want.extend(ip(B, "2"));
    follower.until_is(&want).await;
}

pub(crate) async fn a_follower_survives_a_compaction<S: Compact>(mut bench: S) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let mut follower = Follower::start(bench.store(), SERVICES);
    for n in 0..20 {
        publish(&store, lease, A, &[("ip", &n.to_string())]).await;
        bench.compact().await;
    }
    follower.until_is(&ip(A, "19")).await;
}
