//! Every signal reaches the command; the command starts as if nobody stood before it; its status is
//! exact.

use std::process::Command;

use nix::sys::signal::Signal;

use super::{Place, as_pid_1, kill, pid_1_of, ticking_fifo};
use crate::harness::{sidekick, wait_for};

/// What is passed on, TERM and INT last since they begin a stop. Missing are those that cannot be caught (9, 19), tell
/// of an error of the process itself (4 to 8, 11, 31), of its children (17) or its place at a terminal (21, 22), and the
/// two that the C library keeps for itself (32, 33).
fn forwardable() -> Vec<i32> {
    let kept = [9, 19, 4, 5, 6, 7, 8, 11, 31, 17, 21, 22, 32, 33];
    let stop = [15, 2];
    let others = (1..=64).filter(|number| !kept.contains(number) && !stop.contains(number));
    others.chain(stop).collect()
}

#[test]
fn every_signal_reaches_the_command_and_its_grandchild_if_the_group_is_to_hear() {
    let place = Place::new();
    let numbers = forwardable();
    assert_eq!(numbers.len(), 50);
    let list: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    // Nothing but the two shells, so that no other program of the group dies of a signal, or stops.
    let shell = format!(
        "exec 3<>$DIR/fifo; for n in {}; do trap \"echo $n >> $DIR/$WHO\" $n; done; \
         echo up >> $DIR/$WHO; while :; do read _ <&3; done",
        list.join(" ")
    );
    // A shell lets what it starts in the background ignore the keys of the terminal.
    let script = format!(
        "WHO=grandchild env --default-signal=INT,QUIT sh -c '{shell}' & export WHO=child; {shell}"
    );
    let Some(mut command) =
        as_pid_1(&place.register(&["--stop-grace", "1h", "--signal-group"], &script))
    else {
        return;
    };
    let _ticks = ticking_fifo(&place.file("fifo"));
    let process = place.start(&mut command);
    for who in ["child", "grandchild"] {
        wait_for(who, || place.has_line(who, "up").then_some(()));
    }
    wait_for("the announcement", || place.is_announced().then_some(()));
    let pid = pid_1_of(&process);
    for number in list {
        kill(pid, number.parse().unwrap());
        for who in ["child", "grandchild"] {
            wait_for(&format!("signal {number} at the {who}"), || {
                place.has_line(who, &number).then_some(())
            });
        }
    }
}

#[test]
fn signals_that_come_together_all_arrive() {
    let place = Place::new();
    let numbers: Vec<String> = (34..=64).map(|number| number.to_string()).collect();
    let script = format!(
        "exec 3<>$DIR/fifo; for n in {}; do trap \"echo $n >> $DIR/got\" $n; done; echo up >> $DIR/got; \
         while :; do read _ <&3; done",
        numbers.join(" ")
    );
    let _ticks = ticking_fifo(&place.file("fifo"));
    let process = place.start(&mut place.register(&[], &script));
    wait_for("the command", || place.has_line("got", "up").then_some(()));
    // Stopped, it cannot pass them on one by one.
    process.signal(Signal::SIGSTOP);
    for number in &numbers {
        kill(process.pid().as_raw(), number.parse().unwrap());
    }
    process.signal(Signal::SIGCONT);
    wait_for("all of them", || {
        numbers
            .iter()
            .all(|number| place.has_line("got", number))
            .then_some(())
    });
}

/// Signals a program has blocked, ignores and catches, as the kernel tells it.
const DISPOSITIONS: [&str; 3] = ["grep", "^Sig[BIC]", "/proc/self/status"];

/// The same without the two signals that are the C library's own: it ignores them or not as it likes.
fn dispositions<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<(String, u64)> {
    let read = |line: &str| {
        let (name, mask) = line.split_once(":\t").unwrap();
        let mask = u64::from_str_radix(mask, 16).unwrap();
        (name.to_owned(), mask & !(0b11 << 31))
    };
    lines.into_iter().map(read).collect()
}

