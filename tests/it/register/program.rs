//! The command of `sidekick register -- COMMAND`: its signals, its end, its status.

use std::fs;

use nix::sys::signal::Signal;

use super::{Bench, read};
use crate::harness::{Process, sidekick, wait_for};

#[test]
fn the_command_hears_of_a_stop_when_the_instance_is_gone_and_its_status_is_ours() {
    let bench = Bench::new();
    let (seen, up) = (bench.file("seen"), bench.file("up"));
    let script = format!(
        "trap 'ETCDCTL_API=3 etcdctl --endpoints {} get --prefix /services > {}; echo end >> {}; exit 7' TERM; \
         echo up > {}; while :; do sleep 0.05; done",
        bench.etcd.endpoint(),
        seen.display(),
        seen.display(),
        up.display()
    );
    let mut process = bench.announced(&["--", "sh", "-c", &script]);
    wait_for("the command", || read(&up));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(7), "{}", process.output());
    assert_eq!(
        read(&seen).as_deref(),
        Some("end\n"),
        "keys were still there"
    );
}

#[test]
fn exit_statuses_are_the_command_s() {
    let bench = Bench::new();
    let plain = bench.file("plain");
    fs::write(&plain, "not a program").unwrap();
    let plain = plain.to_str().unwrap();
    for (command, status) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 3"], 3),
        (vec!["sh", "-c", "exit 255"], 255),
        (vec!["sh", "-c", "kill -TERM $$"], 143),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["sh", "-c", "kill -SEGV $$"], 139),
        (vec!["/no/such/program"], 127),
        (vec![plain], 126),
        (vec!["/"], 126),
    ] {
        let args: Vec<&str> = ["--"].into_iter().chain(command.iter().copied()).collect();
        let mut process = bench.start(&args);
        assert_eq!(process.wait().code(), Some(status), "{command:?}");
        assert!(!bench.is_there(), "{command:?} left keys behind");
    }
}

#[test]
fn a_command_that_does_not_stop_is_killed_after_its_grace() {
    let bench = Bench::new();
    let up = bench.file("up");
    let script = format!(
        "trap '' TERM; echo up > {}; while :; do sleep 0.05; done",
        up.display()
    );
    let mut process = bench.announced(&["--stop-grace", "300ms", "--", "sh", "-c", &script]);
    wait_for("the command", || read(&up));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(137));
    assert!(
        process.output().contains("within its grace"),
        "{}",
        process.output()
    );
}

#[test]
fn a_command_that_was_stopped_is_woken_to_end_in_order() {
    let bench = Bench::new();
    let up = bench.file("up");
    let script = format!(
        "trap 'exit 6' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        up.display()
    );
    let mut process = bench.announced(&["--stop-grace", "1h", "--", "sh", "-c", &script]);
    let pid = wait_for("the command", || read(&up));
    let pid: i32 = pid.trim().parse().unwrap();
    let group = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::killpg(group, Signal::SIGSTOP).unwrap();
    wait_for("the command to stand still", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    });
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(6), "{}", process.output());
}

#[test]
fn other_signals_reach_the_command_alone_and_its_whole_group_if_that_is_asked_for() {
    for (options, hears) in [(&[][..], false), (&["--signal-group"], true)] {
        hangs_up(options, hears);
    }
}

fn hangs_up(options: &[&str], grandchild_hears: bool) {
    let bench = Bench::new();
    let got = bench.file("got");
    let script = format!(
        "sh -c 'trap \"echo grandchild >> {0}\" HUP; echo up >> {0}; while :; do sleep 0.05; done' & \
         trap 'echo child >> {0}' HUP; while :; do sleep 0.05; done",
        got.display()
    );
    let args = [options, &["--", "sh", "-c", &script]].concat();
    let process = bench.announced(&args);
    wait_for("the grandchild", || read(&got));
    process.signal(Signal::SIGHUP);
    wait_for("the child to hear of it", || {
        read(&got)?.contains("\nchild\n").then_some(())
    });
    if grandchild_hears {
        wait_for("the grandchild to hear of it", || {
            read(&got)?.contains("grandchild\n").then_some(())
        });
    } else {
        assert_eq!(read(&got).as_deref(), Some("up\nchild\n"));
    }
    assert!(bench.is_there());
}

#[test]
fn a_program_that_knows_nothing_of_sighup_outlives_a_reload_of_the_configuration() {
    let bench = Bench::new();
    let config = bench.file("services.toml");
    let service =
        |id: &str| format!("[[service]]\nname = 'web'\nid = '{id}'\nport = 80\nip = '127.0.0.1'\n");
    fs::write(&config, service("one")).unwrap();
    let mut command = sidekick();
    command
        .args(["register", "--store", &bench.etcd.url(), "--config"])
        .arg(&config)
        .args(["--", "sleep", "1000"]);
    let mut process = Process::start(&mut command, &bench.log());
    wait_for("the first set", || {
        bench
            .keys()
            .contains_key("/services/web/one/ip")
            .then_some(())
    });
    fs::write(&config, service("one") + &service("two")).unwrap();
    process.signal(Signal::SIGHUP);
    wait_for("the second set", || {
        bench
            .keys()
            .contains_key("/services/web/two/ip")
            .then_some(())
    });
    assert!(process.ended().is_none(), "{}", process.output());
}
