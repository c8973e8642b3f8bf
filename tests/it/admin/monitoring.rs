//! What monitoring systems make of the metrics: promtool, Prometheus, the alert rules and the dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Watched, get, value};
use crate::harness::{Process, free_port, skipped, unpacked_or_installed, wait_for};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A program of Debian's package `prometheus`; says that the test is skipped where it is not there.
fn program(name: &str) -> Option<PathBuf> {
    let found = unpacked_or_installed(name);
    if found.is_none() {
        skipped(&format!(
            "{name} is not installed, and contrib/prometheus.sh has not unpacked it"
        ));
    }
    found
}

/// A watcher that has published, failed and published again, and a registration: between them they show every metric
/// that is not about a rare state.
struct Scene {
    watched: Watched,
    register_port: u16,
    _register: Process,
}

impl Scene {
    fn start() -> Self {
        let watched = Watched::start();
        // What is there before everything has been said is no change.
        watched.wait("/ready", |text| text == "ready\n");
        let check = watched.dir.path().join("check.sh");
        fs::write(&check, "exit 1").unwrap();
        let register_port = free_port();
        let admin = format!("127.0.0.1:{register_port}");
        let more = ["--admin", &admin, "--check", "exec:true", "--rise", "1"];
        let socket = watched.dir.path().join("docker.sock");
        serve_no_containers(UnixListener::bind(&socket).unwrap());
        let docker = ["--docker", socket.to_str().unwrap()];
        let register = watched.register("a", 1001, &[&more[..], &docker].concat());
        let failures = "sidekick_publish_failures_total{target=\"web\",step=\"check\"}";
        watched.wait("/metrics", |text| value(text, failures) >= Some(1.0));
        fs::write(&check, "exit 0").unwrap();
        let applied = "sidekick_change_applied_seconds_count{target=\"web\"}";
        watched.wait("/metrics", |text| value(text, applied) >= Some(1.0));
        Self {
            watched,
            register_port,
            _register: register,
        }
    }

    /// What both say.
    fn metrics(&self) -> [String; 2] {
        [self.watched.port, self.register_port].map(|port| get(port, "/metrics").unwrap().1)
    }
}

/// A Docker Engine without containers, as far as a registration asks it, until the end of the tests.
fn serve_no_containers(listener: UnixListener) {
    std::thread::spawn(move || {
        let mut streams = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let date = "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 02:01:08 GMT\r\n";
            let is_list = request[..length].starts_with(b"GET /containers/json ");
            let body = if is_list { "[]" } else { "" };
            write!(stream, "{date}Connection: close\r\n\r\n{body}").unwrap();
            // A list ends; events may come for ever.
            streams.extend((!is_list).then_some(stream));
        }
    });
}

/// The metrics that a text names: those of a query, or of a page.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_one = |word: &&str| word.starts_with("sidekick_") || word.starts_with("process_");
    words.filter(is_one).map(str::to_owned).collect()
}

