//! `sidekick register --config`: several services in one process, on one lease, while files and addresses change.

mod addresses;
mod config_reload;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

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

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// `sidekick register` with the configuration of this name.
    fn command(&self, config: &str, args: &[&str]) -> std::process::Command {
        let mut command = sidekick();
        command.args(["register", "--ttl", "10s", "--store"]);
        command.arg(self.etcd.url());
        command.arg("--config").arg(self.file(config)).args(args);
        command
    }

    fn start(&self, config: &str, args: &[&str]) -> Process {
        let log = self.file(&format!("{config}.log"));
        Process::start(&mut self.command(config, args), &log)
    }

    /// Everything in the store.
    fn keys(&self) -> BTreeMap<String, String> {
        self.etcd.keys("/")
    }

    fn until(&self, want: &BTreeMap<String, String>) {
        let start = std::time::Instant::now();
        wait_for("the keys", || {
            let keys = self.keys();
            let is_late = start.elapsed() > crate::harness::PATIENCE / 2;
            assert!(!is_late || keys == *want, "{keys:#?} is not {want:#?}");
            (keys == *want).then_some(())
        });
    }

    /// The revision at which each key was last written, and the lease it hangs on.
    fn stamps(&self) -> BTreeMap<String, (i64, i64)> {
        let json = self
            .etcd
            .etcdctl(&["get", "--prefix", "/", "-w", "fields", "--keys-only"]);
        let (mut stamps, mut key, mut revision) = (BTreeMap::new(), String::new(), 0);
        for line in json.lines() {
            let Some((name, value)) = line.split_once(" : ") else {
                continue;
            };
            match name {
                "\"Key\"" => value.trim_matches('"').clone_into(&mut key),
                "\"ModRevision\"" => revision = value.parse().unwrap(),
                "\"Lease\"" => {
                    stamps.insert(key.clone(), (revision, value.parse().unwrap()));
                }
                _ => {}
            }
        }
        stamps
    }
}

/// Keys and values from lines `key value`.
fn tree(lines: &str) -> BTreeMap<String, String> {
    let pairs = lines.lines().filter_map(|line| line.trim().split_once(' '));
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}
