//! Contract: what every store owes to those who read it. Each store has the keys from the start, in its own way.

use sidekick::model::prefix::Prefix;

use super::{Fold, Follower, Readable, Reads, Revision, Watcher, expected, keys, prefix, readable};

const WEB: &str = "/services/web";
/// Names that a path could be taken for the beginning of.
const KEYS: [(&str, &str); 7] = [
    ("/config/motd", "hello"),
    ("/services/we/a/ip", "10.0.0.1"),
    ("/services/web-x/a/ip", "10.0.0.2"),
    ("/services/web/a/ip", "10.0.0.3"),
    ("/services/web/a/port", "80"),
    ("/services/web/b/settings/zone", "x"),
    ("/services/web2/a/ip", "10.0.0.4"),
];

fn below(path: &str) -> Readable {
    let path = prefix(path);
    let keys = KEYS.into_iter().filter(|(key, _)| path.covers(key));
    expected(&keys.collect::<Vec<_>>())
}

pub(crate) async fn everything_below_a_path_is_listed<R: Reads>() {
    let bench = R::holding(&KEYS).await;
    let store = bench.reader();
    for (path, count) in [
        ("/", 7),
        (WEB, 3),
        ("/services/web/a", 2),
        ("/services/web/a/ip", 1),
        ("/services/web/b/settings", 1),
        ("/config/motd", 1),
        ("/nothing/here", 0),
    ] {
        let listed = keys(&store, path).await;
        assert_eq!((listed.len(), listed), (count, below(path)), "{path}");
    }
}

pub(crate) async fn values_are_texts_of_any_kind<R: Reads>() {
    let long = "x".repeat(100_000);
    let values = [
        "",
        " padded ",
        "two\nlines",
        "\n",
        "\u{e9}\u{1F600}",
        "\"'\\${}",
        &long,
    ];
    let names: Vec<String> = (0..values.len()).map(|n| format!("/values/{n}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values).collect();
    let bench = R::holding(&pairs).await;
    let got = keys(&bench.reader(), "/values").await;
    let values = pairs
        .iter()
        .map(|(key, value)| (*key, value.strip_suffix('\n')));
    for (key, value) in values {
        let whole = pairs.iter().find(|(name, _)| *name == key).unwrap().1;
        // The directory store drops a newline at the end of what a hand wrote.
        let is_kept = got[key] == whole || Some(got[key].as_str()) == value;
        assert!(is_kept, "{key}: {:?}", got[key]);
    }
}

pub(crate) async fn a_watch_leads_from_any_revision_to_the_present<R: Reads>() {
    let bench = R::holding(&KEYS).await;
    let store = bench.reader();
    let watcher = Watcher::start(&store, WEB).await;
    assert_eq!(readable(&watcher.fold.entries), below(WEB));
    let mut watch = store.watch(&prefix(WEB), Revision(0)).await.expect("watch");
    let mut fold = Fold::default();
    while fold.entries != watcher.fold.entries {
        let update = tokio::time::timeout(crate::harness::PATIENCE, watch.next());
        fold.apply(update.await.expect("an update").expect("the watch goes on"));
    }
}

pub(crate) async fn all_clients_see_the_same<R: Reads>() {
    let bench = R::holding(&KEYS).await;
    let all = Prefix::root();
    let mut seen = Vec::new();
    for store in [bench.reader(), bench.reader()] {
        for _ in 0..2 {
            seen.push(store.snapshot(&all).await.expect("take a snapshot").entries);
        }
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]));
    let store = bench.reader();
    let first = store.snapshot(&all).await.expect("take a snapshot");
    let second = store.snapshot(&prefix(WEB)).await.expect("take a snapshot");
    assert_eq!(
        first.revision, second.revision,
        "nothing has changed between"
    );
}

pub(crate) async fn a_reader_follows_from_the_start<R: Reads>() {
    let bench = R::holding(&KEYS).await;
    let mut all = Follower::start(bench.reader(), "/");
    let mut web = Follower::start(bench.reader(), WEB);
    all.until_is(&below("/")).await;
    web.until_is(&below(WEB)).await;
    assert_eq!((all.outages, web.outages), (0, 0));
}

pub(crate) async fn keys_of_hands_hang_on_no_lease<R: Reads>() {
    let bench = R::holding(&KEYS).await;
    let times = bench.reader().lease_times(&Prefix::root()).await;
    assert_eq!(times.expect("ask for leases").len(), 0);
}
