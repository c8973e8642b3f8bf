//! Contract: publications, keys set by hand, prefixes, watches.

use std::cell::Cell;
use std::collections::BTreeSet;

use sidekick::model::key::Entries;
use sidekick::model::publication::{Claim, Publication};
use sidekick::model::update::{Change, Update};

use super::{
    Bench, LONG, Readable, Watcher, expected, grant, keys, prefix, publication, publish, readable,
    withdrawal,
};
use crate::harness::wait_for_async;

const WEB: &str = "/services/web";
const A: &str = "/services/web/a";

/// The fields of one version of an instance: they belong together, and none may be seen with another version's.
fn version(n: usize) -> Publication {
    let fields = ["host", "ip", "port"].map(|field| (field, n.to_string()));
    let fields: Vec<_> = fields.iter().map(|(f, v)| (*f, v.as_str())).collect();
    publication(A, &fields)
}

/// Fails if a reader has seen a part of an instance, or parts of two versions.
fn assert_whole(entries: &Entries) {
    let versions: BTreeSet<_> = entries.values().collect();
    let whole = entries.is_empty() || (entries.len() == 3 && versions.len() == 1);
    assert!(whole, "half an instance: {:?}", readable(entries));
}

pub(crate) async fn an_instance_is_seen_whole_or_not_at_all<B: Bench>(bench: B) {
    const VERSIONS: usize = 150;
    let (writer, reader) = (bench.store(), bench.store());
    let mut watcher = Watcher::start(&bench.store(), WEB).await;
    let mut lease = grant(&writer, LONG).await;
    let done = Cell::new(false);
    let write = async {
        for n in 0..VERSIONS {
            writer.publish(lease, &version(n)).await.expect("publish");
            match n % 10 {
                3 => drop(
                    writer
                        .publish(lease, &withdrawal(A))
                        .await
                        .expect("publish"),
                ),
                6 => {
                    writer.revoke(lease).await.expect("revoke");
                    lease = grant(&writer, LONG).await;
                }
                _ => {}
            }
        }
        done.set(true);
    };
    let read = async {
        let web = prefix(WEB);
        while !done.get() {
            let snapshot = reader.snapshot(&web).await.expect("take a snapshot");
            assert_whole(&snapshot.entries);
            tokio::task::yield_now().await;
        }
    };
    let last = (VERSIONS - 1).to_string();
    let is_last = |entries: &Entries| {
        let mut values = entries.values();
        values
            .next()
            .is_some_and(|value| **value == *last.as_bytes())
    };
    tokio::join!(write, read, watcher.until(is_last, assert_whole));
}

pub(crate) async fn a_publication_is_never_split<B: Bench>(bench: B) {
    const FIELDS: usize = 50;
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let mut watcher = Watcher::start(&store, WEB).await;
    for n in 0..20 {
        let value = n.to_string();
        let names: Vec<_> = (0..FIELDS).map(|i| format!("field-{i}")).collect();
        let fields: Vec<_> = names.iter().map(|f| (f.as_str(), value.as_str())).collect();
        publish(&store, lease, A, &fields).await;
        let has_it = |entries: &Entries| entries.values().any(|v| **v == *value.as_bytes());
        watcher
            .until(has_it, |entries| {
                let versions: BTreeSet<_> = entries.values().collect();
                assert!(entries.is_empty() || entries.len() == FIELDS);
                assert!(versions.len() <= 1, "{versions:?}");
            })
            .await;
    }
}

pub(crate) async fn fewer_fields_remove_the_others<B: Bench>(bench: B) {
    let store = bench.store();
    let mut watcher = Watcher::start(&store, WEB).await;
    let lease = grant(&store, LONG).await;
    let many = [("ip", "10.0.0.1"), ("port", "80"), ("settings/zone", "x")];
    publish(&store, lease, A, &many).await;
    publish(&store, lease, A, &[("ip", "10.0.0.1")]).await;
    let want = expected(&[("/services/web/a/ip", "10.0.0.1")]);
    assert_eq!(keys(&store, WEB).await, want);
    watcher.until_is(&want).await;
}

