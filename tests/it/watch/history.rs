//! `sidekick history`: what was published and why, over restarts.

use std::fs;
use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Bench, PACE, TEMPLATE, line};
use crate::harness::{Process, sidekick, wait_for};

fn start(bench: &Bench) -> Process {
    // The history is asked for before the process has made its state directory.
    fs::create_dir_all(bench.file("state")).unwrap();
    let mut command = bench.command(&[]);
    command.env("SIDEKICK_STATE_DIR", bench.file("state"));
    Process::start(&mut command, &bench.file("log"))
}

fn run(bench: &Bench, args: &[&str]) -> Output {
    let mut command = sidekick();
    command.arg("history").args(args);
    command.env("SIDEKICK_STATE_DIR", bench.file("state"));
    command.output().unwrap()
}

fn entries(bench: &Bench, args: &[&str]) -> Vec<Value> {
    let output = run(bench, &[&["--format", "json"], args].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until the newest entry is this, by its action and its cause.
#[track_caller]
fn wait_newest(bench: &Bench, action: &str, cause: &str) -> Value {
    wait_for(&format!("{action} {cause:?} in the history"), || {
        let newest = entries(bench, &["--diff"]).pop()?;
        (newest["action"] == action && newest["cause"].as_str().unwrap_or_default() == cause)
            .then_some(newest)
    })
}

#[test]
fn the_history_says_why_a_file_changed_and_what_was_done() {
    let bench = Bench::new(&format!(
        "check_cmd = 'if grep -q bad {{{{src}}}}; then echo no bad ones; exit 1; fi'\n\
         reload_cmd = 'test ! -e OUT/refuse || ! grep -q ^k OUT/a.cfg'\n{PACE}"
    ));
    bench.put("i");
    let mut process = start(&bench);
    let first = wait_newest(&bench, "reloaded", "start");
    assert_eq!(first["target"], "a");
    assert_eq!(first["files"][0], bench.out("a.cfg").to_str().unwrap());
    assert!(
        first["diff"]
            .as_str()
            .unwrap()
            .ends_with("+i 10.0.0.1:80 up\n"),
        "{first}"
    );
    let steps = first["steps"].as_array().unwrap().iter();
    let steps: Vec<&str> = steps.map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["render", "check", "swap", "reload"]);

    bench.put("j");
    let second = wait_newest(&bench, "reloaded", "+web/j");
    assert!(second["revision"].as_u64() > first["revision"].as_u64());
    process.wait_said("ms (+web/j)");

    bench.put("bad");
    let refused = wait_newest(&bench, "failed", "+web/bad");
    assert!(
        refused["error"].as_str().unwrap().contains("no bad ones"),
        "{refused}"
    );
    bench.etcd.etcdctl(&["put", "/services/web/j/weight", "7"]);
    bench.delete("bad");
    wait_newest(&bench, "recovered", "weight of web/j default→7");

    fs::write(bench.out("refuse"), "").unwrap();
    bench.put("k");
    wait_newest(&bench, "rolled-back", "+web/k");
    fs::remove_file(bench.out("refuse")).unwrap();
    bench.put("l");
    wait_newest(&bench, "reloaded", "+web/k +web/l");

    bench.template("a.tera", &format!("{TEMPLATE}end\n"));
    wait_newest(&bench, "reloaded", "conf.d or a template was edited");
    fs::write(bench.out("a.cfg"), "by hand\n").unwrap();
    let repaired = wait_newest(
        &bench,
        "reloaded",
        &format!("hand-edit of {}", bench.out("a.cfg").display()),
    );
    assert!(
        repaired["diff"].as_str().unwrap().contains("\n-by hand\n"),
        "{repaired}"
    );

    // It is there when the process is not, and goes on with the next one; what is damaged costs no more than itself.
    let before = entries(&bench, &[]).len();
    process.signal(Signal::SIGTERM);
    process.wait();
    let file = bench.file("state/history.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "{\"at\":17,\"targ\n").unwrap();
    bench.delete("k");
    let _process = start(&bench);
    wait_newest(&bench, "reloaded", "start");
    assert_eq!(entries(&bench, &[]).len(), before + 1);

    let table = run(&bench, &["a", "-n", "1", "--diff"]);
    let table = String::from_utf8(table.stdout).unwrap();
    let mut lines = table.lines();
    assert_eq!(
        lines.next(),
        Some("TIME                  TARGET  DONE      CAUSE")
    );
    assert!(
        lines
            .next()
            .unwrap()
            .ends_with("Z  a       reloaded  start"),
        "{table}"
    );
    assert!(table.contains("\n    -k 10.0.0.1:80 up\n"), "{table}");
    let unknown = run(&bench, &["b"]);
    assert_eq!(unknown.status.code(), Some(64));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains("has nothing of \"b\"; it knows a"), "{said}");
}

#[test]
fn a_failure_that_an_edit_ends_keeps_its_count_and_its_causes() {
    let bench = Bench::new(&format!(
        "check_cmd = 'if grep -q bad {{{{src}}}}; then echo no bad ones; exit 1; fi'\n{PACE}"
    ));
    bench.put("i");
    let process = start(&bench);
    wait_newest(&bench, "written", "start");
    bench.put("bad");
    wait_newest(&bench, "failed", "+web/bad");
    bench.template("a.tera", &TEMPLATE.replace("i.id", "i.port"));
    wait_newest(
        &bench,
        "written",
        "+web/bad, conf.d or a template was edited",
    );
    process.wait_said(", after ");

    bench.template("a.tera", "{% for");
    process.wait_said("so the previous one stays in force");
    bench.template("a.tera", &TEMPLATE.replace("i.id", "i.port"));
    process.wait_said("the configuration is right again");
}

#[test]
fn the_history_has_the_begin_and_the_end_of_holds() {
    let bench = Bench::new(PACE);
    let target = bench.file("conf.d/a.toml");
    let guarded = fs::read_to_string(&target).unwrap();
    fs::write(&target, guarded.replace(super::UNGUARDED, "")).unwrap();
    bench.put("i");
    let _process = start(&bench);
    bench.wait_live(&line("i"));
    bench.delete("i");
    wait_newest(&bench, "held", "the guard holds i of web: none is left");
    let release = sidekick()
        .args(["guard", "release", "a"])
        .env("SIDEKICK_STATE_DIR", bench.file("state"))
        .status()
        .unwrap();
    assert!(release.success());
    bench.wait_live("");
    let newest = wait_newest(&bench, "written", "the guard gave up i of web, by hand");
    assert!(
        newest["diff"]
            .as_str()
            .unwrap()
            .contains("-i 10.0.0.1:80 up"),
        "{newest}"
    );
    let actions = entries(&bench, &[]);
    let actions: Vec<&str> = actions
        .iter()
        .map(|one| one["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["written", "held", "hold-ended", "written"]);
}
