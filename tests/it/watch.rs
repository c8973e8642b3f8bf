//! `sidekick watch` as a process: what it renders, checks, swaps and reloads, and what it does when a step fails.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

/// Renders one line per instance.
const TEMPLATE: &str =
    "{% for i in services.web %}{{ i.id }} {{ i.addr }} {{ i.state }}\n{% endfor %}";
/// Fast enough for a test, and no distance between reloads.
const PACE: &str = "[template.pace]\nmin_interval = '0s'\n";

struct Bench {
    etcd: Etcd,
    dir: tempfile::TempDir,
}

impl Bench {
    /// A store and a configuration with one target: `a.cfg` from `services.web`, with further lines in its table.
    fn new(lines: &str) -> Self {
        let bench = Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
        };
        for dir in ["conf.d", "templates", "out"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        bench.target("a", lines);
        bench.template("a.tera", TEMPLATE);
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn template(&self, name: &str, text: &str) {
        fs::write(self.file("templates").join(name), text).unwrap();
    }

    fn target(&self, name: &str, lines: &str) {
        let out = self.file("out");
        let lines = lines.replace("OUT", out.to_str().unwrap());
        let text = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}/{name}.cfg'\nservices = ['web']\n{lines}",
            out.display()
        );
        fs::write(self.file("conf.d").join(format!("{name}.toml")), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = sidekick();
        command.args([
            "watch",
            "--store",
            &format!("etcd://{}", self.etcd.endpoint()),
        ]);
        command.arg("--conf-dir").arg(self.dir.path()).args(args);
        command
    }

