//! The units of `contrib/systemd`: how closed they are, and run by a systemd of their own in a container, whose
//! programs are those of this machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::docker::{self, Container, Image, Rootfs, said};
use crate::harness::notify::Notify;
use crate::harness::{Process, sidekick, skipped, temp_dir, wait_for};

const UNITS: [&str; 3] = [
    "sidekick-register@.service",
    "sidekick-watch.service",
    "sidekick-dashboard.service",
];
const SIDECAR: &str = "sidekick-register@web";

/// A unit that is announced. When it is told to stop it looks for its instance in the store.
const WEB: &str = "[Service]
ExecStart=/usr/bin/sleep infinity
ExecStop=/bin/sh -c 'ls /run/sidekick/services/web >/run/seen; echo end >>/run/seen'
Restart=on-failure
RestartSec=100ms
";
/// Quotes hold words together.
const OPTIONS: &str =
    "OPTIONS=--name web --id a --port 8080 --ip 127.0.0.1 --attr 'note=two words'\n";

pub(crate) fn shipped(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn analyze(program: &Path, dir: &Path, args: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    let output = command.args(args).current_dir(dir).output();
    if output.is_err() {
        skipped("systemd-analyze is not there");
    }
    output.ok()
}

/// The units in a directory, with the binary under test and a unit `web` to be bound to.
pub(crate) fn unit_files() -> tempfile::TempDir {
    let dir = temp_dir();
    for unit in UNITS {
        let text = shipped(&format!("contrib/systemd/{unit}"));
        let text = text.replace("/usr/local/bin/sidekick", env!("CARGO_BIN_EXE_sidekick"));
        let name = unit.replace('@', "@web");
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::write(dir.path().join("web.service"), WEB).unwrap();
    dir
}

#[test]
fn the_units_stay_as_closed_as_they_are() {
    let dir = unit_files();
    // Ten times the exposure that systemd sees, 100 being that of a service without any care.
    let exposures = [
        ("sidekick-register@web", "12"),
        ("sidekick-watch", "26"),
        ("sidekick-dashboard", "12"),
    ];
    for (unit, most) in exposures {
        let (unit, most) = (format!("./{unit}.service"), format!("--threshold={most}"));
        let args = ["security", "--offline=true", "--no-pager", &most, &unit];
        let Some(output) = analyze(Path::new("systemd-analyze"), dir.path(), &args) else {
            return;
        };
        let text = said(&output);
        if text.contains("unrecognized option") {
            skipped("this systemd-analyze judges running units only");
            return;
        }
        assert!(output.status.success(), "{unit}: {text}");
    }
}

/// A container in which systemd runs, with the units installed as the documentation says.
pub(crate) struct Booted {
    pub(crate) container: Container,
    _image: Image,
}

impl Booted {
    /// None, and a word on it, where there is no way to it.
    pub(crate) fn new() -> Option<Self> {
        if !docker::engine() {
            return None;
        }
        let Ok(systemd) = fs::canonicalize("/usr/lib/systemd/systemd") else {
            skipped("systemd is not installed");
            return None;
        };
        let image = rootfs().import("systemd");
        let mut args = confinement();
        args.extend([image.0.clone(), systemd.display().to_string()]);
        match Container::run("systemd", &args) {
            Ok(container) => Some(Self::up(container, image)),
            Err(why) => {
                skipped(&format!(
                    "systemd does not start in a container here: {why}"
                ));
                None
            }
        }
    }

    fn up(container: Container, image: Image) -> Self {
        let booted = Self {
            container,
            _image: image,
        };
        wait_for("systemd to be up", || {
            let state = said(&booted.container.exec(&["systemctl", "is-system-running"]));
            ["running", "degraded"]
                .contains(&state.trim())
                .then_some(())
        });
        booted.run(&["systemd-sysusers", "sidekick.conf"]);
        booted.shell("systemd-tmpfiles --create sidekick.conf haproxy.conf");
        booted.run(&["systemctl", "enable", SIDECAR]);
        booted
    }

    /// Runs a command, which must succeed.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.container.exec(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn shell(&self, script: &str) -> String {
        self.run(&["sh", "-c", script])
    }

    /// Writes a file in the container.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let script = format!("mkdir -p $(dirname {path}) && cat >{path} <<'END'\n{text}\nEND\n");
        self.shell(&script);
    }

    pub(crate) fn show(&self, unit: &str, property: &str) -> String {
        let text = self.run(&["systemctl", "show", "--value", "-p", property, unit]);
        text.trim().to_owned()
    }

    fn is_announced(&self) -> bool {
        let port = "/run/sidekick/services/web/a/port";
        self.container.exec(&["cat", port]).status.success()
    }

    /// Waits until the unit runs in another process than `before`, and is announced; the new one.
    #[track_caller]
    fn wait_announced(&self, before: &str) -> String {
        wait_for("the sidecar to have announced its unit", || {
            let pid = self.show(SIDECAR, "MainPID");
            let fresh = pid != before && self.show(SIDECAR, "ActiveState") == "active";
            (fresh && self.is_announced()).then_some(pid)
        })
    }

    pub(crate) fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--no-pager", "-u", unit])
    }
}

