//! What a watcher says of its targets in its entry in the store, and to the service manager.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use nix::sys::signal::Signal;
use sidekick::model::target_status::{TargetStatus, decode};

use super::{Bench, PACE, TEMPLATE, line};
use crate::harness::notify::Notify;
use crate::harness::{Process, sidekick, wait_for};

/// The value of this field in the entry of the only watcher.
fn field(bench: &Bench, below: &str, field: &str) -> Option<String> {
    let all = bench.etcd.etcdctl(&["get", "--prefix", below]);
    let mut lines = all.lines();
    lines.find(|line| line.ends_with(&format!("/{field}")))?;
    lines.next().map(str::to_owned)
}

fn targets(bench: &Bench) -> Vec<TargetStatus> {
    decode(&field(bench, "/sidekick/watchers/", "targets").unwrap_or_default())
}

#[track_caller]
fn wait_target(bench: &Bench, what: &str, is_so: impl Fn(&TargetStatus) -> bool) -> TargetStatus {
    wait_for(what, || targets(bench).pop().filter(|one| is_so(one)))
}

/// A process that tells the service manager, and what it told last of a status.
fn start(bench: &Bench) -> (Process, Notify) {
    let notify = Notify::at(&bench.file("notify"));
    let mut command = bench.command(&[]);
    command.env("SIDEKICK_STATE_DIR", bench.file("state"));
    let process = Process::start(notify.pass_socket_to(&mut command), &bench.file("log"));
    (process, notify)
}

