//! Orphans are reaped, and the statuses of our own children are never among them.

use std::fs;
use std::io::Write;

use nix::sys::signal::Signal;

use super::{Place, as_pid_1, children, kill, pid_1_of};
use crate::harness::{sidekick, wait_for};

/// How many children of a process have ended and were not waited for.
fn zombies(pid: i32) -> usize {
    let dead = |(_, state): &(i32, char)| *state == 'Z';
    children(pid).iter().filter(|child| dead(child)).count()
}

#[test]
fn two_hundred_orphans_are_reaped_and_the_status_is_the_command_s() {
    let place = Place::new();
    // Each is started by a shell that ends at once, some end before it, some after.
    let script = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); (sh -c \"sleep 0.0$((i%7)); echo $i >> $DIR/done\" &); \
                  done; echo all >> $DIR/started; read _ < $DIR/go; exit 77";
    let Some(mut command) = as_pid_1(&place.register(&[], script)) else {
        return;
    };
    let mut go = super::fifo(&place.file("go"));
    let mut process = place.start(&mut command);
    let pid = pid_1_of(&process);
    wait_for("the orphans to end", || {
        (place.lines("done").len() == 200).then_some(())
    });
    wait_for("no zombie and no child but the command", || {
        (zombies(pid) == 0 && children(pid).len() == 1).then_some(())
    });
    go.write_all(b"go\n").unwrap();
    assert_eq!(process.wait().code(), Some(77), "{}", process.output());
}

#[test]
fn orphans_of_a_command_are_ours_where_we_are_not_pid_1() {
    let place = Place::new();
    let script = "(sh -c 'echo $$ >> $DIR/orphan; read _ < $DIR/go' &); read _ < $DIR/end";
    let mut go = super::fifo(&place.file("go"));
    let _end = super::fifo(&place.file("end"));
    let process = place.start(&mut place.register(&[], script));
    let pid = process.pid().as_raw();
    let orphan = wait_for("the orphan", || place.lines("orphan").first().cloned());
    let orphan: i32 = orphan.parse().unwrap();
    wait_for("its adoption", || {
        children(pid)
            .iter()
            .any(|(pid, _)| *pid == orphan)
            .then_some(())
    });
    go.write_all(b"go\n").unwrap();
    wait_for("its end", || {
        (!children(pid).iter().any(|(pid, _)| *pid == orphan)).then_some(())
    });
}

#[test]
fn commands_of_a_watch_keep_their_statuses_among_orphans() {
    let place = Place::new();
    for dir in ["conf.d", "templates", "out", "store"] {
        fs::create_dir(place.file(dir)).unwrap();
    }
    fs::write(place.file("templates/a.tera"), "text").unwrap();
    for n in 0..20 {
        let dir = place.0.path().display();
        let status = if n % 2 == 0 { 0 } else { 7 };
        // They leave the group of the check, which ends with it.
        let orphans = format!(
            "i=0; while [ $i -lt 10 ]; do i=$((i+1)); (setsid sh -c \"sleep 0.0$i; echo {n} >> {dir}/done\" &) ; done"
        );
        let target = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{dir}/out/{n}'\nkeys = ['/']\n\
             check_cmd = '''{orphans} > /dev/null 2>&1; exit {status}'''\n"
        );
        fs::write(place.file(&format!("conf.d/{n}.toml")), target).unwrap();
    }
    let mut command = sidekick();
    let store = format!("dir://{}", place.file("store").display());
    command.args(["watch", "--store", &store, "--conf-dir"]);
    let Some(mut command) = as_pid_1(command.arg(place.0.path())) else {
        return;
    };
    let mut process = place.start(&mut command);
    let pid = pid_1_of(&process);
    wait_for("what can be published, and word of the rest", || {
        let log = process.output();
        let published = (0..20).step_by(2);
        let published = published
            .filter(|n| place.file(&format!("out/{n}")).exists())
            .count();
        let told = log.matches("exit status 7").count();
        (published == 10 && told >= 10).then_some(())
    });
    for wrong in [
        "exit status 255",
        "No child",
        "does not start",
        "exit status 0",
    ] {
        assert!(!process.output().contains(wrong), "{}", process.output());
    }
    wait_for("the orphans to be reaped", || {
        (place.lines("done").len() >= 200 && zombies(pid) == 0).then_some(())
    });
    kill(pid, Signal::SIGTERM as i32);
    assert_eq!(process.wait().code(), Some(0), "{}", process.output());
}
