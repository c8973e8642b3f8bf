//! What the log says of a process: its first line, its priorities for the journal, and the fields of its JSON form.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat::fstat;
use serde_json::Value;

use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick, temp_dir, wait_for};
use crate::shipped::root;
use crate::systemd::{Booted, shipped};

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
        assert!(!line.contains("Z ") && !line.contains('\u{1b}'), "{said}");
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

/// The fields of the table in `docs/logs.md`.
fn documented_fields() -> BTreeSet<String> {
    let page = shipped("docs/logs.md");
    let (_, table) = page
        .split_once("<!-- table of fields")
        .expect("the table is there");
    let rows = table
        .lines()
        .skip(3)
        .take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('`').nth(1))
        .map(str::to_owned)
        .collect()
}

/// A line of the log, as the code has it: its fields, and its words.
struct LogLine {
    place: String,
    fields: Vec<String>,
    text: String,
}

/// What stands between the parentheses that open before `code`.
fn in_parentheses(code: &str) -> &str {
    let (mut depth, mut is_text, mut is_escaped) = (1, false, false);
    for (at, c) in code.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' => is_text = !is_text,
            '(' if !is_text => depth += 1,
            ')' if !is_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &code[..at];
        }
    }
    code
}

fn log_lines(dir: &Path, into: &mut Vec<LogLine>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            log_lines(&path, into);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        for level in ["error!(", "warn!(", "info!(", "debug!(", "trace!("] {
            for (at, _) in code.match_indices(level) {
                let line = code[..at].rsplit('\n').next().unwrap();
                let before = line.chars().next_back().unwrap_or(' ');
                if line.trim_start().starts_with("//") || before.is_alphanumeric() || before == '_'
                {
                    continue;
                }
                let inside = in_parentheses(&code[at + level.len()..]);
                let (fields, text) = inside.split_once('"').unwrap_or((inside, ""));
                let name = |field: &str| {
                    let name = field.split('=').next().unwrap_or_default().trim();
                    name.trim_start_matches(['%', '?']).to_owned()
                };
                let fields = fields.split(',').map(name).filter(|name| {
                    let mut letters = name.chars();
                    !name.is_empty() && letters.all(|c| c.is_alphanumeric() || c == '_')
                });
                into.push(LogLine {
                    place: format!("{}: {level}{inside})", path.display()),
                    fields: fields.collect(),
                    text: text.to_owned(),
                });
            }
        }
    }
}

/// Programs rely on the fields: each is in the table, and stands wherever it applies.
#[test]
fn the_fields_of_the_log_are_those_of_the_documentation() {
    let documented = documented_fields();
    let mut lines = Vec::new();
    log_lines(&root().join("src"), &mut lines);
    assert!(lines.len() > 100, "{}", lines.len());
    let mut used = BTreeSet::new();
    for LogLine {
        place,
        fields,
        text,
    } in lines
    {
        let has = |field: &str| fields.iter().any(|one| one == field);
        for field in &fields {
            assert!(
                documented.contains(field),
                "{field}: not in docs/logs.md: {place}"
            );
        }
        assert!(
            !text.starts_with("{name}: ") || has("target"),
            "target is missing: {place}"
        );
        assert!(
            !text.contains("{error}") || has("error"),
            "error is missing: {place}"
        );
        assert!(
            !text.starts_with("{dir}") || (has("service") && has("instance")),
            "service and instance are missing: {place}"
        );
        used.extend(fields);
    }
    assert_eq!(used, documented);
}

/// All lines of a process, as objects; fails if one has a field that is not documented.
#[track_caller]
fn objects(log: &str) -> Vec<Value> {
    let documented = documented_fields();
    let parse = |line: &str| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let all: Vec<Value> = log.lines().map(parse).collect();
    for field in all.iter().flat_map(|one| one.as_object().unwrap().keys()) {
        let is_own = ["timestamp", "level", "message"].contains(&field.as_str());
        assert!(is_own || documented.contains(field), "{field}: {log}");
    }
    all
}

#[track_caller]
fn saying<'a>(all: &'a [Value], part: &str) -> &'a Value {
    let mut found = all
        .iter()
        .filter(|one| one["message"].as_str().unwrap().contains(part));
    found
        .next()
        .unwrap_or_else(|| panic!("{part:?} is not in {all:#?}"))
}

