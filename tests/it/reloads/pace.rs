//! When real daemons are told: never more often than they should be, and never too seldom.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bench, haproxy, nginx};
use crate::harness::{Process, free_port, wait_for};

/// The least delay of what was refused.
const REFUSED: Duration = Duration::from_secs(10);
/// Long enough for what a test does within it.
const INTERVAL: &str = "5s";

/// A daemon that runs with the bench's file.
struct Daemon {
    bench: Bench,
    process: Process,
    /// How often it has read its configuration anew.
    reloads: fn(&Bench) -> usize,
    /// What sidekick says when it does not take one.
    refusal: &'static str,
}

impl Daemon {
    fn haproxy() -> Self {
        let bench = Bench::new(haproxy::TEMPLATE, haproxy::MASTER);
        bench.first();
        Self {
            process: haproxy::haproxy(&bench, &["a.cfg"]),
            bench,
            reloads: |bench| haproxy::counts(bench).0,
            refusal: "HAProxy could not load the new configuration",
        }
    }

    fn nginx() -> Self {
        let loud = nginx::TEMPLATE.replace("error_log stderr;", "error_log stderr notice;");
        let bench = Bench::new(&loud, nginx::SIGNAL);
        bench.first();
        Self {
            process: nginx::nginx(&bench),
            bench,
            reloads: |bench| {
                let log = fs::read_to_string(bench.file("daemon.log")).unwrap_or_default();
                log.matches(", reconfiguring").count()
            },
            refusal: "nginx has not loaded the new configuration",
        }
    }

    fn reloads(&self) -> usize {
        (self.reloads)(&self.bench)
    }

    /// Watches, from the reload on that is owed at first.
    fn watch(&self) -> Process {
        let made = "the reload that was owed has been made";
        let log = fs::read_to_string(self.bench.file("watch.log")).unwrap_or_default();
        let before = log.matches(made).count();
        // It answers as soon as it can be told.
        wait_for("the daemon", || {
            crate::routing::ask(self.bench.port, "localhost", "/")
        });
        let watch = self.bench.watch(&[]);
        wait_for("the owed reload", || {
            (watch.output().matches(made).count() > before).then_some(())
        });
        watch
    }

    #[track_caller]
    fn wait_answer(&self, want: &str, watch: &Process) {
        Bench::wait_answer(self.bench.port, want, watch);
    }
}

/// Runs a test with both.
fn both(test: impl Fn(Daemon)) {
    test(Daemon::haproxy());
    test(Daemon::nginx());
}

/// The same text again is no reason to try what was refused, and another one is.
#[test]
fn refused_contents_are_not_reloaded_again_until_they_change() {
    both(|daemon| {
        let bench = &daemon.bench;
        let notes = "{% for i in services.web %}{{ i.attrs.note | default(value='') }}{% endfor %}";
        bench.target("b", notes, "");
        let watch = daemon.watch();
        let other = free_port();
        let somebody = TcpListener::bind(("127.0.0.1", other)).unwrap();
        let before = daemon.reloads();
        bench.put("listen", "x", other);
        let tried = Instant::now();
        Bench::wait_said(daemon.refusal, &watch);
        for n in 0..5 {
            let note = n.to_string();
            bench.etcd.etcdctl(&["put", "/services/web/a/note", &note]);
            wait_for("the other file", || {
                let text = fs::read_to_string(bench.file("b.cfg")).ok()?;
                (text == note).then_some(())
            });
        }
        let due = tried.elapsed().as_secs() / REFUSED.as_secs();
        let tries = daemon.reloads() - before;
        assert!(tries <= 1 + usize::try_from(due).unwrap(), "{tries} tries");
        drop(somebody);
        bench.put("web", "b", 80);
        Bench::wait_answer(other, "ab", &watch);
    });
}

/// Nobody does anything, and a port that has become free is noticed.
#[test]
fn refused_contents_are_tried_again_and_come_into_force() {
    both(|daemon| {
        let watch = daemon.watch();
        let other = free_port();
        let somebody = TcpListener::bind(("127.0.0.1", other)).unwrap();
        daemon.bench.put("listen", "x", other);
        Bench::wait_said(daemon.refusal, &watch);
        let before = daemon.reloads();
        drop(somebody);
        wait_for("another try", || (daemon.reloads() > before).then_some(()));
        Bench::wait_answer(other, "a", &watch);
        Bench::wait_said("after a failure", &watch);
    });
}

#[test]
fn changes_that_come_too_early_are_made_by_one_reload() {
    both(|daemon| {
        daemon.bench.min_interval(INTERVAL);
        let watch = daemon.watch();
        let before = daemon.reloads();
        for id in ["b", "c", "d"] {
            daemon.bench.put("web", id, 80);
        }
        daemon.wait_answer("abcd", &watch);
        Bench::wait_said("has been updated", &watch);
        assert_eq!(daemon.reloads(), before + 1, "{}", watch.output());
    });
}

#[test]
fn a_reload_that_is_owed_outlives_a_kill() {
    both(|daemon| {
        let bench = &daemon.bench;
        bench.min_interval(INTERVAL);
        let watch = daemon.watch();
        let before = daemon.reloads();
        bench.put("web", "b", 80);
        bench.put("web", "c", 80);
        kill(watch);
        assert_eq!(daemon.reloads(), before);
        bench.put("web", "d", 80);
        let watch = bench.watch(&[]);
        daemon.wait_answer("abcd", &watch);
        Bench::wait_said("has been updated", &watch);
        assert_eq!(daemon.reloads(), before + 1, "{}", watch.output());

        // The new file is in place, and its daemon has not taken it.
        daemon.process.signal(Signal::SIGSTOP);
        bench.put("web", "e", 80);
        wait_for("the file", || bench.live().contains("abcde").then_some(()));
        kill(watch);
        daemon.process.signal(Signal::SIGCONT);
        let watch = daemon.watch();
        daemon.wait_answer("abcde", &watch);
    });
}

/// As a machine that fails would.
fn kill(mut watch: Process) {
    watch.signal(Signal::SIGKILL);
    watch.wait();
}
