//! `docker/Dockerfile` and the compose files, on a Docker Engine. No registry is asked: the base images are made of
//! programs of this machine, and the compiler's image of a stand-in that brings the binary under test.

mod images;
mod tutorial;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use self::images::Images;
use crate::harness::docker::{self, Container, docker, said};
use crate::harness::{free_port, skipped, temp_dir, wait_for};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The words that Compose goes by here, if it is there at all.
fn compose_program() -> Option<Vec<&'static str>> {
    let ways = [vec!["docker", "compose"], vec!["docker-compose"]];
    ways.into_iter().find(|words| {
        let asked = Command::new(words[0])
            .args(&words[1..])
            .arg("version")
            .output();
        asked.is_ok_and(|output| output.status.success())
    })
}

/// Web servers that announce themselves.
const ENTRYPOINTS: &str = "docker/compose.yaml";
/// Web servers that are announced by their labels.
const LABELS: &str = "docker/compose.docker.yaml";

/// A compose file, up; everything it made goes with the test.
struct Project {
    file: &'static str,
    program: Vec<&'static str>,
    name: String,
    port: u16,
    dashboard_port: u16,
    images: Images,
    dir: tempfile::TempDir,
}

impl Project {
    fn up(program: Vec<&'static str>, file: &'static str) -> Self {
        let project = Self {
            file,
            program,
            name: docker::name("project"),
            port: free_port(),
            dashboard_port: free_port(),
            images: Images::get(),
            dir: temp_dir(),
        };
        let named: &[_] = match file {
            LABELS => &[("haproxy", "haproxy"), ("register", "sidekick")],
            _ => &[
                ("haproxy", "haproxy"),
                ("web", "web"),
                ("dashboard", "sidekick"),
            ],
        };
        let named = named.iter().map(|(service, stage)| {
            format!(
                "  {service}: {{ image: {} }}\n",
                project.images.stage(stage)
            )
        });
        let text = format!("services:\n{}", named.collect::<String>());
        std::fs::write(project.dir.path().join("images.yaml"), text).unwrap();
        project.must(&["up", "-d", "--no-build"]);
        project
    }

    fn compose(&self, args: &[&str]) -> Output {
        let mut command = Command::new(self.program[0]);
        command.args(&self.program[1..]).args(["-p", &self.name]);
        command.args(["-f", self.file, "-f"]);
        command.arg(self.dir.path().join("images.yaml")).args(args);
        command
            .env("ETCD_IMAGE", self.images.base("etcd"))
            .env("WEB_IMAGE", self.images.base("nginx"))
            .env("HTTP_PORT", self.port.to_string())
            .env("DASHBOARD_PORT", self.dashboard_port.to_string());
        command.current_dir(ROOT).output().expect("run compose")
    }

    #[track_caller]
    fn must(&self, args: &[&str]) -> String {
        let output = self.compose(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The ids of the web servers' containers, as far as they are their host names.
    fn servers(&self) -> BTreeSet<String> {
        let ids = self.must(&["ps", "-q", "web"]);
        ids.lines().map(|id| id[..12].to_owned()).collect()
    }

    /// Who answers, by name; or what went wrong.
    fn ask(&self) -> Result<String, String> {
        let text = request(self.port).map_err(|error| error.to_string())?;
        let body = text.strip_prefix("HTTP/1.1 200").ok_or(text.clone())?;
        let (_, body) = body.split_once("\r\n\r\n").ok_or(text.clone())?;
        Ok(body.trim().to_owned())
    }

    /// Waits until the last answers come from these servers, from each of them, and from no others.
    #[track_caller]
    fn wait_for_answers_of(&self, servers: &BTreeSet<String>) {
        let mut last = BTreeSet::new();
        wait_for(&format!("answers of {servers:?}"), || {
            last = (0..4 * servers.len())
                .map(|_| {
                    self.ask()
                        .unwrap_or_else(|error| format!("failed: {error}"))
                })
                .collect();
            (last == *servers).then_some(())
        });
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.compose(&["logs", "--no-color"]);
            let _ = std::io::stderr().write_all(said(&logs).as_bytes());
        }
        self.compose(&["down", "-v", "-t", "1"]);
    }
}

fn request(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Stops a server in order while requests go on: HAProxy sends it nothing any more when it hears of it.
fn stop_under_load(project: &Project, server: &str) {
    let stop = ["stop", "-t", "25", server].map(str::to_owned);
    let stopping = std::thread::spawn(move || docker(&stop));
    let mut failed = Vec::new();
    while !stopping.is_finished() {
        failed.extend(project.ask().err());
    }
    let output = stopping.join().expect("docker stop");
    assert!(output.status.success(), "{}", said(&output));
    assert!(failed.is_empty(), "{failed:?}");
}

fn inspect(container: &str, format: &str) -> String {
    let output = docker(&["inspect", "-f", format, container]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output).trim().to_owned()
}

/// Each container has a health check that passes, and a limit of what is kept of its log.
fn are_healthy(project: &Project) {
    let all = project.must(&["ps", "-q"]);
    assert!(all.lines().count() >= 6, "{all}");
    for container in all.lines() {
        let name = inspect(container, "{{.Name}}");
        wait_for(&format!("the health of {name}"), || {
            let health = inspect(
                container,
                "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}",
            );
            (health == "healthy").then_some(())
        });
        let limit = inspect(container, "{{json .HostConfig.LogConfig}}");
        let limit: Value = serde_json::from_str(&limit).unwrap();
        assert_eq!(limit["Type"], "json-file", "{name}");
        assert_eq!(limit["Config"]["max-size"], "10m", "{name}");
    }
    let ready = ["exec", "-T", "haproxy", "sidekick", "health", "--ready"];
    assert_eq!(project.must(&ready), "ready\n");
}

/// What a service has logged in JSON, and the lines that are not.
fn log_of(project: &Project, service: &str) -> (Vec<Value>, Vec<String>) {
    let ids = project.must(&["ps", "-q", service]);
    let logs = ids.lines().map(|id| said(&docker(&["logs", id])));
    let lines = logs.collect::<String>();
    let (json, other): (Vec<_>, Vec<_>) = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).map_err(|_| line.to_owned()))
        .partition(Result::is_ok);
    let json = json.into_iter().filter_map(Result::ok);
    let other = other.into_iter().filter_map(Result::err);
    (json.collect(), other.collect())
}

