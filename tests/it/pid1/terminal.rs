//! At a terminal the command is in the foreground, hears the keys, and the terminal comes back to us.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use super::{Place, fifo};
use crate::harness::{Process, tool, wait_for};

/// Runs `script` by a shell at a terminal of its own; what is written to the file is typed.
fn at_terminal(place: &Place, script: &str) -> (Process, File) {
    let keys = fifo(&place.file("keys"));
    let mut command = Command::new("sh");
    // The name of `script` is also what it does: it makes a terminal and runs a command there.
    let line = "exec \"$0\" -qec \"$1\" /dev/null < $DIR/keys";
    command
        .arg("-c")
        .arg(line)
        .arg(tool("script"))
        .arg(script)
        .env("DIR", place.0.path())
        .env("SIDEKICK", env!("CARGO_BIN_EXE_sidekick"));
    (place.start(&mut command), keys)
}

/// Our own group, and the one in the terminal's foreground.
const GROUPS: &str = "$(cut -d \" \" -f 5,8 /proc/$$/stat)";
const REGISTER: &str =
    "$SIDEKICK register --store dir://$DIR/store --name web --id a --port 80 --ip 10.0.0.1";

#[test]
fn the_command_is_in_the_foreground_and_the_interrupt_key_reaches_it() {
    let place = Place::new();
    let inner = format!(
        "trap \"echo interrupted >> $DIR/seen; exit 4\" INT; echo {GROUPS} >> $DIR/groups; \
         while :; do sleep 0.05; done"
    );
    let script = format!(
        "{REGISTER} -- sh -c '{inner}'; echo $? >> $DIR/status; echo {GROUPS} >> $DIR/after"
    );
    let (mut process, mut keys) = at_terminal(&place, &script);
    let groups = wait_for("the command", || place.lines("groups").first().cloned());
    let (own, foreground) = groups.split_once(' ').unwrap();
    assert_eq!(own, foreground, "the command is not in the foreground");
    keys.write_all(b"\x03").unwrap();
    wait_for("the end", || place.lines("after").first().cloned());
    process.wait();
    assert_eq!(place.lines("seen"), ["interrupted"]);
    assert_eq!(place.lines("status"), ["4"]);
    let after = place.lines("after").concat();
    let (own, foreground) = after.split_once(' ').unwrap();
    assert_eq!(own, foreground, "the terminal did not come back");
}

#[test]
fn the_command_can_read_what_is_typed() {
    let place = Place::new();
    let script = format!(
        "{REGISTER} -- sh -c 'echo up >> $DIR/up; read -r line; echo $line >> $DIR/line'; \
         echo $? >> $DIR/status"
    );
    let (mut process, mut keys) = at_terminal(&place, &script);
    wait_for("the command", || place.lines("up").first().cloned());
    keys.write_all(b"some words\n").unwrap();
    let line = wait_for("the line", || place.lines("line").first().cloned());
    assert_eq!(line, "some words");
    process.wait();
    assert_eq!(place.lines("status"), ["0"]);
}

#[test]
fn a_command_that_does_not_start_leaves_the_terminal_as_it_was() {
    let place = Place::new();
    let script =
        format!("{REGISTER} -- /no/such; echo $? >> $DIR/status; echo {GROUPS} >> $DIR/after");
    let (mut process, _keys) = at_terminal(&place, &script);
    process.wait();
    assert_eq!(place.lines("status"), ["127"]);
    let after = place.lines("after").concat();
    let (own, foreground) = after.split_once(' ').unwrap();
    assert_eq!(own, foreground);
}

/// Whether a signal has been sent to a process, and not yet been taken.
fn is_pending(pid: i32, number: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let sets = status.lines().filter_map(|line| {
        let (name, set) = line.split_once(":\t")?;
        ["SigPnd", "ShdPnd"].contains(&name).then_some(set)
    });
    sets.map(|set| u64::from_str_radix(set, 16).unwrap())
        .any(|set| set & (1 << (number - 1)) != 0)
}

/// Apache ends gracefully at WINCH, which is also what a terminal sends when its size changes.
#[test]
fn a_resize_is_no_stop_where_the_stop_signal_is_the_one_of_a_resize() {
    let place = Place::new();
    let inner = "trap \"echo winch >> $DIR/seen\" WINCH; trap \"exit 5\" USR1; echo up >> $DIR/up; \
                 while :; do sleep 0.05; done";
    let script = format!(
        "{REGISTER} --stop-signal WINCH -- sh -c '{inner}' < /dev/tty & echo $! >> $DIR/pid; \
         until [ -s $DIR/up ]; do sleep 0.01; done; stty rows 33 cols 99; echo resized >> $DIR/resized; wait $!; \
         echo $? >> $DIR/status"
    );
    let (mut process, _keys) = at_terminal(&place, &script);
    wait_for("the resize", || place.lines("resized").first().cloned());
    let pid: i32 = place.lines("pid").concat().parse().unwrap();
    // The kernel keeps one signal of a kind: one that is sent before that of the resize is taken would be dropped.
    wait_for("that of the resize to be taken", || {
        (!is_pending(pid, 28)).then_some(())
    });
    // What a process sends is a request to stop.
    super::kill(pid, 28);
    wait_for("the stop", || place.lines("seen").first().cloned());
    super::kill(pid, 10);
    process.wait();
    assert_eq!(place.lines("seen"), ["winch"]);
    assert_eq!(place.lines("status"), ["5"]);
}
