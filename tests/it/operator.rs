//! An operator at night, who knows nothing of the internals: eight questions, each answered by one command of the table in
//! `docs/operations.md`, on real daemons.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::harness::docker::said;
use crate::harness::etcd::Etcd;
use crate::harness::{Process, free_port, haproxy, sidekick, temp_dir, tool, wait_for};
use crate::systemd::shipped;

/// The eight questions, each with its command, as the table has them.
fn questions() -> Vec<(String, String)> {
    let page = shipped("docs/operations.md");
    let (_, table) = page
        .split_once("<!-- table of questions")
        .expect("the table is there");
    let rows = table
        .lines()
        .skip(3)
        .take_while(|line| line.starts_with('|'));
    let row = |row: &str| {
        // A pipe within a cell is escaped.
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let command = cells[2].split('`').nth(1).expect("a command");
        (cells[1].to_owned(), command.replace('\u{1}', "|"))
    };
    rows.map(row).collect()
}

/// An instance that drains gets no new sessions.
const DRAINED: &str = "{% if i.state == 'drain' %} weight 0{% endif %}";

/// An etcd, an HAProxy that a watcher keeps, registered instances, and a second target whose check refuses.
struct Site {
    etcd: Etcd,
    dir: tempfile::TempDir,
    admin: String,
    processes: Vec<Process>,
}

impl Site {
    fn new() -> Self {
        let mut site = Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
            admin: format!("127.0.0.1:{}", free_port()),
            processes: Vec::new(),
        };
        for dir in ["conf.d", "templates"] {
            fs::create_dir(site.file(dir)).unwrap();
        }
        let at = site.dir.path().display().to_string();
        let proxy = haproxy::template(site.dir.path(), "", DRAINED);
        fs::write(site.file("templates/haproxy.tera"), proxy).unwrap();
        let list = "{% for i in services.db %}{{ i.id }}\n{% endfor %}";
        fs::write(site.file("templates/list.tera"), list).unwrap();
        let program = tool("haproxy").display().to_string();
        site.target(
            "haproxy",
            &format!(
                "services = ['web']\ncheck_cmd = '{program} -c -f {{{{src}}}}'\n{}\
                 [template.pace]\nmin_interval = '0s'\n",
                haproxy::sockets(site.dir.path())
            ),
        );
        site.target("list", &format!(
            "services = ['db']\ncheck_cmd = 'if test -e {at}/full; then echo the disk is full; exit 1; fi; : {{{{src}}}}'\n"
        ));
        for id in ["a", "b"] {
            site.register("web", id);
        }
        for id in ["x", "y"] {
            site.register("db", id);
        }
        // The first file, for which there is nobody yet.
        let once = site.sidekick(&["watch", "--once"]).output().unwrap();
        assert!(site.file("haproxy.txt").exists(), "{}", said(&once));
        let daemon = haproxy::start(site.dir.path(), &site.file("haproxy.txt"));
        site.processes.push(daemon);
        let admin = site.admin.clone();
        let mut watch = site.sidekick(&["watch", "--admin", &admin]);
        site.start("watch", &mut watch);
        site.wait("the watcher", "sidekick health --ready", |status, text| {
            status == Some(0) && text == "ready\n"
        });
        site
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn target(&self, name: &str, lines: &str) {
        let dest = self.file(&format!("{name}.txt"));
        let src = format!("{name}.tera");
        let text = format!(
            "[template]\nsrc = '{src}'\ndest = '{}'\n{lines}",
            dest.display()
        );
        fs::write(self.file(&format!("conf.d/{name}.toml")), text).unwrap();
    }

    /// The program where an operator has set nothing but what the units set.
    fn sidekick(&self, args: &[&str]) -> Command {
        let mut command = sidekick();
        self.with_environment(&mut command).args(args);
        command
    }

