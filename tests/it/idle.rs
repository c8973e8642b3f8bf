//! A time in which nothing happens: no line of the log, no write to the store, and no more wake-ups than the keep-alives of
//! the leases need.

use std::fs;

use nix::unistd::Pid;

use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

/// So many renewals of leases are one stretch of time: `register` makes three in 2 s, `watch` one in 5 s.
const RENEWALS: f64 = 24.0;
/// How often a process may wake up for one renewal: a timer, the writes and reads of a request and of its answer, and the
/// look whether the keys still stand.
const WAKE_UPS: f64 = 15.0;

fn renewals(etcd: &Etcd) -> f64 {
    etcd.metric("etcd_debugging_lease_renewed_total")
        .expect("etcd counts renewals")
}

/// How often the threads of a process have waited for something. The thread that reads the kernel's file events does not
/// count: it hears of the directory above the test's too, in which other tests make theirs.
fn wake_ups(pid: Pid) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let count = |task: std::io::Result<fs::DirEntry>| -> Option<u64> {
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        if status.starts_with("Name:\tnotify-rs") {
            return None;
        }
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse().ok()
    };
    tasks.filter_map(count).sum()
}

/// Waits for a stretch of time; whether nothing was written to the store in it.
fn stretch(etcd: &Etcd) -> bool {
    let (revision, start) = (etcd.revision(), renewals(etcd));
    wait_for("the leases to be renewed", || {
        (renewals(etcd) >= start + RENEWALS).then_some(())
    });
    etcd.revision() == revision
}

#[test]
fn nothing_is_said_written_or_done_while_nothing_happens() {
    let etcd = Etcd::start_new();
    let dir = temp_dir();
    let at = |name: &str| dir.path().join(name);
    for name in ["conf.d", "templates"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(
        at("templates/a.tera"),
        "{% for i in services.web %}{{ i.id }}\n{% endfor %}",
    )
    .unwrap();
    let target = format!(
        "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = ['web']\n",
        at("a.txt").display()
    );
    fs::write(at("conf.d/a.toml"), target).unwrap();
    let mut register = sidekick();
    register.args([
        "register",
        "--store",
        &etcd.url(),
        "--name",
        "web",
        "--id",
        "a",
    ]);
    register.args(["--port", "80", "--ip", "127.0.0.1", "--ttl", "2s"]);
    let register = Process::start(&mut register, &at("register.log"));
    register.wait_said("is announced");
    let announced = etcd.revision();
    let mut watch = sidekick();
    watch
        .args(["watch", "--store", &etcd.url(), "--conf-dir"])
        .arg(dir.path());
    watch.arg("--state-dir").arg(at("state"));
    // Every file is compared once in a while, which wakes it up as well.
    watch.args(["--interval", "4s"]);
    let watch = Process::start(&mut watch, &at("watch.log"));
    wait_for("the file", || {
        (fs::read_to_string(at("a.txt")).ok()? == "a\n").then_some(())
    });

    // The entry of the watcher is gathered; when it says what is in force nobody has anything to write.
    wait_for("the entry of the watcher", || {
        let entry = etcd.etcdctl(&["get", "--prefix", "/sidekick/watchers/"]);
        let says = |text: String| entry.contains(&text);
        let is_told =
            says(format!("\"revision\":{announced}")) && says(format!("{announced} /services/web"));
        is_told.then_some(())
    });
    assert!(
        stretch(&etcd),
        "{}",
        etcd.etcdctl(&["get", "--prefix", "/"])
    );

    let processes = [&register, &watch];
    let (revision, logs) = (etcd.revision(), processes.map(Process::output));
    let before = (
        renewals(&etcd),
        processes.map(|process| wake_ups(process.pid())),
    );
    for _ in 0..2 {
        // Somebody writes elsewhere, and etcd forgets its history: no reason to read everything again.
        etcd.etcdctl(&["put", "/elsewhere", "x"]);
        etcd.etcdctl(&["compact", &etcd.revision().to_string()]);
        assert!(
            stretch(&etcd),
            "{}",
            etcd.etcdctl(&["get", "--prefix", "/"])
        );
    }
    let made = renewals(&etcd) - before.0;
    assert_eq!(etcd.revision(), revision + 2);
    assert_eq!(processes.map(Process::output), logs);
    for (process, before) in processes.iter().zip(before.1) {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let each = (wake_ups(process.pid()) - before) as f64 / made;
        assert!(
            each <= WAKE_UPS,
            "{each} wake-ups for a renewal: {}",
            process.output()
        );
    }
}
