//! The admin endpoint of both modes, asked as a monitoring system does, and `sidekick health`.

mod gauges;
mod monitoring;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Process, free_port, sidekick, temp_dir, wait_for};

/// A watcher of a store in a directory, with one target, `web`.
struct Watched {
    dir: TempDir,
    port: u16,
    watch: Process,
}

const TEMPLATE: &str =
    "{% for web in instances(service='web') %}{{ web.ip }}:{{ web.port }}\n{% endfor %}";

impl Watched {
    fn start() -> Self {
        let dir = Self::prepare();
        let port = free_port();
        let watch = Self::watch(dir.path(), &format!("127.0.0.1:{port}"));
        Self { dir, port, watch }
    }

    /// The check is `check.sh` in the directory, which tests may write.
    fn prepare() -> TempDir {
        let dir = temp_dir();
        let at = |name: &str| dir.path().join(name);
        for name in ["conf.d", "templates", "store"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let target = format!(
            "[template]\nsrc = 'web.tera'\ndest = '{0}/web.txt'\nservices = ['web']\n\
             check_cmd = 'sh {0}/check.sh {{{{src}}}}'\nreload_cmd = 'true'\n",
            dir.path().display()
        );
        std::fs::write(at("conf.d/web.toml"), target).unwrap();
        std::fs::write(at("templates/web.tera"), TEMPLATE).unwrap();
        std::fs::write(at("check.sh"), "exit 0").unwrap();
        dir
    }

    fn watch(dir: &Path, admin: &str) -> Process {
        let mut watch = sidekick();
        watch.args(["watch", "--store", &store(dir), "--admin", admin]);
        watch.arg("--conf-dir").arg(dir);
        watch.arg("--state-dir").arg(dir.join("state"));
        Process::start(&mut watch, &dir.join("watch.log"))
    }

    /// Waits until an answer is as wanted, and returns it.
    fn wait(&self, path: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        wait_for(&format!("{path} of the watcher"), || {
            last = get(self.port, path)?.1;
            is_wanted(&last).then(|| last.clone())
        })
    }

    fn register(&self, id: &str, port: u16, more: &[&str]) -> Process {
        let mut register = sidekick();
        register.args(["register", "--store", &store(self.dir.path())]);
        register.args(["--name", "web", "--id", id, "--ip", "127.0.0.1"]);
        register.args(["--port", &port.to_string()]).args(more);
        Process::start(&mut register, &self.dir.path().join(format!("{id}.log")))
    }
}

fn store(dir: &Path) -> String {
    format!("dir://{}/store", dir.display())
}

fn ask(mut stream: impl Read + Write, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// None if nobody answers yet.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    ask(TcpStream::connect(("127.0.0.1", port)).ok()?, path)
}

fn get_unix(socket: &Path, path: &str) -> Option<(u16, String)> {
    ask(UnixStream::connect(socket).ok()?, path)
}

/// The value of a series, as it is written before the value.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn health(admin: &str, more: &[&str]) -> Output {
    let mut health = sidekick();
    health.args(["health", "--admin", admin]).args(more);
    health.output().expect("run sidekick health")
}

#[test]
fn a_watcher_tells_what_fails_and_how_long_changes_take() {
    let all = Watched::start();
    all.wait("/ready", |text| text == "ready\n");
    let _a = all.register("a", 1001, &[]);
    let applied = "sidekick_change_applied_seconds_count{target=\"web\"}";
    let metrics = all.wait("/metrics", |text| value(text, applied) >= Some(1.0));
    assert_eq!(
        value(&metrics, "sidekick_instances_known"),
        Some(1.0),
        "{metrics}"
    );
    assert_eq!(value(&metrics, "sidekick_store_up"), Some(1.0));
    assert_eq!(
        value(&metrics, "sidekick_target_failing{target=\"web\"}"),
        Some(0.0)
    );
    assert!(
        value(
            &metrics,
            "sidekick_reloads_total{target=\"web\",result=\"made\"}"
        ) >= Some(1.0)
    );
    assert!(value(&metrics, "sidekick_lease_expires_timestamp_seconds") > Some(1e9));

    std::fs::write(all.dir.path().join("check.sh"), "echo no; exit 1").unwrap();
    let _b = all.register("b", 1002, &[]);
    let failing = "sidekick_target_failing{target=\"web\"}";
    let metrics = all.wait("/metrics", |text| value(text, failing) == Some(1.0));
    let failures = "sidekick_publish_failures_total{target=\"web\",step=\"check\"}";
    assert!(value(&metrics, failures) >= Some(1.0), "{metrics}");
    // What is in force stays so: the watcher is ready, with a note.
    let (status, text) = get(all.port, "/ready").unwrap();
    assert_eq!(
        (status, text.contains("note: web fails at check")),
        (200, true),
        "{text}"
    );
    let status: Value = serde_json::from_str(&get(all.port, "/status").unwrap().1).unwrap();
    assert_eq!(status["mode"], "watch");
    assert_eq!(
        status["targets"][0]["failing"]["step"], "check",
        "{status:#}"
    );

    std::fs::write(all.dir.path().join("check.sh"), "exit 0").unwrap();
    all.wait("/metrics", |text| value(text, failing) == Some(0.0));
}

