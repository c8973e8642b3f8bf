//! `docker/Dockerfile` and the compose files, on a Docker Engine. No registry is asked: the base images are made of
//! programs of this machine, and the compiler's image of a stand-in that brings the binary under test.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::docker::{self, Image, Rootfs, docker, said};
use crate::harness::{free_port, skipped, temp_dir, wait_for};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What the usual image of nginx has in this place, as far as it matters to a process without privileges.
const NGINX_CONF: &str = "pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    include /etc/nginx/conf.d/*.conf;
}
";

/// A base image: a shell, a few tools, programs, and the libraries of the binary under test.
fn base(kind: &str, programs: &[&str], more: impl FnOnce(&Rootfs)) -> Image {
    let rootfs = Rootfs::new();
    let tools = ["sh", "mkdir", "chown", "touch", "cp"];
    for program in tools.iter().chain(programs) {
        rootfs.program(program);
    }
    rootfs.libraries(Path::new(env!("CARGO_BIN_EXE_sidekick")));
    let users = "root:x:0:0::/root:/bin/sh\nhaproxy:x:99:99::/:/bin/sh\nnginx:x:101:101::/:/bin/sh\n\
                 nonroot:x:65532:65532::/:/bin/sh\n";
    rootfs.write("etc/passwd", users);
    rootfs.write(
        "etc/group",
        "root:x:0:\nhaproxy:x:99:\nnginx:x:101:\nnonroot:x:65532:\n",
    );
    more(&rootfs);
    rootfs.import(kind)
}

/// In place of the compiler's image: what is built is the binary under test.
fn compiler() -> Image {
    base("compiler", &[], |rootfs| {
        rootfs.copy(env!("CARGO_BIN_EXE_sidekick"), "sidekick");
        rootfs.script("usr/sbin/apk", "");
        let copy = "mkdir -p /src/target/release && cp /sidekick /src/target/release/";
        rootfs.script("usr/bin/cargo", copy);
    })
}

fn nginx() -> Image {
    base("nginx", &["nginx"], |rootfs| {
        rootfs.write("etc/nginx/nginx.conf", NGINX_CONF);
        rootfs.dir("var/log/nginx");
        // In place of the one of its image; it finds fault when a test says so.
        rootfs.script("usr/bin/wget", "[ ! -e /tmp/sick ]");
        rootfs.program("rm");
    })
}

/// The images that the Dockerfile makes.
struct Images {
    sidekick: Image,
    haproxy: Image,
    web: Image,
    /// Every stage has a name here, so that it can be removed.
    _compiled: Image,
    bases: [Image; 4],
}

impl Images {
    fn build() -> Self {
        let bases = [
            compiler(),
            base("static", &[], |_| {}),
            base("haproxy-base", &["haproxy"], |rootfs| {
                for code in [400, 403, 408, 500, 502, 503, 504] {
                    let page = format!("haproxy/errors/{code}.http");
                    rootfs.copy(format!("/etc/{page}"), &format!("usr/local/etc/{page}"));
                }
            }),
            nginx(),
        ];
        let args: Vec<String> = ["RUST", "STATIC", "HAPROXY", "NGINX"]
            .iter()
            .zip(&bases)
            .flat_map(|(name, image)| {
                [
                    "--build-arg".to_owned(),
                    format!("{name}_IMAGE={}", image.0),
                ]
            })
            .collect();
        Self {
            _compiled: build("build", &args),
            sidekick: build("sidekick", &args),
            haproxy: build("haproxy", &args),
            web: build("web", &args),
            bases,
        }
    }
}

