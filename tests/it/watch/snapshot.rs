//! A start while the store is down: what an earlier process left behind stands in for it, until the store speaks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Bench, PACE, UNGUARDED, line};
use crate::harness::notify::Notify;
use crate::harness::{Process, sidekick, wait_for};

/// What says that the snapshot is in use.
const STALE: &str = "and are stale";

/// `sidekick watch` with a state directory of the bench's own.
fn command(bench: &Bench, args: &[&str]) -> Command {
    let mut command = bench.command(args);
    command.env("SIDEKICK_STATE_DIR", bench.file("state"));
    command
}

fn start(bench: &Bench, log: &str, args: &[&str]) -> Process {
    Process::start(&mut command(bench, args), &bench.file(log))
}

fn snapshot(bench: &Bench) -> Option<PathBuf> {
    let mut files = fs::read_dir(bench.file("state/snapshots"))
        .ok()?
        .map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|e| e == "json"))
}

/// Waits until the snapshot on disk has this instance.
fn wait_saved(bench: &Bench, id: &str) -> PathBuf {
    wait_for("the snapshot to be written", || {
        let path = snapshot(bench)?;
        let text = fs::read_to_string(&path).unwrap();
        text.contains(&format!("/services/web/{id}/"))
            .then_some(path)
    })
}

/// A bench whose watcher has seen one instance and was killed; then the store went down and the file was lost.
fn left_behind(lines: &str) -> Bench {
    let mut bench = Bench::new(lines);
    bench.put("i");
    let process = start(&bench, "log-before", &[]);
    bench.wait_live(&line("i"));
    wait_saved(&bench, "i");
    drop(process); // It is killed.
    bench.etcd.stop();
    fs::remove_file(bench.out("a.cfg")).unwrap();
    bench
}

#[test]
fn without_a_store_the_last_snapshot_is_served_until_the_store_answers() {
    let mut bench = left_behind(PACE);
    let notify = Notify::at(&bench.file("notify"));
    let mut command = command(&bench, &["--", "sleep", "1000"]);
    let mut process = Process::start(notify.pass_socket_to(&mut command), &bench.file("log"));
    bench.wait_live(&line("i"));
    process.wait_said("the command is started");
    let said = process.output();
    assert_eq!(said.matches(STALE).count(), 1, "{said}");
    assert!(
        said.contains("was written ") && said.contains("s ago"),
        "{said}"
    );
    let ready = notify.wait_said("READY=1");
    assert!(ready.contains("serving from a snapshot of "), "{ready}");

    let file = snapshot(&bench).unwrap();
    let kept = fs::read(&file).unwrap();
    bench.etcd.start();
    bench.delete("i");
    bench.put("j");
    bench.wait_live(&line("j"));
    process.wait_said("nothing is stale any more");
    notify.wait_said("STATUS=keeping 1 file\n");
    wait_saved(&bench, "j");
    assert_ne!(fs::read(&file).unwrap(), kept);
    process.signal(Signal::SIGTERM);
    process.wait();
}

#[test]
fn a_store_that_comes_back_empty_does_not_wipe_what_was_served() {
    let mut bench = left_behind(PACE);
    let target = bench.file("conf.d/a.toml");
    let guarded = fs::read_to_string(&target).unwrap().replace(UNGUARDED, "");
    fs::write(&target, guarded).unwrap();
    let process = start(&bench, "log", &[]);
    bench.wait_live(&line("i"));
    bench.etcd.wipe();
    process.wait_said("nothing is stale any more");
    wait_for("the store's word on disk", || {
        let text = fs::read_to_string(snapshot(&bench)?).ok()?;
        text.contains("\"entries\":{}").then_some(())
    });
    // To the guard it is a loss like any other.
    assert_eq!(bench.live(), Some(line("i")));
    process.signal(Signal::SIGHUP);
    process.wait_said("comparing every file");
    assert_eq!(bench.live(), Some(line("i")));
}

