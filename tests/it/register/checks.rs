//! `sidekick register --check` as a process: what is announced while an instance passes its checks, and while not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use super::{Bench, TREE};
use crate::harness::notify::Notify;
use crate::harness::{Process, free_port, sidekick, wait_for};

impl Bench {
    /// Starts it on `port` with quick checks; what `args` say of them counts.
    fn check(&self, port: u16, args: &[&str]) -> Process {
        self.check_with(port, args, |_| {})
    }

    fn check_with(
        &self,
        port: u16,
        args: &[&str],
        dress: impl FnOnce(&mut std::process::Command),
    ) -> Process {
        let port = port.to_string();
        let mut all = vec!["--port", &port];
        for (flag, value) in [("--check-interval", "20ms"), ("--check-timeout", "5s")] {
            if !args.contains(&flag) {
                all.extend([flag, value]);
            }
        }
        all.extend(args);
        let mut command = self.command(&all);
        dress(&mut command);
        Process::start(&mut command, &self.log())
    }

    /// A state that was set by hand may be there without it.
    fn is_announced(&self) -> bool {
        self.keys().contains_key(&format!("{TREE}/ip"))
    }

    fn until_there(&self) {
        wait_for("the announcement", || self.is_announced().then_some(()));
    }

    fn until_gone(&self) {
        wait_for("the withdrawal", || (!self.is_announced()).then_some(()));
    }

    /// A lease that nobody renews is the clock: whatever was to come with a heartbeat has come by then.
    fn until_a_ttl_has_passed(&self) {
        let granted = self.etcd.etcdctl(&["lease", "grant", "2"]);
        let lease = granted.split_whitespace().nth(1).unwrap();
        self.etcd
            .etcdctl(&["put", "--lease", lease, "/clock", "runs"]);
        wait_for("the end of a TTL", || {
            self.etcd
                .etcdctl(&["get", "/clock"])
                .is_empty()
                .then_some(())
        });
    }
}

/// A web server that answers everything with the status it is told, and counts.
struct Web {
    port: u16,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Web {
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Self {
            port: listener.local_addr().unwrap().port(),
            status: Arc::new(AtomicU16::new(status)),
            asked: Arc::default(),
        };
        let (status, asked) = (Arc::clone(&web.status), Arc::clone(&web.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let n = stream.read(&mut [0; 4096]).unwrap();
                let status = status.load(Ordering::SeqCst);
                let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
                // A connection without a request is no question.
                asked.fetch_add(usize::from(n > 0), Ordering::SeqCst);
            }
        });
        web
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Waits until so many further requests have been answered.
    fn until_asked(&self, more: usize) {
        let until = self.asked.load(Ordering::SeqCst) + more;
        wait_for("further checks", || {
            (self.asked.load(Ordering::SeqCst) >= until).then_some(())
        });
    }

    fn check(&self) -> String {
        format!("http://:{}/healthz", self.port)
    }
}

#[test]
fn an_instance_is_announced_while_its_web_server_is_well_and_the_command_hears_nothing() {
    let (bench, web) = (Bench::new(), Web::start(503));
    let heard = bench.file("heard");
    let script = format!(
        "trap 'echo stop >> {0}; exit 0' TERM INT HUP; echo up >> {0}; while :; do sleep 0.05; done",
        heard.display()
    );
    let args = ["--check", &web.check(), "--", "sh", "-c", &script];
    let mut process = bench.check(web.port, &args);
    // Long past the default `--fall`.
    web.until_asked(10);
    assert_eq!(bench.etcd.revision(), 1, "nothing was ever written");
    for _ in 0..2 {
        web.answer(200);
        bench.until_there();
        assert_eq!(bench.keys().len(), 3);
        web.answer(503);
        bench.until_gone();
        let before = bench.etcd.revision();
        web.until_asked(10);
        assert_eq!(bench.etcd.revision(), before, "not announced again");
    }
    assert_eq!(fs::read_to_string(&heard).unwrap(), "up\n");
    assert!(process.ended().is_none());
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    let log = process.output();
    let why = format!("is unhealthy: http://{}/healthz: status 503", web.port);
    assert_eq!(log.matches(&why).count(), 3, "one line per change:\n{log}");
    assert_eq!(log.matches("is healthy").count(), 2, "{log}");
}

