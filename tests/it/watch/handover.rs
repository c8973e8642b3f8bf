//! A new configuration while targets are being published: it comes into force target by target.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bench, PACE, line};
use crate::harness::{Process, wait_for};

/// A reload that says that it has begun, and its process id, and hangs as long as there is a file `hold`.
const HANGS: &str = "reload_cmd = 'echo $$ >> OUT/begun; while test -e OUT/hold; do sleep 0.02; done; echo x >> OUT/ended'\n";

/// Less than any hung command, and more than what follows at once.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Targets `a`, whose reload hangs with a file that is live, and `b`; both follow the same instances.
fn with_a_hung_reload() -> (Bench, Process) {
    let bench = Bench::new(&format!("{HANGS}{PACE}"));
    bench.target("b", PACE);
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    wait_for("the first reload", || {
        (bench.count("ended") == 1).then_some(())
    });
    wait_other(&bench, "b.cfg", &line("i"));
    fs::write(bench.out("hold"), "").unwrap();
    bench.put("j");
    wait_for("the reload that hangs", || {
        (bench.count("begun") == 2).then_some(())
    });
    (bench, process)
}

#[track_caller]
fn wait_other(bench: &Bench, name: &str, want: &str) {
    wait_for(&format!("{name} to say {want:?}"), || {
        (fs::read_to_string(bench.out(name)).ok()? == want).then_some(())
    });
}

/// Whether the reload that hangs is still there.
fn hangs(bench: &Bench) -> bool {
    let begun = fs::read_to_string(bench.out("begun")).unwrap();
    let pid = begun.lines().nth(1).unwrap();
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_hung_reload_holds_no_other_target_up_after_a_hangup_signal_or_an_edit() {
    let (bench, process) = with_a_hung_reload();
    process.signal(Signal::SIGHUP);
    process.wait_said("reading the configuration");
    let start = Instant::now();
    bench.put("k");
    wait_other(&bench, "b.cfg", &["i", "j", "k"].map(line).concat());
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    // An edit of another target, and a new one.
    let start = Instant::now();
    bench.target("b", &format!("mode = '0640'\n{PACE}"));
    bench.target("c", PACE);
    wait_other(&bench, "c.cfg", &["i", "j", "k"].map(line).concat());
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(
        hangs(&bench),
        "nobody has touched its target: {}",
        process.output()
    );
    fs::remove_file(bench.out("hold")).unwrap();
    bench.wait_live(&["i", "j", "k"].map(line).concat());
}

#[test]
fn a_hung_reload_is_cured_by_an_edit_of_its_target() {
    let (bench, process) = with_a_hung_reload();
    bench.target(
        "a",
        &format!("reload_cmd = 'cat OUT/a.cfg > OUT/cured'\n{PACE}"),
    );
    wait_other(&bench, "cured", &["i", "j"].map(line).concat());
    wait_for("the end of the old reload", || {
        (!hangs(&bench)).then_some(())
    });
    assert_eq!(bench.count("ended"), 1);
    process.wait_said("a: the publish under way was given up");
    bench.put("k");
    wait_other(&bench, "cured", &["i", "j", "k"].map(line).concat());
}

#[test]
fn the_reload_of_a_target_that_is_gone_is_ended_and_the_others_go_on() {
    let (bench, process) = with_a_hung_reload();
    fs::remove_file(bench.file("conf.d/a.toml")).unwrap();
    bench.put("k");
    wait_other(&bench, "b.cfg", &["i", "j", "k"].map(line).concat());
    wait_for("the end of the reload", || (!hangs(&bench)).then_some(()));
    process.wait_said("a: the publish under way was given up");
    assert_eq!(bench.live(), Some(["i", "j"].map(line).concat()));
}

#[test]
fn a_reload_that_ends_soon_after_an_edit_is_not_cut_off() {
    let (bench, process) = with_a_hung_reload();
    bench.target("a", &format!("reload_cmd = 'echo x >> OUT/new'\n{PACE}"));
    process.wait_said("the configuration has changed");
    assert_eq!(bench.count("new"), 0, "the target is being published");
    fs::remove_file(bench.out("hold")).unwrap();
    wait_for("its end", || (bench.count("ended") == 2).then_some(()));
    bench.put("k");
    wait_for("the new reload", || (bench.count("new") == 1).then_some(()));
    assert!(
        !process.output().contains("given up"),
        "{}",
        process.output()
    );
}

#[test]
fn a_check_that_hangs_is_given_up_at_once() {
    let bench = Bench::new(&format!(
        "check_cmd = ': {{{{src}}}}; echo $$ > OUT/check; sleep 1000'\n{PACE}"
    ));
    bench.put("i");
    let process = bench.start(&[]);
    wait_for("the check", || bench.out("check").exists().then_some(()));
    let start = Instant::now();
    bench.target("a", PACE);
    bench.wait_live(&line("i"));
    assert!(start.elapsed() < AT_ONCE, "{}", process.output());
}

#[test]
fn two_targets_that_change_places_never_publish_one_file_at_once() {
    let busy = "mkdir {{dest}}.busy || echo x >> OUT/clash; echo x >> OUT/begun; while test -e OUT/hold; do sleep 0.02; done; \
                rmdir {{dest}}.busy";
    let bench = Bench::new(&format!("reload_cmd = '{busy}'\n{PACE}"));
    // Whoever publishes the file of the other one sees whether that is under way.
    let sees = ": {{src}}; test ! -e {{dest}}.busy || echo x >> OUT/clash";
    bench.target("b", &format!("check_cmd = '{sees}'\n{PACE}"));
    bench.target("c", PACE);
    bench.put("i");
    let process = bench.start(&[]);
    wait_other(&bench, "c.cfg", &line("i"));
    wait_for("the first reload", || {
        (bench.count("begun") == 1 && !bench.out("a.cfg.busy").exists()).then_some(())
    });
    wait_other(&bench, "b.cfg", &line("i"));
    fs::write(bench.out("hold"), "").unwrap();
    bench.put("j");
    wait_for("a reload", || (bench.count("begun") == 2).then_some(()));
    wait_other(&bench, "b.cfg", &["i", "j"].map(line).concat());
    // One step: conf.d as a whole.
    let swapped = bench.file("conf.d.new");
    fs::create_dir(&swapped).unwrap();
    for (name, from, to) in [
        ("a", "a.cfg", "b.cfg"),
        ("b", "b.cfg", "a.cfg"),
        ("c", "", ""),
    ] {
        let text = fs::read_to_string(bench.file(&format!("conf.d/{name}.toml"))).unwrap();
        let at = |file: &str| format!("/out/{file}'");
        fs::write(
            swapped.join(format!("{name}.toml")),
            text.replace(&at(from), &at(to)),
        )
        .unwrap();
    }
    fs::rename(bench.file("conf.d"), bench.file("conf.d.old")).unwrap();
    fs::rename(&swapped, bench.file("conf.d")).unwrap();
    process.wait_said("the configuration has changed");
    bench.put("k");
    wait_other(&bench, "c.cfg", &["i", "j", "k"].map(line).concat());
    assert!(bench.out("a.cfg.busy").exists(), "{}", process.output());
    assert_eq!(bench.live(), Some(["i", "j"].map(line).concat()));
    fs::remove_file(bench.out("hold")).unwrap();
    bench.wait_live(&["i", "j", "k"].map(line).concat());
    wait_other(&bench, "b.cfg", &["i", "j", "k"].map(line).concat());
    assert!(!bench.out("clash").exists(), "{}", process.output());
}