#[test]
fn promtool_finds_nothing_to_say_of_the_metrics() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    for metrics in Scene::start().metrics() {
        let mut check = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run promtool");
        let mut input = check.stdin.take().unwrap();
        input.write_all(metrics.as_bytes()).unwrap();
        drop(input);
        let output = check.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn promtool_finds_nothing_to_say_of_the_rules() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    let mut check = Command::new(promtool);
    check.args(["check", "rules", "contrib/prometheus/sidekick.rules.yaml"]);
    let output = check.current_dir(ROOT).output().expect("run promtool");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn alerts_fire_when_they_should() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    let mut test = Command::new(promtool);
    test.args(["test", "rules", "tests/it/fixtures/rules.yaml"]);
    let output = test.current_dir(ROOT).output().expect("run promtool");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// Who is woken finds what to do, and who reads of a metric finds what it is.
#[test]
fn every_alert_has_its_runbook_and_every_metric_its_line() {
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let rules = read("contrib/prometheus/sidekick.rules.yaml");
    let operations = read("docs/operations.md");
    let alerts: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        let heading = format!("\n## {alert}\n");
        assert!(operations.contains(&heading), "no section of {alert}");
        let runbook = format!("docs/operations.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&runbook), "no link to {runbook}");
    }
    let page = read("docs/metrics.md");
    let documented = names(&page);
    for alert in page
        .split('`')
        .filter(|word| word.starts_with("Sidekick") && word.chars().all(char::is_alphanumeric))
    {
        assert!(alerts.contains(alert), "docs/metrics.md: no alert {alert}");
    }
    for metrics in Scene::start().metrics() {
        let types = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        for name in types.filter_map(|line| line.split(' ').next()) {
            assert!(documented.contains(name), "docs/metrics.md has no {name}");
        }
    }
}

/// A Prometheus that scrapes the scene every second and knows the rules.
struct Prometheus {
    port: u16,
    _process: Process,
}

impl Prometheus {
    fn start(program: &Path, scene: &Scene) -> Self {
        let dir = scene.watched.dir.path();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{ROOT}/contrib/prometheus/sidekick.rules.yaml']\n\
             scrape_configs:\n- job_name: sidekick\n  static_configs:\n  - targets: ['127.0.0.1:{}', '127.0.0.1:{}']\n",
            scene.watched.port, scene.register_port
        );
        fs::write(dir.join("prometheus.yaml"), config).unwrap();
        let port = free_port();
        let mut prometheus = Command::new(program);
        prometheus
            .arg(format!(
                "--config.file={}",
                dir.join("prometheus.yaml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.join("tsdb").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::start(&mut prometheus, &dir.join("prometheus.log"));
        Self {
            port,
            _process: process,
        }
    }

    /// None if there is no answer yet.
    fn data(&self, path: &str) -> Option<Value> {
        let (_, text) = get(self.port, path)?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    }

    fn query(&self, query: &str) -> Option<Value> {
        let bytes = query.bytes();
        let encoded: Vec<String> = bytes.map(|byte| format!("%{byte:02X}")).collect();
        let encoded = encoded.concat();
        let data = self.data(&format!("/api/v1/query?query={encoded}"))?;
        Some(data["result"].clone())
    }
}

/// Each query of a dashboard, with its variables filled in.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let fill_in = |target: &Value| {
        let expr = target["expr"].as_str().unwrap();
        let expr = expr.replace("$__rate_interval", "1m");
        expr.replace("$instance", ".*").replace("$job", "sidekick")
    };
    targets.map(fill_in).collect()
}

#[test]
fn prometheus_runs_every_rule_and_every_query_of_the_dashboard() {
    let Some(program) = program("prometheus") else {
        return;
    };
    let scene = Scene::start();
    let prometheus = Prometheus::start(&program, &scene);
    // Rates take two scrapes.
    wait_for("two scrapes of both", || {
        let scraped = prometheus.query("count(count_over_time(sidekick_ready[1m]) >= 2) == 2")?;
        (!scraped.as_array()?.is_empty()).then_some(())
    });
    let shown: BTreeSet<String> = scene
        .metrics()
        .iter()
        .flat_map(|text| names(text))
        .collect();
    let known = |query: &str| {
        for name in names(query) {
            assert!(shown.contains(&name), "nobody shows {name}: {query}");
        }
    };
    let rules = wait_for("the rules", || {
        let data = prometheus.data("/api/v1/rules")?;
        let rules = data["groups"][0]["rules"].as_array()?.clone();
        let is_judged = |rule: &Value| rule["health"] != "unknown";
        rules.iter().all(is_judged).then_some(rules)
    });
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        known(rule["query"].as_str().unwrap());
        // All is well.
        assert_eq!(rule["alerts"].as_array().map(Vec::len), Some(0), "{rule:#}");
    }
    let dashboard = fs::read(Path::new(ROOT).join("contrib/grafana/sidekick.json")).unwrap();
    let queries = queries(&serde_json::from_slice(&dashboard).unwrap());
    assert!(queries.len() > 20, "{}", queries.len());
    for query in queries {
        known(&query);
        let result = prometheus.query(&query);
        let result = result.unwrap_or_else(|| panic!("Prometheus refuses {query}"));
        assert!(
            !result.as_array().unwrap().is_empty(),
            "{query} shows nothing"
        );
    }
}