    fn with_environment<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("SIDEKICK_STORE", self.etcd.url())
            .env("SIDEKICK_CONF_DIR", self.dir.path())
            .env("SIDEKICK_STATE_DIR", self.file("state"))
            .env("SIDEKICK_ENV_FILE", "/nonexistent/sidekick.env")
    }

    fn start(&mut self, log: &str, command: &mut Command) {
        let log = self.file(&format!("{log}.log"));
        self.processes.push(Process::start(command, &log));
    }

    /// Announces an instance for as long as the process runs that is pushed last.
    fn register(&mut self, service: &str, id: &str) {
        let mut command = self.sidekick(&["register", "--name", service, "--id", id]);
        command.args(["--port", "80", "--ip", "127.0.0.1", "--ttl", "2s"]);
        self.start(&format!("{service}-{id}"), &mut command);
        let announced = self.processes.last().unwrap();
        announced.wait_said("is announced");
    }

    /// Runs a line of a shell in which `sidekick` is the program under test. Nobody waits for an answer for longer than ten
    /// seconds at night.
    #[track_caller]
    fn shell(&self, line: &str) -> Output {
        let bin = self.file("bin");
        fs::create_dir_all(&bin).unwrap();
        let link = bin.join("sidekick");
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sidekick"), link).unwrap();
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("timeout");
        self.with_environment(&mut shell)
            .args(["10", "sh", "-c", line])
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("SIDEKICK_ADMIN", &self.admin);
        let output = shell.output().unwrap();
        assert_ne!(output.status.code(), Some(124), "no answer in time: {line}");
        output
    }

    /// Runs a command until its answer is as wanted: what has happened takes a moment to be known. The answer.
    #[track_caller]
    fn wait(
        &self,
        what: &str,
        line: &str,
        is_wanted: impl Fn(Option<i32>, &str) -> bool,
    ) -> String {
        let start = std::time::Instant::now();
        loop {
            let output = self.shell(line);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if is_wanted(output.status.code(), &text) {
                return text;
            }
            assert!(
                start.elapsed() < crate::harness::PATIENCE,
                "{what}: {line}: {}: {}",
                output.status,
                said(&output)
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// Whether one line has all of these words.
fn has_line(text: &str, words: &[&str]) -> bool {
    let mut lines = text.lines();
    lines.any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn each_question_of_the_night_is_answered_by_one_command() {
    let mut site = Site::new();
    let asked = questions();
    let [registered, drains, fails, held, why, now, what_if, healthy] = asked.as_slice() else {
        panic!("{asked:?}");
    };

    let text = site.wait(&registered.0, &registered.1, |status, text| {
        status == Some(0) && text.contains("web")
    });
    assert!(
        has_line(&text, &["web", "2"]) && has_line(&text, &["db", "2"]),
        "{text}"
    );

    // An operator drains one, and the file follows.
    let drained = site.shell("sidekick drain web a");
    assert!(drained.status.success(), "{}", said(&drained));
    let text = site.wait(&drains.0, &drains.1, |_, text| {
        has_line(text, &["a", "drain"])
    });
    assert!(has_line(&text, &["a", "drain", "operator"]), "{text}");
    let text = site.wait(&why.0, &why.1, |_, text| text.contains("web/a"));
    assert!(
        text.contains("state of web/a up→drain") && text.contains("runtime"),
        "{text}"
    );

    // The whole of a service is lost at once.
    let lost = site.processes.drain(2..4).collect::<Vec<_>>();
    drop(lost); // They are killed.
    let text = site.wait(&held.0, &held.1, |_, text| text.contains("db"));
    assert!(has_line(&text, &["list", "db", "2"]), "{text}");

    // The check refuses what comes next, so the watcher fails, and lags.
    fs::write(site.file("full"), "").unwrap();
    site.register("db", "z");
    let text = site.wait(&fails.0, &fails.1, |status, text| {
        status == Some(1) && text.contains("fails: check")
    });
    assert!(text.contains("the disk is full"), "{text}");
    let text = site.wait(&now.0, &now.1, |_, text| text.contains("+z"));
    assert!(has_line(&text, &["+++", "list.txt"]), "{text}");
    let text = site.wait(&healthy.0, &healthy.1, |_, text| {
        text.contains("list fails at check")
    });
    assert!(
        text.starts_with("ready"),
        "what is in force stays so: {text}"
    );

    let output = site.shell(&what_if.1);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        has_line(&text, &["+", "server x 10.0.0.9:80"]),
        "{}: {}",
        what_if.0,
        said(&output)
    );
    assert!(has_line(&text, &["-", "server a 127.0.0.1:80"]), "{text}");

    // It is mended, and the watcher is well by itself.
    fs::remove_file(site.file("full")).unwrap();
    site.wait(&fails.0, &fails.1, |_, text| !text.contains("fails: check"));
    let watch = site
        .processes
        .iter()
        .position(|one| one.output().contains(" watch: "))
        .unwrap();
    site.processes[watch].signal(Signal::SIGSTOP);
    let line = format!("{} --timeout 300ms", healthy.1);
    site.wait(&healthy.0, &line, |status, _| status == Some(1));
    site.processes[watch].signal(Signal::SIGCONT);
    wait_for("its health", || {
        site.shell(&healthy.1).status.success().then_some(())
    });
}
