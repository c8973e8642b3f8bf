//! A file system that hangs under one target: the others go on, a stop ends, and the target catches up.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::hung::Hung;
use super::{Bench, PACE, UNGUARDED, line};
use crate::harness::{Process, sidekick, wait_for};

/// Targets `a`, which lies where nothing hangs, and `b`, whose file lies on the mount.
fn bench(lines: &str) -> Option<(Bench, Hung)> {
    let bench = Bench::new(PACE);
    let hung = Hung::mount(bench.dir.path())?;
    let dest = bench.file("hung/b.cfg");
    let target = format!(
        "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = ['web']\n{lines}",
        dest.display()
    );
    fs::write(bench.file("conf.d/b.toml"), target).unwrap();
    bench.put("i");
    Some((bench, hung))
}

/// What the file of `b` says, below the mount.
fn below(bench: &Bench) -> Option<String> {
    fs::read_to_string(bench.file("below/b.cfg")).ok()
}

fn wait_below(bench: &Bench, want: &str) {
    wait_for(&format!("b.cfg to say {want:?}"), || {
        (below(bench)? == want).then_some(())
    });
}

fn lines(ids: &[&str]) -> String {
    ids.iter().map(|id| line(id)).collect()
}

/// Waits until a process has exited. The kernel lets nobody reap it as long as one of its threads waits for the file system:
/// a request that the server has read already is not given up, not even for a KILL.
fn wait_exited(process: &Process) {
    let stat = format!("/proc/{}/stat", process.pid());
    wait_for("the exit of sidekick", || {
        fs::read_to_string(&stat)
            .ok()?
            .contains(") Z ")
            .then_some(())
    });
}

#[test]
fn a_file_system_that_hangs_under_one_target_delays_no_other() {
    let Some((bench, hung)) = bench(UNGUARDED) else {
        return;
    };
    let mut process = bench.start(&[]);
    bench.wait_live(&line("i"));
    wait_below(&bench, &line("i"));
    hung.hang();
    bench.put("j");
    bench.wait_live(&lines(&["i", "j"]));
    bench.put("k");
    bench.wait_live(&lines(&["i", "j", "k"]));
    // Somebody edits the file of the other target, which is set right as ever.
    fs::write(bench.out("a.cfg"), "edited").unwrap();
    bench.wait_live(&lines(&["i", "j", "k"]));
    // The configuration is read again, with and without a change.
    process.signal(Signal::SIGHUP);
    process.wait_said("reading the configuration");
    bench.template("c.tera", "{{ services.web | length }}");
    let c = bench.file("out/c.cfg");
    let target = format!(
        "[template]\nsrc = 'c.tera'\ndest = '{}'\nservices = ['web']\n{UNGUARDED}",
        c.display()
    );
    fs::write(bench.file("conf.d/c.toml"), target).unwrap();
    wait_for("the new target", || {
        (fs::read_to_string(&c).ok()? == "3").then_some(())
    });
    bench.put("l");
    bench.wait_live(&lines(&["i", "j", "k", "l"]));
    assert_eq!(below(&bench), Some(line("i")));
    hung.heal();
    wait_below(&bench, &lines(&["i", "j", "k", "l"]));
    process.signal(Signal::SIGTERM);
    assert!(process.wait().success(), "{}", process.output());
}

/// The mount is found out once, not once for each file: twenty of them, each in a directory of its own, cost no more than
/// one. Twenty limits are 20 s or more.
#[test]
fn many_targets_on_a_hanging_file_system_delay_the_others_no_longer_than_one() {
    let Some((bench, hung)) = bench(UNGUARDED) else {
        return;
    };
    for n in 0..20 {
        fs::create_dir(bench.file(&format!("below/{n}"))).unwrap();
        let dest = bench.file(&format!("hung/{n}/c.cfg"));
        let target = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = ['web']\n{UNGUARDED}",
            dest.display()
        );
        fs::write(bench.file(&format!("conf.d/c{n}.toml")), target).unwrap();
    }
    let _process = bench.start(&[]);
    bench.wait_live(&line("i"));
    wait_for("the last file", || {
        fs::read_to_string(bench.file("below/19/c.cfg")).ok()
    });
    hung.hang();
    let start = Instant::now();
    for id in ["j", "k", "l"] {
        bench.put(id);
        wait_for(id, || bench.live()?.contains(&line(id)).then_some(()));
    }
    fs::write(bench.out("a.cfg"), "edited").unwrap();
    bench.wait_live(&lines(&["i", "j", "k", "l"]));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    hung.heal();
}

#[test]
fn a_stop_ends_while_a_file_system_hangs() {
    let Some((bench, hung)) = bench(UNGUARDED) else {
        return;
    };
    let mut process = bench.start(&[]);
    wait_below(&bench, &line("i"));
    hung.hang();
    bench.put("j");
    bench.wait_live(&lines(&["i", "j"]));
    process.signal(Signal::SIGTERM);
    wait_exited(&process);
    hung.heal();
    process.wait();
}

#[test]
fn a_hold_on_a_hanging_file_system_delays_no_other_target() {
    let guard = "[template.guard]\non_empty = 'hold'\nmax_drop = '20%'\n";
    let Some((bench, hung)) = bench(guard) else {
        return;
    };
    bench.put("j");
    let process = bench.start(&[]);
    wait_below(&bench, &lines(&["i", "j"]));
    hung.hang();
    bench.delete("j");
    bench.wait_live(&line("i"));
    process.wait_said("b: ");
    bench.delete("i");
    bench.wait_live("");
    bench.put("k");
    bench.wait_live(&line("k"));
    hung.heal();
    wait_for("the file to have what is there", || {
        below(&bench)?.contains(&line("k")).then_some(())
    });
}

