//! Contract: what a store says while it is away, and what it has forgotten.

use std::time::{Duration, Instant};

use sidekick::model::update::Update;
use sidekick::store::StoreError;

use super::{
    Bench, Compact, Fold, LONG, Pause, Readable, Rebuild, Stop, assert_lost, expected, grant, keys,
    prefix, publication, publish, readable,
};
use crate::harness::wait_for_async;

const A: &str = "/services/web/a";
/// "Within a few seconds", on a loaded machine.
const BOUND: Duration = Duration::from_secs(15);

/// Each verb says that nobody answers, and says it in time.
async fn assert_unavailable<B: Bench>(bench: &B, lease: sidekick::model::lease_id::LeaseId) {
    let store = bench.store();
    let start = Instant::now();
    let error = store.snapshot(&prefix("/")).await.expect_err("no answer");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let error = store.keep_alive(lease).await.expect_err("no answer");
    assert!(!matches!(error, StoreError::Refused { .. }), "{error}");
    let publication = publication(A, &[("ip", "10.0.0.2")]);
    let error = store.publish(lease, &publication).await;
    let error = error.expect_err("no answer");
    assert!(!matches!(error, StoreError::Refused { .. }), "{error}");
    let spent = start.elapsed();
    assert!(spent < 3 * BOUND, "{spent:?} for three questions");
}

pub(crate) async fn a_stopped_store_is_unavailable_in_time<B: Stop>(mut bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "10.0.0.1")]).await;
    bench.stop().await;
    assert_unavailable(&bench, lease).await;
    bench.restart().await;
    let want = expected(&[("/services/web/a/ip", "10.0.0.1")]);
    wait_for_async("the store's answer", async || {
        let snapshot = store.snapshot(&prefix("/")).await.ok()?;
        (readable(&snapshot.entries) == want).then_some(())
    })
    .await;
}

pub(crate) async fn a_paused_store_is_unavailable_in_time<B: Pause>(mut bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "10.0.0.1")]).await;
    bench.pause().await;
    assert_unavailable(&bench, lease).await;
    bench.resume().await;
    wait_for_async("the store's answer", async || {
        store.snapshot(&prefix("/")).await.ok()
    })
    .await;
}

pub(crate) async fn a_rebuilt_store_knows_no_lease<B: Rebuild>(mut bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "10.0.0.1")]).await;
    bench.rebuild().await;
    wait_for_async("the rebuilt store's answer", async || {
        store.snapshot(&prefix("/")).await.ok()
    })
    .await;
    assert_eq!(keys(&store, "/").await, Readable::new());
    assert_lost(lease, store.keep_alive(lease).await);
    let publication = publication(A, &[("ip", "10.0.0.1")]);
    assert_lost(lease, store.publish(lease, &publication).await);
    let lease = grant(&store, LONG).await;
    store.publish(lease, &publication).await.expect("publish");
    let want = expected(&[("/services/web/a/ip", "10.0.0.1")]);
    assert_eq!(keys(&store, "/").await, want);
}

pub(crate) async fn a_watch_from_lost_history_says_so_or_resets<B: Compact>(mut bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let after = publish(&store, lease, A, &[("ip", "0")]).await;
    for n in 1..5 {
        publish(&store, lease, A, &[("ip", &n.to_string())]).await;
    }
    bench.compact().await;
    let said = match store.watch(&prefix("/"), after).await {
        Ok(mut watch) => watch.next().await,
        Err(error) => Err(error),
    };
    match said {
        Ok(update @ Update::Reset(_)) => {
            let mut fold = Fold::default();
            fold.apply(update);
            let want = expected(&[("/services/web/a/ip", "4")]);
            assert_eq!(readable(&fold.entries), want);
        }
        Err(StoreError::HistoryLost { after: named, .. }) => assert_eq!(named, after),
        other => panic!("a gap in the history was passed over: {other:?}"),
    }
}