/// sidekick logs in JSON everywhere, and so does etcd; the programs behind sidekick log as they do.
fn logs_are_json(project: &Project, alone: &[&str], entrypoints: &[&str]) {
    for service in alone.iter().chain(entrypoints) {
        let (json, other) = log_of(project, service);
        let is_whole = |line: &Value| line["level"].is_string();
        assert!(!json.is_empty(), "{service}: {other:?}");
        assert!(json.iter().all(is_whole), "{service}: {json:?}");
        if alone.contains(service) {
            assert!(other.is_empty(), "{service}: {other:?}");
        }
    }
}

/// The state directory belongs to the user of HAProxy, whose home does not: nothing in the log says that it cannot be written.
fn state_is_kept(project: &Project) {
    let history = ["exec", "-T", "haproxy", "sidekick", "history"];
    wait_for("the history", || {
        let text = project.must(&history);
        text.contains("haproxy").then_some(())
    });
    let files = [
        "exec",
        "-T",
        "haproxy",
        "sh",
        "-c",
        "echo /var/lib/sidekick/*",
    ];
    let files = project.must(&files);
    assert!(files.contains("history.jsonl"), "{files}");
    assert!(files.contains("snapshot"), "{files}");
    let (log, _) = log_of(project, "haproxy");
    let complains = |line: &&Value| line.to_string().contains("/var/lib/");
    let complaint = log.iter().find(complains);
    assert_eq!(complaint, None);
}

