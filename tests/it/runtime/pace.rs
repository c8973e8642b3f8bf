//! The distance between reloads, of an HAProxy whose servers are changed while it runs.

use std::fs;
use std::path::Path;

use super::{Bench, Web, web, webs};
use crate::harness::{sidekick, wait_for};

/// Long enough for what is done within it.
const INTERVAL: &str = "6s";

fn replace(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(old));
    fs::write(file, text.replace(old, new)).unwrap();
}

/// A change that takes no reload is made at once. One that takes one waits, and what comes after it is made by the same
/// reload; a drain among it is not said to be applied before that.
#[test]
fn min_interval_delays_only_changes_that_take_a_reload() {
    let bench = Bench::new(&[], "");
    let target = bench.file("conf.d/a.toml");
    replace(
        &target,
        "min_interval = '0s'",
        &format!("min_interval = '{INTERVAL}'"),
    );
    // Whoever is drained is out of service here.
    replace(&bench.file("templates/a.tera"), "\"maint\"", "\"drain\"");
    let mut now = webs([("a", web(1001)), ("b", web(1002))]);
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let worker = bench.worker("stats.sock");
    let light = Web {
        weight: 3,
        ..web(1001)
    };
    for new in [
        webs([("a", light), ("b", web(1002))]),
        webs([("a", light), ("b", web(1012))]),
        webs([("a", light), ("b", web(1012)), ("c", web(1003))]),
    ] {
        bench.change(&watch, &mut now, new);
        assert_eq!(bench.worker("stats.sock"), worker, "{}", watch.output());
    }

    // These cannot be made while it runs.
    let most = |most| Web { most, ..light };
    for count in [7, 8] {
        let mut new = now.clone();
        new.insert("a".to_owned(), most(count));
        bench.announce(&now, &new);
        now = new;
    }
    assert_eq!(bench.worker("stats.sock"), worker, "{}", watch.output());
    let mut drain = sidekick();
    drain.args(["drain", "web", "b", "--wait", "120s", "--store"]);
    drain.arg(format!("etcd://{}", bench.etcd.endpoint()));
    let drain = drain.output().unwrap();
    assert_eq!(drain.status.code(), Some(0), "{drain:?}");
    let off = Web {
        is_off: true,
        ..web(1012)
    };
    now.insert("b".to_owned(), off);
    // By the time that it is said to be applied, it is.
    assert_eq!(
        (bench.says(&now), bench.has("stats.sock", &now)),
        (Some(()), Some(())),
        "{drain:?} {}",
        watch.output()
    );
    let after = wait_for("another worker", || bench.worker("stats.sock"));
    assert_ne!(Some(after), worker);
    let said = watch.output();
    let reloads = said
        .lines()
        .filter(|line| line.contains("has been updated") && !line.contains("without a reload"));
    assert_eq!(reloads.count(), 1, "{said}");
}
