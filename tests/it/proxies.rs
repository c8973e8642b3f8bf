//! The whole of it: real registrations, the shipped files kept by the real binary, real proxies, and requests sent all
//! the while.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::etcd::Etcd;
use crate::harness::{Process, free_port, sidekick, temp_dir, tool, wait_for};
use crate::routing::{answer_with, ask, base, base_at};
use crate::shipped::root;

/// Answers in a row that have to come from others before an instance counts as gone.
const STREAK: usize = 40;

/// A proxy, what makes it reload, and where it listens.
struct Scene {
    dir: tempfile::TempDir,
    port: u16,
    env: Vec<(String, String)>,
    /// The store, where it is not a directory.
    etcd: Option<Etcd>,
}

impl Scene {
    fn new() -> Self {
        let dir = temp_dir();
        let store = format!("dir://{}/store", dir.path().display());
        Self::with(dir, store, None)
    }

    fn on(etcd: Etcd) -> Self {
        Self::with(temp_dir(), etcd.url(), Some(etcd))
    }

    fn with(dir: tempfile::TempDir, store: String, etcd: Option<Etcd>) -> Self {
        let port = free_port();
        let at = dir.path().display().to_string();
        let env = [
            ("HAPROXY_HTTP_BIND", format!("127.0.0.1:{port}")),
            ("HAPROXY_STATS_BIND", format!("127.0.0.1:{}", free_port())),
            ("HAPROXY_SOCKET", format!("{at}/admin.sock")),
            ("SIDEKICK_STORE", store),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into();
        Self {
            dir,
            port,
            env,
            etcd,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Installs a shipped target; its files go to the directory `dest`, and a signal to the process of `pid` is its reload.
    fn install(&self, name: &str, dest: &Path, signal: &str) {
        fs::create_dir_all(self.file("conf/conf.d")).unwrap();
        let root = root();
        symlink(root.join("templates"), self.file("conf/templates")).unwrap();
        let shipped = fs::read_to_string(root.join(format!("conf.d/{name}.toml"))).unwrap();
        let base = base("haproxy/base.cfg").display().to_string();
        let shipped = shipped.replace("/etc/haproxy/haproxy.cfg", &base);
        let socket = self.file("admin.sock").display().to_string();
        let shipped = shipped.replace("/run/haproxy/admin.sock", &socket);
        let reload = format!(
            "[template.reload]\nsignal = '{signal}'\npidfile = '{}'",
            self.file("pid").display()
        );
        let text: String = shipped
            .lines()
            .filter(|line| !line.starts_with("systemd_unit") && *line != "[template.reload]")
            .map(|line| match line.split_once('=') {
                Some(("dest ", path)) => {
                    let (_, name) = path.rsplit_once('/').unwrap();
                    format!("dest = \"{}/{name}\n", dest.display())
                }
                // Three reloads in a row shall not make the test wait.
                Some(("min_interval ", _)) => "min_interval = '200ms'\n".to_owned(),
                Some(_) => format!("{line}\n"),
                None if line == "[template.pace]" => format!("{reload}\n{line}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let file = self.file("conf/conf.d").join(format!("{name}.toml"));
        fs::write(file, text).unwrap();
    }

    fn run(&self, command: &mut Command, log: &str) -> Process {
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Process::start(command, &self.file(log))
    }

    /// Announces a new live server by a sidecar.
    fn register(&self, id: &str) -> Process {
        self.register_with_log(id, id)
    }

    fn register_with_log(&self, id: &str, log: &str) -> Process {
        let port = answer_with(id).to_string();
        let mut command = sidekick();
        command.args([
            "register",
            "--name",
            "web",
            "--id",
            id,
            "--ip",
            "127.0.0.1",
            "--port",
            &port,
        ]);
        self.run(command.args(["--attr", "path=/", "--ttl", "2s"]), log)
    }

    /// A web server under `sidekick register`. SIGTERM ends it at once, whatever it is doing.
    fn web_server(&self, id: &str, round: usize) -> Process {
        let (at, port) = (self.file(&format!("{id}-{round}")), free_port());
        fs::create_dir(&at).unwrap();
        let at = at.display();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};"));
        let text = format!(
            "user root; worker_processes 1; daemon off; pid {at}/pid; error_log stderr; events {{}}\n\
             http {{ access_log off; {} server {{ listen 127.0.0.1:{port}; return 200 '{id}'; }} }}\n",
            temp.join(" ")
        );
        let file = self.file(&format!("{id}-{round}.conf"));
        fs::write(&file, text).unwrap();
        let mut command = sidekick();
        command.args(["register", "--name", "web", "--id", id, "--ip", "127.0.0.1"]);
        command.args(["--attr", "path=/"]);
        command.args([
            "--port",
            &port.to_string(),
            "--drain",
            "120s",
            "--take-over",
        ]);
        command.args(["--check", "tcp", "--rise", "1", "--check-interval", "100ms"]);
        command
            .arg("--")
            .arg(tool("nginx"))
            .args(["-e", "stderr", "-c"]);
        self.run(command.arg(file), &format!("{id}-{round}.log"))
    }

    fn watch(&self, args: &[&str]) -> Process {
        let mut command = sidekick();
        command
            .arg("watch")
            .arg("--conf-dir")
            .arg(self.file("conf"))
            .args(args);
        self.run(&mut command, "watch")
    }

    /// The first files. Nobody is there yet to be reloaded: that fails, and the files stay.
    fn first(&self, dest: &Path) {
        let mut once = self.watch(&["--once"]);
        once.wait();
        let written = fs::read_dir(dest).is_ok_and(|mut files| files.next().is_some());
        assert!(written, "{}", once.output());
    }
}

/// Sends requests until it is dropped, and knows who answered.
struct Client {
    answers: Arc<Mutex<Vec<String>>>,
    /// How many of them are old news.
    seen: AtomicUsize,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    fn start(port: u16) -> Self {
        let (answers, stop) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
        );
        let (all, end) = (Arc::clone(&answers), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let answer = ask(port, "localhost", "/").unwrap_or_else(|| "no answer".to_owned());
                all.lock().unwrap().push(answer);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self {
            answers,
            seen: AtomicUsize::new(0),
            stop,
            thread: Some(thread),
        }
    }

    /// The answers of late.
    fn recent(&self) -> Option<Vec<String>> {
        let answers = self.answers.lock().unwrap();
        let from = answers.len().checked_sub(STREAK)?;
        (from >= self.seen.load(Ordering::Relaxed)).then(|| answers[from..].to_vec())
    }

    /// Forgets what was answered so far, so that what is waited for is news.
    fn forget(&self) {
        self.seen
            .store(self.answers.lock().unwrap().len(), Ordering::Relaxed);
    }

    fn wait_who(&self, want: &[&str]) {
        wait_for(&format!("answers from {want:?} and nobody else"), || {
            let mut who = self.recent()?;
            who.sort();
            who.dedup();
            (who == want).then_some(())
        });
    }

    /// Ends; how many requests were sent, and those that were not answered by a server.
    fn finish(mut self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let answers = self.answers.lock().unwrap();
        let bad = answers.iter().filter(|answer| answer.len() != 1).cloned();
        (answers.len(), bad.collect())
    }
}

/// Web servers that end at once when they are told to are stopped and started again, one after the other, while requests
/// are sent all the time by several clients: none fails, also none of those that cannot be sent twice.
fn restart_all(scene: &Scene, proxy: &Process) {
    let start = |id: &str, round: usize| scene.web_server(id, round);
    let mut servers = [("a", start("a", 0)), ("b", start("b", 0))];
    let watch = scene.watch(&[]);
    wait_for("the proxy", || {
        ask(scene.port, "localhost", "/").filter(|answer| answer.len() == 1)
    });
    let clients: Vec<Client> = (0..4).map(|_| Client::start(scene.port)).collect();
    clients[0].wait_who(&["a", "b"]);
    for round in 1..=2 {
        for (id, server) in &mut servers {
            server.signal(Signal::SIGTERM);
            server.wait();
            let log = server.output();
            assert!(log.contains("have applied the drain"), "{log}");
            *server = start(id, round);
            clients[0].forget();
            clients[0].wait_who(&["a", "b"]);
        }
    }
    let said = format!("{}\n{}", proxy.output(), watch.output());
    for client in clients {
        let (sent, bad) = client.finish();
        assert!(sent > STREAK, "{sent} requests");
        assert_eq!(bad, [""; 0], "of {sent} requests\n{said}");
    }
}

/// Instances come, go in order, and die; whoever asks notices nothing but the names.
fn play(scene: &Scene, proxy: &Process) {
    let (mut first, second) = (scene.register("a"), scene.register("b"));
    // A watch that starts before them takes the service for lost.
    for one in [&first, &second] {
        one.wait_said("is announced");
    }
    let watch = scene.watch(&[]);
    wait_for("the proxy", || {
        ask(scene.port, "localhost", "/").filter(|answer| answer.len() == 1)
    });
    let client = Client::start(scene.port);
    client.wait_who(&["a", "b"]);
    let _third = scene.register("c");
    client.wait_who(&["a", "b", "c"]);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait().code(), Some(0));
    client.wait_who(&["b", "c"]);
    second.signal(Signal::SIGKILL);
    client.wait_who(&["c"]);
    let (sent, bad) = client.finish();
    let said = format!("{}\n{}", proxy.output(), watch.output());
    assert!(
        bad.is_empty(),
        "{} of {sent} requests failed: {bad:?}\n{said}",
        bad.len()
    );
}

fn with_haproxy(play: fn(&Scene, &Process)) {
    haproxy_in(&Scene::new(), play);
}

fn haproxy_in(scene: &Scene, play: fn(&Scene, &Process)) {
    let dest = scene.file("sidekick.d");
    scene.install("haproxy", &dest, "USR2");
    let mut warm = scene.register_with_log("a", "warm");
    warm.wait_said("is announced");
    scene.first(&dest);
    warm.signal(Signal::SIGTERM);
    warm.wait();
    let mut command = Command::new(tool("haproxy"));
    command.args(["-W", "-db", "-p"]).arg(scene.file("pid"));
    command.arg("-f").arg(base("haproxy/base.cfg"));
    command.arg("-f").arg(&dest).env("SIDEKICK_D", &dest);
    let proxy = scene.run(&mut command, "proxy");
    play(scene, &proxy);
    let log = fs::read_to_string(scene.file("watch")).unwrap();
    assert!(log.contains("without a reload"), "{log}");
}

fn with_nginx(play: fn(&Scene, &Process)) {
    let scene = Scene::new();
    let dest = scene.file("conf.d");
    fs::create_dir(&dest).unwrap();
    scene.install("nginx", &dest, "HUP");
    let mut warm = scene.register_with_log("a", "warm");
    warm.wait_said("is announced");
    scene.first(&dest);
    warm.signal(Signal::SIGTERM);
    warm.wait();
    let at = scene.dir.path().display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};"));
    let listen = format!("listen 127.0.0.1:{}", scene.port);
    let site = base_at("nginx/site.conf", "listen 80", &listen);
    fs::write(scene.file("site.conf"), site).unwrap();
    let frame = format!(
        "user root; worker_processes 2; worker_shutdown_timeout 10m; daemon off; pid {at}/pid; error_log stderr; events {{}}\n\
         http {{ access_log off; {} include {}/*.conf; include {at}/site.conf; }}\n",
        temp.join(" "),
        dest.display()
    );
    let file = scene.file("nginx.conf");
    fs::write(&file, frame).unwrap();
    let mut command = Command::new(tool("nginx"));
    let proxy = scene.run(command.args(["-e", "stderr", "-c"]).arg(&file), "proxy");
    play(&scene, &proxy);
}

/// The keys of all services are deleted at once, and those who announced them do not come back; then the last one of a
/// service expires. HAProxy goes on with the servers it has, and by the same routes. An instance that stops in order leaves.
fn lose_all(scene: &Scene, proxy: &Process) {
    let (first, mut second) = (scene.register("a"), scene.register("b"));
    for one in [&first, &second] {
        one.wait_said("is announced");
    }
    let watch = scene.watch(&[]);
    wait_for("the proxy", || {
        ask(scene.port, "localhost", "/").filter(|answer| answer.len() == 1)
    });
    let client = Client::start(scene.port);
    client.wait_who(&["a", "b"]);
    first.signal(Signal::SIGSTOP);
    second.signal(Signal::SIGSTOP);
    let etcd = scene.etcd.as_ref().expect("a store that can lose all");
    etcd.etcdctl(&["del", "--prefix", "/services"]);
    watch.wait_said("all 2 instances are lost");
    client.forget();
    client.wait_who(&["a", "b"]);
    // What is held returns, and one goes in order, so that one is left, whose lease expires.
    first.signal(Signal::SIGCONT);
    second.signal(Signal::SIGCONT);
    watch.wait_said("what was lost is back");
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait().code(), Some(0));
    client.forget();
    client.wait_who(&["a"]);
    first.signal(Signal::SIGKILL);
    watch.wait_said("the only instance is lost");
    client.forget();
    client.wait_who(&["a"]);
    for file in ["backends.cfg", "routes.map"] {
        let text = fs::read_to_string(scene.file("sidekick.d").join(file)).unwrap();
        assert!(text.contains("web"), "{file}: {text}");
    }
    let (sent, bad) = client.finish();
    assert_eq!(bad, [""; 0], "of {sent} requests\n{}", proxy.output());
}

#[test]
fn the_shipped_haproxy_keeps_the_servers_that_the_store_loses() {
    haproxy_in(&Scene::on(Etcd::start_new()), lose_all);
}

#[test]
fn haproxy_follows_and_loses_no_request() {
    with_haproxy(play);
}

#[test]
fn nginx_follows_and_loses_no_request() {
    with_nginx(play);
}

#[test]
fn haproxy_loses_no_request_when_web_servers_are_restarted() {
    with_haproxy(restart_all);
}

#[test]
fn nginx_loses_no_request_when_web_servers_are_restarted() {
    with_nginx(restart_all);
}