/// Also when the guard looks for what there was before it: the store is empty at the start.
#[test]
fn a_file_system_that_hangs_at_the_start_delays_no_other_target() {
    let guard = "[template.guard]\non_empty = 'hold'\n";
    let Some((bench, hung)) = bench(guard) else {
        return;
    };
    fs::write(bench.file("below/b.cfg"), "of before").unwrap();
    bench.delete("i");
    hung.hang();
    let mut process = bench.start(&[]);
    bench.wait_live("");
    bench.put("j");
    bench.wait_live(&line("j"));
    hung.heal();
    wait_below(&bench, &line("j"));
    process.signal(Signal::SIGTERM);
    assert!(process.wait().success(), "{}", process.output());
}

/// An ordinary start: the store has instances, the file of the process before is there, and no guard has to look for it.
#[test]
fn a_file_system_that_hangs_at_the_start_keeps_no_command_waiting() {
    let Some((bench, hung)) = bench(UNGUARDED) else {
        return;
    };
    fs::write(bench.file("below/b.cfg"), "of before").unwrap();
    hung.hang();
    let begun = bench.file("begun");
    let script = format!("echo x >> {}; exec sleep 1000", begun.display());
    let mut process = bench.start(&["--", "sh", "-c", &script]);
    bench.wait_live(&line("i"));
    bench.put("j");
    bench.wait_live(&lines(&["i", "j"]));
    assert_eq!(below(&bench).as_deref(), Some("of before"));
    assert!(!begun.exists(), "a file of the command is not up to date");
    hung.heal();
    wait_below(&bench, &lines(&["i", "j"]));
    wait_for("the command", || begun.exists().then_some(()));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(143), "{}", process.output());
}

/// In confd's style a template that cannot be read fails its own target; the others get their files.
#[test]
fn a_template_on_a_hanging_file_system_stops_its_own_target_alone() {
    let bench = Bench::new(PACE);
    let Some(hung) = Hung::mount(bench.dir.path()) else {
        return;
    };
    let text = "{{range gets \"/services/web/*/ip\"}}{{.Value}} {{end}}";
    fs::write(bench.file("hung/b.tmpl"), text).unwrap();
    bench.template("c.tmpl", text);
    std::os::unix::fs::symlink(bench.file("hung/b.tmpl"), bench.file("templates/b.tmpl")).unwrap();
    fs::remove_file(bench.file("conf.d/a.toml")).unwrap();
    for name in ["b", "c"] {
        let dest = bench.out(&format!("{name}.cfg"));
        let target = format!(
            "[template]\nsrc = '{name}.tmpl'\ndest = '{}'\nkeys = ['/services']\n",
            dest.display()
        );
        fs::write(bench.file("conf.d").join(format!("{name}.toml")), target).unwrap();
    }
    let live = |name: &str| fs::read_to_string(bench.out(name)).ok();
    let wait = |name: &str, want: &str| {
        wait_for(&format!("{name}: {want}"), || {
            (live(name)? == want).then_some(())
        });
    };
    bench.put("i");
    hung.hang();
    let process = bench.start(&[]);
    wait("c.cfg", "10.0.0.1 ");
    process.wait_said("its file system does not answer");
    bench.put("j");
    wait("c.cfg", "10.0.0.1 10.0.0.1 ");
    assert_eq!(live("b.cfg"), None);
    hung.heal();
    process.signal(Signal::SIGHUP);
    wait("b.cfg", "10.0.0.1 10.0.0.1 ");
}

/// The directory store: the command goes on, what was announced is announced again, and a stop ends.
#[test]
fn a_directory_store_that_hangs_harms_no_command_and_no_file() {
    let bench = Bench::new(PACE);
    let Some(hung) = Hung::mount(bench.dir.path()) else {
        return;
    };
    let store = format!("dir://{}", bench.file("hung/store").display());
    let mut register = sidekick();
    register.args(["register", "--store", &store, "--name", "web", "--id", "i"]);
    register.args(["--ip", "10.0.0.1", "--port", "80", "--ttl", "3s"]);
    let ticks = bench.file("ticks");
    let script = format!("while sleep 0.05; do echo x >> {}; done", ticks.display());
    register.args(["--", "sh", "-c", &script]);
    let mut register = Process::start(&mut register, &bench.file("register"));
    let mut watch = sidekick();
    watch.args(["watch", "--store", &store, "--conf-dir"]);
    watch.arg(bench.dir.path());
    let mut watch = Process::start(&mut watch, &bench.file("log"));
    bench.wait_live(&line("i"));
    hung.hang();
    register.wait_said("does not answer");
    let count = || fs::read_to_string(&ticks).unwrap().lines().count();
    let before = count();
    wait_for("the command to go on", || {
        (count() > before + 5).then_some(())
    });
    assert_eq!(bench.live(), Some(line("i")));
    hung.heal();
    register.wait_said("answers again");
    bench.wait_live(&line("i"));
    hung.hang();
    for process in [&register, &watch] {
        process.signal(Signal::SIGTERM);
        wait_exited(process);
    }
    hung.heal();
    for process in [&mut register, &mut watch] {
        process.wait();
    }
}
