//! `sidekick watch -- COMMAND`: the entrypoint of a proxy, with real proxies.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::etcd::Etcd;
use crate::harness::notify::Notify;
use crate::harness::{Process, free_port, sidekick, temp_dir, tool, wait_for};
use crate::routing::ask;

/// Answers with the ids of the instances.
const HAPROXY: &str = "defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend f
    bind 127.0.0.1:PORT
    http-request return status 200 content-type text/plain string \"{% for i in services.web %}{{ i.id }} {% endfor %}\"
";
const NGINX: &str = "pid DIR/pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
    fastcgi_temp_path DIR/fastcgi;
    uwsgi_temp_path DIR/uwsgi;
    scgi_temp_path DIR/scgi;
    server {
        listen 127.0.0.1:PORT;
        return 200 \"{% for i in services.web %}{{ i.id }} {% endfor %}\";
    }
}
";

/// A store, and a configuration of one target that signals the command.
struct Bench {
    etcd: Etcd,
    dir: tempfile::TempDir,
    port: u16,
}

impl Bench {
    fn new(template: &str, signal: &str) -> Self {
        let bench = Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
            port: free_port(),
        };
        for dir in ["conf.d", "templates"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        let at = bench.dir.path().display();
        let template = template
            .replace("PORT", &bench.port.to_string())
            .replace("DIR", &at.to_string());
        fs::write(bench.file("templates/a.tera"), template).unwrap();
        let target = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{at}/a.cfg'\nservices = ['web']\n\
             check_cmd = ': {{{{src}}}}; test ! -e {at}/refuse'\n\
             [template.reload]\nsignal = '{signal}'\nchild = true\n[template.pace]\nmin_interval = '0s'\n\
             [template.guard]\non_empty = 'render'\nmax_drop = '100%'\n"
        );
        fs::write(bench.file("conf.d/a.toml"), target).unwrap();
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// `sidekick watch` with a command and options before it.
    fn command(&self, options: &[&str], command: &[&str]) -> std::process::Command {
        let mut whole = sidekick();
        whole.args(["watch", "--store", &self.etcd.url(), "--conf-dir"]);
        whole.arg(self.dir.path()).args(options).arg("--");
        whole.args(command);
        whole
    }

    fn start(&self, options: &[&str], command: &[&str]) -> Process {
        let mut whole = self.command(options, command);
        Process::start(&mut whole, &self.file("log"))
    }

    fn haproxy(&self) -> Process {
        let haproxy = tool("haproxy").display().to_string();
        self.start(&[], &[&haproxy, "-W", "-db", "-f", &self.text("a.cfg")])
    }

    fn nginx(&self) -> Process {
        let nginx = tool("nginx").display().to_string();
        let config = self.text("a.cfg");
        self.start(
            &[],
            &[&nginx, "-e", "stderr", "-g", "daemon off;", "-c", &config],
        )
    }

    fn put(&self, id: &str) {
        self.etcd.put_instance("web", id, "10.0.0.1", 80);
    }

    /// What the proxy answers.
    fn ask(&self) -> Option<String> {
        ask(self.port, "a", "/").map(|answer| answer.trim().to_owned())
    }

    #[track_caller]
    fn wait_answer(&self, want: &str, process: &Process) {
        let start = Instant::now();
        wait_for("the proxy to answer", || {
            let answer = self.ask();
            let late = start.elapsed() > Duration::from_secs(20);
            assert!(!late, "{answer:?} in place of {want}: {}", process.output());
            (answer? == want).then_some(())
        });
    }
}

