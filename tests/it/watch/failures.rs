//! Steps that fail, hang or are cut short: what is live, what is owed, what is told.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bench, PACE, line};
use crate::harness::wait_for;

#[test]
fn a_refused_candidate_leaves_the_live_file_and_is_tried_again() {
    let bench = Bench::new(&format!(
        "check_cmd = 'echo x >> OUT/checks; test -e OUT/ok || grep -qv bad {{{{src}}}}'\n\
         reload_cmd = 'echo x >> OUT/reloads'\n{PACE}"
    ));
    bench.put("good");
    let process = bench.start(&[]);
    bench.wait_live(&line("good"));
    bench.delete("good");
    bench.put("bad");
    wait_for("a second try without a new event", || {
        (bench.count("checks") >= 4).then_some(())
    });
    assert!(
        process.output().contains("the check refused the new file"),
        "{}",
        process.output()
    );
    assert_eq!(bench.live(), Some(line("good")));
    assert_eq!(bench.count("reloads"), 1);
    fs::write(bench.out("ok"), "").unwrap();
    bench.wait_live(&line("bad"));
}

#[test]
fn a_failed_reload_brings_the_previous_file_back_and_is_tried_again() {
    let bench = Bench::new(&format!(
        "reload_cmd = 'cat OUT/a.cfg >> OUT/reloads; test -e OUT/ok || ! grep -q bad OUT/a.cfg'\n{PACE}"
    ));
    bench.put("good");
    let process = bench.start(&[]);
    bench.wait_live(&line("good"));
    bench.put("bad");
    let both = line("bad") + &line("good");
    // It was swapped in and reloaded, then the old one was put back and reloaded.
    let restored = line("good") + &both + &line("good");
    wait_for("the reload of the previous file", || {
        fs::read_to_string(bench.out("reloads"))
            .ok()?
            .starts_with(&restored)
            .then_some(())
    });
    bench.wait_live(&line("good"));
    wait_for("word of it", || {
        let said = process.output();
        said.contains("the previous file is in force again")
            .then_some(())
    });
    fs::write(bench.out("ok"), "").unwrap();
    bench.wait_live(&both);
    assert_eq!(bench.litter(), ["a.cfg", "ok", "reloads"]);
}

#[test]
fn a_reload_is_owed_until_it_works_also_when_there_is_no_previous_file() {
    let bench = Bench::new(&format!(
        "reload_cmd = 'echo x >> OUT/reloads; test -e OUT/ok'\n{PACE}"
    ));
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    wait_for("a second try", || {
        (bench.count("reloads") >= 2).then_some(())
    });
    fs::write(bench.out("ok"), "").unwrap();
    process.wait_said("owed has been made");
}

#[test]
fn a_hanging_command_is_killed_and_holds_no_other_target_up() {
    let bench = Bench::new(&format!(
        "check_cmd = 'sleep 1000'\ncheck_timeout = '1s'\n{PACE}"
    ));
    bench.target("b", PACE);
    bench.put("i");
    let process = bench.start(&[]);
    wait_for("the other target", || {
        fs::read_to_string(bench.out("b.cfg")).ok()
    });
    process.wait_said("did not end within 1 s");
    assert_eq!(bench.live(), None);
}

#[test]
fn an_outage_changes_nothing_on_disk_and_ends_with_the_newest_state() {
    let mut bench = Bench::new(&format!("reload_cmd = 'echo x >> OUT/reloads'\n{PACE}"));
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    let before = fs::metadata(bench.out("a.cfg")).unwrap();
    bench.etcd.stop();
    process.wait_said("the live files stay");
    let after = fs::metadata(bench.out("a.cfg")).unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec())
    );
    bench.etcd.start();
    bench.put("j");
    bench.wait_live(&(line("i") + &line("j")));
    assert!(
        process.output().contains("the store answers again"),
        "{}",
        process.output()
    );
    assert_eq!(
        process.output().matches("the live files stay").count(),
        1,
        "{}",
        process.output()
    );
}

#[test]
fn a_template_that_fails_harms_no_other_target_and_heals_with_its_data() {
    let bench = Bench::new(PACE);
    bench.template("b.tera", "{{ getv(key='/services/web/i/note') }}");
    let text = fs::read_to_string(bench.file("conf.d/a.toml")).unwrap();
    let text = text.replace("a.tera", "b.tera").replace("a.cfg", "b.cfg");
    fs::write(bench.file("conf.d/b.toml"), text).unwrap();
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    process.wait_said("/services/web/i/note");
    bench
        .etcd
        .etcdctl(&["put", "/services/web/i/note", "hello"]);
    wait_for("the other file", || {
        (fs::read_to_string(bench.out("b.cfg")).ok()? == "hello").then_some(())
    });
}

#[test]
fn a_stop_waits_for_the_reload_that_is_under_way() {
    let bench =
        Bench::new("reload_cmd = 'echo begun >> OUT/reloads; sleep 1; echo done >> OUT/reloads'\n");
    bench.put("i");
    let mut process = bench.start(&[]);
    wait_for("the reload to begin", || {
        (bench.count("reloads") == 1).then_some(())
    });
    let asked = Instant::now();
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.count("reloads"), 2);
    assert!(asked.elapsed() < Duration::from_secs(9));
}

