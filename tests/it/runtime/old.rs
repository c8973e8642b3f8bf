//! An HAProxy that cannot add servers while it runs: that of Debian 11.

use std::collections::BTreeSet;

use sidekick::proxy::haproxy::show_servers::RunningServer;

use super::*;
use crate::harness::unpacked;

/// Before the backend that `docs/haproxy.md` shows.
const HEAD: &str = "\
global
    log stderr format raw local0
    stats socket STATS level admin expose-fd listeners
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    option redispatch
frontend f
    bind 127.0.0.1:PORT
    default_backend web
";

fn haproxy() -> Option<PathBuf> {
    unpacked("bullseye", "usr/sbin/haproxy")
}

/// What the documentation shows, with four slots.
fn template() -> String {
    let docs = include_str!("../../../docs/haproxy.md");
    let (_, chapter) = docs.split_once("\n## HAProxy before 2.5\n").unwrap();
    let shown = chapter.split("```").nth(1).unwrap();
    let shown = shown.strip_prefix("tera\n").unwrap();
    assert!(shown.contains("count=32"));
    HEAD.to_owned() + &shown.replace("count=32", "count=4")
}

/// Address, weight and whether it is out of service, as HAProxy should have them.
type Slots = BTreeMap<Id, (String, u16, bool)>;

fn slots_of(file: &str) -> Slots {
    let lines = file.lines().map(str::trim);
    let slot = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ["server", name, at, "check", "weight", weight, rest @ ..] = words.as_slice() else {
            panic!("{line}")
        };
        let weight = weight.parse().unwrap();
        let id = Id::new("web", name).unwrap();
        (id, ((*at).to_owned(), weight, *rest == ["disabled"]))
    };
    let lines = lines.filter(|line| line.starts_with("server "));
    lines.map(slot).collect()
}

impl Bench {
    /// Whether HAProxy has the servers of its file, and these serve and no others.
    fn is_served_by(&self, live: &[(&str, Web)]) -> Option<()> {
        let file = slots_of(&fs::read_to_string(self.file("haproxy.cfg")).ok()?);
        let seen = self.servers("stats.sock")?;
        let slot = |(id, seen): (Id, RunningServer)| {
            Some((id, (seen.at?.to_string(), seen.weight, seen.disabled)))
        };
        let seen: Option<Slots> = seen.into_iter().map(slot).collect();
        (file.len() == 4 && file == seen?).then_some(())?;
        let serving = file
            .values()
            .filter(|(_, weight, is_off)| *weight > 0 && !is_off);
        let serving: BTreeSet<String> = serving.map(|(at, ..)| at.clone()).collect();
        let want = live
            .iter()
            .map(|(_, web)| format!("127.0.0.1:{}", web.port));
        (serving == want.collect()).then_some(())?;
        let answers: Option<BTreeSet<String>> =
            (0..8).map(|_| ask(self.port, "localhost", "/")).collect();
        let want = live.iter().map(|(name, _)| (*name).to_owned());
        (answers? == want.collect()).then_some(())
    }

    #[track_caller]
    fn wait_served(&self, live: &[(&str, Web)], watch: &Process) {
        let arrived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("file, runtime and answers", || self.is_served_by(live));
        }));
        assert!(
            arrived.is_ok(),
            "{live:?}\n{}\n{:?}\n{}",
            fs::read_to_string(self.file("haproxy.cfg")).unwrap_or_default(),
            self.servers("stats.sock"),
            watch.output()
        );
    }
}