/// The power that systemd needs to be the first process of a container, and the programs of this machine.
fn confinement() -> Vec<String> {
    let mut args: Vec<String> = "--cap-add ALL --cap-drop SYS_RESOURCE --cgroupns host \
         --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
         --security-opt systempaths=unconfined --tmpfs /run --tmpfs /tmp -e container=docker \
         -v /sys/fs/cgroup:/sys/fs/cgroup"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    for dir in ["bin", "sbin", "lib", "lib64", "share"] {
        args.extend(["-v".to_owned(), format!("/usr/{dir}:/usr/{dir}:ro")]);
    }
    let binary = env!("CARGO_BIN_EXE_sidekick");
    args.extend([
        "-v".to_owned(),
        format!("{binary}:/usr/local/bin/sidekick:ro"),
    ]);
    args
}

fn rootfs() -> Rootfs {
    let rootfs = Rootfs::new();
    // Without this file systemd takes it for the first boot, and asks questions.
    rootfs.write("etc/machine-id", "");
    for unit in UNITS {
        let text = shipped(&format!("contrib/systemd/{unit}"));
        rootfs.write(&format!("etc/systemd/system/{unit}"), &text);
    }
    for kind in ["sysusers", "tmpfiles"] {
        let text = shipped(&format!("contrib/systemd/sidekick.{kind}.conf"));
        rootfs.write(&format!("etc/{kind}.d/sidekick.conf"), &text);
    }
    rootfs.write("etc/systemd/system/web.service", WEB);
    rootfs.write("etc/sidekick/register/web.env", OPTIONS);
    for path in [
        "conf.d/haproxy.toml",
        "templates/haproxy-backends.cfg.tera",
        "templates/haproxy-routes.map.tera",
    ] {
        rootfs.write(&format!("etc/sidekick/{path}"), &shipped(path));
    }
    let drop_in = "haproxy.service.d/sidekick.conf";
    rootfs.write(
        &format!("etc/systemd/system/{drop_in}"),
        &shipped(&format!("contrib/systemd/{drop_in}")),
    );
    rootfs.write(
        "etc/haproxy/haproxy.cfg",
        &shipped("contrib/haproxy/base.cfg"),
    );
    for code in [400, 403, 408, 500, 502, 503, 504] {
        let page = format!("etc/haproxy/errors/{code}.http");
        rootfs.copy(Path::new("/").join(&page), &page);
    }
    // HAProxy reads it when it starts, before there is anything announced.
    rootfs.write("etc/haproxy/sidekick.d/routes.map", "");
    let users = "root:x:0:0::/root:/bin/sh\nhaproxy:x:110:110::/var/lib/haproxy:/bin/false\n\
                 messagebus:x:111:111::/nonexistent:/bin/false\nnobody:x:65534:65534::/nonexistent:/bin/false\n";
    rootfs.write("etc/passwd", users);
    rootfs.write(
        "etc/group",
        "root:x:0:\nhaproxy:x:110:\nmessagebus:x:111:\nnogroup:x:65534:\n",
    );
    for dir in ["var/lib/haproxy", "usr/share", "usr/local/bin"] {
        rootfs.dir(dir);
    }
    rootfs
}

