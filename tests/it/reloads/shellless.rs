//! Reloads in an image that holds the two programs and nothing else: no shell, no systemctl.

use std::fs;

use super::haproxy::TEMPLATE;
use super::{ANSWER, MOMENT};
use crate::harness::docker::{self, Container, Image, Rootfs, said};
use crate::harness::{PATIENCE, Process, free_port, sidekick, temp_dir, wait_for};
use crate::routing::ask;

fn image() -> Image {
    let rootfs = Rootfs::new();
    let binary = env!("CARGO_BIN_EXE_sidekick");
    rootfs.copy(binary, "usr/bin/sidekick");
    rootfs.libraries(binary.as_ref());
    rootfs.program("haproxy");
    rootfs.import("shellless")
}

#[test]
fn programs_are_reloaded_without_a_shell() {
    if !docker::engine() {
        return;
    }
    let image = image();
    for reload in [
        "signal = 'USR2'\nchild = true",
        "signal = 'USR2'\npidfile = '/run/pid'",
        "haproxy_master = '/run/m.sock'",
    ] {
        follow(&image, reload);
    }
}

/// HAProxy as the command of `sidekick watch` follows two instances, one after the other.
fn follow(image: &Image, reload: &str) {
    let (dir, port) = (temp_dir(), free_port());
    let file = |name: &str| dir.path().join(name);
    for name in ["conf/conf.d", "conf/templates", "store"] {
        fs::create_dir_all(file(name)).unwrap();
    }
    let template = TEMPLATE.replace("ANSWER", ANSWER);
    let template = template.replace("PORT", &port.to_string());
    fs::write(file("conf/templates/a.tera"), template).unwrap();
    let target = "[template]\nsrc = 'a.tera'\ndest = '/etc/a.cfg'\nservices = ['web', 'listen', 'broken']\n[template.reload]";
    fs::write(file("conf/conf.d/a.toml"), format!("{target}\n{reload}\n")).unwrap();

    let store = format!("dir://{}", file("store").display());
    let register = |id: &str| {
        let mut command = sidekick();
        command.args(["register", "--store", &store, "--name", "web", "--id", id]);
        command.args(["--ip", "127.0.0.1", "--port", "80"]);
        Process::start(&mut command, &file(id))
    };
    let _first = register("a");
    let mount = |name: &str| format!("{}:/{name}", file(name).display());
    let args = [
        "--network=host",
        "-v",
        &mount("conf"),
        "-v",
        &mount("store"),
        &image.0,
        "/usr/bin/sidekick",
        "watch",
        "--store=dir:///store",
        "--conf-dir=/conf",
        "--",
        "haproxy",
        "-W",
        "-db",
        "-p",
        "/run/pid",
        "-S",
        "/run/m.sock",
        "-f",
        "/etc/a.cfg",
    ];
    let container = Container::run("shellless", &args.map(str::to_owned)).unwrap();
    let log = || said(&docker::docker(&["logs", &container.0]));
    let answers = |want: &str| {
        let start = std::time::Instant::now();
        wait_for(want, || {
            assert!(start.elapsed() + MOMENT < PATIENCE, "{reload}: {}", log());
            (ask(port, "localhost", "/")? == want).then_some(())
        });
    };
    answers("a");
    let shell = container.exec(&["/bin/sh", "-c", "true"]);
    assert!(!shell.status.success(), "there is a shell");
    let _second = register("b");
    answers("ab");
    assert!(!log().contains("failed"), "{reload}: {}", log());
}
