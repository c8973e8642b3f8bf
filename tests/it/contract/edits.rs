//! Contract: what readers see of keys that a hand sets and deletes.

use sidekick::model::key::Entries;

use super::{Bench, Fold, Follower, Readable, Stop, Watcher, expected, keys, prefix, readable};

const WEB: &str = "/services/web";
const IP: &str = "/services/web/a/ip";

pub(crate) async fn keys_come_change_and_go<B: Bench>(bench: B) {
    bench.set("/stays", b"1").await;
    let store = bench.store();
    let mut watcher = Watcher::start(&store, "/").await;
    for key in ["/services/web/a/state", "/services/web/b/c/d", "/e"] {
        let is = |value: &'static [u8]| {
            move |entries: &Entries| entries.get(key).is_some_and(|v| **v == *value)
        };
        bench.set(key, b"1").await;
        watcher.until(is(b"1"), |_| {}).await;
        bench.set(key, b"2").await;
        watcher.until(is(b"2"), |_| {}).await;
        bench.delete(key).await;
        watcher
            .until(|entries| !entries.contains_key(key), |_| {})
            .await;
    }
    assert_eq!(keys(&store, "/").await, expected(&[("/stays", "1")]));
}

pub(crate) async fn an_edit_elsewhere_is_not_seen<B: Bench>(bench: B) {
    bench.set(IP, b"1").await;
    let mut watcher = Watcher::start(&bench.store(), WEB).await;
    for key in ["/services/web2/a/ip", "/services/web-x", "/services/we/b"] {
        bench.set(key, b"no").await;
    }
    bench.set(IP, b"2").await;
    let is_web = |entries: &Entries| {
        let keys: Vec<&str> = entries.keys().map(|key| &**key).collect();
        assert_eq!(keys, [IP]);
    };
    watcher.until(|entries| *entries[IP] == *b"2", is_web).await;
}

pub(crate) async fn no_edit_is_lost_between_list_and_watch<B: Bench>(bench: B) {
    let store = bench.store();
    bench.set(IP, b"0").await;
    for n in 1..6 {
        let snapshot = store.snapshot(&prefix(WEB)).await.expect("take a snapshot");
        bench.set(IP, n.to_string().as_bytes()).await;
        let web = prefix(WEB);
        let watch = store.watch(&web, snapshot.revision);
        let mut late = watch.await.expect("watch");
        let mut fold = Fold {
            entries: snapshot.entries,
            updates: 0,
        };
        let want = expected(&[(IP, &n.to_string())]);
        while readable(&fold.entries) != want {
            let update = tokio::time::timeout(crate::harness::PATIENCE, late.next());
            fold.apply(update.await.expect("an update").expect("the watch goes on"));
        }
    }
}

pub(crate) async fn revisions_rise_with_edits<B: Bench>(bench: B) {
    let store = bench.store();
    bench.set(IP, b"0").await;
    let mut watcher = Watcher::start(&store, WEB).await;
    for n in 1..6 {
        let before = watcher.revision;
        bench.set(IP, n.to_string().as_bytes()).await;
        watcher.until_is(&expected(&[(IP, &n.to_string())])).await;
        assert!(watcher.revision > before);
    }
}

pub(crate) async fn a_reader_follows_every_edit<B: Bench>(bench: B) {
    bench.set("/stays", b"1").await;
    let mut follower = Follower::start(bench.store(), WEB);
    follower.until_is(&Readable::new()).await;
    for n in 1..6 {
        bench.set(IP, n.to_string().as_bytes()).await;
    }
    follower.until_is(&expected(&[(IP, "5")])).await;
    bench.delete(IP).await;
    follower.until_is(&Readable::new()).await;
    assert_eq!(follower.outages, 0);
}

pub(crate) async fn a_reader_outlives_a_stop<B: Stop>(mut bench: B) {
    bench.set(IP, b"1").await;
    let mut follower = Follower::start(bench.store(), WEB);
    follower.until_is(&expected(&[(IP, "1")])).await;
    bench.stop().await;
    follower
        .until("word of the outage", |f| f.outages == 1)
        .await;
    // An outage is no news about the keys.
    assert_eq!(readable(&follower.fold.entries), expected(&[(IP, "1")]));
    bench.restart().await;
    follower.until("word of its end", |f| f.restored == 1).await;
    bench.set(IP, b"2").await;
    follower.until_is(&expected(&[(IP, "2")])).await;
}