/// Thousands may watch: what is published again as it stands is no news for them.
pub(crate) async fn only_what_has_changed_is_an_event<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let before = publish(
        &store,
        lease,
        A,
        &[("host", "h"), ("ip", "10.0.0.1"), ("port", "80")],
    )
    .await;
    let mut watch = store.watch(&prefix(WEB), before).await.expect("watch");
    let fields = [("host", "h"), ("ip", "10.0.0.1"), ("port", "81")];
    publish(&store, lease, A, &fields).await;
    let mut seen = Vec::new();
    while seen.is_empty() {
        let update = watch.next().await.expect("an update");
        if let Update::Changed { changes, .. } = update {
            seen.extend(changes);
        }
    }
    let put = Change::Put("/services/web/a/port".into(), b"81".as_slice().into());
    assert_eq!(seen, [put]);
    // The same once more is nothing, and what comes then hangs on the same lease.
    publish(&store, lease, A, &fields).await;
    publish(
        &store,
        lease,
        A,
        &[("host", "h2"), ("ip", "10.0.0.1"), ("port", "81")],
    )
    .await;
    let mut seen = Vec::new();
    while seen.is_empty() {
        let update = watch.next().await.expect("an update");
        if let Update::Changed { changes, .. } = update {
            seen.extend(changes);
        }
    }
    assert_eq!(
        seen,
        [Change::Put(
            "/services/web/a/host".into(),
            b"h2".as_slice().into()
        )]
    );
    store.revoke(lease).await.expect("revoke");
    assert_eq!(keys(&store, WEB).await, expected(&[]));
}

pub(crate) async fn no_fields_withdraw<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "10.0.0.1"), ("port", "80")]).await;
    publish(&store, lease, "/services/web/b", &[("ip", "10.0.0.2")]).await;
    let mut watcher = Watcher::start(&store, WEB).await;
    publish(&store, lease, A, &[]).await;
    let want = expected(&[("/services/web/b/ip", "10.0.0.2")]);
    assert_eq!(keys(&store, WEB).await, want);
    watcher.until_is(&want).await;
    // What is not there can be withdrawn too.
    publish(&store, lease, "/services/web/never", &[]).await;
    assert_eq!(keys(&store, WEB).await, want);
}

pub(crate) async fn the_published_field_wins<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    bench.set("/services/web/a/port", b"1").await;
    publish(&store, lease, A, &[("ip", "10.0.0.1"), ("port", "80")]).await;
    let want = [
        ("/services/web/a/ip", "10.0.0.1"),
        ("/services/web/a/port", "80"),
    ];
    assert_eq!(keys(&store, WEB).await, expected(&want));
    store.revoke(lease).await.expect("revoke");
    assert_eq!(keys(&store, WEB).await, Readable::new());
}

pub(crate) async fn hand_set_keys_stay<B: Bench>(bench: B) {
    let store = bench.store();
    let (first, second) = (grant(&store, LONG).await, grant(&store, LONG).await);
    // One is there before the instance, one comes after it.
    bench.set("/services/web/a/state", b"maint").await;
    publish(&store, first, A, &[("ip", "10.0.0.1"), ("port", "80")]).await;
    bench.set("/services/web/a/settings/zone", b"x").await;
    let by_hand = [
        ("/services/web/a/settings/zone", "x"),
        ("/services/web/a/state", "maint"),
    ];
    let mut watcher = Watcher::start(&store, WEB).await;
    for (round, lease) in [first, first, second, first].into_iter().enumerate() {
        let port = round.to_string();
        publish(&store, lease, A, &[("ip", "10.0.0.1"), ("port", &port)]).await;
        let mut want = expected(&by_hand);
        want.insert("/services/web/a/ip".to_owned(), "10.0.0.1".to_owned());
        want.insert("/services/web/a/port".to_owned(), port);
        assert_eq!(keys(&store, WEB).await, want);
        let is_wanted = |entries: &Entries| readable(entries) == want;
        watcher
            .until(is_wanted, |entries| {
                for (key, value) in by_hand {
                    assert_eq!(entries.get(key).map(|v| &**v), Some(value.as_bytes()));
                }
            })
            .await;
    }
}