/// A check of a target, the checks of an instance, and the state directory: each fails, and works again.
#[test]
fn what_fails_is_said_once_and_so_is_that_it_works_again() {
    let bench = Bench::new();
    bench.target(
        "a",
        &format!("check_cmd = 'test ! -e {}'\n", bench.at("bad")),
    );
    fs::write(bench.at("bad"), "").unwrap();
    fs::write(bench.at("state"), "a file where the directory should be").unwrap();
    let log = bench.0.path().join("watch.log");
    let mut watch = bench.watch();
    watch.args(["--log-format", "json", "--state-dir", &bench.at("state")]);
    let mut watch = Process::start(&mut watch, &log);
    let check = format!("test ! -e {}", bench.at("down"));
    let mut register = bench.register();
    register.args([
        "--log-format",
        "json",
        "--check-interval",
        "100ms",
        "--check",
    ]);
    register.arg(format!("exec:{check}"));
    let mut register = Process::start(&mut register, &bench.0.path().join("register.log"));
    register.wait_said("is announced");
    watch.wait_said("trying again");
    fs::write(bench.at("down"), "").unwrap();
    register.wait_said("is withdrawn");
    fs::remove_file(bench.at("down")).unwrap();
    register.wait_said("is healthy again");
    fs::remove_file(bench.at("bad")).unwrap();
    fs::remove_file(bench.at("state")).unwrap();
    watch.wait_said("a.cfg has been updated");
    watch.wait_said("is written again");
    for process in [&mut register, &mut watch] {
        process.signal(Signal::SIGTERM);
        process.wait();
    }

    let said = objects(&register.output());
    let again = saying(&said, "is healthy again, after ");
    assert!(again["took_ms"].is_u64(), "{again}");
    for part in [
        "is healthy again",
        "is unhealthy: ",
        "is announced",
        "is withdrawn",
    ] {
        let one = saying(&said, part);
        assert_eq!(
            (&one["service"], &one["instance"]),
            (&"web".into(), &"a".into()),
            "{one}"
        );
    }
    assert!(saying(&said, "is unhealthy")["error"].is_string());
    let unhealthy = said
        .iter()
        .filter(|one| one["message"].as_str().unwrap().contains("is unhealthy"));
    assert_eq!(unhealthy.count(), 1, "{said:#?}");

    let said = objects(&watch.output());
    let refused = saying(&said, "; trying again");
    assert_eq!(
        (&refused["target"], &refused["level"]),
        (&"a".into(), &"ERROR".into())
    );
    assert!(refused["error"].is_string(), "{refused}");
    let updated = saying(&said, "a.cfg has been updated");
    assert!(
        updated["message"].as_str().unwrap().contains(", after "),
        "{updated}"
    );
    assert!(
        updated["revision"].is_u64() && updated["took_ms"].is_u64() && updated["cause"].is_string(),
        "{updated}"
    );
    let written = said.iter().filter(|one| {
        let text = one["message"].as_str().unwrap();
        text.contains("history")
            && (text.contains("cannot be written") || text.contains("is written again"))
    });
    let written: Vec<&Value> = written.collect();
    assert_eq!(
        written.len(),
        2,
        "once that it fails, once that it works: {said:#?}"
    );
    assert!(
        written[0]["error"].is_string() && written[1]["took_ms"].is_u64(),
        "{written:?}"
    );
}

/// Each decision of the schedule and the guard is one line, and a burst of changes is not a burst of lines.
#[test]
fn debug_says_each_decision() {
    let bench = Bench::new();
    bench.target("a", "[template.pace]\nmin_interval = '0s'\nsettle = '2s'\nmax_wait = '4s'\n[template.guard]\nmax_drop = '50%'\n");
    let log = bench.0.path().join("log");
    let mut watch = bench.watch();
    watch.args(["--log-level", "debug", "--state-dir", &bench.at("state")]);
    let watch = Process::start(&mut watch, &log);
    watch.wait_said("b.cfg has been updated");
    let instance = |id: usize| bench.at(&format!("store/services/web/{id}"));
    for id in 0..40 {
        fs::create_dir_all(instance(id)).unwrap();
        fs::write(format!("{}/ip", instance(id)), "10.0.0.1").unwrap();
        fs::write(format!("{}/port", instance(id)), "80").unwrap();
    }
    watch.wait_said("a: changes are gathered, until settle or max_wait is over (next in ");
    let count = |what: &str| watch.output().matches(what).count();
    wait_for("the gathered publish", || {
        (count("a: a publish is under way") >= 2).then_some(())
    });
    assert!(count("a: changes are gathered") <= 10, "{}", watch.output());
    fs::remove_dir_all(instance(0)).unwrap();
    watch.wait_said("a: a loss of 1 is within the limits (on_empty hold, ");
    (1..38).for_each(|id| fs::remove_dir_all(instance(id)).unwrap());
    watch.wait_said("is beyond the limits (on_empty hold, ");
}

/// Anybody who may write to the store names keys, and no name may look like a line of the log, or command a terminal.
#[test]
fn a_key_that_is_named_like_a_line_of_the_log_is_no_line_of_the_log() {
    let etcd = Etcd::start_new();
    let name = "/services/q/z\n2026-11-27T03:00:00Z ERROR haproxy: forged\u{1b}[31m/ip";
    etcd.etcdctl(&["put", name, "1.2.3.4"]);
    let dir = temp_dir();
    for sub in ["conf.d", "templates"] {
        fs::create_dir(dir.path().join(sub)).unwrap();
    }
    let dest = dir.path().join("out");
    let text = format!(
        "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = ['*']\n",
        dest.display()
    );
    fs::write(dir.path().join("conf.d/a.toml"), text).unwrap();
    fs::write(dir.path().join("templates/a.tera"), "x\n").unwrap();
    let mut command = sidekick();
    command
        .args(["watch", "--once", "--store", &etcd.url(), "--conf-dir"])
        .arg(dir.path());
    command.env("SIDEKICK_STATE_DIR", dir.path().join("state"));
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("forged"), "the key is told of: {log}");
    assert!(!log.contains('\u{1b}'), "{log:?}");
    assert!(
        log.lines()
            .all(|line| !line.starts_with("2026-11-27T03:00:00Z")),
        "{log}"
    );
}