/// What `sidekick status` shows, and its exit status.
fn shown(bench: &Bench, args: &[&str]) -> (Option<i32>, String) {
    let mut command = sidekick();
    command.args(args).args(["--store", &bench.etcd.url()]);
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// Asserts that something is wrong, and that the first lines of `sidekick status` say this.
#[track_caller]
fn assert_wrong(bench: &Bench, want: &str) {
    let (status, text) = shown(bench, &["status"]);
    let problems = text.split("\n\n").next().unwrap();
    assert!(
        status == Some(1) && problems.contains(want),
        "{status:?} {text}"
    );
}

#[track_caller]
fn assert_right(bench: &Bench) {
    let (status, text) = shown(bench, &["status"]);
    assert!(
        status == Some(0) && text.starts_with("SERVICE  UP"),
        "{status:?} {text}"
    );
}

#[test]
fn status_shows_the_reason_of_a_refusal_until_it_ends() {
    // A long command leaves room for what it says all the same.
    let bench = Bench::new(&format!(
        "check_cmd = ': {}; if grep -q bad {{{{src}}}}; then echo no bad ones; exit 1; fi'\n{PACE}",
        "x".repeat(300)
    ));
    bench.put("i");
    let (_process, notify) = start(&bench);
    notify.wait_said("READY=1\nSTATUS=keeping 1 file");
    let good = wait_target(&bench, "the first publish to be told", |one| {
        one.since.is_some()
    });
    assert!(!good.is_wrong() && good.revision.is_some(), "{good:?}");
    assert_eq!(
        field(&bench, "/sidekick/watchers/", "version").as_deref(),
        Some(env!("CARGO_PKG_VERSION"))
    );
    bench.put("bad");
    let word = notify.wait_said("failing");
    assert!(
        word.starts_with("STATUS=keeping 1 file; 1 failing since ") && word.contains(" UTC"),
        "{word}"
    );
    let wrong = wait_target(&bench, "the refusal to be told", TargetStatus::is_wrong);
    let failing = wrong.failing.unwrap();
    assert_eq!(failing.step, "check");
    assert!(
        failing.why.starts_with("no bad ones (the check refused"),
        "{failing:?}"
    );
    assert_wrong(&bench, "1 problem:\n");
    assert_wrong(&bench, " fails: check: ");
    assert_wrong(&bench, " (since ");
    let json = shown(&bench, &["status", "web", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.1).unwrap();
    assert_eq!(
        json["watchers"][0]["targets"][0]["failing"]["step"],
        "check"
    );
    // The good revision is the one of before, whose file is in force still.
    assert_eq!((wrong.since, wrong.revision), (good.since, good.revision));
    bench.delete("bad");
    notify.wait_said("STATUS=keeping 1 file\n");
    wait_target(&bench, "the end of it to be told", |one| !one.is_wrong());
    assert_right(&bench);
}

#[test]
fn status_shows_what_a_guard_holds() {
    let bench = Bench::new(PACE);
    let target = bench.file("conf.d/a.toml");
    let guarded = fs::read_to_string(&target)
        .unwrap()
        .replace(super::UNGUARDED, "");
    fs::write(&target, guarded).unwrap();
    bench.put("i");
    bench.put("j");
    let (_process, notify) = start(&bench);
    bench.wait_live(&(line("i") + &line("j")));
    bench.etcd.etcdctl(&["del", "--prefix", "/services/web/"]);
    notify.wait_said("; a guard holds 2 instances of web since ");
    let held = wait_target(&bench, "the hold to be told", TargetStatus::is_wrong).held;
    let [held] = held.as_slice() else {
        panic!("{held:?}")
    };
    assert_eq!((held.service.as_deref(), held.count), (Some("web"), 2));
    assert_eq!((held.why.as_str(), held.until), ("none is left", None));
    assert_wrong(
        &bench,
        " still serves 2 instances of web that the store has no more: none is left; ",
    );
    bench.put("i");
    bench.put("j");
    wait_target(&bench, "its end to be told", |one| !one.is_wrong());
}

#[test]
fn status_shows_a_wrong_configuration_while_the_previous_one_is_in_force() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let (_process, notify) = start(&bench);
    wait_target(&bench, "the first publish to be told", |one| {
        one.since.is_some()
    });
    bench.template("a.tera", "{% for");
    notify.wait_said("the configuration is wrong");
    wait_for("the broken template to be told", || {
        let config = field(&bench, "/sidekick/watchers/", "config")?;
        config.contains("a.tera").then_some(())
    });
    assert_wrong(
        &bench,
        " goes on with its old configuration, since the new one is wrong: ",
    );
    bench.template("a.tera", TEMPLATE);
    wait_for("the end of it to be told", || {
        let config = field(&bench, "/sidekick/watchers/", "config");
        config.is_none().then_some(())
    });
}

#[test]
fn the_service_manager_gets_an_outage_of_the_store_as_status() {
    let mut bench = Bench::new(PACE);
    bench.put("i");
    let (_process, notify) = start(&bench);
    notify.wait_said("READY=1");
    bench.etcd.stop();
    notify.wait_said("STATUS=keeping 1 file; the store does not answer since ");
    bench.etcd.start();
    notify.wait_said("STATUS=keeping 1 file\n");
}

#[test]
fn a_target_served_from_the_snapshot_gets_the_revision_of_the_store_that_confirms_it() {
    let mut bench = Bench::new(PACE);
    bench.put("i");
    let mut command = bench.command(&[]);
    command.env("SIDEKICK_STATE_DIR", bench.file("state"));
    let process = Process::start(&mut command, &bench.file("log-before"));
    wait_for("the snapshot to be written", || {
        fs::read_dir(bench.file("state/snapshots"))
            .ok()?
            .next()?
            .ok()
    });
    drop(process); // It is killed.
    bench.etcd.stop();
    let (_process, notify) = start(&bench);
    notify.wait_said("serving from a snapshot of ");
    bench.etcd.start();
    notify.wait_said("STATUS=keeping 1 file\n");
    wait_target(&bench, "the revision of the store to be told", |one| {
        one.stale.is_none() && one.revision.is_some_and(|revision| revision > 0)
    });
}

#[test]
fn a_watcher_that_stops_in_order_is_not_missed_and_one_that_hangs_is() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let (mut process, _notify) = start(&bench);
    wait_target(&bench, "the first publish to be told", |one| {
        one.since.is_some()
    });
    wait_for("it to be remembered", || {
        (field(&bench, "/sidekick/seen/", "targets")? == "a").then_some(())
    });
    process.signal(Signal::SIGTERM);
    process.wait();
    assert_eq!(bench.etcd.etcdctl(&["get", "--prefix", "/sidekick/"]), "");

    let process = bench.start(&[]);
    wait_target(&bench, "the first publish to be told", |one| {
        one.since.is_some()
    });
    wait_for("it to be remembered", || {
        field(&bench, "/sidekick/seen/", "targets")
    });
    process.signal(Signal::SIGSTOP);
    wait_for("its entry to expire", || {
        targets(&bench).is_empty().then_some(())
    });
    assert_eq!(
        field(&bench, "/sidekick/seen/", "targets").as_deref(),
        Some("a")
    );
    assert_wrong(&bench, " is gone, and nobody has taken its place: ");
    process.signal(Signal::SIGCONT);
    wait_target(&bench, "its entry to be back", |one| one.since.is_some());
}