fn build(target: &str, args: &[String]) -> Image {
    let image = Image(docker::name(target));
    let output = Command::new("docker")
        .args(["build", "-f", "docker/Dockerfile", "--target", target])
        .args(["-t", &image.0])
        .args(args)
        .arg(".")
        .current_dir(ROOT)
        .output()
        .expect("run docker build");
    assert!(output.status.success(), "{target}: {}", said(&output));
    image
}

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
    etcd: Image,
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
            images: Images::build(),
            etcd: base("etcd", &["etcd"], |_| {}),
            dir: temp_dir(),
        };
        let images = &project.images;
        let haproxy = ("haproxy", &images.haproxy);
        let named = match file {
            LABELS => vec![haproxy, ("register", &images.sidekick)],
            _ => vec![
                haproxy,
                ("web", &images.web),
                ("dashboard", &images.sidekick),
            ],
        };
        let named = named.iter();
        let named =
            named.map(|(service, image)| format!("  {service}: {{ image: {} }}\n", image.0));
        let mut text = format!("services:\n{}", named.collect::<String>());
        if file == LABELS {
            // What an image that is imported does not say.
            text += "  web: { user: nginx, command: [nginx, -g, 'daemon off;'] }\n";
        }
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
            .env("ETCD_IMAGE", &self.etcd.0)
            .env("WEB_IMAGE", &self.images.bases[3].0)
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

/// Compose waits for the health of the web servers before it starts HAProxy, so they are announced when it is done; HAProxy
/// has its file soon after.
fn are_healthy(project: &Project) {
    let health = |id: &str| {
        let asked = docker(&["inspect", "-f", "{{.State.Health.Status}}", id]);
        said(&asked).trim().to_owned()
    };
    for server in project.servers() {
        assert_eq!(health(&server), "healthy");
    }
    let haproxy = project.must(&["ps", "-q", "haproxy"]);
    wait_for("the health of HAProxy's container", || {
        (health(haproxy.trim()) == "healthy").then_some(())
    });
    let ready = ["exec", "-T", "haproxy", "sidekick", "health", "--ready"];
    assert_eq!(project.must(&ready), "ready\n");
}

fn are_of_ordinary_users(images: &Images) {
    for (image, user) in [
        (&images.sidekick, "nonroot"),
        (&images.haproxy, "haproxy"),
        (&images.web, "nginx"),
    ] {
        let output = docker(&["inspect", "-f", "{{.Config.User}}", &image.0]);
        assert_eq!(said(&output).trim(), user);
        let run = ["run", "--rm", "--network=none", "--entrypoint=sidekick"];
        let output = docker(&[&run[..], &[&image.0, "--version"]].concat());
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
    project.wait_for_answers_of(&three);

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

/// A container that goes with its test.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.0]);
    }
}

/// What a container engine acts on: the health of both images, and that it is gone when the process is stopped.
#[test]
fn the_images_tell_their_health() {
    if !docker::engine() {
        return;
    }
    let images = Images::build();
    let web = ["--name", "web", "--port", "8080", "--ip", "127.0.0.1", "--"];
    let web = [&web[..], &["nginx", "-g", "daemon off;"]].concat();
    for (image, args) in [(&images.haproxy, Vec::new()), (&images.web, web)] {
        let container = Container(docker::name("health"));
        let run = ["run", "-d", "--network=none", "--name", &container.0];
        let often = [
            "--health-interval=300ms",
            "--health-timeout=1s",
            "--health-retries=1",
        ];
        let store = ["-e", "SIDEKICK_STORE=dir:///tmp/store", &image.0];
        let output = docker(&[&run[..], &often, &store, &args].concat());
        assert!(output.status.success(), "{}", said(&output));
        let wait_for_health = |wanted: &str| {
            wait_for(&format!("a container that is {wanted}"), || {
                let ask = ["inspect", "-f", "{{.State.Health.Status}}", &container.0];
                (said(&docker(&ask)).trim() == wanted).then_some(())
            });
        };
        wait_for_health("healthy");
        let stop = docker(&["kill", "-s", "STOP", &container.0]);
        assert!(stop.status.success(), "{}", said(&stop));
        wait_for_health("unhealthy");
        docker(&["kill", "-s", "CONT", &container.0]);
        wait_for_health("healthy");
    }
}
