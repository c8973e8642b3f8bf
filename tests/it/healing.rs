//! `sidekick register` under faults of its store and of itself: the program is never harmed, and the instance is back.
//!
//! Each test says what it saw (`cargo test healing -- --nocapture`): for how long the keys were gone, and how long after
//! the end of the fault they were back.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sidekick::model::prefix::Prefix;
use sidekick::model::store_url::{EtcdOptions, Password};
use sidekick::store::{Store, etcd::EtcdStore};

use crate::etcd::auth;
use crate::harness::etcd::{Cluster, Etcd};
use crate::harness::{PATIENCE, Process, sidekick, skipped, temp_dir, wait_for};

/// `host`, `ip`, `port` and `announced_at`.
const KEYS: usize = 4;
const TTL: Duration = Duration::from_secs(2);

/// A registered program, and a look at its keys that has nothing to do with it.
struct Scene {
    process: Process,
    program: i32,
    dir: tempfile::TempDir,
    store: Arc<dyn Store>,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    /// Registers a program at these endpoints and waits until it is announced.
    fn start(options: &EtcdOptions) -> Self {
        let dir = temp_dir();
        let pid = dir.path().join("pid");
        let mut command = sidekick();
        let store = format!("etcd://{}", options.endpoints.join(","));
        command.args([
            "register", "--store", &store, "--name", "web", "--id", "a", "--port", "80",
        ]);
        command.args(["--ip", "127.0.0.1", "--ttl", "2s", "--", "sh", "-c"]);
        command.arg(format!("echo $$ > {}; exec sleep 1000", pid.display()));
        if let Some((user, Password::Given(password))) = &options.auth {
            command
                .env("ETCDCTL_USER", user)
                .env("ETCDCTL_PASSWORD", password);
        }
        let scene = Self {
            process: Process::start(&mut command, &dir.path().join("log")),
            program: wait_for("the program", || read_pid(&pid)),
            dir,
            store: Arc::new(EtcdStore::new(options.clone()).unwrap()),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        };
        scene.wait_for_keys("the announcement");
        scene
    }

    /// How many keys there are; nobody knows while the store does not answer.
    fn keys(&self) -> Option<usize> {
        let prefix = Prefix::parse("/services").unwrap();
        let snapshot = self.runtime.block_on(self.store.snapshot(&prefix));
        snapshot.ok().map(|snapshot| snapshot.entries.len())
    }

    fn wait_for_keys(&self, what: &str) {
        wait_for(what, || (self.keys()? == KEYS).then_some(()));
    }

