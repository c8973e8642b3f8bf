//! Destinations of all kinds, and what is kept of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bench, PACE, line};
use crate::harness::{Process, skipped, wait_for};

/// `sidekick watch` in a mount namespace of its own, after a script has mounted something.
pub(super) fn in_mounts(bench: &Bench, script: &str, args: &[&str]) -> Command {
    let sidekick = bench.command(args);
    let mut command = Command::new("unshare");
    let script = script.replace("OUT", bench.file("out").to_str().unwrap());
    command.args([
        "--mount",
        "sh",
        "-ec",
        &format!("{script}; exec \"$0\" \"$@\""),
    ]);
    command
        .arg(sidekick.get_program())
        .args(sidekick.get_args());
    for (name, value) in sidekick.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn mode_and_owner_are_kept_or_set_and_part_of_the_comparison() {
    let bench = Bench::new(PACE);
    fs::write(bench.out("a.cfg"), "old").unwrap();
    fs::set_permissions(bench.out("a.cfg"), fs::Permissions::from_mode(0o600)).unwrap();
    bench.target("b", "mode = '640'\n");
    bench.put("i");
    let process = bench.start(&[]);
    let mode = |name: &str| fs::metadata(bench.out(name)).map_or(0, |meta| meta.mode() & 0o777);
    bench.wait_live(&line("i"));
    assert_eq!(mode("a.cfg"), 0o600);
    wait_for("the mode", || (mode("b.cfg") == 0o640).then_some(()));
    fs::set_permissions(bench.out("b.cfg"), fs::Permissions::from_mode(0o666)).unwrap();
    process.signal(Signal::SIGHUP);
    wait_for("the mode to be repaired", || {
        (mode("b.cfg") == 0o640).then_some(())
    });
}

#[test]
fn the_link_stays_and_its_target_is_replaced() {
    let bench = Bench::new(PACE);
    symlink("real.cfg", bench.out("a.cfg")).unwrap();
    bench.put("i");
    let _process = bench.start(&[]);
    bench.wait_live(&line("i"));
    assert_eq!(
        fs::read_link(bench.out("a.cfg")).unwrap(),
        Path::new("real.cfg")
    );
}

#[test]
fn a_file_edited_or_deleted_by_hand_is_repaired() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let _process = bench.start(&["--interval", "200ms"]);
    bench.wait_live(&line("i"));
    fs::write(bench.out("a.cfg"), "edited").unwrap();
    bench.wait_live(&line("i"));
    fs::remove_file(bench.out("a.cfg")).unwrap();
    bench.wait_live(&line("i"));
}

