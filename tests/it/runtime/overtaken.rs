//! Newer data that come while a change that is made already waits for its check: HAProxy has them at once, and the file
//! follows.

use std::fs;
use std::path::Path;

use super::*;
use crate::harness::PATIENCE;

/// A check that waits as long as there is a file `hold`, and refuses one server.
const CHECK: &str = "check_cmd = 'echo $$ >> {{dest}}.checks; while test -e {{dest}}.hold; do sleep 0.02; done; \
    ! grep -q forbidden {{src}}'";

impl Bench {
    fn hold(&self) {
        fs::write(self.file("haproxy.cfg.hold"), "").unwrap();
    }

    fn release(&self) {
        fs::remove_file(self.file("haproxy.cfg.hold")).unwrap();
    }

    /// The pids of the checks so far.
    fn checks(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("haproxy.cfg.checks")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until HAProxy has these.
    #[track_caller]
    fn wait_runtime(&self, watch: &Process, webs: &Webs) {
        let start = std::time::Instant::now();
        while self.has("stats.sock", webs).is_none() {
            let (seen, log) = (self.servers("stats.sock"), watch.output());
            assert!(start.elapsed() < PATIENCE, "{webs:?}\n{seen:?}\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Announces these instead, and waits until HAProxy has them while the file is checked.
    #[track_caller]
    fn overtake(&self, watch: &Process, now: &mut Webs, new: Webs) {
        let before = self.checks().len();
        self.announce(now, &new);
        *now = new;
        wait_for("the runtime and a check", || {
            assert!(!watch.output().contains("panicked"), "{}", watch.output());
            self.has("stats.sock", now)?;
            (self.checks().len() > before).then_some(())
        });
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn three() -> Webs {
    webs([("a", web(1001)), ("b", web(1002)), ("c", web(1003))])
}

fn without(webs: &Webs, id: &str) -> Webs {
    let mut webs = webs.clone();
    webs.remove(id);
    webs
}

/// An HAProxy with three servers, and who keeps its file.
fn begin() -> (Bench, Process, Process, Webs) {
    let bench = Bench::new(&[], CHECK);
    let now = three();
    bench.first(&now);
    let proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    (bench, proxy, watch, now)
}

#[test]
fn a_server_that_dies_during_a_check_does_not_wait_for_it() {
    let (bench, _proxy, watch, mut now) = begin();
    let worker = bench.worker("stats.sock");
    let first = now.clone();
    bench.hold();
    for id in ["c", "b"] {
        let new = without(&now, id);
        bench.overtake(&watch, &mut now, new);
        bench.says(&first).expect("the previous file");
    }
    // Who makes way is ended, and leaves nothing behind.
    let checks = bench.checks();
    let [.., overtaken, last] = checks.as_slice() else {
        panic!("{checks:?}");
    };
    assert!(!is_alive(overtaken) && is_alive(last), "{checks:?}");
    bench.release();
    bench.wait(&watch, &now);
    assert_eq!(bench.worker("stats.sock"), worker, "{}", watch.output());
}

#[test]
fn servers_that_the_last_check_refuses_are_changed_back_to_the_file() {
    let (bench, _proxy, watch, mut now) = begin();
    let worker = bench.worker("stats.sock");
    let first = now.clone();
    bench.hold();
    let mut bad = without(&now, "a");
    bad.insert("forbidden".to_owned(), web(1009));
    bench.overtake(&watch, &mut now, bad);
    let worse = without(&now, "b");
    bench.overtake(&watch, &mut now, worse);
    bench.release();
    wait_for("the runtime of before", || bench.has("stats.sock", &first));
    bench.says(&first).unwrap();
    let good = without(&now, "forbidden");
    bench.change(&watch, &mut now, good);
    assert_eq!(bench.worker("stats.sock"), worker, "{}", watch.output());
}

#[test]
fn a_change_back_to_the_live_file_takes_no_check() {
    let (bench, _proxy, watch, mut now) = begin();
    let worker = bench.worker("stats.sock");
    let first = now.clone();
    bench.hold();
    let new = without(&now, "c");
    bench.overtake(&watch, &mut now, new);
    bench.change(&watch, &mut now, first);
    bench.release();
    // Nothing is owed: what comes next takes no reload.
    let new = without(&now, "a");
    bench.change(&watch, &mut now, new);
    assert_eq!(bench.worker("stats.sock"), worker, "{}", watch.output());
}

#[test]
fn killed_before_the_check_has_ended_the_next_process_reloads() {
    let (bench, _proxy, mut watch, mut now) = begin();
    let worker = bench.worker("stats.sock").unwrap();
    bench.hold();
    for id in ["c", "b"] {
        let new = without(&now, id);
        bench.overtake(&watch, &mut now, new);
    }
    watch.signal(Signal::SIGKILL);
    watch.wait();
    bench.release();
    let watch = bench.watch(&[]);
    bench.wait(&watch, &now);
    wait_for("a reload", || {
        bench.worker("stats.sock").filter(|other| *other != worker)
    });
    bench.wait(&watch, &now);
}

#[test]
fn a_change_that_takes_a_reload_ends_a_row_of_those_that_take_none() {
    let (bench, _proxy, watch, mut now) = begin();
    let worker = bench.worker("stats.sock").unwrap();
    bench.hold();
    let new = without(&now, "c");
    bench.overtake(&watch, &mut now, new);
    let mut new = now.clone();
    new.insert(
        "a".to_owned(),
        Web {
            most: 9,
            ..web(1001)
        },
    );
    bench.announce(&now, &new);
    wait_for("word of it", || {
        let said = watch.output();
        said.contains("a reload is needed: app/a").then_some(())
    });
    bench.release();
    bench.wait(&watch, &new);
    wait_for("a reload", || {
        bench.worker("stats.sock").filter(|other| *other != worker)
    });
}

#[test]
fn all_files_of_a_group_are_overtaken_and_follow_together() {
    let bench = Bench::new(&[], CHECK);
    let target = fs::read_to_string(bench.file("conf.d/a.toml")).unwrap();
    let (first, rest) = target.split_once("[template.reload]").unwrap();
    let first = first.replace("[template]", "[[template]]");
    // The second has no check of its own, and another file.
    let second = first.replace(CHECK, "").replace("a.tera", "b.tera");
    let second = second
        .replace("haproxy.cfg", "b.cfg")
        .replace("stats", "second");
    let text = fs::read_to_string(bench.file("templates/a.tera")).unwrap();
    let text = text.replace("stats.sock", "second.sock");
    let text = text.replace(&bench.port.to_string(), &free_port().to_string());
    fs::write(bench.file("templates/b.tera"), text).unwrap();
    let group = format!("{second}{first}[template.reload]{rest}");
    fs::write(bench.file("conf.d/a.toml"), group).unwrap();
    let mut now = three();
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let mut command = Command::new(tool("haproxy"));
    let _second = Process::start(
        command.arg("-db").arg("-f").arg(bench.file("b.cfg")),
        &bench.file("second"),
    );
    wait_for("the second", || bench.worker("second.sock"));
    let watch = bench.keep(&now);
    let workers = || ["stats.sock", "second.sock"].map(|socket| bench.worker(socket));
    let before = workers();
    let first = fs::read_to_string(bench.file("b.cfg")).unwrap();
    bench.hold();
    for id in ["c", "b"] {
        let new = without(&now, id);
        bench.overtake(&watch, &mut now, new);
        wait_for("the second", || bench.has("second.sock", &now));
    }
    assert_eq!(fs::read_to_string(bench.file("b.cfg")).unwrap(), first);
    bench.release();
    bench.wait(&watch, &now);
    wait_for("the second file", || {
        let text = fs::read_to_string(bench.file("b.cfg")).unwrap();
        (text.matches(" maxconn ").count() == now.len()).then_some(())
    });
    assert_eq!(workers(), before, "{}", watch.output());
}

/// The same as of single changes, now of rows of them: HAProxy follows each at once, and the file all of them.
#[test]
fn after_any_row_of_changes_file_and_runtime_are_equal() {
    let bench = Bench::new(&[], CHECK);
    let mut now = webs([("a", web(1001))]);
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut gone = BTreeMap::new();
    for step in 0..25 {
        let row = prop::collection::vec(some_webs(), 1..4);
        let row = row.new_tree(&mut runner).unwrap().current();
        let worker = bench.worker("stats.sock").unwrap();
        bench.hold();
        let mut reloads = false;
        for new in row {
            reloads = takes_reload(&now, &new, &gone);
            for (id, was) in &now {
                if !new.contains_key(id) {
                    gone.insert(id.clone(), was.most);
                }
            }
            gone.retain(|id, _| !new.contains_key(id));
            bench.announce(&now, &new);
            now = new;
            if reloads {
                break;
            }
            bench.wait_runtime(&watch, &now);
        }
        bench.release();
        bench.wait(&watch, &now);
        if reloads {
            gone.clear();
            wait_for("a reload", || {
                bench.worker("stats.sock").filter(|other| *other != worker)
            });
            bench.wait(&watch, &now);
        } else {
            let same = bench.worker("stats.sock") == Some(worker);
            assert!(same, "step {step}: {}", watch.output());
        }
    }
}
