//! `sidekick register` as a process: keys, signals, exit statuses, and what it does when the store fails.

mod checks;
mod owners;
mod program;
mod store;
mod unannounced;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::etcd::Etcd;
use crate::harness::notify::Notify;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

const TREE: &str = "/services/web/a";

/// `sidekick register` of the instance `a` of `web` on port 80, as far as the arguments do not say otherwise.
fn command(store: &str, args: &[&str]) -> Command {
    let mut command = sidekick();
    command.args(["register", "--store", store]);
    for (flag, value) in [
        ("--name", "web"),
        ("--id", "a"),
        ("--port", "80"),
        ("--ip", "127.0.0.1"),
        ("--ttl", "2s"),
    ] {
        if !args.contains(&flag) {
            command.args([flag, value]);
        }
    }
    command.args(args);
    command
}

/// A store, and a place for files.
struct Bench {
    etcd: Etcd,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.etcd.url(), args)
    }

    fn log(&self) -> PathBuf {
        self.file("log")
    }

    fn start(&self, args: &[&str]) -> Process {
        Process::start(&mut self.command(args), &self.log())
    }

    /// Starts and waits until it is announced.
    fn announced(&self, args: &[&str]) -> Process {
        let process = self.start(args);
        wait_for("the announcement", || self.is_there().then_some(()));
        process
    }

    fn is_there(&self) -> bool {
        !self.keys().is_empty()
    }

    /// Keys and values under the prefix.
    fn keys(&self) -> BTreeMap<String, String> {
        self.etcd.keys("/services")
    }

    /// The revision at which a key was last written, and the lease it hangs on.
    fn stamp(&self, key: &str) -> (String, String) {
        let json = self.etcd.etcdctl(&["get", key, "-w", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let kv = &json["kvs"][0];
        (kv["mod_revision"].to_string(), kv["lease"].to_string())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .filter(|text| text.ends_with('\n'))
}

#[test]
fn all_keys_come_in_one_transaction_on_one_lease_and_go_in_one() {
    let bench = Bench::new();
    let mut process = bench.announced(&[
        "--port",
        "80",
        "--port",
        "admin=81",
        "--host",
        "web.example",
        "--weight",
        "7",
        "--attr",
        "settings/vhost=www.example",
    ]);
    let want = [
        ("host", "web.example"),
        ("ip", "127.0.0.1"),
        ("port", "80"),
        ("admin-port", "81"),
        ("weight", "7"),
        ("settings/vhost", "www.example"),
    ];
    let want: BTreeMap<String, String> = want
        .iter()
        .map(|(k, v)| (format!("{TREE}/{k}"), (*v).to_owned()))
        .collect();
    assert_eq!(bench.keys(), want);
    let stamps: std::collections::BTreeSet<_> = want.keys().map(|key| bench.stamp(key)).collect();
    assert_eq!(stamps.len(), 1, "{stamps:?}");

    let before = bench.etcd.revision();
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.keys(), BTreeMap::new());
    // The mark of the drain, and all of them at once.
    assert_eq!(bench.etcd.revision(), before + 2);
}

#[test]
fn a_heartbeat_writes_no_key() {
    let bench = Bench::new();
    let _process = bench.announced(&[]);
    let before = bench.etcd.revision();
    // Three times its life without a heartbeat.
    let end = Instant::now() + Duration::from_secs(6);
    wait_for("three lives of the lease", || {
        (Instant::now() > end).then_some(())
    });
    assert!(bench.is_there());
    assert_eq!(bench.etcd.revision(), before);
}

#[test]
fn a_service_manager_is_told_and_the_command_cannot_answer_for_us() {
    let bench = Bench::new();
    let notify = Notify::at(&bench.file("notify"));
    let env = bench.file("env");
    let script = format!("env > {}; exec sleep 1000", env.display());
    let mut command = bench.command(&["--", "sh", "-c", &script]);
    let mut process = Process::start(notify.pass_socket_to(&mut command), &bench.log());
    assert!(notify.receive().starts_with("READY=1\n"));
    assert!(bench.is_there(), "ready means announced");
    let env = wait_for("the command", || read(&env));
    assert!(!env.contains("NOTIFY_SOCKET"));
    process.signal(Signal::SIGTERM);
    assert!(notify.receive().starts_with("STOPPING=1\n"));
    process.wait();
}

#[test]
fn a_service_manager_behind_an_abstract_socket_is_told_too() {
    let bench = Bench::new();
    let name = format!("sidekick-test-{}", std::process::id());
    let notify = Notify::abstractly(&name);
    let mut command = bench.command(&[]);
    let _process = Process::start(notify.pass_socket_to(&mut command), &bench.log());
    assert!(notify.receive().starts_with("READY=1\n"));
}