#[test]
fn a_pipe_as_destination_is_an_error_and_blocks_nobody() {
    let bench = Bench::new("");
    nix::unistd::mkfifo(&bench.out("a.cfg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    bench.put("i");
    let output = bench.run(&["--once"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("not a regular file") && !said.contains("trying again"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_a_mount_point_is_written_over_and_equal_bytes_are_left_alone() {
    let bench = Bench::new(&format!("reload_cmd = 'echo x >> OUT/reloads'\n{PACE}"));
    let source = bench.file("source.cfg");
    for file in [&source, &bench.out("a.cfg")] {
        fs::write(file, "old\n").unwrap();
    }
    bench.put("i");
    let mount = format!("mount --bind {} OUT/a.cfg", source.display());
    let mut command = in_mounts(&bench, &mount, &["--interval", "100ms"]);
    let process = Process::start(&mut command, &bench.file("log"));
    let reads = |want: &str| (fs::read_to_string(&source).ok()? == want).then_some(());
    wait_for("the file behind the mount", || reads(&line("i")));
    let written = fs::metadata(&source).unwrap().mtime_nsec();
    bench.put("j");
    wait_for("the next content", || reads(&(line("i") + &line("j"))));
    wait_for("its reload", || (bench.count("reloads") == 2).then_some(()));
    assert_ne!(fs::metadata(&source).unwrap().mtime_nsec(), written);
    // Compared ten times a second, told once, and not written again while nothing changes.
    let settled = fs::metadata(&source).unwrap().mtime_nsec();
    let end = Instant::now() + Duration::from_millis(500);
    wait_for("several comparisons", || {
        (Instant::now() > end).then_some(())
    });
    assert_eq!(fs::metadata(&source).unwrap().mtime_nsec(), settled);
    assert_eq!(
        (
            bench.count("reloads"),
            process.output().matches("mount point").count()
        ),
        (2, 1)
    );
}

#[test]
fn a_full_or_read_only_file_system_is_an_error_and_the_live_file_stays() {
    let bench = Bench::new("");
    bench.template("a.tera", &"x".repeat(20_000));
    bench.put("i");
    for (options, why) in [
        ("size=8k", "No space left"),
        ("ro", "Read-only file system"),
    ] {
        let mount = format!("mount -t tmpfs -o {options} tmpfs OUT");
        let output = in_mounts(&bench, &mount, &["--once"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(bench.live(), None);
}

#[test]
fn a_file_that_could_not_be_written_is_written_as_soon_as_it_can_be() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let go = bench.file("go");
    let mount = format!(
        "mount -t tmpfs -o ro tmpfs OUT; \
         (until test -e {}; do sleep 0.05; done; mount -o remount,rw OUT) &",
        go.display()
    );
    let mut command = in_mounts(&bench, &(mount + " true"), &[]);
    let process = Process::start(&mut command, &bench.file("log"));
    wait_for("word of it", || {
        let said = process.output();
        said.contains("Read-only file system").then_some(())
    });
    fs::write(go, "").unwrap();
    let inside = format!(
        "/proc/{}/root{}",
        process.pid(),
        bench.out("a.cfg").display()
    );
    wait_for("the file", || {
        (fs::read_to_string(&inside).ok()? == line("i")).then_some(())
    });
}

#[test]
fn another_file_system_than_that_of_temporary_files_makes_no_difference() {
    let bench = Bench::new("check_cmd = 'cp {{src}} OUT/checked'\n");
    bench.put("i");
    let at = bench.file("out").display().to_string();
    let script =
        "mount -t tmpfs tmpfs OUT; \"$0\" \"$@\"; cat OUT/a.cfg OUT/checked; ls -A OUT; exit";
    let mut command = in_mounts(&bench, script, &["--once"]);
    // Nothing of it goes through there.
    command.env("TMPDIR", "/proc/none");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let want = line("i") + &line("i") + "a.cfg\nchecked\n";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        want,
        "{at}: {said}"
    );
}

#[test]
fn another_owner_is_a_difference() {
    if !nix::unistd::geteuid().is_root() {
        skipped("only root gives files to others");
        return;
    }
    let bench = Bench::new(&format!(
        "uid = 12345\ngid = 12346\nreload_cmd = 'echo x >> OUT/reloads'\n{PACE}"
    ));
    bench.put("i");
    let process = bench.start(&[]);
    let owners = || {
        let meta = fs::metadata(bench.out("a.cfg")).ok()?;
        Some((meta.uid(), meta.gid()))
    };
    wait_for("the first reload", || {
        (bench.count("reloads") == 1).then_some(())
    });
    assert_eq!(owners(), Some((12345, 12346)));
    std::os::unix::fs::chown(bench.out("a.cfg"), Some(0), Some(0)).unwrap();
    process.signal(Signal::SIGHUP);
    wait_for("the owners to be repaired", || {
        (owners() == Some((12345, 12346))).then_some(())
    });
    bench.wait_live(&line("i"));
}

#[test]
fn missing_directories_are_made_if_that_is_wanted() {
    let bench = Bench::new("");
    bench.put("i");
    let file = bench.file("conf.d/a.toml");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("/out/a.cfg", "/out/deep/er/a.cfg");
    fs::write(&file, &text).unwrap();
    assert_eq!(bench.run(&["--once"]).status.code(), Some(1));
    let text = text.replace("[template]\n", "[template]\nmake_dirs = true\n");
    fs::write(&file, text).unwrap();
    assert_eq!(bench.run(&["--once"]).status.code(), Some(0));
    let made = fs::read_to_string(bench.out("deep/er/a.cfg")).ok();
    assert_eq!(made, Some(line("i")));
}