pub(crate) async fn hand_set_keys_outlive_the_lease<B: Bench>(bench: B) {
    let store = bench.store();
    let want = expected(&[("/services/web/a/state", "maint")]);
    bench.set("/services/web/a/state", b"maint").await;
    let mut watcher = Watcher::start(&store, WEB).await;
    // By a withdrawal, by a revocation, and by expiry.
    for ending in 0..3 {
        let lease = grant(&store, if ending == 2 { super::SHORT } else { LONG }).await;
        publish(&store, lease, A, &[("ip", "10.0.0.1")]).await;
        watcher.until(|entries| entries.len() == 2, |_| {}).await;
        match ending {
            0 => drop(publish(&store, lease, A, &[]).await),
            1 => store.revoke(lease).await.expect("revoke"),
            _ => {}
        }
        let without = |entries: &Entries| entries.len() == 1;
        watcher
            .until(without, |entries| {
                assert!(entries.contains_key("/services/web/a/state"));
            })
            .await;
        assert_eq!(readable(&watcher.fold.entries), want);
        assert_eq!(keys(&store, WEB).await, want);
    }
    bench.delete("/services/web/a/state").await;
    watcher.until_is(&Readable::new()).await;
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "10.0.0.1")]).await;
    watcher
        .until_is(&expected(&[("/services/web/a/ip", "10.0.0.1")]))
        .await;
}

pub(crate) async fn hand_set_keys_come_and_go<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "10.0.0.1")]).await;
    let mut watcher = Watcher::start(&store, "/").await;
    for key in ["/services/web/a/state", "/services/web/b/c/d", "/e"] {
        bench.set(key, b"1").await;
        let is = |value: &'static [u8]| {
            move |entries: &Entries| entries.get(key).is_some_and(|v| **v == *value)
        };
        watcher.until(is(b"1"), |_| {}).await;
        bench.set(key, b"2").await;
        watcher.until(is(b"2"), |_| {}).await;
        bench.delete(key).await;
        watcher
            .until(|entries| !entries.contains_key(key), |_| {})
            .await;
    }
    let want = expected(&[("/services/web/a/ip", "10.0.0.1")]);
    assert_eq!(keys(&store, "/").await, want);
}

pub(crate) async fn two_writers_in_parallel<B: Bench>(bench: B) {
    const EACH: usize = 60;
    let (one, two) = (bench.store(), bench.store());
    let write = async |store, name: &str| {
        let lease = grant(store, LONG).await;
        for n in 0..EACH {
            let dir = format!("{WEB}/{name}-{n}");
            publish(store, lease, &dir, &[("ip", "10.0.0.1"), ("port", "80")]).await;
        }
    };
    let mut watcher = Watcher::start(&one, WEB).await;
    tokio::join!(write(&one, "one"), write(&two, "two"));
    let want: BTreeSet<_> = (0..EACH)
        .flat_map(|n| ["one", "two"].map(|name| format!("{WEB}/{name}-{n}")))
        .flat_map(|dir| ["ip", "port"].map(|field| format!("{dir}/{field}")))
        .collect();
    assert!(keys(&two, WEB).await.into_keys().eq(want.iter().cloned()));
    watcher
        .until(|entries| entries.len() == want.len(), |_| {})
        .await;
}

pub(crate) async fn nothing_is_lost_between_list_and_watch<B: Bench>(bench: B) {
    let store = bench.store();
    let web = prefix(WEB);
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "0")]).await;
    for n in 1..20 {
        let snapshot = store.snapshot(&web).await.expect("take a snapshot");
        let value = n.to_string();
        let fields = [("ip", value.as_str())];
        publish(&store, lease, A, if n % 3 == 0 { &[] } else { &fields }).await;
        let mut watcher = Watcher::start(&store, WEB).await;
        let mut late = store.watch(&web, snapshot.revision).await.expect("watch");
        let mut fold = super::Fold {
            entries: snapshot.entries,
            updates: 0,
        };
        while fold.entries != watcher.fold.entries {
            fold.apply(late.next().await.expect("the watch goes on"));
        }
        // And the later one goes on from there.
        publish(&store, lease, A, &[("ip", "next")]).await;
        watcher
            .until_is(&expected(&[("/services/web/a/ip", "next")]))
            .await;
    }
}

pub(crate) async fn prefixes_end_at_path_boundaries<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let mut watcher = Watcher::start(&store, WEB).await;
    for dir in ["/services/web2/a", "/services/web-x/a", "/services/we/a", A] {
        publish(&store, lease, dir, &[("ip", "10.0.0.1")]).await;
    }
    bench.set("/services/web.txt", b"no").await;
    let want = expected(&[("/services/web/a/ip", "10.0.0.1")]);
    assert_eq!(keys(&store, WEB).await, want);
    watcher.until_is(&want).await;
    let all = keys(&store, "/").await;
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(keys(&store, "/nothing/here").await, Readable::new());
}

