//! Long backlogs, strange keys, and histories that are not what they were.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use sidekick::model::update::Update;

use super::open;
use crate::contract::{Fold, Follower, LONG, Watcher, expected, grant, keys, prefix, publish};
use crate::harness::etcd::Etcd;

#[tokio::test]
async fn a_backlog_larger_than_a_message_is_taken_up() {
    // 12 values of 100 kB in one transaction, 15 times: 18 MB, of which gRPC takes 4 in one message.
    const FIELDS: usize = 12;
    const ROUNDS: usize = 15;
    let etcd = Etcd::start_new();
    let store = open(etcd.options());
    let services = prefix("/services");
    let lease = grant(&store, LONG).await;
    let after = store.snapshot(&services).await.expect("list").revision;
    let names: Vec<String> = (0..FIELDS).map(|n| format!("field-{n}")).collect();
    for round in 0..ROUNDS {
        let value = format!("{round:02}").repeat(50_000);
        let fields: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), value.as_str()))
            .collect();
        publish(&store, lease, &format!("/services/web/{round}"), &fields).await;
    }
    let now = store.snapshot(&services).await.expect("list");
    let mut watch = store.watch(&services, after).await.expect("watch");
    let mut fold = Fold::default();
    while fold.entries != now.entries {
        let update = watch.next().await.expect("the watch goes on");
        if let Update::Changed { changes, .. } = &update {
            assert_eq!(changes.len() % FIELDS, 0, "a transaction was split");
        }
        fold.apply(update);
    }
}

#[tokio::test]
async fn keys_that_are_no_text_are_passed_over() {
    let etcd = Etcd::start_new();
    let store = open(etcd.options());
    let strange = OsStr::from_bytes(b"/services/\xff\xfe/ip");
    let put = |key: &OsStr| etcd.etcdctl(&[OsStr::new("put"), key, OsStr::new("1")]);
    put(strange);
    put(OsStr::new("/services/a"));
    let mut watcher = Watcher::start(&store, "/services").await;
    assert_eq!(
        keys(&store, "/services").await,
        expected(&[("/services/a", "1")])
    );
    put(strange);
    put(OsStr::new("/services/b"));
    let want = expected(&[("/services/a", "1"), ("/services/b", "1")]);
    watcher.until_is(&want).await;
}

/// A wiped store that has already passed the revision of the old one looks as if it went on.
#[tokio::test]
async fn a_rebuilt_store_that_is_ahead_of_the_old_one_is_told_apart() {
    let mut etcd = Etcd::start_new();
    let put = |etcd: &Etcd, key: &str, value: &str| drop(etcd.etcdctl(&["put", key, value]));
    put(&etcd, "/services/old", "1");
    put(&etcd, "/services/old", "2");
    let mut follower = Follower::start(open(etcd.options()), "/services");
    follower
        .until_is(&expected(&[("/services/old", "2")]))
        .await;
    // Nothing is awaited here, so that the follower sees only what comes of it.
    etcd.wipe();
    for n in 0..5 {
        put(&etcd, "/services/new", &n.to_string());
    }
    put(&etcd, "/services/last", "1");
    let want = [("/services/last", "1"), ("/services/new", "4")];
    follower.until_is(&expected(&want)).await;
}

#[tokio::test]
async fn a_transaction_that_is_too_large_says_so() {
    let etcd = Etcd::start_new();
    let store = open(etcd.options());
    let lease = grant(&store, LONG).await;
    let names: Vec<String> = (0..129).map(|n| format!("field-{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let many = crate::contract::publication("/services/web/a", &fields);
    let error = store.publish(lease, &many).await.expect_err("too many");
    super::assert_says(&error, &["129", "128", "/services/web/a"]);
    let huge = "x".repeat(2 << 20);
    let huge = crate::contract::publication("/services/web/a", &[("ip", &huge)]);
    let error = store.publish(lease, &huge).await.expect_err("too large");
    super::assert_says(&error, &[&etcd.endpoint(), "shorter attributes"]);
}

#[tokio::test]
async fn values_that_fill_no_message_are_listed_in_smaller_pages() {
    let etcd = Etcd::start_new();
    let store = open(etcd.options());
    let lease = grant(&store, LONG).await;
    let value = "x".repeat(1_400_000);
    // 70 MB, and a message of 64 MiB is the largest to be taken.
    for n in 0..50 {
        publish(
            &store,
            lease,
            &format!("/services/web/{n}"),
            &[("ip", &value)],
        )
        .await;
    }
    let snapshot = store.snapshot(&prefix("/services")).await.expect("list");
    assert_eq!(snapshot.entries.len(), 50);
}

/// etcd counts for each page all keys that are left, so a long list costs it as many times its length as it has pages.
#[tokio::test]
async fn a_long_list_has_few_pages() {
    const INSTANCES: usize = 270;
    const FIELDS: usize = 120;
    let etcd = Etcd::start_new();
    let store = open(etcd.options());
    let lease = grant(&store, LONG).await;
    let names: Vec<String> = (0..FIELDS).map(|n| format!("field-{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    for n in 0..INSTANCES {
        publish(&store, lease, &format!("/services/web/{n}"), &fields).await;
    }
    let requests = || {
        let labels = r#"{grpc_code="OK",grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#;
        etcd.metric(&format!("grpc_server_handled_total{labels}"))
            .unwrap_or_default()
    };
    let before = requests();
    let snapshot = store.snapshot(&prefix("/services")).await.expect("list");
    assert_eq!(snapshot.entries.len(), INSTANCES * FIELDS);
    let pages = requests() - before;
    assert!((1.5..2.5).contains(&pages), "{pages} pages");
}