#[test]
fn a_reload_that_is_owed_is_made_by_the_next_process() {
    let bench = Bench::new("reload_cmd = 'echo x >> OUT/reloads; test -e OUT/ok'\n");
    bench.put("i");
    // There was no file before, so the new one stays, and the reload is owed.
    assert_eq!(bench.run(&["--once"]).status.code(), Some(1));
    assert_eq!(bench.live(), Some(line("i")));
    assert_eq!(
        bench.run(&["--once"]).status.code(),
        Some(1),
        "it is still owed"
    );
    fs::write(bench.out("ok"), "").unwrap();
    assert_eq!(bench.run(&["--once"]).status.code(), Some(0));
    assert_eq!(bench.count("reloads"), 3);
    assert_eq!(bench.run(&["--once"]).status.code(), Some(0));
    assert_eq!(bench.count("reloads"), 3, "nothing is owed any more");
}

#[test]
fn killed_between_swap_and_reload_the_next_process_reloads() {
    let bench = Bench::new(
        "reload_cmd = 'echo x >> OUT/begun; test ! -e OUT/hang || sleep 1000; echo x >> OUT/reloads'\n",
    );
    bench.put("i");
    assert_eq!(bench.run(&["--once"]).status.code(), Some(0));
    fs::write(bench.out("hang"), "").unwrap();
    bench.put("j");
    let process = bench.start(&[]);
    wait_for("the reload to begin", || {
        (bench.count("begun") == 2).then_some(())
    });
    assert_eq!(bench.live(), Some(line("i") + &line("j")));
    drop(process); // It is killed, with all it has started.
    fs::remove_file(bench.out("hang")).unwrap();
    let _process = bench.start(&[]);
    wait_for("the reload", || (bench.count("reloads") == 2).then_some(()));
}

#[test]
fn a_stop_during_a_check_gives_up_at_once_and_changes_nothing() {
    let bench = Bench::new("check_cmd = 'echo x >> OUT/checks; sleep 1000'\n");
    bench.put("i");
    let mut process = bench.start(&[]);
    wait_for("the check to begin", || {
        (bench.count("checks") == 1).then_some(())
    });
    let asked = Instant::now();
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(bench.litter(), ["checks"]);
}

#[test]
fn the_same_failure_is_logged_once() {
    let bench = Bench::new(PACE);
    bench.target("b", PACE);
    fs::remove_file(bench.file("conf.d/a.toml")).unwrap();
    let gone = bench.file("conf.d/b.toml");
    let text = fs::read_to_string(&gone)
        .unwrap()
        .replace("/out/b.cfg", "/gone/b.cfg");
    fs::write(&gone, text).unwrap();
    bench.put("i");
    let process = bench.start(&["--interval", "100ms", "--log-level", "debug"]);
    process.wait_said("4 times now");
    assert_eq!(
        process.output().matches("trying again").count(),
        1,
        "{}",
        process.output()
    );
    fs::create_dir(bench.file("gone")).unwrap();
    process.wait_said("has been updated");
    assert!(
        process.output().contains("failures"),
        "{}",
        process.output()
    );
}

#[test]
fn a_failed_render_is_tried_again_without_a_new_event() {
    let bench = Bench::new(PACE);
    let there = bench.file("there").display().to_string();
    bench.template(
        "a.tera",
        &format!(
            "{{% if fileExists(path='{there}') %}}fine{{% else %}}{{{{ nothing }}}}{{% endif %}}"
        ),
    );
    let process = bench.start(&[]);
    process.wait_said("rendering failed");
    assert_eq!(bench.live(), None);
    fs::write(there, "").unwrap();
    bench.wait_live("fine");
}

#[test]
fn a_reload_that_hangs_is_killed_with_its_group_and_made_again() {
    let bench = Bench::new(&format!(
        "reload_cmd = 'if test -e OUT/hang; then sleep 1000 & echo $! > OUT/pid; rm OUT/hang; wait; fi; \
         echo x >> OUT/reloads'\nreload_timeout = '1s'\n{PACE}"
    ));
    bench.target("b", &format!("reload_cmd = 'echo x >> OUT/others'\n{PACE}"));
    fs::write(bench.out("a.cfg"), "old\n").unwrap();
    fs::write(bench.out("hang"), "").unwrap();
    bench.put("i");
    let process = bench.start(&[]);
    wait_for("the reload of the other target", || {
        (bench.count("others") == 1).then_some(())
    });
    process.wait_said("did not end within 1 s");
    let pid = fs::read_to_string(bench.out("pid")).unwrap();
    wait_for("what it had started to be gone", || {
        (!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists()).then_some(())
    });
    bench.wait_live(&line("i"));
    wait_for("the reload", || (bench.count("reloads") >= 2).then_some(()));
}

#[test]
fn processes_that_a_command_leaves_running_may_print_after_the_end_of_sidekick() {
    let later = |name: &str| {
        format!("until test -e OUT/go; do sleep 0.01; done; echo one; echo two; echo > OUT/{name}")
    };
    // What a check leaves is killed, unless it has left the group before the check ends.
    let bench = Bench::new(&format!(
        "reload_cmd = \"({}) &\"\n\
         check_cmd = \"test -e {{{{src}}}}; rm -f OUT/up; setsid sh -c 'echo > OUT/up; {}' & \
         until test -e OUT/up; do sleep 0.01; done\"\n{PACE}",
        later("reload"),
        later("check")
    ));
    bench.put("i");
    let output = bench.run(&["--once"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let live_on = || {
        fs::write(bench.out("go"), "").unwrap();
        for name in ["reload", "check"] {
            wait_for(&format!("what the {name} has left to end"), || {
                fs::remove_file(bench.out(name)).ok()
            });
        }
        fs::remove_file(bench.out("go")).unwrap();
    };
    live_on();
    // The same when a watch that runs is stopped.
    let mut process = bench.start(&[]);
    bench.put("j");
    process.wait_said("has been updated");
    process.signal(Signal::SIGTERM);
    process.wait();
    live_on();
}