fn are_of_ordinary_users(images: &Images) {
    for (image, user) in [
        ("sidekick", "nonroot"),
        ("haproxy", "haproxy"),
        ("web", "nginx"),
    ] {
        let image = images.stage(image);
        assert_eq!(inspect(&image, "{{.Config.User}}"), user);
        let run = ["run", "--rm", "--network=none", "--entrypoint=sidekick"];
        let output = docker(&[&run[..], &[&image, "--version"]].concat());
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn the_compose_file_scales_and_survives_the_loss_of_servers() {
    if !docker::engine() {
        return;
    }
    let Some(program) = compose_program() else {
        skipped("Docker Compose is not there");
        return;
    };
    let project = Project::up(program, ENTRYPOINTS);
    are_of_ordinary_users(&project.images);
    let three = project.servers();
    assert_eq!(three.len(), 3);
    are_healthy(&project);
    project.wait_for_answers_of(&three);
    logs_are_json(&project, &["etcd", "dashboard"], &["haproxy", "web"]);
    state_is_kept(&project);
    wait_for("the dashboard", || {
        let page = request(project.dashboard_port).unwrap_or_default();
        page.contains("<title>sidekick</title>").then_some(())
    });

    project.must(&[
        "up",
        "-d",
        "--no-build",
        "--no-recreate",
        "--scale",
        "web=5",
    ]);
    let mut servers = project.servers();
    assert!(servers.len() == 5 && servers.is_superset(&three));
    project.wait_for_answers_of(&servers);

    let killed = servers.pop_first().expect("there are five");
    let output = docker(&["kill", &killed]);
    assert!(output.status.success(), "{}", said(&output));
    project.wait_for_answers_of(&servers);
    let file = [
        "exec",
        "-T",
        "haproxy",
        "sh",
        "-c",
        "while read -r line; do echo \"$line\"; done </etc/haproxy/sidekick.d/backends.cfg",
    ];
    wait_for("the file without the one that was killed", || {
        (!project.must(&file).contains(&killed)).then_some(())
    });

    let stopped = servers.pop_first().expect("there are four");
    stop_under_load(&project, &stopped);
    project.wait_for_answers_of(&servers);
    // It had no more requests before it was gone, and its line may go later: reloads keep a distance.
    wait_for("the file without the one that was stopped", || {
        (!project.must(&file).contains(&stopped)).then_some(())
    });
}

/// Nothing of sidekick is in the image of the web servers.
#[test]
fn the_compose_file_with_labels_follows_the_life_of_plain_containers() {
    if !docker::engine() {
        return;
    }
    let Some(program) = compose_program() else {
        skipped("Docker Compose is not there");
        return;
    };
    let project = Project::up(program, LABELS);
    let three = project.servers();
    assert_eq!(three.len(), 3);
    are_healthy(&project);
    project.wait_for_answers_of(&three);
    logs_are_json(&project, &["etcd", "register"], &["haproxy"]);

    let scale = [
        "up",
        "-d",
        "--no-build",
        "--no-recreate",
        "--scale",
        "web=5",
    ];
    project.must(&scale);
    let mut servers = project.servers();
    assert!(servers.len() == 5 && servers.is_superset(&three));
    project.wait_for_answers_of(&servers);

    let run = |args: &[&str]| {
        let output = docker(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    };
    let killed = servers.pop_first().expect("there are five");
    run(&["kill", &killed]);
    project.wait_for_answers_of(&servers);

    let paused = servers.pop_first().expect("there are four");
    run(&["pause", &paused]);
    project.wait_for_answers_of(&servers);
    run(&["unpause", &paused]);
    servers.insert(paused);
    project.wait_for_answers_of(&servers);

    // It answers, and its health check says that it must not be asked.
    let sick = servers.pop_first().expect("there are four");
    run(&["exec", &sick, "touch", "/tmp/sick"]);
    project.wait_for_answers_of(&servers);
    run(&["exec", &sick, "rm", "/tmp/sick"]);
    servers.insert(sick);
    project.wait_for_answers_of(&servers);
}

/// What a container engine acts on: the health of both images, and that it is gone when the process is stopped.
#[test]
fn the_images_tell_their_health() {
    if !docker::engine() {
        return;
    }
    let images = Images::get();
    let web = ["--name", "web", "--port", "8080", "--ip", "127.0.0.1", "--"];
    let web = [&web[..], &["nginx", "-g", "daemon off;"]].concat();
    for (image, args) in [("haproxy", Vec::new()), ("web", web)] {
        let often = [
            "--network=none",
            "--health-interval=300ms",
            "--health-timeout=1s",
            "--health-retries=1",
        ];
        let image = images.stage(image);
        let store = ["-e", "SIDEKICK_STORE=dir:///tmp/store", &image];
        let run = [&often[..], &store, &args].concat().into_iter();
        let run: Vec<String> = run.map(str::to_owned).collect();
        let container = Container::run("health", &run).unwrap();
        let wait_for_health = |wanted: &str| {
            wait_for(&format!("a container that is {wanted}"), || {
                let health = inspect(&container.0, "{{.State.Health.Status}}");
                (health == wanted).then_some(())
            });
        };
        wait_for_health("healthy");
        if image == images.stage("haproxy") {
            // Without a volume, too, its user can write the state directory.
            let history = container.exec(&["sidekick", "history"]);
            assert!(history.status.success(), "{}", said(&history));
        }
        let stop = docker(&["kill", "-s", "STOP", &container.0]);
        assert!(stop.status.success(), "{}", said(&stop));
        wait_for_health("unhealthy");
        docker(&["kill", "-s", "CONT", &container.0]);
        wait_for_health("healthy");
    }
}

/// The image of the compiler looks whether all sources are there; here Cargo itself looks whether the manifests make sense with
/// what is there.
#[test]
fn the_dockerfile_copies_what_cargo_needs() {
    if !docker::engine() {
        return;
    }
    let images = Images::get();
    let container = [&images.stage("build"), "sh", "-c", ":"].map(str::to_owned);
    let container = Container::run("sources", &container).unwrap();
    let dir = temp_dir();
    let copy = format!("{}:/src", container.0);
    let copy = [copy.as_str(), dir.path().to_str().unwrap()];
    let output = docker(&[&["cp"], &copy[..]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--quiet", "--locked", "--offline", "--depth", "0"])
        .current_dir(dir.path().join("src"))
        .output()
        .unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("etcd-sidekick v"), "{text}");
}