pub(crate) async fn a_prefix_may_be_a_key_or_a_part_of_an_instance<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    bench.set("/config/motd", b"hello").await;
    publish(
        &store,
        lease,
        A,
        &[("ip", "10.0.0.1"), ("settings/zone", "x")],
    )
    .await;
    for (path, value) in [
        ("/config/motd", "hello"),
        ("/services/web/a/ip", "10.0.0.1"),
        ("/services/web/a/settings/zone", "x"),
    ] {
        assert_eq!(keys(&store, path).await, expected(&[(path, value)]));
    }
    let mut watcher = Watcher::start(&store, "/services/web/a/settings").await;
    publish(
        &store,
        lease,
        A,
        &[("ip", "10.0.0.2"), ("settings/zone", "y")],
    )
    .await;
    let zone = "/services/web/a/settings/zone";
    watcher.until_is(&expected(&[(zone, "y")])).await;
}

pub(crate) async fn values_are_bytes<B: Bench>(bench: B) {
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let fields = [
        ("bytes".to_owned(), bytes.clone()),
        ("empty".to_owned(), Vec::new()),
        ("newline".to_owned(), b"\n".to_vec()),
    ];
    let publication = Publication {
        dir: prefix(A),
        fields: fields.clone().into(),
        state: None,
        claim: Claim::default(),
        predecessors: std::collections::BTreeSet::new(),
    };
    store.publish(lease, &publication).await.expect("publish");
    bench.set("/services/web/b/raw", &bytes).await;
    let mut watcher = Watcher::start(&store, WEB).await;
    for (field, value) in &fields {
        let key = publication.key(field);
        assert_eq!(*watcher.fold.entries[key.as_str()], **value);
    }
    assert_eq!(*watcher.fold.entries["/services/web/b/raw"], *bytes);
    bench.set("/services/web/b/raw", &[0xff]).await;
    watcher
        .until(|entries| *entries["/services/web/b/raw"] == [0xff], |_| {})
        .await;
}

pub(crate) async fn fifty_thousand_keys<B: Bench>(bench: B) {
    const INSTANCES: usize = 500;
    const FIELDS: usize = 100;
    let store = bench.store();
    let lease = grant(&store, LONG).await;
    let names: Vec<_> = (0..FIELDS).map(|n| format!("field-{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "value")).collect();
    for n in 0..INSTANCES {
        publish(&store, lease, &format!("{WEB}/{n}"), &fields).await;
    }
    let mut watcher = Watcher::start(&store, WEB).await;
    assert_eq!(watcher.fold.entries.len(), INSTANCES * FIELDS);
    publish(&store, lease, &format!("{WEB}/0"), &[("last", "value")]).await;
    let less = (INSTANCES - 1) * FIELDS + 1;
    watcher.until(|entries| entries.len() == less, |_| {}).await;
    store.revoke(lease).await.expect("revoke");
    watcher
        .until(Entries::is_empty, |entries| {
            assert!([0, less].contains(&entries.len()), "{}", entries.len());
        })
        .await;
}

pub(crate) async fn revisions_rise<B: Bench>(bench: B) {
    let store = bench.store();
    let web = prefix(WEB);
    let lease = grant(&store, LONG).await;
    let mut watcher = Watcher::start(&store, WEB).await;
    let mut last = watcher.revision;
    for n in 0..20 {
        let published = publish(&store, lease, A, &[("ip", &n.to_string())]).await;
        assert!(published > last, "{published} comes after {last}");
        let snapshot = store.snapshot(&web).await.expect("take a snapshot");
        assert!(snapshot.revision >= published);
        // Whoever has seen this revision has seen the publication: a drain waits for nothing else.
        while watcher.revision < published {
            watcher.step().await;
        }
        assert_eq!(readable(&watcher.fold.entries), readable(&snapshot.entries));
        last = snapshot.revision;
    }
    // A change that is about to be made is not covered by a revision that was seen before.
    bench.set("/services/web/a/state", b"maint").await;
    watcher.until(|entries| entries.len() == 2, |_| {}).await;
    let published = publish(&store, lease, A, &[("ip", "end")]).await;
    assert!(published > watcher.revision);
    wait_for_async("the revision of the last publication", async || {
        watcher.step().await;
        (watcher.revision >= published).then_some(())
    })
    .await;
}