#[test]
fn one_round_does_not_make_it_healthy_and_one_failure_does_not_make_it_unhealthy() {
    let bench = Bench::new();
    let rounds = bench.file("rounds");
    // Rounds 1 and 2 pass, 3 fails, 4 to 6 pass: with --rise 3 it is there after the sixth.
    let check = format!(
        "exec:echo x >> {0}; n=$(wc -l < {0}); test $n != 3 && test $n -le 6",
        rounds.display()
    );
    let count = || fs::read_to_string(&rounds).map_or(0, |text| text.lines().count());
    let args = ["--check", &check, "--rise", "3", "--fall", "1000"];
    let process = bench.check(80, &args);
    bench.until_there();
    let healthy = count();
    assert!(
        healthy >= 6,
        "after {healthy} rounds:\n{}",
        process.output()
    );
    // From the seventh on all fail, and a thousand are a long time.
    wait_for("failures", || (count() > 12).then_some(()));
    assert!(bench.is_announced());
    assert!(!process.output().contains("unhealthy"));
}

#[test]
fn every_one_of_several_checks_has_to_pass() {
    let (bench, web) = (Bench::new(), Web::start(200));
    let fine = bench.file("fine");
    let exec = format!("exec:test -e {}", fine.display());
    let args = ["--check", "tcp", "--check", &web.check(), "--check", &exec];
    let process = bench.check(web.port, &args);
    process.wait_said("unhealthy: exec:test -e");
    assert!(!bench.is_announced());
    fs::write(&fine, "").unwrap();
    bench.until_there();
    web.answer(404);
    bench.until_gone();
}

#[test]
fn a_port_that_opens_later() {
    let bench = Bench::new();
    let port = free_port();
    let process = bench.check(port, &["--check", "tcp", "--rise", "1", "--fall", "1"]);
    process.wait_said("unhealthy: tcp: no connection");
    assert_eq!(bench.etcd.revision(), 1);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    bench.until_there();
    drop(listener);
    bench.until_gone();
}

#[test]
fn a_check_that_hangs_loses_its_group_and_counts_as_failed() {
    let bench = Bench::new();
    let (hang, pids) = (bench.file("hang"), bench.file("pids"));
    let check = format!(
        "exec:test -e {0} || exit 0; sh -c 'echo $$ >> {1}; exec sleep 1000' & wait",
        hang.display(),
        pids.display()
    );
    let limits = ["--check-timeout", "300ms", "--rise", "1", "--fall", "2"];
    let mut args = vec!["--check", &check];
    args.extend(limits);
    args.extend(["--", "sleep", "1000"]);
    let mut process = bench.check(80, &args);
    bench.until_there();
    fs::write(&hang, "").unwrap();
    bench.until_gone();
    assert!(process.ended().is_none());
    let log = process.output();
    assert!(
        log.contains("it did not end within 0.3 s and was killed"),
        "{log}"
    );
    let pids = fs::read_to_string(&pids).unwrap();
    for pid in pids.lines().take(2) {
        wait_for("the end of what a check had started", || {
            is_dead(pid).then_some(())
        });
    }
    // A stop does not wait for the check that hangs, and takes it along.
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(143));
    let pids = fs::read_to_string(bench.file("pids")).unwrap();
    for pid in pids.lines() {
        wait_for("the end of the last check", || is_dead(pid).then_some(()));
    }
}

