//! Files that somebody else changes while they are kept.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bench, PACE, line};
use crate::harness::{Process, temp_dir, tool, wait_for};

/// A repair takes less, on a machine with nothing else to do; the comparison of `--interval` would take minutes.
const SOON: Duration = Duration::from_secs(5);

const REPAIRED: &str = "somebody else had changed";

#[track_caller]
fn wait_repaired(bench: &Bench, want: &str, process: &Process) {
    let start = Instant::now();
    bench.wait_live(want);
    assert!(
        start.elapsed() < SOON,
        "{:?}: {}",
        start.elapsed(),
        process.output()
    );
}

fn repairs(process: &Process) -> usize {
    process.output().matches(REPAIRED).count()
}

#[test]
fn a_file_that_is_edited_deleted_or_opened_to_others_is_repaired_at_once() {
    let bench = Bench::new(&format!("reload_cmd = 'echo x >> OUT/reloads'\n{PACE}"));
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    wait_for("the reload", || (bench.count("reloads") == 1).then_some(()));
    fs::write(bench.out("a.cfg"), "i 10.0.0.1:80 up\nby hand\n").unwrap();
    wait_repaired(&bench, &line("i"), &process);
    process.wait_said("a.cfg, which is set right: it had `by hand`");
    wait_for("the reload", || (bench.count("reloads") == 2).then_some(()));
    fs::remove_file(bench.out("a.cfg")).unwrap();
    wait_repaired(&bench, &line("i"), &process);
    process.wait_said("which is set right: it was gone");
}

#[test]
fn the_log_does_not_show_the_content_of_a_private_file() {
    let bench = Bench::new(&format!("mode = '0640'\n{PACE}"));
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    process.wait_said("has been updated");
    fs::write(bench.out("a.cfg"), "password hunter2\n").unwrap();
    wait_repaired(&bench, &line("i"), &process);
    process.wait_said("not everybody may read it");
    let mode = || fs::metadata(bench.out("a.cfg")).map_or(0, |meta| meta.permissions().mode());
    fs::set_permissions(bench.out("a.cfg"), fs::Permissions::from_mode(0o644)).unwrap();
    wait_for("the mode", || (mode() & 0o777 == 0o640).then_some(()));
    process.wait_said("it had mode 0644");
    assert!(
        !process.output().contains("hunter2"),
        "{}",
        process.output()
    );
}

#[test]
fn a_link_is_watched_where_it_leads_and_a_directory_when_it_is_made_anew() {
    let bench = Bench::new(&format!("make_dirs = true\n{PACE}"));
    let elsewhere = temp_dir();
    let real = elsewhere.path().join("sub/real.cfg");
    fs::create_dir(elsewhere.path().join("sub")).unwrap();
    symlink(&real, bench.out("a.cfg")).unwrap();
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    process.wait_said("has been updated");
    fs::write(&real, "by hand\n").unwrap();
    wait_repaired(&bench, &line("i"), &process);
    fs::remove_dir_all(elsewhere.path().join("sub")).unwrap();
    wait_repaired(&bench, &line("i"), &process);
    process.wait_said("it was gone");
    let before = repairs(&process);
    fs::write(&real, "again\n").unwrap();
    wait_for("a repair", || (repairs(&process) > before).then_some(()));
    assert!(bench.out("a.cfg").is_symlink());
}

#[test]
fn our_own_changes_are_no_reason_to_do_anything() {
    let bench = Bench::new(&format!(
        "check_cmd = 'echo x >> OUT/checks; test -e {{{{src}}}}'\nreload_cmd = 'sleep 0.3'\n{PACE}"
    ));
    let process = bench.start(&["--log-level", "debug"]);
    let mut want = String::new();
    for id in ["i", "j", "k"] {
        bench.put(id);
        want += &line(id);
        bench.wait_live(&want);
    }
    // Whatever was seen of these has been looked at when this is set right.
    wait_for("the last reload", || {
        let said = process.output();
        (said.matches("has been updated").count() >= 3).then_some(())
    });
    fs::write(bench.out("a.cfg"), "by hand").unwrap();
    wait_repaired(&bench, &want, &process);
    process.wait_said(REPAIRED);
    assert_eq!(repairs(&process), 1, "{}", process.output());
    let published = process.output().matches("has been updated").count();
    assert_eq!(bench.count("checks"), published, "{}", process.output());
}

#[test]
fn two_programs_that_fight_over_a_file_are_noticed_once_and_slowed_down() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    let script = "while sleep 0.1; do grep -qx theirs \"$0\" || echo theirs > \"$0\"; done";
    let mut command = Command::new("sh");
    let _other = Process::start(
        command.args(["-c", script]).arg(bench.out("a.cfg")),
        &bench.file("other.log"),
    );
    process.wait_said("something else keeps changing");
    let seen = repairs(&process);
    assert!(seen <= 3, "{}", process.output());
    // Less than the first pause.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(repairs(&process), seen, "{}", process.output());
    // News of the store are published all the same.
    bench.put("j");
    wait_for("the news", || {
        let said = process.output();
        (said.matches("has been updated").count() > seen + 1).then_some(())
    });
    assert_eq!(process.output().matches("keeps changing").count(), 1);
}