#[test]
fn the_command_starts_with_the_mask_and_dispositions_it_would_have_without_us() {
    let odd = [
        "--ignore-signal=PIPE,CHLD,HUP,USR1,TTOU,RTMIN+1",
        "--block-signal=TERM,USR2,CHLD,RTMIN+3",
    ];
    let reset = ["--default-signal", "--default-signal=PIPE"];
    for env in [&odd, &reset] {
        let place = Place::new();
        let with = place.register_program(&[], &DISPOSITIONS);
        let output = |program: &std::ffi::OsStr, args: &[&std::ffi::OsStr]| {
            let mut command = Command::new("env");
            let output = command.args(env).arg(program).args(args).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let alone = output(
            DISPOSITIONS[0].as_ref(),
            &DISPOSITIONS[1..]
                .iter()
                .map(AsRef::as_ref)
                .collect::<Vec<_>>(),
        );
        let ours = output(with.get_program(), &with.get_args().collect::<Vec<_>>());
        assert_eq!(alone.lines().count(), 3, "{alone}");
        assert_eq!(dispositions(ours.lines()), dispositions(alone.lines()));
    }
}

#[test]
fn so_do_the_commands_of_a_watch() {
    let place = Place::new();
    for dir in ["conf.d", "templates", "store"] {
        std::fs::create_dir(place.file(dir)).unwrap();
    }
    std::fs::write(place.file("templates/a.tera"), "text").unwrap();
    let target = format!(
        "[template]\nsrc = 'a.tera'\ndest = '{}'\nkeys = ['/']\n\
         check_cmd = 'grep ^Sig[BIC] /proc/self/status > $DIR/seen'",
        place.file("dest").display()
    );
    std::fs::write(place.file("conf.d/a.toml"), target).unwrap();
    let odd = ["--ignore-signal=PIPE,CHLD,USR1", "--block-signal=TERM,USR2"];
    let mut watch = Command::new("env");
    watch.args(odd).arg(sidekick().get_program());
    let store = format!("dir://{}", place.file("store").display());
    watch.args(["watch", "--once", "--store", &store, "--conf-dir"]);
    watch.arg(place.0.path()).env("DIR", place.0.path());
    let output = watch.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // The shell changes some of it for its own ends, so it has to stand on both sides.
    let alone = Command::new("env")
        .args(odd)
        .args(["sh", "-c", &DISPOSITIONS.join(" ")])
        .output();
    let alone = String::from_utf8(alone.unwrap().stdout).unwrap();
    let seen = place.lines("seen");
    assert_eq!(
        dispositions(seen.iter().map(String::as_str)),
        dispositions(alone.lines())
    );
}

#[test]
fn every_exit_status_is_exact() {
    let place = Place::new();
    let status = |program: &[&str]| {
        let mut command = place.register_program(&[], program);
        command.output().unwrap().status.code()
    };
    for code in 0..=255 {
        assert_eq!(status(&["sh", "-c", &format!("exit {code}")]), Some(code));
    }
    for number in [1, 2, 3, 6, 9, 11, 13, 14, 15, 34, 50, 64] {
        let script = format!("kill -{number} $$; read _");
        assert_eq!(status(&["sh", "-c", &script]), Some(128 + number));
    }
    assert_eq!(status(&["/no/such/program"]), Some(127));
    assert_eq!(status(&["no-such-program"]), Some(127));
    assert_eq!(status(&["/"]), Some(126));
    assert_eq!(status(&["/proc/self/status"]), Some(126));
}

#[test]
fn statuses_are_exact_for_pid_1_too() {
    let place = Place::new();
    let by_signal = |number| (format!("kill -{number} $$; read _"), 128 + number);
    let mut cases: Vec<(String, i32)> = [0, 1, 7, 126, 127, 128, 137, 255]
        .map(|code| (format!("exit {code}"), code))
        .into();
    cases.extend([1, 9, 15, 34, 64].map(by_signal));
    for (script, status) in cases {
        let Some(mut command) = as_pid_1(&place.register(&[], &script)) else {
            return;
        };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{script}: {output:?}");
    }
    for (program, status) in [("/no/such/program", 127), ("/", 126)] {
        let command = as_pid_1(&place.register_program(&[], &[program]));
        let output = command.unwrap().output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{program}: {output:?}");
    }
    // Who asks PID 1 for help is not left alone with a terminal that shows nothing.
    let help = as_pid_1(sidekick().arg("--help")).unwrap().output();
    assert_eq!(help.unwrap().status.code(), Some(0));
}
