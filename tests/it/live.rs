//! `--watch` on a real terminal: it follows changes, and gives the terminal back.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Process, descendants, sidekick, temp_dir, tool, wait_for};

const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// A store and a state directory, and a terminal.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: temp_dir() };
        bench.write("store/services/web/first/ip", "10.0.0.1");
        bench.write("store/services/web/first/port", "80");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // In one step, as a reader has to see it.
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), path).unwrap();
    }

    fn put_instance(&self, id: &str) {
        self.write(&format!("store/services/web/{id}/ip"), "10.0.0.2");
        self.write(&format!("store/services/web/{id}/port"), "80");
    }

    fn put_hold(&self, service: &str) {
        let record = serde_json::json!({
            "target": "haproxy", "dest": "/a.cfg", "pid": std::process::id(), "shown": null,
            "held": [{"service": service, "why": "none is left", "since": 100, "until": null, "instances": ["x"]}],
            "lost_total": 1, "holds_total": 1, "held_total": 1, "released_total": 0, "outside": 0,
        });
        self.write("state/guards/x.json", &record.to_string());
    }

    fn put_entry(&self, cause: &str) {
        let entry = serde_json::json!({"at": 100, "target": "haproxy", "action": "written", "cause": cause});
        self.write("state/history.jsonl", &format!("{entry}\n"));
    }

    fn environment(&self, command: &mut Command) {
        let store = format!("dir://{}", self.path("store").display());
        command.env("SIDEKICK_STORE", store);
        command.env("SIDEKICK_STATE_DIR", self.path("state"));
        command.env("TERM", "xterm").env_remove("NO_COLOR");
    }

    /// Runs a command in a shell on a terminal of its own, between two looks at the terminal's settings.
    fn on_terminal(&self, args: &str) -> Process {
        let plain = sidekick();
        let program = plain.get_program().display().to_string();
        let (before, after) = (self.path("before"), self.path("after"));
        let (before, after) = (before.display(), after.display());
        let line =
            format!("stty -a > {before}; {program} {args}; echo \"status $?\"; stty -a > {after}");
        let mut command = Command::new(tool("script"));
        command.args(["-q", "-f", "-c", &line]);
        command.arg(self.path("typescript"));
        self.environment(&mut command);
        command.env("SIDEKICK_ENV_FILE", "/nonexistent/sidekick.env");
        Process::start(&mut command, &self.path("log"))
    }

    /// What the terminal has got so far.
    fn typescript(&self) -> String {
        let text = fs::read(self.path("typescript")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn wait_shown(&self, want: &str) {
        wait_for(&format!("{want:?} on the terminal"), || {
            let text = self.typescript();
            let (_, picture) = text.split_once(ENTER)?;
            picture.contains(want).then_some(())
        });
    }
}

/// The process of this name below another one.
fn child_named(pid: i32, name: &str) -> Option<Pid> {
    let is_it = |pid: &i32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim() == name)
    };
    let found = descendants(pid).into_iter().find(is_it);
    found.map(Pid::from_raw)
}

#[test]
fn it_follows_what_changes_and_gives_the_terminal_back() {
    for (args, first, later) in [
        ("ls web --watch", "web/first", "web/second"),
        ("ls -w", "SERVICE", "\u{1b}[32m2\u{1b}[0m"),
        ("status --watch", "web/first", "web/second"),
        ("guard list --watch", "db", "second"),
        ("history --watch", "+web/first", "+web/second"),
    ] {
        let bench = Bench::new();
        bench.put_hold("db");
        bench.put_entry("+web/first");
        let mut process = bench.on_terminal(args);
        bench.wait_shown(first);
        bench.put_instance("second");
        bench.put_hold("second");
        bench.put_entry("+web/second");
        bench.wait_shown(later);
        let pid = child_named(process.pid().as_raw(), "sidekick");
        kill(pid.expect("it runs"), Signal::SIGINT).unwrap();
        assert!(process.wait().success());
        let text = bench.typescript();
        let (_, rest) = text.rsplit_once(LEAVE).unwrap();
        assert!(rest.contains("status 0\r\n"), "{args}: {rest:?}");
        assert!(!rest.contains('\u{1b}'), "{args}: {rest:?}");
        let settings = |name: &str| fs::read_to_string(bench.path(name)).unwrap();
        assert_eq!(settings("before"), settings("after"), "{args}");
    }
}

#[test]
fn a_store_that_goes_away_is_told_of_and_what_it_said_last_stays() {
    let bench = Bench::new();
    let mut process = bench.on_terminal("ls web --watch");
    bench.wait_shown("web/first");
    fs::rename(bench.path("store"), bench.path("aside")).unwrap();
    bench.wait_shown("error: the store cannot be used");
    let text = bench.typescript();
    let (_, picture) = text.rsplit_once("error: the store cannot be used").unwrap();
    wait_for("what it said last", || {
        let text = bench.typescript();
        let (_, picture) = text
            .rsplit_once("error: the store")
            .unwrap_or(("", picture));
        picture.contains("web/first").then_some(())
    });
    fs::rename(bench.path("aside"), bench.path("store")).unwrap();
    bench.put_instance("second");
    bench.wait_shown("web/second");
    let pid = child_named(process.pid().as_raw(), "sidekick");
    kill(pid.expect("it runs"), Signal::SIGTERM).unwrap();
    process.wait();
    assert!(bench.typescript().contains("status 0\r\n"));
}

#[test]
fn it_is_refused_without_a_terminal_and_for_json() {
    let bench = Bench::new();
    for args in [
        &["ls", "--watch"][..],
        &["history", "-w"],
        &["guard", "list", "-w"],
    ] {
        let mut command = sidekick();
        bench.environment(command.args(args));
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains("--watch needs a terminal"), "{text}");
        assert_eq!(output.stdout, b"");
    }
    let mut command = sidekick();
    bench.environment(command.args(["status", "-w", "--format", "json"]));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("no JSON"), "{text}");
}

#[test]
fn a_table_is_as_wide_as_its_terminal_and_names_are_whole_in_a_pipe() {
    let bench = Bench::new();
    let long = format!(
        "{}-8080",
        "a-host-with-a-long-name.".repeat(2).trim_end_matches('.')
    );
    for number in ["1", "2"] {
        bench.put_instance(&format!("{long}-{number}"));
    }
    bench.write("store/services/web/first/state", "drain");
    bench.write(
        "store/services/web/first/state_since",
        "2026-11-26T03:12:07Z operator",
    );
    // Its first line is no part of the table.
    let mut process = bench.on_terminal("ls web -q --color never");
    process.wait();
    let text = bench.typescript();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("web/")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in &lines {
        assert!(line.trim_end().chars().count() <= 80, "{line}");
        assert!(line.contains(":80"), "{line}");
    }
    assert!(text.contains('…') && lines[0] != lines[1], "{text}");
    let mut command = sidekick();
    bench.environment(command.args(["ls", "web"]));
    let piped = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(piped.contains(&format!("web/{long}-1 ")), "{piped}");
}
