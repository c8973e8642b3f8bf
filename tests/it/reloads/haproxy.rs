//! HAProxy, told by the socket of its master and by a signal.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use super::Bench;
use crate::harness::{Process, free_port, tool, unpacked, wait_for};

pub(super) const TEMPLATE: &str = "defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 1s
frontend f
    bind 127.0.0.1:PORT
{% for i in services.listen %}    bind {{ i.addr }}
{% endfor %}{% for i in services.broken %}    nonsense
{% endfor %}    http-request return status 200 content-type text/plain string \"ANSWER\"
";
pub(super) const MASTER: &str = "[template.reload]\nhaproxy_master = 'DIR/m.sock'\n";
pub(super) const SIGNAL: &str = "[template.reload]\nsignal = 'USR2'\npidfile = 'DIR/pid'\n";

pub(super) fn haproxy(bench: &Bench, files: &[&str]) -> Process {
    run(&tool("haproxy"), bench, files)
}

fn run(program: &Path, bench: &Bench, files: &[&str]) -> Process {
    let mut command = Command::new(program);
    command.args(["-W", "-db", "-S"]).arg(bench.file("m.sock"));
    command.arg("-p").arg(bench.file("pid"));
    for file in files {
        command.arg("-f").arg(bench.file(file));
    }
    bench.run(&mut command)
}

/// What the master answers.
pub(super) fn master(bench: &Bench, command: &str) -> Option<String> {
    let mut stream = UnixStream::connect(bench.file("m.sock")).ok()?;
    stream.write_all(format!("{command}\n").as_bytes()).ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// How often it has reloaded, and how many old workers it has.
pub(super) fn counts(bench: &Bench) -> (usize, usize) {
    wait_for("the master to answer", || try_counts(bench))
}

fn try_counts(bench: &Bench) -> Option<(usize, usize)> {
    let list = master(bench, "show proc")?;
    let line = list.lines().find(|line| line.contains(" master "))?;
    let reloads = line.split_whitespace().nth(2)?.parse().ok()?;
    let old = list.split("# old workers").nth(1).unwrap_or_default();
    Some((reloads, old.matches("worker ").count()))
}

#[test]
fn haproxy_is_reloaded_over_the_socket_of_its_master() {
    let bench = Bench::new(TEMPLATE, MASTER);
    bench.first();
    let _haproxy = haproxy(&bench, &["a.cfg"]);
    bench.play("HAProxy could not load the new configuration");
}

#[test]
fn haproxy_is_reloaded_by_a_signal_to_its_master() {
    let bench = Bench::new(TEMPLATE, SIGNAL);
    bench.first();
    let _haproxy = haproxy(&bench, &["a.cfg"]);
    bench.play("HAProxy has not loaded the new configuration");
}

/// Its master lists its processes in another way, and none as new where it has failed.
#[test]
fn an_old_haproxy_is_reloaded_over_the_socket_of_its_master() {
    let Some(program) = unpacked("bullseye", "usr/sbin/haproxy") else {
        return;
    };
    let bench = Bench::new(TEMPLATE, MASTER);
    bench.first();
    let _haproxy = run(&program, &bench, &["a.cfg"]);
    bench.play("HAProxy could not load the new configuration");
}

#[test]
fn an_old_haproxy_is_reloaded_by_a_signal_to_its_master() {
    let Some(program) = unpacked("bullseye", "usr/sbin/haproxy") else {
        return;
    };
    let bench = Bench::new(TEMPLATE, SIGNAL);
    bench.first();
    let _haproxy = run(&program, &bench, &["a.cfg"]);
    bench.play("HAProxy has not loaded the new configuration");
}

#[test]
fn a_master_that_does_not_run_yet_is_reloaded_when_it_runs() {
    let target = format!("reload_timeout = '3s'\n{MASTER}");
    let bench = Bench::new(TEMPLATE, &target);
    let watch = bench.watch(&[]);
    Bench::wait_said("HAProxy's master does not answer", &watch);
    let mut haproxy = haproxy(&bench, &["a.cfg"]);
    Bench::wait_said("the reload that was owed has been made", &watch);
    Bench::wait_answer(bench.port, "a", &watch);

    // A socket that nobody listens to any more.
    haproxy.signal(nix::sys::signal::Signal::SIGTERM);
    haproxy.wait();
    bench.put("web", "b", 80);
    wait_for("another failure", || {
        let said = watch.output();
        (said.matches("HAProxy's master does not answer").count() >= 2).then_some(())
    });
}

/// It could not start again with the file that it was about to refuse.
#[test]
fn a_master_that_dies_in_a_reload_finds_the_file_of_before() {
    let bench = Bench::new(TEMPLATE, MASTER);
    bench.first();
    let mut haproxy = haproxy(&bench, &["a.cfg"]);
    let watch = bench.watch(&[]);
    Bench::wait_answer(bench.port, "a", &watch);
    let other = free_port();
    let _somebody = TcpListener::bind(("127.0.0.1", other)).unwrap();
    let before = bench.live();
    bench.put("listen", "x", other);
    wait_for("the new file", || (bench.live() != before).then_some(()));
    haproxy.signal(nix::sys::signal::Signal::SIGKILL);
    haproxy.wait();
    // Long before reload_timeout.
    watch.wait_said("HAProxy's master does not answer");
    wait_for("the previous file", || {
        (bench.live() == before).then_some(())
    });
}

#[test]
fn two_files_of_one_haproxy_are_loaded_by_one_reload() {
    let bench = Bench::new(TEMPLATE, MASTER);
    let second = TEMPLATE
        .replace("frontend f", "frontend g")
        .replace("PORT", &free_port().to_string());
    bench.target("b", &second, MASTER);
    let ports = [bench.port, second_port(&second)];
    bench.first();
    let _haproxy = haproxy(&bench, &["a.cfg", "b.cfg"]);
    let watch = bench.watch(&[]);
    for port in ports {
        Bench::wait_answer(port, "a", &watch);
    }
    wait_for("both to be right", || {
        let said = watch.output();
        (said.matches("the reload that was owed").count() == 2).then_some(())
    });
    let (before, _) = counts(&bench);
    bench.put("web", "b", 80);
    for port in ports {
        Bench::wait_answer(port, "ab", &watch);
    }
    let (after, _) = counts(&bench);
    assert_eq!(after, before + 1, "{}", watch.output());
}

fn second_port(text: &str) -> u16 {
    let (_, rest) = text.split_once("bind 127.0.0.1:").unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

/// A second reload that is asked for while somebody else's is being served: a signal would be lost.
#[test]
fn a_reload_that_somebody_else_has_begun_is_waited_for() {
    for reload in [MASTER, SIGNAL] {
        let bench = Bench::new(TEMPLATE, reload);
        bench.first();
        let haproxy = haproxy(&bench, &["a.cfg"]);
        let watch = bench.watch(&[]);
        Bench::wait_answer(bench.port, "a", &watch);
        for (n, want) in ["ab", "abc", "abcd", "abcde"].iter().enumerate() {
            // Not before a master can take it: that would end it.
            haproxy.signal(nix::sys::signal::Signal::SIGUSR2);
            bench.put("web", &want[n + 1..], 80);
            Bench::wait_answer(bench.port, want, &watch);
        }
    }
}