#[test]
fn the_dashboard_serves_what_is_announced_and_stops_in_order() {
    let Some(booted) = Booted::new() else { return };
    booted.run(&["systemctl", "start", "web", "sidekick-dashboard"]);
    booted.wait_announced("0");
    let feed = "curl -sN --max-time 2 http://127.0.0.1:9466/events; true";
    wait_for("the instance on the dashboard", || {
        let said = booted.shell(feed);
        said.contains("\"instance:web/a\"").then_some(())
    });
    let status = booted.run(&["systemctl", "status", "--no-pager", "sidekick-dashboard"]);
    assert!(
        status.contains("serving http://127.0.0.1:9466/"),
        "{status}"
    );
    booted.run(&["systemctl", "stop", "sidekick-dashboard"]);
    let result = [
        "systemctl",
        "show",
        "-P",
        "Result",
        "-P",
        "NRestarts",
        "sidekick-dashboard",
    ];
    assert_eq!(booted.run(&result).trim(), "success\n0");
}

#[test]
fn an_announcement_lives_as_long_as_its_unit() {
    let Some(booted) = Booted::new() else { return };
    booted.run(&["systemctl", "start", "web"]);
    let first = booted.wait_announced("0");
    let note = booted.shell("cat /run/sidekick/services/web/a/note");
    assert_eq!(note, "two words");

    booted.run(&["systemctl", "restart", "web"]);
    let second = booted.wait_announced(&first);
    let seen = booted.shell("cat /run/seen");
    assert_eq!(seen, "end\n", "it was withdrawn before its unit was told");

    booted.run(&["systemctl", "stop", "web"]);
    assert_eq!(booted.show(SIDECAR, "ActiveState"), "inactive");
    assert!(!booted.is_announced());

    booted.run(&["systemctl", "start", "web"]);
    booted.wait_announced(&second);
}

#[test]
fn a_crash_of_either_ends_with_the_truth_in_the_store() {
    let Some(booted) = Booted::new() else { return };
    booted.run(&["systemctl", "start", "web"]);
    let mut sidecar = booted.wait_announced("0");

    booted.run(&["systemctl", "kill", "-s", "KILL", SIDECAR]);
    let main = booted.show("web", "MainPID");
    sidecar = booted.wait_announced(&sidecar);
    assert_eq!(booted.show("web", "MainPID"), main, "the unit goes on");

    booted.run(&["systemctl", "kill", "-s", "KILL", "web"]);
    sidecar = booted.wait_announced(&sidecar);
    assert_ne!(booted.show("web", "MainPID"), main, "both were restarted");
    let journal = booted.journal(SIDECAR);
    assert_eq!(journal.matches("is withdrawn").count(), 1, "{journal}");

    // One that is stuck is noticed, also by the store.
    let drop_in = format!("/run/systemd/system/{SIDECAR}.service.d");
    booted.shell(&format!(
        "mkdir -p {drop_in} && printf '[Service]\\nWatchdogSec=2s\\n' >{drop_in}/fast.conf && \
         systemctl daemon-reload && systemctl restart {SIDECAR}"
    ));
    sidecar = booted.wait_announced(&sidecar);
    booted.run(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "-s",
        "STOP",
        SIDECAR,
    ]);
    booted.wait_announced(&sidecar);
    let journal = booted.journal(SIDECAR);
    assert!(journal.contains("Watchdog timeout"), "{journal}");

    // Without a restart the unit stays down, and so does its announcement.
    booted.shell("sed -i /Restart/d /etc/systemd/system/web.service; systemctl daemon-reload");
    booted.run(&["systemctl", "kill", "-s", "KILL", "web"]);
    wait_for("the instance to be gone", || {
        let down = booted.show(SIDECAR, "ActiveState") == "inactive";
        (down && !booted.is_announced()).then_some(())
    });
}

