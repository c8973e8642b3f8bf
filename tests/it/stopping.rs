//! How a command is stopped, by `register` and by `watch` alike: who hears of it, by which signal, and what is left.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Process, free_port, modules, sidekick, temp_dir, tool, wait_for};

/// Both ways to run a command.
const MODES: [&str; 2] = ["register", "watch"];

/// A directory store, and a configuration for `watch` with one target.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(temp_dir());
        for dir in ["conf.d", "templates", "store"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        fs::write(bench.file("templates/a.tera"), "text").unwrap();
        let target = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}'\nkeys = ['/a']\n",
            bench.file("dest").display()
        );
        fs::write(bench.file("conf.d/a.toml"), target).unwrap();
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn wait_log(&self, want: &str) {
        wait_for(&format!("{want:?} in the log"), || {
            self.log().lines().any(|line| line == want).then_some(())
        });
    }

    fn is_announced(&self) -> bool {
        self.file("store/services/web/a/ip").exists()
    }

    /// `sidekick` in one of the modes, with options, about to run a command that finds this directory in `$DIR`.
    fn command(&self, mode: &str, options: &[&str], command: &[&str]) -> Command {
        let mut whole = sidekick();
        let store = format!("dir://{}", self.file("store").display());
        whole
            .args([mode, "--store", &store])
            .env("DIR", self.0.path());
        match mode {
            "register" => whole.args(["--name=web", "--id=a", "--port=80", "--ip=10.0.0.1"]),
            _ => whole.arg("--conf-dir").arg(self.0.path()),
        };
        whole.args(options).arg("--").args(command);
        whole
    }

    fn start(&self, mode: &str, options: &[&str], command: &[&str]) -> Process {
        let log = self.file(&format!("{mode}.log"));
        Process::start(&mut self.command(mode, options, command), &log)
    }
}

/// A master that ends when its worker has done its job.
const PREFORK: &str = "\
    (read _ < $DIR/job; echo done >> $DIR/log) & worker=$!
    trap 'echo stopping >> $DIR/log; wait $worker; echo worker $? >> $DIR/log; exit 0' TERM
    echo up >> $DIR/log
    while :; do wait $worker; done";