/// Killed, it may stay a zombie where nobody reaps orphans.
fn is_dead(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn a_withdrawal_that_the_store_did_not_take_is_tried_again() {
    let (bench, web) = (Bench::new(), Web::start(200));
    // The lease would live on for a long time: only a withdrawal takes the keys away.
    let args = ["--check", &web.check(), "--ttl", "600s"];
    let process = bench.check(web.port, &args);
    bench.until_there();
    bench.etcd.pause();
    web.answer(503);
    wait_for("word of the outage", || {
        let log = process.output();
        (log.contains("is unhealthy") && log.contains("trying again")).then_some(())
    });
    bench.etcd.resume();
    bench.until_gone();
    let before = bench.etcd.revision();
    bench.until_a_ttl_has_passed();
    assert_eq!(
        bench.etcd.revision(),
        before + 2,
        "the clock, and nothing else"
    );
    web.answer(200);
    bench.until_there();
}

#[test]
fn after_an_outage_longer_than_its_lease_an_unhealthy_instance_stays_away() {
    let (mut bench, web) = (Bench::new(), Web::start(200));
    let process = bench.check(web.port, &["--check", &web.check()]);
    bench.until_there();
    // A server that comes back gives every lease its whole time again.
    bench.etcd.kill();
    process.wait_said("is lost");
    web.answer(503);
    process.wait_said("is unhealthy");
    bench.etcd.start();
    bench.until_gone();
    bench.until_a_ttl_has_passed();
    assert!(!bench.is_announced());
    web.answer(200);
    bench.until_there();
}

#[test]
fn what_is_set_by_hand_survives_heartbeats_a_lost_lease_and_a_new_announcement() {
    let (bench, web) = (Bench::new(), Web::start(200));
    let process = bench.check(web.port, &["--check", &web.check()]);
    bench.until_there();
    let key = format!("{TREE}/state");
    bench.etcd.etcdctl(&["put", &key, "maint"]);
    let state = || bench.keys().remove(&key);
    let by_hand = bench.stamp(&key);
    bench.until_a_ttl_has_passed();
    assert_eq!(state().as_deref(), Some("maint"), "heartbeats");

    let leases = bench.etcd.etcdctl(&["lease", "list"]);
    let lease = leases.lines().nth(1).unwrap();
    bench.etcd.etcdctl(&["lease", "revoke", lease]);
    assert_eq!(state().as_deref(), Some("maint"), "a lost lease");
    bench.until_there();

    web.answer(503);
    bench.until_gone();
    assert_eq!(state().as_deref(), Some("maint"), "a withdrawal");
    web.answer(200);
    bench.until_there();
    assert_eq!(bench.keys().len(), 4, "{:?}", bench.keys());

    drop(process);
    let _again = bench.check(web.port, &["--check", &web.check(), "--attr", "new=1"]);
    wait_for("the new process", || {
        bench.keys().remove(&format!("{TREE}/new"))
    });
    assert_eq!(state().as_deref(), Some("maint"), "a restart");
    assert_eq!(bench.stamp(&key), by_hand, "nobody has touched it");
}

#[test]
fn ready_is_told_once_it_is_announced_for_the_first_time() {
    let (bench, web) = (Bench::new(), Web::start(503));
    let notify = Notify::at(&bench.file("notify"));
    let args = ["--check", &web.check()];
    let _process = bench.check_with(web.port, &args, |command| {
        notify.pass_socket_to(command);
    });
    assert!(notify.receive().starts_with("STATUS=unhealthy: http:"));
    web.answer(200);
    assert!(notify.receive().starts_with("READY=1\nSTATUS="));
    assert!(bench.is_announced());
    web.answer(503);
    assert!(notify.receive().starts_with("STATUS=unhealthy: "));
    web.answer(200);
    assert_eq!(
        notify.receive().trim_end(),
        format!("STATUS={TREE} is announced")
    );
}

#[test]
fn a_check_that_makes_no_sense_is_a_usage_error_with_advice() {
    let output = sidekick()
        .args(["register", "--name", "web", "--port", "80"])
        .args(["--check", "https://:443/", "--check", "ping", "--rise", "0"])
        .args(["--check-body", "ok"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert_eq!(text.matches("error: ").count(), 3, "{text}");
    assert_eq!(text.matches("hint: ").count(), 2, "{text}");
}
