//! What is rendered, when, and how its program hears of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Bench, PACE, line};
use crate::harness::{Process, wait_for};

#[test]
fn files_follow_what_is_announced_and_equal_bytes_are_not_touched() {
    let bench = Bench::new(&format!("reload_cmd = 'echo x >> OUT/reloads'\n{PACE}"));
    bench.put("i");
    let mut process = bench.start(&[]);
    bench.wait_live(&line("i"));
    bench.put("j");
    bench.wait_live(&(line("i") + &line("j")));
    bench.delete("i");
    bench.wait_live(&line("j"));
    wait_for("three reloads", || {
        (bench.count("reloads") == 3).then_some(())
    });

    // The same value again is a new revision, and no change.
    let inode = fs::metadata(bench.out("a.cfg")).unwrap().ino();
    bench.put("j");
    bench
        .etcd
        .etcdctl(&["put", "/services/other/x/ip", "10.0.0.1"]);
    bench.put("k");
    bench.wait_live(&(line("j") + &line("k")));
    wait_for("the fourth reload", || {
        (bench.count("reloads") >= 4).then_some(())
    });
    assert_eq!(bench.count("reloads"), 4);
    assert_ne!(fs::metadata(bench.out("a.cfg")).unwrap().ino(), inode);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.litter(), ["a.cfg", "reloads"]);
}

#[test]
fn a_signal_reloads_without_a_shell() {
    let bench = Bench::new(
        "[template.reload]\nsignal = 'USR1'\npidfile = 'OUT/pid'\n[template.pace]\nmin_interval = '0s'\n",
    );
    let script = format!(
        "trap 'echo x >> {0}/reloads' USR1; echo $$ > {0}/pid; while :; do sleep 0.02; done",
        bench.file("out").display()
    );
    let _program = Process::start(
        Command::new("sh").args(["-c", &script]),
        &bench.file("program"),
    );
    wait_for("the program", || {
        fs::read_to_string(bench.out("pid"))
            .ok()
            .filter(|t| t.ends_with('\n'))
    });
    bench.put("i");
    let _process = bench.start(&[]);
    bench.wait_live(&line("i"));
    wait_for("the signal", || (bench.count("reloads") == 1).then_some(()));
}

#[test]
fn a_burst_is_gathered_and_reloads_keep_their_distance() {
    let bench = Bench::new(
        "reload_cmd = 'date +%s%N >> OUT/reloads'\n[template.pace]\nmin_interval = '700ms'\n",
    );
    let _process = bench.start(&[]);
    wait_for("the first file", || bench.live());
    for n in 100..150 {
        bench.put(&format!("i{n}"));
    }
    let want: String = (100..150).map(|n| line(&format!("i{n}"))).collect();
    bench.wait_live(&want);
    wait_for("the last reload", || {
        (bench.count("reloads") >= 2).then_some(())
    });
    let text = fs::read_to_string(bench.out("reloads")).unwrap();
    let times: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(times.len() < 10, "{} reloads for 50 changes", times.len());
    for pair in times.windows(2) {
        // The command writes a few milliseconds after it was started.
        assert!(pair[1] - pair[0] > 600_000_000, "{times:?}");
    }
}

#[test]
fn a_reload_that_is_held_back_is_made_later_with_the_newest_data() {
    let bench = Bench::new(
        "reload_cmd = 'cat OUT/a.cfg >> OUT/loaded; echo x >> OUT/reloads'\n[template.pace]\nmin_interval = '6s'\n",
    );
    bench.put("i");
    let mut process = bench.start(&[]);
    wait_for("the first reload", || {
        (bench.count("reloads") == 1).then_some(())
    });
    bench.put("j");
    bench.put("k");
    wait_for("the second reload", || {
        (bench.count("reloads") == 2).then_some(())
    });
    let newest = line("i") + &line("j") + &line("k");
    assert_eq!(bench.live(), Some(newest.clone()));
    let loaded = line("i") + &newest;
    assert_eq!(fs::read_to_string(bench.out("loaded")).unwrap(), loaded);
    // What is held back when it ends is made by the next process, which has no reload to keep a distance from.
    bench.delete("i");
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.count("reloads"), 2);
    let _process = bench.start(&[]);
    wait_for("the third reload", || {
        (bench.count("reloads") == 3).then_some(())
    });
    let loaded = loaded + &line("j") + &line("k");
    assert_eq!(fs::read_to_string(bench.out("loaded")).unwrap(), loaded);
}

#[test]
fn bad_instances_are_skipped_and_logged_once_and_the_others_served() {
    let bench = Bench::new(PACE);
    bench.put("i");
    bench
        .etcd
        .etcdctl(&["put", "/services/web/x/ip", "0.0.0.0"]);
    bench.etcd.etcdctl(&["put", "/services/web/x/port", "80"]);
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    bench.etcd.etcdctl(&["put", "/services/web/x/port", "81"]);
    bench.put("j");
    bench.wait_live(&(line("i") + &line("j")));
    assert_eq!(
        process
            .output()
            .matches("/services/web/x is skipped")
            .count(),
        1,
        "{}",
        process.output()
    );
}
