//! Many `watch` on one etcd, all of one service.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use etcd_client::Client;
use serde_json::Value;

use crate::etcd::{Counters, fill, write_target};
use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick};
use crate::process::resident;
use crate::{Figures, disk, figure};

/// The instances that they follow.
const INSTANCES: usize = 100;
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// After this time every watcher has written what it has applied.
const SETTLED: Duration = Duration::from_secs(20);
const CHANGES: usize = 10;
const LIMIT: Duration = Duration::from_secs(300);

/// Starts so many watchers, and makes changes that concern all of them.
#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
pub(crate) async fn measure(watchers: usize) -> Figures {
    let etcd = Etcd::start_new();
    let mut client = Client::connect([etcd.endpoint()], None)
        .await
        .expect("a client");
    fill(&mut client, INSTANCES).await;
    let dir = disk();
    let mut processes = Vec::new();
    let mut files = Vec::new();
    for n in 0..watchers {
        let dir = dir.path().join(n.to_string());
        files.push(write_target(&dir));
        let mut command = sidekick();
        command.env("SIDEKICK_STATE_DIR", dir.join("state"));
        command.args(["watch", "--store", &etcd.url(), "--conf-dir"]);
        processes.push(Process::start(command.arg(&dir), &dir.join("log")));
    }
    wait_all(&files, &vec![0; watchers], Instant::now());
    tokio::time::sleep(SETTLED).await;
    let idle = Counters::read(&etcd);
    tokio::time::sleep(IDLE).await;
    let idle = Counters::read(&etcd).since(idle);
    let mut last = Vec::new();
    let before = Counters::read(&etcd);
    let start = Instant::now();
    for round in 0..CHANGES {
        let inodes: Vec<u64> = files.iter().map(inode).collect();
        let key = format!("/services/web/i{round:06}/weight");
        client.put(key, "7", None).await.expect("a put");
        last.push(wait_all(&files, &inodes, Instant::now()));
    }
    let took = start.elapsed();
    let changes = Counters::read(&etcd).since(before);
    // They write their own entries some seconds later, once for all ten changes or twice.
    let before = Counters::read(&etcd);
    tokio::time::sleep(SETTLED).await;
    let entries = Counters::read(&etcd).since(before);
    last.sort_by(f64::total_cmp);
    let memory: f64 = processes.iter().map(resident).sum();
    let (idle_s, n) = (IDLE.as_secs_f64(), watchers as f64);
    vec![
        ("watchers", Value::from(watchers)),
        ("memory of a watcher, MB", figure(memory / n)),
        (
            "idle: processor of etcd, % of a core",
            figure(idle.processor / idle_s * 100.0),
        ),
        (
            "idle: requests at etcd, each second",
            figure(idle.requests / idle_s),
        ),
        ("idle: keys written", figure(idle.writes)),
        (
            "a change: until the last watcher has its file, median, ms",
            figure(last[last.len() / 2]),
        ),
        (
            "a change: until the last watcher has its file, longest, ms",
            figure(last[last.len() - 1]),
        ),
        (
            "a change: bytes that etcd sends, each watcher",
            figure(changes.sent / n / CHANGES as f64),
        ),
        (
            "a change: processor of etcd, ms",
            figure(changes.processor * 1e3 / CHANGES as f64),
        ),
        ("ten changes, one by one, s", figure(took.as_secs_f64())),
        (
            "own entries: keys written, each watcher",
            figure(entries.writes / n),
        ),
        (
            "own entries: events to watches, each watcher",
            figure(entries.events / n),
        ),
        (
            "own entries: bytes that etcd sends, each watcher",
            figure(entries.sent / n),
        ),
        (
            "own entries: processor of etcd, s",
            figure(entries.processor),
        ),
    ]
}

fn inode(file: &PathBuf) -> u64 {
    fs::metadata(file).map_or(0, |meta| meta.ino())
}

/// Waits until each file has another number than before; says how long the last took, in milliseconds.
fn wait_all(files: &[PathBuf], before: &[u64], start: Instant) -> f64 {
    for (file, before) in files.iter().zip(before) {
        while inode(file) == *before {
            assert!(start.elapsed() < LIMIT, "{} is not swapped", file.display());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    start.elapsed().as_secs_f64() * 1e3
}