    fn start(&self, args: &[&str]) -> Process {
        Process::start(&mut self.command(args), &self.file("log"))
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Puts an instance, in one transaction.
    fn put(&self, id: &str) {
        let txn =
            format!("\nput /services/web/{id}/ip 10.0.0.1\nput /services/web/{id}/port 80\n\n\n");
        self.etcd.etcdctl_with(&["txn"], txn.as_bytes());
    }

    fn delete(&self, id: &str) {
        self.etcd
            .etcdctl(&["del", "--prefix", &format!("/services/web/{id}/")]);
    }

    fn out(&self, name: &str) -> PathBuf {
        self.file("out").join(name)
    }

    fn live(&self) -> Option<String> {
        fs::read_to_string(self.out("a.cfg")).ok()
    }

    fn wait_live(&self, want: &str) {
        wait_for(&format!("the file to say {want:?}"), || {
            (self.live()? == want).then_some(())
        });
    }

    /// How many lines a log of the target's commands has.
    fn count(&self, name: &str) -> usize {
        fs::read_to_string(self.out(name)).map_or(0, |text| text.lines().count())
    }

    /// What lies in the directory of the destination.
    fn litter(&self) -> Vec<String> {
        let names = fs::read_dir(self.file("out")).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn line(id: &str) -> String {
    format!("{id} 10.0.0.1:80 up\n")
}

#[test]
fn files_follow_what_is_announced_and_equal_bytes_are_not_touched() {
    let bench = Bench::new(&format!("reload_cmd = 'echo x >> OUT/reloads'\n{PACE}"));
    bench.put("i");
    let mut process = bench.start(&[]);
    bench.wait_live(&line("i"));
    bench.put("j");
    bench.wait_live(&(line("i") + &line("j")));
    bench.delete("i");
    bench.wait_live(&line("j"));
    wait_for("three reloads", || {
        (bench.count("reloads") == 3).then_some(())
    });

    // The same value again is a new revision, and no change.
    let inode = fs::metadata(bench.out("a.cfg")).unwrap().ino();
    bench.put("j");
    bench
        .etcd
        .etcdctl(&["put", "/services/other/x/ip", "10.0.0.1"]);
    bench.put("k");
    bench.wait_live(&(line("j") + &line("k")));
    wait_for("the fourth reload", || {
        (bench.count("reloads") >= 4).then_some(())
    });
    assert_eq!(bench.count("reloads"), 4);
    assert_ne!(fs::metadata(bench.out("a.cfg")).unwrap().ino(), inode);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.litter(), ["a.cfg", "reloads"]);
}

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
    wait_for("the owed reload", || {
        process
            .output()
            .contains("owed has been made")
            .then_some(())
    });
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
    wait_for("the time-out", || {
        process
            .output()
            .contains("did not end within 1 s")
            .then_some(())
    });
    assert_eq!(bench.live(), None);
}

#[test]
fn a_signal_reloads_without_a_shell() {
    let bench = Bench::new(
        "[template.reload]\nsignal = 'USR1'\npidfile = 'OUT/pid'\n[template.pace]\nmin_interval = '0s'\n",
    );
    let script = format!(
        "trap 'echo x >> {0}/reloads' USR1; echo $$ > {0}/pid; while :; do sleep 0.02; done",
        bench.file("out").display()
    );
    let _program = Process::start(
        Command::new("sh").args(["-c", &script]),
        &bench.file("program"),
    );
    wait_for("the program", || {
        fs::read_to_string(bench.out("pid"))
            .ok()
            .filter(|t| t.ends_with('\n'))
    });
    bench.put("i");
    let _process = bench.start(&[]);
    bench.wait_live(&line("i"));
    wait_for("the signal", || (bench.count("reloads") == 1).then_some(()));
}

#[test]
fn a_burst_is_gathered_and_reloads_keep_their_distance() {
    let bench = Bench::new(
        "reload_cmd = 'date +%s%N >> OUT/reloads'\n[template.pace]\nmin_interval = '700ms'\n",
    );
    let _process = bench.start(&[]);
    wait_for("the first file", || bench.live());
    for n in 100..150 {
        bench.put(&format!("i{n}"));
    }
    let want: String = (100..150).map(|n| line(&format!("i{n}"))).collect();
    bench.wait_live(&want);
    wait_for("the last reload", || {
        (bench.count("reloads") >= 2).then_some(())
    });
    let text = fs::read_to_string(bench.out("reloads")).unwrap();
    let times: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(times.len() < 10, "{} reloads for 50 changes", times.len());
    for pair in times.windows(2) {
        // The command writes a few milliseconds after it was started.
        assert!(pair[1] - pair[0] > 600_000_000, "{times:?}");
    }
}

#[test]
fn once_publishes_and_leaves() {
    let bench = Bench::new("reload_cmd = 'echo x >> OUT/reloads'\n");
    bench.put("i");
    let output = bench.run(&["--once"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!((bench.live(), bench.count("reloads")), (Some(line("i")), 1));
    assert_eq!(bench.run(&["--once"]).status.code(), Some(0));
    assert_eq!(bench.count("reloads"), 1, "nothing had changed");
}

#[test]
fn once_says_which_target_failed_and_publishes_the_others() {
    let bench = Bench::new("check_cmd = 'echo this is why; false'\n");
    bench.target("b", "");
    bench.put("i");
    let output = bench.run(&["--once"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("this is why"), "{text}");
    assert_eq!(
        (bench.live(), fs::read_to_string(bench.out("b.cfg")).ok()),
        (None, Some(line("i")))
    );
}

#[test]
fn once_waits_for_the_store_for_as_long_as_it_is_told() {
    let mut bench = Bench::new("");
    bench.put("i");
    bench.etcd.stop();
    let output = bench.run(&["--once", "--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert_eq!(bench.live(), None);
    let mut process = bench.start(&["--once"]);
    wait_for("word of the outage", || {
        process.output().contains("trying again").then_some(())
    });
    bench.etcd.start();
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.live(), Some(line("i")));
}

#[test]
fn noop_changes_nothing_and_diff_shows_what_would() {
    let bench =
        Bench::new("reload_cmd = 'echo x >> OUT/reloads'\ncheck_cmd = 'echo x >> OUT/checks'\n");
    fs::write(bench.out("a.cfg"), "old\n").unwrap();
    bench.put("i");
    let output = bench.run(&["--noop", "--diff"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let diff = String::from_utf8_lossy(&output.stdout);
    assert!(diff.contains("\n-old\n+i 10.0.0.1:80 up\n"), "{diff}");
    assert_eq!(bench.litter(), ["a.cfg"]);
    assert_eq!(bench.live().as_deref(), Some("old\n"));
    fs::write(bench.out("a.cfg"), line("i")).unwrap();
    let output = bench.run(&["--noop", "--diff"]);
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(0), 0),
        "{output:?}"
    );
}

#[test]
fn an_outage_changes_nothing_on_disk_and_ends_with_the_newest_state() {
    let mut bench = Bench::new(&format!("reload_cmd = 'echo x >> OUT/reloads'\n{PACE}"));
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    let before = fs::metadata(bench.out("a.cfg")).unwrap();
    bench.etcd.stop();
    wait_for("word of the outage", || {
        process
            .output()
            .contains("what is live stays")
            .then_some(())
    });
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
        process.output().matches("what is live stays").count(),
        1,
        "{}",
        process.output()
    );
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
fn a_template_that_fails_harms_no_other_target_and_heals_with_its_data() {
    let bench = Bench::new(PACE);
    bench.template("b.tera", "{{ getv(key='/services/web/i/note') }}");
    let text = fs::read_to_string(bench.file("conf.d/a.toml")).unwrap();
    let text = text.replace("a.tera", "b.tera").replace("a.cfg", "b.cfg");
    fs::write(bench.file("conf.d/b.toml"), text).unwrap();
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    wait_for("the error", || {
        process
            .output()
            .contains("/services/web/i/note")
            .then_some(())
    });
    bench
        .etcd
        .etcdctl(&["put", "/services/web/i/note", "hello"]);
    wait_for("the other file", || {
        (fs::read_to_string(bench.out("b.cfg")).ok()? == "hello").then_some(())
    });
}

#[test]
fn bad_instances_are_skipped_said_once_and_the_others_served() {
    let bench = Bench::new(PACE);
    bench.put("i");
    bench
        .etcd
        .etcdctl(&["put", "/services/web/x/ip", "0.0.0.0"]);
    bench.etcd.etcdctl(&["put", "/services/web/x/port", "80"]);
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    bench.etcd.etcdctl(&["put", "/services/web/x/port", "81"]);
    bench.put("j");
    bench.wait_live(&(line("i") + &line("j")));
    assert_eq!(
        process
            .output()
            .matches("/services/web/x is skipped")
            .count(),
        1,
        "{}",
        process.output()
    );
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
fn the_same_failure_is_told_once() {
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
    wait_for("several tries", || {
        process.output().contains("4 times now").then_some(())
    });
    assert_eq!(
        process.output().matches("trying again").count(),
        1,
        "{}",
        process.output()
    );
    fs::create_dir(bench.file("gone")).unwrap();
    wait_for("the end of it", || {
        process.output().contains("has been updated").then_some(())
    });
    assert!(
        process.output().contains("failures"),
        "{}",
        process.output()
    );
}
