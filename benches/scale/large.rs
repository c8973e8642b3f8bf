//! Very many instances in one `watch`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use etcd_client::Client;
use serde_json::Value;

use crate::etcd::{Counters, fill, write_target};
use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick};
use crate::process::{processor_time, resident};
use crate::{Figures, disk, figure};

const CHANGES: u32 = 20;
const LIMIT: Duration = Duration::from_secs(300);

/// Lists and follows so many instances.
pub(crate) async fn measure(instances: usize) -> Figures {
    let etcd = Etcd::start_new();
    let mut client = Client::connect([etcd.endpoint()], None)
        .await
        .expect("a client");
    fill(&mut client, instances).await;
    let dir = disk();
    let dest = write_target(dir.path());
    let before = Counters::read(&etcd);
    let start = Instant::now();
    let mut command = sidekick();
    command.env("SIDEKICK_STATE_DIR", dir.path().join("state"));
    command.args(["watch", "--store", &etcd.url(), "--conf-dir"]);
    let process = Process::start(command.arg(dir.path()), &dir.path().join("log"));
    let inode = || fs::metadata(&dest).map_or(0, |meta| meta.ino());
    let wait = |before: u64, start: Instant| {
        while inode() == before {
            assert!(start.elapsed() < LIMIT, "{}", process.output());
            std::thread::sleep(Duration::from_micros(200));
        }
        start.elapsed().as_secs_f64() * 1e3
    };
    let first = wait(0, start);
    let listed = Counters::read(&etcd).since(before);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (idle_mb, started) = (resident(&process), processor_time(&process));
    let mut times = Vec::new();
    for round in 0..CHANGES {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = inode();
        let key = format!("/services/web/i{:06}/weight", round * 7);
        client
            .put(key, (round + 1).to_string(), None)
            .await
            .expect("a put");
        times.push(wait(before, Instant::now()));
    }
    times.sort_by(f64::total_cmp);
    let changed = processor_time(&process) - started;
    vec![
        ("instances", Value::from(instances)),
        ("from the start to the first file, ms", figure(first)),
        (
            "requests at etcd until then (pages of the list)",
            figure(listed.requests),
        ),
        ("megabytes from etcd until then", figure(listed.sent / 1e6)),
        ("processor time until then, s", figure(started)),
        ("memory, MB", figure(idle_mb)),
        ("memory after the changes, MB", figure(resident(&process))),
        (
            "one change, from its confirmation to the file, median, ms",
            figure(times[times.len() / 2]),
        ),
        (
            "processor time of a change, ms",
            figure(changed * 1e3 / f64::from(CHANGES)),
        ),
    ]
}