/// The command's own process.
fn child_of(process: &Process) -> i32 {
    let path = format!("/proc/{0}/task/{0}/children", process.pid());
    let text = fs::read_to_string(path).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[track_caller]
fn keeps_a_proxy(bench: &Bench, mut process: Process, stopped: i32) {
    bench.wait_answer("a", &process);
    let master = child_of(&process);
    for (id, want) in [("b", "a b"), ("c", "a b c")] {
        bench.put(id);
        bench.wait_answer(want, &process);
    }
    assert_eq!(child_of(&process), master, "reloaded, not restarted");
    process.signal(Signal::SIGTERM);
    let status = process.wait();
    // HAProxy's master leaves with its worker's status, or with 0 if that was faster; it says which.
    let said = process.output();
    let own = said.rsplit_once("All workers exited. Exiting... (");
    let own = own.and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    assert_eq!(status.code(), Some(own.unwrap_or(stopped)), "{said}");
    assert_eq!(bench.ask(), None);
}

#[test]
fn haproxy_is_started_reloaded_and_stopped() {
    let bench = Bench::new(HAPROXY, "USR2");
    bench.put("a");
    // What its master reports for a TERM.
    keeps_a_proxy(&bench, bench.haproxy(), 143);
}

#[test]
fn nginx_is_started_reloaded_and_stopped() {
    let bench = Bench::new(NGINX, "HUP");
    bench.put("a");
    keeps_a_proxy(&bench, bench.nginx(), 0);
}

#[test]
fn other_signals_reach_it_too() {
    let bench = Bench::new(NGINX, "HUP");
    bench.put("a");
    let mut process = bench.nginx();
    bench.wait_answer("a", &process);
    // nginx takes it for a request to finish what it is at and leave.
    process.signal(Signal::SIGQUIT);
    assert_eq!(process.wait().code(), Some(0), "{}", process.output());
}

#[test]
fn it_starts_when_every_file_is_in_place() {
    let mut bench = Bench::new("{% for i in services.web %}{{ i.id }}\n{% endfor %}", "HUP");
    bench.put("a");
    bench.etcd.stop();
    fs::write(bench.file("refuse"), "").unwrap();
    let script = format!("cp {0}/a.cfg {0}/seen; exit 3", bench.dir.path().display());
    let mut process = bench.start(&[], &["sh", "-c", &script]);
    for (hint, step) in [("trying again", 0), ("the check refused", 1)] {
        process.wait_said(hint);
        assert!(!bench.file("seen").exists(), "{}", process.output());
        match step {
            0 => bench.etcd.start(),
            _ => fs::remove_file(bench.file("refuse")).unwrap(),
        }
    }
    assert_eq!(process.wait().code(), Some(3), "{}", process.output());
    assert_eq!(fs::read_to_string(bench.file("seen")).unwrap(), "a\n");
}

#[test]
fn its_end_is_ours() {
    let bench = Bench::new(HAPROXY, "USR2");
    for (command, status) in [
        (&["sh", "-c", "kill -KILL $$"][..], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["/no/such/proxy"], 127),
        (&["/"], 126),
    ] {
        let mut process = bench.start(&[], command);
        assert_eq!(process.wait().code(), Some(status), "{command:?}");
    }
    bench.put("a");
    let mut process = bench.haproxy();
    bench.wait_answer("a", &process);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child_of(&process)),
        Signal::SIGKILL,
    )
    .unwrap();
    assert_eq!(process.wait().code(), Some(137));
    wait_for("its workers to be gone", || {
        bench.ask().is_none().then_some(())
    });
}

#[test]
fn a_stop_is_bounded_and_not_waited_for_before_the_start() {
    let mut bench = Bench::new("", "HUP");
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let mut process = bench.start(&["--stop-grace", "300ms"], &["sh", "-c", script]);
    process.wait_said("\nup\n");
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(137));

    bench.etcd.stop();
    let mut process = bench.start(&[], &["sleep", "1000"]);
    wait_for("word of the outage", || {
        let count = process.output().matches("trying again").count();
        (count > 0).then_some(())
    });
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(143), "nothing was done");
}

/// Most directories made for confd reload their proxy by a command; some of those start it if it does not run.
#[test]
fn a_reload_command_is_not_run_before_the_command_has_been_started() {
    let bench = Bench::new(NGINX, "HUP");
    bench.put("a");
    let conf = bench.file("conf.d/a.toml");
    let nginx = tool("nginx").display().to_string();
    let at = bench.dir.path().display();
    let reload = format!("echo x >> {at}/reloads; {nginx} -e stderr -c {at}/a.cfg -s reload");
    let text = fs::read_to_string(&conf).unwrap();
    let text = text.replace(
        "[template.reload]\nsignal = 'HUP'\nchild = true",
        &format!("reload_cmd = '{reload}'"),
    );
    fs::write(&conf, text).unwrap();
    let mut process = bench.nginx();
    bench.wait_answer("a", &process);
    assert!(!bench.file("reloads").exists(), "{}", process.output());
    bench.put("b");
    bench.wait_answer("a b", &process);
    assert!(bench.file("reloads").exists(), "{}", process.output());
    assert!(!process.output().contains("ERROR"), "{}", process.output());
    process.signal(Signal::SIGTERM);
    process.wait();
}