#[test]
fn without_inotify_all_files_are_compared_and_the_log_says_so_once() {
    for limit in ["max_inotify_watches", "max_inotify_instances"] {
        let bench = Bench::new(PACE);
        fs::create_dir(bench.file("store")).unwrap();
        let plain = bench.command(&[]);
        let script = format!("echo 0 > /proc/sys/user/{limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new(tool("unshare"));
        command.args(["--user", "--map-root-user", "sh", "-ec", &script]);
        command.arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        bench.put("i");
        let process = Process::start(&mut command, &bench.file("log"));
        bench.wait_live(&line("i"));
        process.wait_said("the files of conf.d and templates are compared every second");
        bench.template(
            "a.tera",
            "{% for i in services.web %}new {{ i.id }}\n{% endfor %}",
        );
        bench.wait_live("new i\n");
        fs::write(bench.out("a.cfg"), "by hand\n").unwrap();
        bench.wait_live("new i\n");
        process.wait_said(REPAIRED);
        for what in [
            "the files of conf.d and templates are",
            "the files that are kept are",
        ] {
            assert_eq!(
                process.output().matches(&format!("{what} ")).count(),
                1,
                "{}",
                process.output()
            );
        }
    }
}

/// Mode and owner of the file; those of root stand for whoever runs the test.
fn standing(bench: &Bench) -> Option<(u32, u32)> {
    let meta = fs::metadata(bench.out("a.cfg")).ok()?;
    Some((meta.mode() & 0o7777, meta.uid()))
}

/// A private file of somebody else's, as far as this process may make one.
fn make_private(bench: &Bench) -> (u32, u32) {
    let dest = bench.out("a.cfg");
    fs::write(&dest, "password\n").unwrap();
    fs::set_permissions(&dest, fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::geteuid().is_root() {
        chown(&dest, Some(65534), Some(65534)).unwrap();
    }
    standing(bench).unwrap()
}

/// Puts a file in the place of the published one, as an editor does that writes another and renames it.
fn rename_over(bench: &Bench, text: &str) {
    let aside = bench.file("aside");
    fs::write(&aside, text).unwrap();
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(aside, bench.out("a.cfg")).unwrap();
}

#[test]
fn a_file_that_is_deleted_or_replaced_comes_back_open_to_whom_it_was_open_to() {
    let bench = Bench::new(PACE);
    let private = make_private(&bench);
    let state = bench.file("state");
    let args = ["--state-dir", state.to_str().unwrap()];
    bench.put("i");
    let mut process = bench.start(&args);
    bench.wait_live(&line("i"));
    process.wait_said("has been updated");
    fs::remove_file(bench.out("a.cfg")).unwrap();
    wait_repaired(&bench, &line("i"), &process);
    process.wait_said("it was gone");
    assert_eq!(standing(&bench), Some(private));
    for text in ["by hand\n".to_owned(), line("i")] {
        let before = repairs(&process);
        rename_over(&bench, &text);
        wait_for("a repair", || (repairs(&process) > before).then_some(()));
        bench.wait_live(&line("i"));
        assert_eq!(standing(&bench), Some(private), "{text}");
    }
    // The next process knows it too.
    process.signal(Signal::SIGTERM);
    process.wait();
    for is_gone in [true, false] {
        if is_gone {
            fs::remove_file(bench.out("a.cfg")).unwrap();
        } else {
            rename_over(&bench, "by hand\n");
        }
        let mut args = args.to_vec();
        args.push("--once");
        assert_eq!(bench.run(&args).status.code(), Some(0));
        assert_eq!(bench.live(), Some(line("i")));
        assert_eq!(standing(&bench), Some(private), "{is_gone}");
    }
    // One that has never been there is open to all.
    let fresh = Bench::new(PACE);
    fresh.put("i");
    assert_eq!(fresh.run(&["--once"]).status.code(), Some(0));
    assert_eq!(standing(&fresh).map(|(mode, _)| mode), Some(0o644));
}

#[test]
fn a_mode_given_to_the_published_file_stays_and_is_what_comes_back() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let state = bench.file("state");
    let args = [
        "--log-level",
        "debug",
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let mut process = bench.start(&args);
    bench.wait_live(&line("i"));
    process.wait_said("has been updated");
    let mode = || standing(&bench).map_or(0, |(mode, _)| mode);
    let set = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(bench.out("a.cfg"), mode).unwrap();
    };
    set(0o600);
    process.wait_said("a.cfg is right");
    assert_eq!((mode(), repairs(&process)), (0o600, 0));
    fs::remove_file(bench.out("a.cfg")).unwrap();
    wait_repaired(&bench, &line("i"), &process);
    process.wait_said("it was gone");
    assert_eq!(mode(), 0o600);
    // While nobody looks, too, and with news to publish.
    process.signal(Signal::SIGTERM);
    process.wait();
    set(0o640);
    bench.put("j");
    let process = bench.start(&args);
    bench.wait_live(&(line("i") + &line("j")));
    assert_eq!(mode(), 0o640);
    process.wait_said("has been updated");
    fs::remove_file(bench.out("a.cfg")).unwrap();
    wait_repaired(&bench, &(line("i") + &line("j")), &process);
    assert_eq!(mode(), 0o640);
}
