//! What the log says of a process: its first line, its priorities for the journal, and the fields of its JSON form.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat::fstat;

use crate::harness::{Process, sidekick, temp_dir, wait_for};
use crate::systemd::Booted;

/// A directory with a store and two targets.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(temp_dir());
        for dir in ["conf.d", "templates", "store"] {
            fs::create_dir(bench.0.path().join(dir)).unwrap();
        }
        fs::write(bench.0.path().join("templates/a.tera"), "x\n").unwrap();
        for name in ["a", "b"] {
            bench.target(name, "");
        }
        bench
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn target(&self, name: &str, lines: &str) {
        let text = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = ['web']\n{lines}",
            self.at(&format!("{name}.cfg"))
        );
        fs::write(self.at(&format!("conf.d/{name}.toml")), text).unwrap();
    }

    fn watch(&self) -> Command {
        let mut command = sidekick();
        command.args(["watch", "--store", &format!("dir://{}", self.at("store"))]);
        command.args(["--conf-dir", &self.at("")]);
        command
    }

    fn register(&self) -> Command {
        let mut command = sidekick();
        command.args([
            "register",
            "--store",
            &format!("dir://{}", self.at("store")),
        ]);
        command.args([
            "--name",
            "web",
            "--id",
            "a",
            "--port",
            "80",
            "--ip",
            "127.0.0.1",
        ]);
        command
    }
}

/// Runs a command to its end with its standard error connected to a socket that stands for the journal.
fn journal_of(command: &mut Command) -> String {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = OwnedFd::from(theirs);
    let stat = fstat(&theirs).unwrap();
    command.env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino));
    let mut child = command.stdin(Stdio::null()).stderr(theirs).spawn().unwrap();
    // The command still holds the other end.
    command.stderr(Stdio::null());
    let mut said = String::new();
    let mut ours = ours;
    ours.read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn the_first_line_names_the_version_the_store_and_what_it_is_about() {
    let bench = Bench::new();
    let store = format!(
        "the store is dir://{} (from --store), prefix /services",
        bench.at("store")
    );
    let version = env!("CARGO_PKG_VERSION");
    let output = bench.watch().arg("--once").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let want = format!("sidekick {version} watch: {store}; 2 targets: a, b");
    assert!(text.lines().next().unwrap().ends_with(&want), "{text}");

    let log = bench.0.path().join("log");
    let mut process = Process::start(&mut bench.register(), &log);
    process.wait_said("is announced");
    let text = process.output();
    let want = format!("sidekick {version} register: {store}; instance /services/web/a");
    assert!(text.lines().next().unwrap().ends_with(&want), "{text}");
    process.signal(Signal::SIGTERM);
    process.wait();
}

#[test]
fn each_line_has_its_priority_and_no_time_where_the_journal_reads_it() {
    let bench = Bench::new();
    bench.target("a", "check_cmd = 'echo first; echo second; exit 1'\n");
    let said = journal_of(bench.watch().arg("--once"));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("<6> INFO sidekick "), "{said}");
    let errors = lines.iter().filter(|line| line.starts_with("<3>"));
    let errors: Vec<&&str> = errors.collect();
    assert!(
        errors.iter().any(|line| line.starts_with("<3>ERROR a: ")),
        "{said}"
    );
    assert!(errors.iter().all(|line| !line.contains("INFO")), "{said}");
    for line in &lines {
        assert!(line.starts_with('<') && &line[2..3] == ">", "{said}");
        // The journal has the time.
        assert!(!line.contains("Z ") && !line.contains("\u{1b}"), "{said}");
    }
    assert!(lines.iter().any(|line| line.contains("second")), "{said}");

    // What ends the process before there is a log has a priority as well, and so has each of its lines.
    for args in [
        &["watch", "--nonsense"][..],
        &["watch", "--store", "nonsense://", "--ttl", "x"],
    ] {
        let said = journal_of(sidekick().args(args));
        assert!(
            !said.is_empty() && said.lines().all(|line| line.starts_with("<3>")),
            "{said}"
        );
    }
}

#[test]
fn json_keeps_its_form_where_the_journal_reads_it() {
    let bench = Bench::new();
    let said = journal_of(bench.watch().args(["--once", "--log-format", "json"]));
    for line in said.lines() {
        let (priority, json) = line.split_once('>').unwrap_or_else(|| panic!("{said}"));
        assert!(["<4", "<6"].contains(&priority), "{said}");
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert!(
            json["timestamp"].is_string() && json["message"].is_string(),
            "{said}"
        );
    }
    assert!(!said.is_empty());
}

/// A program of a unit inherits the variable, and may have its standard error somewhere else.
#[test]
fn what_is_not_the_journal_gets_no_priorities() {
    let bench = Bench::new();
    for stream in ["", "x", "1:2", "9"] {
        let output = bench
            .watch()
            .arg("--once")
            .env("JOURNAL_STREAM", stream)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.starts_with("20") && !text.contains("<6>"),
            "{stream:?}: {text}"
        );
    }
}

#[test]
fn journalctl_finds_the_errors_of_the_unit() {
    let Some(booted) = Booted::new() else { return };
    booted.shell("rm /etc/sidekick/conf.d/*");
    booted.write("/etc/sidekick/templates/x.tera", "x");
    booted.write(
        "/etc/sidekick/conf.d/x.toml",
        "[template]\nsrc = 'x.tera'\ndest = '/etc/haproxy/x.cfg'\nservices = ['web']\ncheck_cmd = 'echo no; exit 1'",
    );
    booted.shell("systemctl start --no-block sidekick-watch");
    let journal = |priority: &str| {
        booted.run(&[
            "journalctl",
            "--no-pager",
            "-o",
            "cat",
            "-u",
            "sidekick-watch",
            "-p",
            priority,
        ])
    };
    let errors = wait_for("the error", || {
        let errors = journal("err");
        errors.contains("ERROR x: ").then_some(errors)
    });
    let ours: Vec<&str> = errors
        .lines()
        .filter(|line| line.contains("sidekick") || line.contains(" x: "))
        .collect();
    assert!(
        ours.iter()
            .all(|line| !line.contains("INFO") && !line.contains("<3>")),
        "{errors}"
    );
    let all = journal("info");
    assert!(
        all.lines()
            .any(|line| line.starts_with(" INFO sidekick ") || line.starts_with("INFO sidekick ")),
        "{all}"
    );
    assert!(!all.contains("<6>"), "{all}");
}
