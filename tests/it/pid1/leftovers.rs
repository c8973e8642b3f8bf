//! What a command leaves behind in its process group gets a TERM, the grace, and only then a KILL.

use std::io::Write;

use nix::sys::signal::Signal;

use super::{Place, as_pid_1, children, kill, pid_1_of};
use crate::harness::{Process, wait_for};

/// A script whose shell ends with 3 while another one of its group, up by then, does `on_term` when asked to end.
fn leaves(on_term: &str, end: &str) -> String {
    format!(
        "(trap '{on_term}' TERM; exec 3<>$DIR/fifo; echo up >> $DIR/left; while :; do read _ <&3; done) & \
         while ! [ -s $DIR/left ]; do sleep 0.01; done; {end}"
    )
}

const CLEANS_UP: &str = "sleep 0.5; echo clean >> $DIR/left; exit 0";

fn start(place: &Place, args: &[&str], script: &str) -> Option<(Process, super::Ticks)> {
    let mut command = as_pid_1(&place.register(args, script))?;
    let fifo = super::ticking_fifo(&place.file("fifo"));
    Some((place.start(&mut command), fifo))
}

#[test]
fn the_clean_up_of_what_a_command_leaves_behind_is_waited_for() {
    let place = Place::new();
    let Some((mut process, _fifo)) = start(&place, &[], &leaves(CLEANS_UP, "exit 3")) else {
        return;
    };
    assert_eq!(process.wait().code(), Some(3), "{}", process.output());
    assert_eq!(place.lines("left"), ["up", "clean"]);
    assert!(!place.is_announced());
}

#[test]
fn it_is_waited_for_after_a_request_to_stop_too_and_asked_once() {
    let place = Place::new();
    let count = "echo term >> $DIR/left; sleep 0.5; echo clean >> $DIR/left; exit 0";
    let script = leaves(
        count,
        "trap 'exit 4' TERM; echo ready >> $DIR/ready; while :; do read _ <&3; done 3<>$DIR/fifo",
    );
    let Some((mut process, _fifo)) = start(&place, &[], &script) else {
        return;
    };
    wait_for("the command", || {
        place.has_line("ready", "ready").then_some(())
    });
    kill(pid_1_of(&process), Signal::SIGTERM as i32);
    assert_eq!(process.wait().code(), Some(4), "{}", process.output());
    assert_eq!(place.lines("left"), ["up", "term", "clean"]);
}

/// Whether somebody of a process group lives; who is dead and not yet reaped does not.
fn is_alive(group: i32) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    // The name before the state may hold anything, and ends with the last parenthesis.
    let mut rests = stats.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.to_owned()));
    rests.any(|rest| {
        let mut fields = rest.split(' ');
        let state = fields.next();
        state != Some("Z") && fields.nth(1) == Some(group.to_string().as_str())
    })
}

#[test]
fn what_does_not_end_is_killed_after_the_grace_also_where_we_are_not_pid_1() {
    let place = Place::new();
    let _fifo = super::ticking_fifo(&place.file("fifo"));
    let stubborn = "echo term >> $DIR/left";
    let script = leaves(stubborn, "exec sh -c 'echo $PPID $$ > $DIR/pids; exit 3'");
    let mut process = place.start(&mut place.register(&["--stop-grace", "300ms"], &script));
    wait_for("the request to end", || {
        place.has_line("left", "term").then_some(())
    });
    assert_eq!(process.wait().code(), Some(3), "{}", process.output());
    let pids = place.lines("pids").concat();
    let group: i32 = pids.split(' ').next_back().unwrap().parse().unwrap();
    wait_for("the end of the group", || (!is_alive(group)).then_some(()));
}

#[test]
fn a_zombie_that_nobody_reaps_holds_nobody_up() {
    let place = Place::new();
    // A process of another session has a dead child that is still in the command's group.
    let script = "sh -c 'sh -c \"echo dead >> $DIR/dead\" & exec setsid sh -c \"echo up >> $DIR/up; read _ <> $DIR/still\"' & \
                  while ! [ -s $DIR/up -a -s $DIR/dead ]; do sleep 0.01; done; read _ <> $DIR/go; exit 5";
    let mut go = super::fifo(&place.file("go"));
    let _still = super::fifo(&place.file("still"));
    let Some((mut process, _fifo)) = start(&place, &["--stop-grace", "1h"], script) else {
        return;
    };
    wait_for("the session", || place.has_line("up", "up").then_some(()));
    let pid = pid_1_of(&process);
    wait_for("the zombie", || {
        let command = children(pid).first()?.0;
        let keeps = |(pid, _): &(i32, char)| children(*pid).iter().any(|(_, state)| *state == 'Z');
        children(command).iter().any(keeps).then_some(())
    });
    go.write_all(b"go\n").unwrap();
    assert_eq!(process.wait().code(), Some(5), "{}", process.output());
}