#[test]
fn the_watch_unit_may_do_what_it_has_to() {
    let Some(booted) = Booted::new() else { return };
    booted.run(&["systemctl", "start", "haproxy", "web"]);
    booted.wait_announced("0");
    let before = booted.show("haproxy", "MainPID");
    // It is up when the file is in force.
    booted.run(&["systemctl", "start", "sidekick-watch"]);
    let file = "cat /etc/haproxy/sidekick.d/backends.cfg";
    assert!(booted.shell(file).contains("server a 127.0.0.1:8080 "));
    let journal = booted.journal("haproxy");
    assert!(journal.contains("Reloaded haproxy"), "{journal}");
    assert_eq!(booted.show("haproxy", "MainPID"), before);

    booted.run(&["systemctl", "stop", "web"]);
    wait_for("the file without the instance", || {
        (!booted.shell(file).contains("server a ")).then_some(())
    });
    booted.shell("echo edited >/etc/haproxy/sidekick.d/backends.cfg");
    booted.run(&["systemctl", "reload", "sidekick-watch"]);
    wait_for("the file to be repaired", || {
        booted.shell(file).contains("Backends, ").then_some(())
    });
    booted.run(&["systemctl", "stop", "sidekick-watch"]);
    assert_eq!(booted.show("sidekick-watch", "Result"), "success");
}

#[test]
fn a_store_that_is_away_holds_no_start_up_for_long_and_the_unit_goes_on() {
    let Some(booted) = Booted::new() else { return };
    booted.shell("echo SIDEKICK_STORE=etcd://127.0.0.1:2379 >/etc/sidekick/sidekick.env");
    booted.shell(
        "sed -i s/^JobRunningTimeoutSec=.*/JobRunningTimeoutSec=2s/ /etc/systemd/system/sidekick-*",
    );
    booted.run(&["systemctl", "daemon-reload"]);
    booted.run(&["systemctl", "start", "web"]);
    let waited = booted.container.exec(&["systemctl", "start", SIDECAR]);
    assert!(!waited.status.success(), "{}", said(&waited));
    assert_eq!(booted.show(SIDECAR, "ActiveState"), "activating");
    assert_eq!(booted.show("web", "ActiveState"), "active");
    booted.run(&[
        "systemd-run",
        "--unit=store",
        "etcd",
        "--data-dir=/tmp/etcd",
    ]);
    wait_for("the announcement", || {
        (booted.show(SIDECAR, "ActiveState") == "active").then_some(())
    });
}

/// Both modes, as a service manager with a watchdog starts them.
#[test]
fn a_watchdog_hears_of_both() {
    let dir = temp_dir();
    let file = |name: &str| dir.path().join(name).display().to_string();
    for name in ["conf/conf.d", "conf/templates"] {
        fs::create_dir_all(file(name)).unwrap();
    }
    fs::write(file("conf/templates/a.tera"), "").unwrap();
    let target = format!(
        "[template]\nsrc = 'a.tera'\ndest = '{}'\nkeys = ['/services']\n",
        file("out")
    );
    fs::write(file("conf/conf.d/a.toml"), target).unwrap();
    let (store, conf) = (format!("dir://{}", file("store")), file("conf"));
    let register = "--name web --port 80 --ip 127.0.0.1".split(' ');
    let modes = [
        ("register", register.collect()),
        ("watch", vec!["--conf-dir", &conf]),
    ];
    for (mode, args) in modes {
        let notify = Notify::at(&dir.path().join(mode));
        let mut command = sidekick();
        command.args([mode, "--store", &store]).args(args);
        command.env("WATCHDOG_USEC", "100000");
        let _process = Process::start(notify.pass_socket_to(&mut command), &dir.path().join("log"));
        let (mut beats, mut ready) = (0, false);
        while beats < 3 || !ready {
            let text = notify.receive();
            beats += usize::from(text.contains("WATCHDOG=1"));
            ready |= text.contains("READY=1");
        }
    }
}