#[test]
fn slots_take_new_servers_without_a_reload() {
    let Some(haproxy) = haproxy() else { return };
    let check = format!("check_cmd = '{} -c -f {{{{src}}}}'", haproxy.display());
    let bench = Bench::with(haproxy, &template(), &[], &check);
    let [a, b, c, d, other] = ["a", "b", "c", "d", "o"].map(|name| (name, web(answer_with(name))));
    // Other places for these.
    let [there, yonder] = ["t", "y"].map(|name| (name, web(answer_with(name))));
    let mut now = webs([a, b]);
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.start();
    bench.wait_served(&[a, b], &watch);
    let worker = bench.worker("stats.sock").unwrap();
    let clients = Clients::start(bench.port);
    let off = Web {
        is_off: true,
        ..b.1
    };
    let drained = Web { weight: 0, ..a.1 };
    for (new, live) in [
        (webs([a, b, c]), vec![a, b, c]),
        (webs([b, c]), vec![b, c]),
        (webs([("b", there.1), c]), vec![there, c]),
        (webs([("b", yonder.1), ("c", there.1)]), vec![yonder, there]),
        (webs([("a", drained), b, c, d]), vec![b, c, d]),
        (webs([a, ("b", off), c, d]), vec![a, c, d]),
        (webs([other]), vec![other]),
        (webs([a, b, c, d]), vec![a, b, c, d]),
    ] {
        bench.announce(&now, &new);
        now = new;
        bench.wait_served(&live, &watch);
    }
    let drain = ["put", "/services/web/c/state", "drain"];
    bench.etcd.etcdctl(&drain);
    bench.wait_served(&[a, b, d], &watch);

    // One more than there are slots.
    let live = fs::read_to_string(bench.file("haproxy.cfg")).unwrap();
    let more = webs([a, b, c, d, other]);
    bench.announce(&now, &more);
    wait_for("word of it", || {
        let said = watch.output();
        said.contains("there are 5 instances for 4 slots")
            .then_some(())
    });
    assert_eq!(fs::read_to_string(bench.file("haproxy.cfg")).unwrap(), live);
    bench.wait_served(&[a, b, d], &watch);
    bench.announce(&more, &webs([a, b, other]));
    bench.wait_served(&[a, b, other], &watch);

    clients.stop(&watch);
    let said = watch.output();
    assert_eq!(bench.worker("stats.sock"), Some(worker), "{said}");
    assert!(!said.contains("a reload is needed"), "{said}");
}

#[test]
fn without_slots_a_new_server_takes_one_reload() {
    let Some(haproxy) = haproxy() else { return };
    let bench = Bench::with(haproxy, TEMPLATE, &[], "");
    let mut now = webs([("a", web(1001)), ("b", web(1002))]);
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let mut before = bench.worker("stats.sock").unwrap();
    let [a, b, c] = [1001, 1002, 1003].map(web);
    let heavy = Web {
        weight: 3,
        ..web(1012)
    };
    for (reloads, new) in [
        (false, webs([("a", a), ("b", heavy)])),
        (true, webs([("a", a), ("b", heavy), ("c", c)])),
        (false, webs([("b", b), ("c", c)])),
        // It is still there, out of service.
        (false, webs([("a", heavy), ("b", b), ("c", c)])),
        (true, webs([("d", a)])),
        (false, webs([("d", b)])),
    ] {
        bench.announce(&now, &new);
        now = new;
        if reloads {
            wait_for("a reload", || {
                let worker = bench.worker("stats.sock")?;
                (worker != before).then_some(())
            });
        }
        bench.wait(&watch, &now);
        let after = bench.worker("stats.sock").unwrap();
        assert_eq!(after != before, reloads, "{now:?}\n{}", watch.output());
        before = after;
    }
    let said = watch.output();
    let count = |text: &str| said.matches(text).count();
    for id in ["app/c", "app/d"] {
        let why = format!("a reload is needed: HAProxy 2.2 cannot add {id} while it runs");
        assert_eq!(count(&why), 1, "{said}");
    }
    assert_eq!(count("a reload is needed"), 2, "{said}");
    assert_eq!(count("(slots)"), 1, "{said}");
    assert!(
        !said.contains("refused") && !said.contains("WARN"),
        "{said}"
    );
}