#[test]
fn a_watcher_that_has_published_nothing_is_healthy_and_not_ready() {
    let dir = Watched::prepare();
    std::fs::write(dir.path().join("check.sh"), "exit 1").unwrap();
    let admin = format!("unix:{}/admin.sock", dir.path().display());
    let mut watch = Watched::watch(dir.path(), &admin);
    let socket = dir.path().join("admin.sock");
    wait_for("the first try", || {
        get_unix(&socket, "/ready").filter(|(_, text)| text.contains(": check: "))
    });
    let ready = health(&admin, &["--ready"]);
    let said = String::from_utf8_lossy(&ready.stdout).into_owned();
    assert_eq!(ready.status.code(), Some(1), "{said}");
    assert!(
        said.contains("- web has not been published: check: ended with exit status 1")
            && said.contains("the check refused the new file"),
        "{said}"
    );
    let healthy = health(&admin, &[]);
    assert_eq!(
        (healthy.status.code(), &*healthy.stdout),
        (Some(0), &b"healthy\n"[..])
    );
    // Two processes do not share a socket.
    let mut second = Watched::watch(dir.path(), &admin);
    assert_eq!(second.wait().code(), Some(69), "{}", second.output());
    assert!(
        second.output().contains("another process does already"),
        "{}",
        second.output()
    );
    watch.signal(Signal::SIGTERM);
    watch.wait();
    assert!(!socket.exists());
    let gone = health(&admin, &[]);
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn a_stopped_process_is_not_healthy() {
    let all = Watched::start();
    let admin = format!("127.0.0.1:{}", all.port);
    wait_for("health", || {
        (health(&admin, &[]).status.code() == Some(0)).then_some(())
    });
    all.watch.signal(Signal::SIGSTOP);
    let silent = health(&admin, &["--timeout", "200ms"]);
    let said = String::from_utf8_lossy(&silent.stderr).into_owned();
    assert_eq!(silent.status.code(), Some(1), "{said}");
    assert!(said.contains("does not answer within 200 ms"), "{said}");
    all.watch.signal(Signal::SIGCONT);
    wait_for("health", || {
        (health(&admin, &[]).status.code() == Some(0)).then_some(())
    });
}

#[test]
fn who_registers_is_ready_when_it_is_announced() {
    let dir = temp_dir();
    let (port, gate) = (free_port(), dir.path().join("gate"));
    let mut register = sidekick();
    register.args([
        "register",
        "--store",
        &store(dir.path()),
        "--name",
        "web",
        "--port",
        "1003",
    ]);
    register.args([
        "--ip",
        "127.0.0.1",
        "--id",
        "a",
        "--admin",
        &format!("127.0.0.1:{port}"),
    ]);
    register.args([
        "--check-interval",
        "50ms",
        "--rise",
        "1",
        "--fall",
        "1",
        "--check",
    ]);
    register.arg(format!("exec:test -e {}", gate.display()));
    let register = Process::start(&mut register, &dir.path().join("register.log"));
    let ready = || get(port, "/ready");
    let (_, text) = wait_for("the first check", || {
        ready().filter(|(_, text)| text.contains("unhealthy"))
    });
    assert!(
        text.starts_with("not ready\n- /services/web/a is unhealthy"),
        "{text}"
    );
    std::fs::write(&gate, "").unwrap();
    wait_for("readiness", || ready().filter(|(status, _)| *status == 200));
    let metrics = get(port, "/metrics").unwrap().1;
    assert_eq!(
        value(&metrics, "sidekick_instances_announced{service=\"web\"}"),
        Some(1.0),
        "{metrics}"
    );
    for result in ["passed", "failed"] {
        let checks = format!("sidekick_checks_total{{service=\"web\",result=\"{result}\"}}");
        assert!(value(&metrics, &checks) >= Some(1.0), "{metrics}");
    }
    std::fs::remove_file(&gate).unwrap();
    wait_for("the fall", || ready().filter(|(status, _)| *status == 503));
    drop(register);
}

#[test]
fn mistakes_are_told_before_anything_begins() {
    let dir = temp_dir();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = port.local_addr().unwrap().to_string();
    for (admin, code, said) in [
        ("9465", 64, "is no place to listen at"),
        (taken.as_str(), 69, "cannot listen at"),
        ("unix:/nonexistent/admin.sock", 69, "cannot listen at"),
    ] {
        let mut register = sidekick();
        register.args([
            "register",
            "--store",
            &store(dir.path()),
            "--name",
            "web",
            "--port",
            "1",
        ]);
        let output = register.args(["--admin", admin]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{admin}: {text}");
        assert!(text.contains(said), "{admin}: {text}");
    }
}
