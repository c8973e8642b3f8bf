//! Measures the time from a change in etcd to the swapped file. For comparison it measures what no program can do without: a
//! raw watch of etcd, and a bare write, fsync and rename of the same bytes. It also reports the resident memory of `watch`
//! and `register`.
//!
//! `cargo bench --bench latency [-- SIZES]`, for example `-- 10 1000`. Milliseconds vary between machines and over time, so
//! compare the ratios.

#[path = "../tests/it/harness/mod.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod harness;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, PutOptions, Txn, TxnOp, WatchOptions};
use harness::etcd::Etcd;
use harness::{Process, sidekick, wait_for};

/// Changes per size.
const ROUNDS: usize = 200;
/// The pause between two changes, so that nothing of one is still under way at the next.
const PAUSE: Duration = Duration::from_millis(30);
const TEMPLATE: &str = "backend web\n{% for i in services.web %}    server {{ i.id }} {{ i.addr }} check weight {{ i.weight }}\n{% endfor %}";

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![10, 1_000, 10_000]
    } else {
        sizes
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    print(
        "one change of one instance, from the start of its put; p50 / p99 in ms, and the ratio of the medians",
    );
    print(
        "instances   swapped          raw watch        write+fsync+rename   swapped/(watch+write)   watch RSS",
    );
    for size in sizes {
        runtime.block_on(measure(size));
    }
    runtime.block_on(register_memory());
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn print(line: &str) {
    println!("{line}");
}

/// A directory on a disk, where an fsync takes time.
fn disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

async fn measure(size: usize) {
    let etcd = Etcd::start_new();
    let mut client = Client::connect([etcd.endpoint()], None)
        .await
        .expect("a client");
    fill(&mut client, size).await;
    let dir = disk();
    let dest = dir.path().join("out.cfg");
    let process = watch(&etcd, dir.path(), &dest);
    wait_for("the first file", || {
        (fs::read(&dest).ok()?.len() > 10 * size).then_some(())
    });
    let mut swapped = Vec::new();
    for round in 0..ROUNDS {
        tokio::time::sleep(PAUSE).await;
        swapped.push(swap(&mut client, size, round, &dest).await);
    }
    let rss = resident(&process);
    drop(process);
    let raw = raw_watch(&mut client, size).await;
    let bare = bare_writes(&dest);
    let ratio = median(&swapped) / (median(&raw) + median(&bare));
    print(&format!(
        "{size:>9}   {:<16} {:<16} {:<20} {ratio:<23.1} {rss:.1} MB",
        figures(&swapped),
        figures(&raw),
        figures(&bare)
    ));
}

fn watch(etcd: &Etcd, dir: &Path, dest: &Path) -> Process {
    for name in ["conf.d", "templates"] {
        fs::create_dir(dir.join(name)).expect("a directory");
    }
    fs::write(dir.join("templates/out.tera"), TEMPLATE).expect("a template");
    let target = format!(
        "[template]\nsrc = 'out.tera'\ndest = '{}'\nservices = ['web']\n[template.guard]\non_empty = 'render'\nmax_drop = '100%'\n",
        dest.display()
    );
    fs::write(dir.join("conf.d/out.toml"), target).expect("a target");
    let mut command = sidekick();
    command.args(["watch", "--store", &etcd.url(), "--conf-dir"]);
    Process::start(command.arg(dir), &dir.join("log"))
}

fn key(n: usize, field: &str) -> String {
    format!("/services/web/i{n:05}/{field}")
}

async fn fill(client: &mut Client, size: usize) {
    for from in (0..size).step_by(30) {
        let ops = (from..size.min(from + 30)).flat_map(|n| {
            let ip = format!("10.1.{}.{}", n / 250, n % 250 + 1);
            [
                ("ip", ip),
                ("port", "8080".to_owned()),
                ("weight", "100".to_owned()),
            ]
            .map(|(field, value)| TxnOp::put(key(n, field), value, None))
        });
        let txn = Txn::new()
            .when(Vec::<Compare>::new())
            .and_then(ops.collect::<Vec<_>>());
        client.txn(txn).await.expect("fill the store");
    }
}

/// Changes the weight of an instance, which is 100 at first. Returns the start of the request.
async fn put(client: &mut Client, size: usize, round: usize) -> Instant {
    let weight = (round % 99 + 1).to_string();
    let start = Instant::now();
    let options = Some(PutOptions::new());
    client
        .put(key(round * 7 % size, "weight"), weight, options)
        .await
        .expect("a put");
    start
}

/// Makes one change, and measures the time until the file has another inode.
async fn swap(client: &mut Client, size: usize, round: usize, dest: &Path) -> Duration {
    let inode = || fs::metadata(dest).map_or(0, |meta| meta.ino());
    let before = inode();
    let start = put(client, size, round).await;
    while inode() == before {
        assert!(
            start.elapsed() < harness::PATIENCE,
            "the file does not change"
        );
        std::thread::sleep(Duration::from_micros(50));
    }
    start.elapsed()
}

/// Measures the same changes with a bare watch of etcd.
async fn raw_watch(client: &mut Client, size: usize) -> Vec<Duration> {
    let options = WatchOptions::new().with_prefix();
    let mut stream = client
        .watch("/services/", Some(options))
        .await
        .expect("a watch");
    stream.message().await.expect("the watch is created");
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        tokio::time::sleep(PAUSE).await;
        let start = put(client, size, round + 1).await;
        stream.message().await.expect("an event");
        times.push(start.elapsed());
    }
    times
}

/// Measures a bare write, fsync and rename of the same bytes.
fn bare_writes(dest: &Path) -> Vec<Duration> {
    let bytes = fs::read(dest).expect("the file");
    let dir = dest.parent().expect("its directory");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        let staged = dir.join("staged");
        let mut file = File::create(&staged).expect("a file");
        file.write_all(&bytes).expect("write");
        file.sync_all().expect("fsync");
        fs::rename(&staged, dest).expect("rename");
        File::open(dir)
            .expect("the directory")
            .sync_all()
            .expect("fsync of the directory");
        times.push(start.elapsed());
    }
    times
}

async fn register_memory() {
    let etcd = Etcd::start_new();
    let dir = disk();
    let mut command = sidekick();
    command.args(["register", "--store", &etcd.url()]);
    command.args(["--name", "web", "--port", "80", "--ip", "127.0.0.1"]);
    let process = Process::start(&mut command, &dir.path().join("log"));
    wait_for("the announcement", || {
        process.output().contains("is announced").then_some(())
    });
    tokio::time::sleep(Duration::from_secs(6)).await;
    print(&format!("register, idle: RSS {:.1} MB", resident(&process)));
}

/// Resident memory in megabytes.
fn resident(process: &Process) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("/proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    let kib: f64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kib / 1024.0
}

fn median(times: &[Duration]) -> f64 {
    percentile(times, 50)
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_secs_f64() * 1e3
}

fn figures(times: &[Duration]) -> String {
    format!(
        "{:.2} / {:.2}",
        percentile(times, 50),
        percentile(times, 99)
    )
}
