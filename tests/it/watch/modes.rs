//! `--once`, `--noop`, `--diff`.

use std::fs;

use nix::sys::signal::Signal;

use super::{Bench, line};
use crate::harness::{Process, wait_for};

#[test]
fn once_publishes_and_exits() {
    let bench = Bench::new("reload_cmd = 'echo x >> OUT/reloads'\n");
    bench.put("i");
    let output = bench.run(&["--once"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!((bench.live(), bench.count("reloads")), (Some(line("i")), 1));
    assert_eq!(bench.run(&["--once"]).status.code(), Some(0));
    assert_eq!(bench.count("reloads"), 1, "nothing had changed");
}

#[test]
fn once_says_which_target_failed_and_publishes_the_others() {
    let bench = Bench::new("check_cmd = 'echo this is why; false'\n");
    bench.target("b", "");
    bench.put("i");
    let output = bench.run(&["--once"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("this is why"), "{text}");
    assert_eq!(
        (bench.live(), fs::read_to_string(bench.out("b.cfg")).ok()),
        (None, Some(line("i")))
    );
}

#[test]
fn once_waits_for_the_store_until_its_timeout() {
    let mut bench = Bench::new("");
    bench.put("i");
    bench.etcd.stop();
    let output = bench.run(&["--once", "--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert_eq!(bench.live(), None);
    let mut process = bench.start(&["--once"]);
    process.wait_said("trying again");
    bench.etcd.start();
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.live(), Some(line("i")));
}

/// `sidekick watch --once && exec server` must not start the server without its file.
#[test]
fn a_signal_before_the_work_is_done_is_no_success() {
    let mut bench = Bench::new("");
    bench.put("i");
    bench.etcd.stop();
    for mode in ["--once", "--noop"] {
        for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
            let log = bench.file(&format!("{mode}-{status}"));
            let mut process = Process::start(&mut bench.command(&[mode]), &log);
            process.wait_said("trying again");
            process.signal(signal);
            assert_eq!(process.wait().code(), Some(status), "{}", process.output());
        }
    }
    let mut daemon = bench.start(&[]);
    daemon.wait_said("trying again");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
}

#[test]
fn a_signal_in_the_middle_of_a_check_is_no_success_either() {
    let bench = Bench::new("check_cmd = 'echo x > OUT/checks; sleep 1000'\n");
    bench.put("i");
    let mut process = bench.start(&["--once"]);
    wait_for("the check", || bench.out("checks").exists().then_some(()));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(143), "{}", process.output());
    assert_eq!(bench.live(), None);
}

#[test]
fn noop_changes_nothing_and_diff_shows_what_would() {
    let bench =
        Bench::new("reload_cmd = 'echo x >> OUT/reloads'\ncheck_cmd = 'echo x >> OUT/checks'\n");
    fs::write(bench.out("a.cfg"), "old\n").unwrap();
    bench.put("i");
    let output = bench.run(&["--noop", "--diff"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let diff = String::from_utf8_lossy(&output.stdout);
    assert!(diff.contains("\n-old\n+i 10.0.0.1:80 up\n"), "{diff}");
    assert_eq!(bench.litter(), ["a.cfg"]);
    assert_eq!(bench.live().as_deref(), Some("old\n"));
    fs::write(bench.out("a.cfg"), line("i")).unwrap();
    let output = bench.run(&["--noop", "--diff"]);
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(0), 0),
        "{output:?}"
    );
}