#[test]
fn the_snapshot_is_private_and_a_stop_writes_it_once_more() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let mut process = start(&bench, "log", &[]);
    let file = wait_saved(&bench, "i");
    for (path, mode) in [(file.as_path(), 0o600), (file.parent().unwrap(), 0o700)] {
        let has = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(has & 0o777, mode, "{}", path.display());
    }
    // The next write would be seconds away.
    bench.put("j");
    bench.wait_live(&(line("i") + &line("j")));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("/services/web/j/ip"), "{text}");
    let names: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_snapshot_that_is_damaged_or_of_something_else_is_left_aside() {
    let mut bench = left_behind(PACE);
    let file = snapshot(&bench).unwrap();
    let good = fs::read_to_string(&file).unwrap();
    let target = bench.file("conf.d/a.toml");
    let services = fs::read_to_string(&target).unwrap();
    for (number, (text, conf, why)) in [
        (
            good[..good.len() / 2].to_owned(),
            services.clone(),
            "damaged",
        ),
        (String::new(), services.clone(), "damaged"),
        (
            good.replace("\"format\":1", "\"format\":2"),
            services.clone(),
            "format 2",
        ),
        (
            good.replace("etcd://", "etcd://10.0.0.1:2379,"),
            services.clone(),
            "another store",
        ),
        (
            good.clone(),
            services.replace("['web']", "['web', 'api']"),
            "nothing of /services/api",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&file, text).unwrap();
        fs::write(&target, conf).unwrap();
        let process = start(&bench, &format!("log-{number}"), &[]);
        process.wait_said("is not used");
        let said = process.output();
        assert!(said.contains(why) && !said.contains(STALE), "{said}");
        assert_eq!(bench.live(), None);
    }
    // It harms nobody when the store is back.
    fs::write(&file, "{").unwrap();
    let process = start(&bench, "log", &[]);
    process.wait_said("is not used");
    bench.etcd.start();
    bench.wait_live(&line("i"));
    wait_saved(&bench, "i");
}

#[test]
fn with_once_no_snapshot_is_served() {
    let bench = left_behind(PACE);
    let output = command(&bench, &["--once", "--timeout", "7s"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert_eq!(bench.live(), None);
}

#[test]
fn another_configuration_while_the_store_is_down_is_served_from_the_snapshot_if_that_has_it() {
    let bench = left_behind(PACE);
    let process = start(&bench, "log", &[]);
    bench.wait_live(&line("i"));
    // A part of what the snapshot has, which makes it another path to follow.
    bench.template("b.tera", "{{ getv(key='/services/web/i/ip') }}");
    let target = fs::read_to_string(bench.file("conf.d/a.toml")).unwrap();
    let target = target
        .replace("services = ['web']", "keys = ['/services/web/i']")
        .replace("a.tera", "b.tera");
    fs::write(bench.file("conf.d/a.toml"), target).unwrap();
    bench.wait_live("10.0.0.1");
    assert_eq!(process.output().matches(STALE).count(), 2);
}

#[test]
fn a_directory_that_is_not_there_is_a_store_that_is_down() {
    let bench = Bench::new(PACE);
    let store = bench.file("store");
    let start = |log: &str| {
        let mut command = sidekick();
        command
            .args(["watch", "--store"])
            .arg(format!("dir://{}", store.display()))
            .arg("--conf-dir")
            .arg(bench.dir.path())
            .env("SIDEKICK_STATE_DIR", bench.file("state"));
        Process::start(&mut command, &bench.file(log))
    };
    let put = |id: &str| {
        let dir = store.join("services/web").join(id);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ip"), "10.0.0.1").unwrap();
        fs::write(dir.join("port"), "80").unwrap();
    };
    put("i");
    let process = start("log-before");
    bench.wait_live(&line("i"));
    wait_saved(&bench, "i");
    drop(process);
    fs::remove_dir_all(&store).unwrap();
    fs::remove_file(bench.out("a.cfg")).unwrap();
    let process = start("log");
    bench.wait_live(&line("i"));
    assert!(process.output().contains(STALE), "{}", process.output());
    put("j");
    bench.wait_live(&line("j"));
    process.wait_said("nothing is stale any more");
}
