//! Old workers, which stay for connections that do not end: told of, and shown while there are some.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Bench, haproxy, nginx};
use crate::harness::{PATIENCE, sidekick, wait_for};

/// A connection that a worker has to wait for: half a request. The answer to the request before it shows that today's worker
/// has accepted the connection; the kernel would give one that waits to be accepted to the worker of the next reload.
fn open(bench: &Bench) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    stream
}

#[test]
fn many_old_workers_are_logged() {
    for reload in [haproxy::MASTER, haproxy::SIGNAL] {
        let bench = Bench::new(haproxy::TEMPLATE, reload);
        bench.first();
        let _haproxy = haproxy::haproxy(&bench, &["a.cfg"]);
        let watch = bench.watch(&[]);
        Bench::wait_answer(bench.port, "a", &watch);
        let mut connections = Vec::new();
        let mut want = "a".to_owned();
        for id in "bcdefghij".chars() {
            connections.push(open(&bench));
            bench.put("web", &id.to_string(), 80);
            want.push(id);
            Bench::wait_answer(bench.port, &want, &watch);
        }
        Bench::wait_said("old workers of HAProxy still serve", &watch);
        assert!(haproxy::counts(&bench).1 >= 8);
    }
}

/// What `sidekick status` shows of the only watcher.
fn status(bench: &Bench, format: &str) -> String {
    let mut command = sidekick();
    command.args(["status", "web", "--format", format, "--store"]);
    command.arg(format!("etcd://{}", bench.etcd.endpoint()));
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// The field of its entry.
fn entry(bench: &Bench) -> Option<String> {
    let all = ["get", "--prefix", "/sidekick/watchers/"];
    let all = bench.etcd.etcdctl(&all);
    let mut lines = all.lines();
    lines.find(|line| line.ends_with("/old_workers"))?;
    lines.next().map(str::to_owned)
}

/// Two connections that were opened before different reloads keep two workers, until they end.
fn shown(bench: &Bench) {
    let watch = bench.watch(&[]);
    Bench::wait_answer(bench.port, "a", &watch);
    Bench::wait_said("the reload that was owed has been made", &watch);
    assert_eq!(entry(bench), None);
    let first = open(bench);
    bench.put("web", "b", 80);
    Bench::wait_answer(bench.port, "ab", &watch);
    let second = open(bench);
    bench.put("web", "c", 80);
    Bench::wait_answer(bench.port, "abc", &watch);
    wait_for("the old workers in the watcher's entry", || {
        (entry(bench)? == "2").then_some(())
    });
    let table = status(bench, "table");
    let mut lines = table
        .lines()
        .skip_while(|line| !line.ends_with("OLD WORKERS"));
    assert!(lines.nth(1).unwrap().ends_with("  2"), "{table}");
    let json = status(bench, "json");
    assert!(json.contains("\"old_workers\": 2"), "{json}");
    drop((first, second));
    wait_for("the old workers to be shown no more", || {
        entry(bench).is_none().then_some(())
    });
    let json = status(bench, "json");
    assert!(json.contains("\"old_workers\": 0"), "{json}");
}

#[test]
fn old_workers_that_the_master_of_haproxy_lists_are_shown() {
    let bench = Bench::new(haproxy::TEMPLATE, haproxy::MASTER);
    bench.first();
    let _haproxy = haproxy::haproxy(&bench, &["a.cfg"]);
    shown(&bench);
}

#[test]
fn old_workers_of_a_haproxy_that_is_reloaded_by_a_signal_are_shown() {
    let bench = Bench::new(haproxy::TEMPLATE, haproxy::SIGNAL);
    bench.first();
    let _haproxy = haproxy::haproxy(&bench, &["a.cfg"]);
    shown(&bench);
}

#[test]
fn old_workers_of_nginx_are_shown() {
    let bench = Bench::new(nginx::TEMPLATE, nginx::SIGNAL);
    bench.first();
    let _nginx = nginx::nginx(&bench);
    shown(&bench);
}