    /// Looks on until the keys have been there without a break for more than a TTL; says what was seen.
    fn settle(&self, fault: &str) {
        let start = Instant::now();
        let (mut gone, mut back, mut last) = (Duration::ZERO, None, start);
        loop {
            let there = self.keys() == Some(KEYS);
            let now = Instant::now();
            if there {
                let since = *back.get_or_insert(now);
                if now - since > TTL + TTL / 2 {
                    let after = since - start;
                    self.say(&format!(
                        "{fault}: gone or unknown for {gone:.1?}, back after {after:.1?}"
                    ));
                    return;
                }
            } else {
                (back, gone) = (None, gone + (now - last));
            }
            last = now;
            assert!(
                now - start < PATIENCE,
                "{fault}: not healed\n{}",
                self.process.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn say(&self, what: &str) {
        let alive = Path::new(&format!("/proc/{}", self.program)).exists();
        assert!(
            alive,
            "{what}: the program was harmed\n{}",
            self.process.output()
        );
        say(&format!("{what}; the program is unharmed"));
    }
}

/// For who runs the tests to see what they do.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn read_pid(path: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(path).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

/// Lets a time pass that a fault is to last.
fn last_for(time: Duration) {
    let end = Instant::now() + time;
    wait_for("the fault to last", || {
        (Instant::now() >= end).then_some(())
    });
}

#[test]
fn etcd_is_killed_and_comes_back() {
    let mut etcd = Etcd::start_new();
    let scene = Scene::start(&etcd.options());
    etcd.kill();
    last_for(2 * TTL);
    etcd.start();
    scene.settle("etcd killed for two TTLs");
}

#[test]
fn etcd_is_paused_for_longer_than_the_ttl() {
    let etcd = Etcd::start_new();
    let scene = Scene::start(&etcd.options());
    etcd.pause();
    last_for(3 * TTL);
    etcd.resume();
    scene.settle("etcd paused for three TTLs");
}

#[test]
fn etcd_is_wiped() {
    let mut etcd = Etcd::start_new();
    let scene = Scene::start(&etcd.options());
    etcd.wipe();
    scene.settle("etcd wiped");
}

#[test]
fn the_lease_is_revoked_by_hand() {
    let etcd = Etcd::start_new();
    let scene = Scene::start(&etcd.options());
    let leases = etcd.etcdctl(&["lease", "list"]);
    etcd.etcdctl(&["lease", "revoke", leases.lines().last().unwrap().trim()]);
    scene.settle("lease revoked");
}

#[test]
fn the_keys_are_deleted_by_hand() {
    let etcd = Etcd::start_new();
    let scene = Scene::start(&etcd.options());
    let deleted = Instant::now();
    etcd.etcdctl(&["del", "--prefix", "/services"]);
    scene.wait_for_keys("the keys to be back");
    let after = deleted.elapsed();
    // One heartbeat, at TTL / 3 and its jitter, on a machine that has other things to do.
    assert!(after < TTL, "{after:?}");
    scene.settle("keys deleted");
}

#[test]
fn the_token_runs_out() {
    let (etcd, options) = auth::start();
    let scene = Scene::start(&options);
    // The tokens live for four seconds without use; heartbeats go over a stream that needs none.
    last_for(Duration::from_secs(7));
    assert_eq!(scene.keys(), Some(KEYS), "{}", scene.process.output());
    etcd.etcdctl(&["del", "--prefix", "/services/web"]);
    scene.settle("token run out, then keys deleted");
}

#[test]
fn one_of_three_nodes_is_lost() {
    let mut cluster = Cluster::start_new();
    let scene = Scene::start(&cluster.options());
    let follower = (cluster.leader() + 1) % 3;
    cluster.nodes[follower].kill();
    scene.settle("a follower of three killed");
}

#[test]
fn the_leader_is_lost() {
    let mut cluster = Cluster::start_new();
    let scene = Scene::start(&cluster.options());
    let leader = cluster.leader();
    cluster.nodes[leader].kill();
    scene.settle("the leader of three killed");
}

#[test]
fn sidekick_is_paused_for_longer_than_the_ttl() {
    let etcd = Etcd::start_new();
    let scene = Scene::start(&etcd.options());
    scene.process.signal(Signal::SIGSTOP);
    wait_for("the lease to end", || (scene.keys()? == 0).then_some(()));
    last_for(TTL);
    scene.process.signal(Signal::SIGCONT);
    scene.settle("sidekick paused until its lease had ended");
}

#[test]
fn the_clock_of_the_system_is_stepped() {
    let etcd = Etcd::start_new();
    // In a time namespace the clocks since boot are far ahead; the wall clock cannot be stepped for one process alone,
    // and nothing that decides looks at it (see the architecture's test).
    let scene = Scene::start(&etcd.options());
    let mut ahead = Command::new("unshare");
    ahead.args(["--time", "--monotonic", "100000", "--boottime", "100000"]);
    ahead
        .arg(env!("CARGO_BIN_EXE_sidekick"))
        .args(["register", "--name", "web", "--id", "b", "--port", "81"]);
    ahead.args(["--ip", "127.0.0.1", "--ttl", "2s", "--store", &etcd.url()]);
    let log = scene.dir.path().join("ahead");
    let mut process = Process::start(&mut ahead, &log);
    let said = wait_for("the announcement, or a refusal", || {
        let said = process.output();
        (said.contains("is announced") || process.ended().is_some()).then_some(said)
    });
    if !said.contains("is announced") {
        skipped(&format!("no time namespace can be made here: {said}"));
        return;
    }
    last_for(2 * TTL);
    assert_eq!(scene.keys(), Some(2 * KEYS), "{}", process.output());
    scene.say("a clock 100,000 s ahead");
}