#[test]
fn a_master_that_waits_for_the_job_of_its_worker_keeps_it() {
    for mode in MODES {
        let bench = Bench::new();
        let job = bench.file("job");
        nix::unistd::mkfifo(&job, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut process = bench.start(mode, &[], &["sh", "-c", PREFORK]);
        bench.wait_log("up");
        process.signal(Signal::SIGTERM);
        bench.wait_log("stopping");
        fs::write(&job, "done\n").unwrap();
        assert_eq!(
            process.wait().code(),
            Some(0),
            "{mode}: {}",
            process.output()
        );
        assert_eq!(bench.log(), "up\nstopping\ndone\nworker 0\n", "{mode}");
    }
}

#[test]
fn a_whole_group_hears_the_signal_where_that_is_asked_for() {
    for mode in MODES {
        let bench = Bench::new();
        nix::unistd::mkfifo(&bench.file("job"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut process = bench.start(mode, &["--signal-group"], &["sh", "-c", PREFORK]);
        bench.wait_log("up");
        process.signal(Signal::SIGTERM);
        assert_eq!(
            process.wait().code(),
            Some(0),
            "{mode}: {}",
            process.output()
        );
        assert_eq!(bench.log(), "up\nstopping\nworker 143\n", "{mode}");
    }
}

#[test]
fn what_is_left_of_the_group_is_asked_to_end_and_has_the_grace() {
    for mode in MODES {
        let bench = Bench::new();
        let script = "(trap 'echo asked >> $DIR/log; sleep 0.3; echo clean >> $DIR/log; exit 0' TERM; \
                      echo up >> $DIR/log; while :; do sleep 0.05; done) & \
                      until [ -s $DIR/log ]; do sleep 0.01; done; exit 3";
        let mut process = bench.start(mode, &[], &["sh", "-c", script]);
        assert_eq!(
            process.wait().code(),
            Some(3),
            "{mode}: {}",
            process.output()
        );
        assert_eq!(bench.log(), "up\nasked\nclean\n", "{mode}");
    }
}

const SIZE: usize = 512 << 10;

/// What a server needs is put into the directory; its port, and the command that starts it.
type Server = fn(&Bench) -> (u16, Vec<String>);

/// nginx, sending `SIZE` bytes in about two seconds.
fn slow_nginx(bench: &Bench) -> (u16, Vec<String>) {
    let (port, at) = (free_port(), bench.0.path().display());
    fs::create_dir_all(bench.file("www")).unwrap();
    fs::write(bench.file("www/big"), vec![b'x'; SIZE]).unwrap();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};"));
    let text = format!(
        "user root; worker_processes 1; daemon off; pid {at}/pid; error_log stderr; events {{}}\n\
         http {{ access_log off; {} server {{ listen 127.0.0.1:{port}; root {at}/www; limit_rate 256k; }} }}\n",
        temp.join(" ")
    );
    fs::write(bench.file("nginx.conf"), text).unwrap();
    let nginx = tool("nginx").display().to_string();
    let config = bench.file("nginx.conf").display().to_string();
    let command = [&nginx, "-e", "stderr", "-c", &config].map(str::to_owned);
    (port, command.to_vec())
}

/// Apache, sending the same as slowly.
fn slow_apache(bench: &Bench) -> (u16, Vec<String>) {
    let (port, at) = (free_port(), bench.0.path().display());
    fs::create_dir_all(bench.file("www")).unwrap();
    fs::write(bench.file("www/big"), vec![b'x'; SIZE]).unwrap();
    let modules = modules("apache2");
    let loads: String = ["mpm_event", "authz_core", "env", "ratelimit"]
        .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
        .concat();
    let text = format!(
        "ServerRoot {at}\nServerName localhost\nDefaultRuntimeDir {at}\nPidFile {at}/pid\nErrorLog {at}/errors\n\
         {loads}Listen 127.0.0.1:{port}\nStartServers 1\nServerLimit 2\nThreadsPerChild 4\nMaxRequestWorkers 8\n\
         DocumentRoot {at}/www\n<Location />\nSetOutputFilter RATE_LIMIT\nSetEnv rate-limit 256\n</Location>\n"
    );
    fs::write(bench.file("apache.conf"), text).unwrap();
    // Its children are another user where we are root.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bench.0.path(), open).unwrap();
    let apache = tool("apache2").display().to_string();
    let config = bench.file("apache.conf").display().to_string();
    let command = [&apache, "-D", "FOREGROUND", "-f", &config].map(str::to_owned);
    (port, command.to_vec())
}

/// Begins the download; what has come of it by the time that its head has.
fn begin_download(port: u16) -> (TcpStream, Vec<u8>) {
    let mut stream = wait_for("nginx", || TcpStream::connect(("127.0.0.1", port)).ok());
    stream
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut got = vec![0; 1024];
    stream.read_exact(&mut got).unwrap();
    (stream, got)
}

/// How many bytes of the body arrive when `sidekick` gets `signal` during the download; and its exit status.
fn download_through_a_stop(
    server: Server,
    mode: &str,
    options: &[&str],
    signal: Signal,
) -> (usize, Option<i32>) {
    let bench = Bench::new();
    let (port, command) = server(&bench);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut process = bench.start(mode, options, &command);
    let (mut stream, mut got) = begin_download(port);
    if mode == "register" {
        wait_for("the announcement", || bench.is_announced().then_some(()));
    }
    process.signal(signal);
    if mode == "register" {
        wait_for("the withdrawal", || (!bench.is_announced()).then_some(()));
    }
    // A stop that cuts it ends the stream early, by a reset or not.
    let _ = stream.read_to_end(&mut got);
    let head = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (got.len() - head, process.wait().code())
}

#[test]
fn a_slow_download_survives_a_stop_by_the_signal_that_its_server_takes_for_a_warm_one() {
    for mode in MODES {
        // TERM and INT as a service manager and a terminal send them, QUIT as an image with STOPSIGNAL SIGQUIT has it.
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
            let options = ["--stop-signal", "QUIT"];
            let got = download_through_a_stop(slow_nginx, mode, &options, signal);
            assert_eq!(got, (SIZE, Some(0)), "{mode}, {signal}");
        }
        // So that it is known to be cut otherwise.
        let (got, _) = download_through_a_stop(slow_nginx, mode, &[], Signal::SIGTERM);
        assert!(got < SIZE, "{mode}");
    }
}

#[test]
fn apache_finishes_its_requests_at_the_signal_that_is_its_own() {
    for mode in MODES {
        for signal in [Signal::SIGTERM, Signal::SIGWINCH] {
            let options = ["--stop-signal", "WINCH"];
            let got = download_through_a_stop(slow_apache, mode, &options, signal);
            assert_eq!(got, (SIZE, Some(0)), "{mode}, {signal}");
        }
    }
}

#[test]
fn the_stop_signal_may_come_from_the_environment_and_a_wrong_one_is_a_mistake() {
    for mode in MODES {
        let bench = Bench::new();
        let script = "trap 'exit 7' QUIT; echo up >> $DIR/log; while :; do sleep 0.05; done";
        let mut command = bench.command(mode, &[], &["sh", "-c", script]);
        command.env("SIDEKICK_STOP_SIGNAL", "SIGQUIT");
        let mut process = Process::start(&mut command, &bench.file("out"));
        bench.wait_log("up");
        process.signal(Signal::SIGTERM);
        assert_eq!(
            process.wait().code(),
            Some(7),
            "{mode}: {}",
            process.output()
        );

        let output = bench
            .command(mode, &["--stop-signal", "KILL"], &["true"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{mode}: {text}");
        assert!(text.contains("--stop-signal: SIGKILL cannot be"), "{text}");
    }
}

#[test]
fn without_a_command_the_stop_signal_is_a_clean_stop() {
    let bench = Bench::new();
    let store = format!("dir://{}", bench.file("store").display());
    let mut watch = sidekick();
    watch.args([
        "watch",
        "--store",
        &store,
        "--stop-signal",
        "QUIT",
        "--conf-dir",
    ]);
    let mut process = Process::start(watch.arg(bench.0.path()), &bench.file("out"));
    wait_for("the file", || bench.file("dest").exists().then_some(()));
    process.signal(Signal::SIGQUIT);
    assert_eq!(process.wait().code(), Some(0), "{}", process.output());
}