#[test]
fn services_and_instances_are_listed() {
    let bench = Bench::new(PACE);
    let (status, text) = shown(&bench, &["ls"]);
    assert_eq!(
        (status, text.as_str()),
        (Some(0), "nothing is announced below /services\n")
    );
    bench.put("i");
    bench.put("j");
    bench
        .etcd
        .etcdctl(&["put", "/services/web/j/state", "drain"]);
    bench
        .etcd
        .etcdctl(&["put", "/services/web/j/vhost", "shop.example.org"]);
    bench.etcd.put_instance("db", "m", "2001:db8::1", 3306);
    assert_eq!(
        shown(&bench, &["ls"]).1,
        "SERVICE  UP  DRAIN  MAINT\ndb       1   0      0\nweb      1   1      0\n"
    );
    assert_eq!(
        shown(&bench, &["ls", "web", "--wide"]).1,
        "INSTANCE  ADDRESS      STATE  LEASE  ATTRIBUTES\n\
         web/i     10.0.0.1:80  up     none\n\
         web/j     10.0.0.1:80  drain  none   vhost=shop.example.org\n"
    );
    let json = shown(&bench, &["ls", "db", "--format", "json"]).1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["addr"], "[2001:db8::1]:3306");
    let (status, text) = shown(&bench, &["ls", "wbe"]);
    assert_eq!((status, text.as_str()), (Some(69), ""));
    // Nobody watches, and that is not wrong.
    assert_right(&bench);
}

#[test]
fn render_shows_from_an_export_what_would_change() {
    let bench = Bench::new(PACE);
    bench.put("a");
    bench.put("b");
    let (status, json) = shown(&bench, &["export"]);
    assert_eq!(status, Some(0), "{json}");
    let yaml = shown(&bench, &["export", "--format", "yaml"]).1;
    assert!(
        yaml.contains("\n\"/services/web/b/ip\": \"10.0.0.1\"\n"),
        "{yaml}"
    );
    let dump = bench
        .etcd
        .etcdctl(&["get", "--prefix", "/services", "-w", "json"]);
    let all = line("a") + &line("b");
    for fixture in [&json, &yaml, &dump] {
        assert_eq!(rendered(&bench, fixture, &[]), (Some(0), all.clone()));
    }
    let what_if = [
        "--without",
        "web/a",
        "--with",
        "web/x=10.0.0.9:81,state=drain",
    ];
    assert_eq!(
        rendered(&bench, &json, &what_if),
        (Some(0), line("b") + "x 10.0.0.9:81 drain\n")
    );
    // The live file has both.
    fs::write(bench.out("a.cfg"), &all).unwrap();
    assert_eq!(
        rendered(&bench, &json, &["--diff"]),
        (Some(0), String::new())
    );
    let (status, diff) = rendered(&bench, &json, &[&what_if[..], &["--diff"]].concat());
    assert_eq!(status, Some(2));
    assert!(
        diff.contains("\n-a 10.0.0.1:80 up\n") && diff.contains("\n+x 10.0.0.9:81 drain\n"),
        "{diff}"
    );
    assert_eq!(
        rendered(&bench, &json, &["--without", "web/c", "--with", "x"]).0,
        Some(64)
    );
    assert_eq!(rendered(&bench, &json, &["--without", "web/c"]).0, Some(64));
    bench.etcd.etcdctl(&["put", "/services/raw", "\u{e9}"]);
    assert_eq!(shown(&bench, &["export"]).0, Some(0));
}

/// What `sidekick render` prints of this fixture, and its exit status.
fn rendered(bench: &Bench, fixture: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = sidekick();
    command.args(["render", "--from", "-"]).args(args);
    command.arg("--conf-dir").arg(bench.file(""));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that does not like its command line does not read this.
    let _ = child.stdin.take().unwrap().write_all(fixture.as_bytes());
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}