#[test]
fn a_program_beside_the_command_that_runs_already_is_told_before_the_start() {
    let bench = Bench::new("{% for i in services.web %}{{ i.id }}{% endfor %}", "HUP");
    bench.put("a");
    let conf = bench.file("conf.d/a.toml");
    let at = bench.dir.path().display();
    let text = fs::read_to_string(&conf).unwrap();
    let way = format!("signal = 'HUP'\npidfile = '{at}/pid'");
    fs::write(&conf, text.replace("signal = 'HUP'\nchild = true", &way)).unwrap();
    let script =
        "trap 'echo told >> $DIR/told' HUP; echo $$ > $DIR/pid; while :; do sleep 0.05; done";
    let mut beside = std::process::Command::new("sh");
    beside.args(["-c", script]).env("DIR", bench.dir.path());
    let _beside = Process::start(&mut beside, &bench.file("beside"));
    wait_for("its pidfile", || {
        fs::read_to_string(bench.file("pid"))
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    let process = bench.start(&[], &["sleep", "1000"]);
    wait_for("the reload", || bench.file("told").exists().then_some(()));
    process.wait_said("the command is started");
}

#[test]
fn a_target_that_signals_a_command_needs_one() {
    let bench = Bench::new("", "HUP");
    let run = |args: &[&str]| {
        let mut command = sidekick();
        command.arg("watch").arg("--conf-dir").arg(bench.dir.path());
        command
            .args(["--store", &bench.etcd.url()])
            .args(args)
            .output()
            .unwrap()
    };
    for args in [&[][..], &["--once"]] {
        let output = run(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains("there is no command"), "{text}");
    }
    assert_eq!(run(&["--noop"]).status.code(), Some(2));
    assert_eq!(run(&["--noop", "--", "true"]).status.code(), Some(64));
    assert_eq!(run(&["--once", "--", "true"]).status.code(), Some(0));
}

/// A container that was killed finds what it had left: a socket that nobody listens at, a pidfile of nobody.
#[test]
fn what_a_killed_proxy_left_behind_does_not_keep_the_next_one_from_its_start() {
    let bench = Bench::new(HAPROXY, "USR2");
    let master = bench.text("master.sock");
    let pidfile = bench.text("pid");
    let conf = bench.file("conf.d/a.toml");
    let text = fs::read_to_string(&conf).unwrap();
    let haproxy = tool("haproxy").display().to_string();
    let config = bench.text("a.cfg");
    let reloads = [
        (format!("haproxy_master = '{master}'"), ""),
        (format!("signal = 'USR2'\npidfile = '{pidfile}'"), ""),
        (format!("signal = 'USR2'\npidfile = '{pidfile}'"), "4194304"),
    ];
    for (n, (reload, pid)) in reloads.iter().enumerate() {
        let text = text.replace("signal = 'USR2'\nchild = true", reload);
        fs::write(&conf, text).unwrap();
        fs::write(&pidfile, pid).unwrap();
        let _ = fs::remove_file(&master);
        drop(UnixListener::bind(&master).unwrap());
        // There is a file already, and another one to come.
        bench.put(&format!("i{n}"));
        let command = [
            &haproxy, "-W", "-db", "-S", &master, "-p", &pidfile, "-f", &config,
        ];
        let mut process = bench.start(&[], &command);
        wait_for("the proxy", || {
            bench
                .ask()
                .filter(|answer| answer.contains(&format!("i{n}")))
        });
        bench.put(&format!("j{n}"));
        wait_for("the reload", || {
            bench
                .ask()
                .filter(|answer| answer.contains(&format!("j{n}")))
        });
        process.signal(Signal::SIGTERM);
        process.wait();
    }
}

/// What the shell's child inherits of the shell's signals. The shell itself blocks all of them while it starts a child.
const SIGNALS: &str = "grep -E '^Sig(Blk|Ign)' /proc/self/status";

#[test]
fn after_one_pass_the_command_takes_our_place() {
    let bench = Bench::new("{% for i in services.web %}{{ i.id }}\n{% endfor %}", "HUP");
    bench.put("a");
    let notify = Notify::at(&bench.file("notify"));
    let at = bench.dir.path().display();
    let script = format!(
        "echo $$ >{at}/pid; cp {at}/a.cfg {at}/seen; {SIGNALS} >{at}/signals; echo $NOTIFY_SOCKET >{at}/socket; exit 3"
    );
    let mut command = bench.command(&["--once"], &["sh", "-c", &script]);
    let mut process = Process::start(notify.pass_socket_to(&mut command), &bench.file("log"));
    assert_eq!(process.wait().code(), Some(3), "{}", process.output());
    process.wait_said("the command takes the place of sidekick");
    let read = |name: &str| fs::read_to_string(bench.file(name)).unwrap();
    assert_eq!(read("pid").trim(), process.pid().to_string());
    assert_eq!(read("seen"), "a\n");
    assert_eq!(read("socket").trim(), bench.text("notify"));
    // Signals 32 and 33 are the C library's own, which catches them as soon as there are threads.
    let named = |text: &str| {
        let masks = text.lines().filter_map(|line| line.split_once(":\t"));
        let masks = masks.map(|(name, mask)| {
            let mask = u64::from_str_radix(mask, 16).unwrap();
            (name.to_owned(), mask & !(0b11 << 31))
        });
        masks.collect::<Vec<_>>()
    };
    // The harness starts us with none blocked and none ignored; for ourselves we block and ignore some.
    let none = [("SigBlk".to_owned(), 0), ("SigIgn".to_owned(), 0)];
    assert_eq!(named(&read("signals")), none);
    // The command says itself when it is up.
    let said = std::iter::from_fn(|| notify.pending()).collect::<String>();
    assert!(!said.contains("READY=1"), "{said}");
}

#[test]
fn the_command_does_not_take_our_place_before_all_is_well() {
    let mut bench = Bench::new("{% for i in services.web %}{{ i.id }}\n{% endfor %}", "HUP");
    bench.put("a");
    let ran = bench.file("ran");
    let script = format!("touch {}", ran.display());
    fs::write(bench.file("refuse"), "").unwrap();
    let mut process = bench.start(&["--once"], &["sh", "-c", &script]);
    assert_eq!(process.wait().code(), Some(1), "{}", process.output());
    fs::remove_file(bench.file("refuse")).unwrap();
    for (command, status) in [("/no/such/proxy", 127), ("/", 126)] {
        let mut process = bench.start(&["--once"], &[command]);
        assert_eq!(process.wait().code(), Some(status), "{}", process.output());
        process.wait_said(&format!("cannot start {command}"));
    }
    bench.etcd.stop();
    let mut process = bench.start(&["--once"], &["sh", "-c", &script]);
    wait_for("word of the outage", || {
        process.output().contains("trying again").then_some(())
    });
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(143), "{}", process.output());
    assert!(!ran.exists(), "{}", process.output());
}

#[test]
fn a_proxy_takes_our_place_with_the_environment_as_its_store() {
    let bench = Bench::new(HAPROXY, "USR2");
    let conf = bench.file("conf.d/a.toml");
    let text = fs::read_to_string(&conf).unwrap();
    let at = bench.dir.path().display();
    let reload = format!("reload_cmd = 'touch {at}/reloaded'");
    let text = text.replace("[template.reload]\nsignal = 'USR2'\nchild = true", &reload);
    fs::write(&conf, text).unwrap();
    let mut command = sidekick();
    command.args(["watch", "--once", "--store", "env:", "--conf-dir"]);
    command.arg(bench.dir.path()).arg("--").arg(tool("haproxy"));
    command.args(["-W", "-db", "-f"]).arg(bench.file("a.cfg"));
    command.envs([
        ("SERVICES_WEB_A_IP", "10.0.0.1"),
        ("SERVICES_WEB_A_PORT", "80"),
    ]);
    let mut process = Process::start(&mut command, &bench.file("log"));
    bench.wait_answer("a", &process);
    let program = fs::read_link(format!("/proc/{}/exe", process.pid())).unwrap();
    assert_eq!(program.file_name().unwrap(), "haproxy");
    assert!(
        !bench.file("reloaded").exists(),
        "there was nobody to be reloaded"
    );
    process.signal(Signal::SIGTERM);
    process.wait();
    assert_eq!(bench.ask(), None);
}
