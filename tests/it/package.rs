//! The Debian package, from its installation to its removal on a clean Debian: `docs/debian.md`, word for word.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::docker::{self, Container, Image, docker, said};
use crate::harness::{skipped, temp_dir, wait_for};
use crate::shipped::root;
use crate::systemd::shipped;

/// What systemd needs to be the first process of a container.
const CONFINEMENT: &str = "--cap-add ALL --cap-drop SYS_RESOURCE --cgroupns host \
     --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
     --security-opt systempaths=unconfined --tmpfs /run --tmpfs /tmp -e container=docker \
     -v /sys/fs/cgroup:/sys/fs/cgroup";

/// A section of the document: its text, and its commands.
struct Section {
    name: String,
    commands: String,
}

fn sections() -> Vec<Section> {
    let document = shipped("docs/debian.md");
    let parts = document.split("\n## ").skip(1);
    let section = |part: &str| {
        let (name, text) = part.split_once('\n').unwrap();
        let blocks = text.split("```sh\n").skip(1);
        let commands = blocks.map(|block| block.split("```").next().unwrap());
        Section {
            name: name.to_owned(),
            commands: commands.collect(),
        }
    };
    parts.map(section).collect()
}

/// The package of the binary under test; `None`, and a word on it, where it cannot be made.
fn package() -> Option<PathBuf> {
    let has_cargo_deb = Command::new(env!("CARGO"))
        .args(["deb", "--version"])
        .output();
    if !has_cargo_deb.is_ok_and(|output| output.status.success()) {
        skipped("cargo-deb is not installed: make install-package-test");
        return None;
    }
    let made = Command::new(root().join("contrib/deb.sh"))
        .args([env!("CARGO_BIN_EXE_sidekick"), "0.1.0", "--fast"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success(), "{}", said(&made));
    Some(root().join(text.trim()))
}

/// The same package with another version.
fn upgrade(package: &Path, dir: &Path) -> PathBuf {
    let newer = dir.join("etcd-sidekick_0.1.1_amd64.deb");
    let script = r#"dpkg-deb -R "$0" "$1/tree" && sed -i 's/^Version: .*/Version: 0.1.1/' "$1/tree/DEBIAN/control" &&
                    echo '# new in 0.1.1' >>"$1/tree/etc/sidekick/watch.env" && dpkg-deb -Znone -b "$1/tree" "$2""#;
    let made = Command::new("sh")
        .args(["-c", script])
        .args([package, dir, &newer])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    newer
}

/// A Debian that runs, with nothing of ours on it.
struct Debian {
    container: Container,
    _image: Image,
}

impl Debian {
    fn boot() -> Option<Self> {
        let archive = root().join("target/debian/bookworm.tar");
        if !archive.exists() {
            skipped("there is no clean Debian: make install-package-test");
            return None;
        }
        if !docker::engine() {
            return None;
        }
        let name = docker::name("debian");
        let imported = docker(&["import", &archive.display().to_string(), &name]);
        assert!(imported.status.success(), "{}", said(&imported));
        let image = Image(name);
        let mut args: Vec<String> = CONFINEMENT.split_whitespace().map(str::to_owned).collect();
        args.extend([image.0.clone(), "/sbin/init".to_owned()]);
        let container = match Container::run("debian", &args) {
            Ok(container) => container,
            Err(why) => {
                skipped(&format!(
                    "systemd does not start in a container here: {why}"
                ));
                return None;
            }
        };
        let debian = Self {
            container,
            _image: image,
        };
        wait_for("systemd to be up", || {
            let state = said(&debian.container.exec(&["systemctl", "is-system-running"]));
            ["running", "degraded"]
                .contains(&state.trim())
                .then_some(())
        });
        Some(debian)
    }

    fn put(&self, file: &Path, dir: &str) {
        let to = format!("{}:{dir}", self.container.0);
        let copied = docker(&["cp", &file.display().to_string(), &to]);
        assert!(copied.status.success(), "{}", said(&copied));
    }

    /// What a script printed, on both outputs, and whether it succeeded.
    fn try_shell(&self, script: &str) -> (bool, String) {
        let shell = [
            "env",
            "HOME=/root",
            "DEBIAN_FRONTEND=noninteractive",
            "timeout",
            "600",
            "bash",
            "-c",
            script,
        ];
        let output = self.container.exec(&shell);
        (output.status.success(), said(&output))
    }

    #[track_caller]
    fn shell(&self, script: &str) -> String {
        let (succeeded, text) = self.try_shell(script);
        assert!(succeeded, "{script}: {text}");
        text
    }
}

#[test]
fn the_package_is_installed_used_upgraded_and_removed_as_the_document_says() {
    let Some(package) = package() else { return };
    has_pages_and_changelog(&package);
    let Some(debian) = Debian::boot() else { return };
    let dir = temp_dir();
    debian.put(&package, "/root/etcd-sidekick_0.1.0_amd64.deb");
    debian.put(&upgrade(&package, dir.path()), "/root/");
    // Nobody is there to answer dpkg's question.
    debian.shell("echo force-confold >/etc/dpkg/dpkg.cfg.d/keep; systemctl start haproxy etcd");
    let sections = sections();
    let mut output = String::new();
    for section in sections {
        if section.commands.is_empty() {
            continue;
        }
        output = debian.shell(&format!("cd /root; set -e\n{}", section.commands));
        match section.name.as_str() {
            "Install" => {
                assert!(output.contains("sidekick 0.1.0 ("), "{output}");
                nothing_is_active(&debian);
                debian.shell("echo '# mine' >>/etc/sidekick/watch.env; getent passwd sidekick");
            }
            "etcd over TLS" => {
                let (answers, text) = debian.try_shell("curl -sS http://127.0.0.1:2379/version");
                assert!(!answers, "etcd speaks TLS only: {text}");
            }
            "Announce two web servers" => {
                wait_for("both to be announced", || {
                    let text = debian.shell("sidekick ls web");
                    (text.contains("web-8001") && text.contains("web-8002")).then_some(())
                });
            }
            "Serve them" => assert!(output.contains("It works."), "{output}"),
            "Take one out of service" => assert!(output.contains("drain"), "{output}"),
            "See what happened" => {
                assert!(
                    output.contains("state of web/web-8001 up→drain"),
                    "{output}"
                );
                assert!(output.contains("<!doctype html>"), "{output}");
            }
            "Upgrade" => upgraded(&debian),
            "Remove" => removed(&debian),
            other => panic!("{other} is a section that this test does not know"),
        }
    }
    assert!(output.contains("Removing etcd-sidekick"), "{output}");
}

fn has_pages_and_changelog(package: &Path) {
    let listed = Command::new("dpkg-deb").arg("-c").arg(package).output();
    let files = said(&listed.unwrap());
    let expected = [
        "man/man1/sidekick-watch.1.gz",
        "man/man5/sidekick-conf.d.5.gz",
        "doc/etcd-sidekick/changelog.gz",
    ];
    for file in expected {
        let path = format!("./usr/share/{file}\n");
        assert!(files.contains(&path), "{path}: {files}");
    }
    assert!(!files.contains("changelog.Debian"), "{files}");
}

fn nothing_is_active(debian: &Debian) {
    let units = debian.shell("systemctl list-units --all --no-legend 'sidekick*'; systemctl list-unit-files --no-legend 'sidekick*'");
    assert!(!units.contains("enabled "), "{units}");
    assert!(units.contains("sidekick-watch.service"), "{units}");
    assert!(!units.contains("loaded active"), "{units}");
    let active = "grep -hvE '^(#|$)' /etc/sidekick/*.env; ls /etc/sidekick/conf.d /etc/sidekick/templates | grep -v ':$'; true";
    assert_eq!(debian.shell(active).trim(), "");
}

fn upgraded(debian: &Debian) {
    let kept = debian.shell("cat /etc/sidekick/watch.env /etc/sidekick/sidekick.env");
    assert!(
        kept.contains("# mine") && kept.contains("SIDEKICK_STORE=etcd://127.0.0.1:2379"),
        "{kept}"
    );
    let states = "systemctl is-active sidekick-watch sidekick-dashboard sidekick-register@web@8001 sidekick-register@web@8002";
    assert_eq!(debian.shell(states).trim().matches("active").count(), 4);
    let text = debian.shell("curl -sS http://127.0.0.1/; sidekick ls web");
    assert!(
        text.contains("It works.") && text.contains("web-8002"),
        "{text}"
    );
}

fn removed(debian: &Debian) {
    let (_, processes) = debian.try_shell("pgrep -a sidekick");
    assert_eq!(processes.trim(), "", "nothing of it runs");
    let keys = debian.shell("ETCDCTL_API=3 ETCDCTL_CACERT=/etc/etcd/ca.pem etcdctl --endpoints https://127.0.0.1:2379 get --prefix /services/web/ --keys-only");
    // What `sidekick drain` has set stays the operator's.
    let left: Vec<&str> = keys
        .split_whitespace()
        .filter(|key| !key.contains("/state"))
        .collect();
    assert!(left.is_empty(), "all are withdrawn: {keys}");
    let left = debian
        .shell("find / -xdev -iname '*sidekick*' -not -path '/proc/*' -not -path '/root/*' | sort");
    let left: Vec<&str> = left.lines().collect();
    let unexpected: Vec<&&str> = left
        .iter()
        .filter(|path| !path.starts_with("/var/log/") && !path.starts_with("/var/lib/dpkg/"))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    for unit in ["haproxy", "etcd", "web@8001", "web@8002"] {
        assert_eq!(
            debian.shell(&format!("systemctl is-active {unit}")).trim(),
            "active",
            "{unit}"
        );
    }
}

/// All files below a directory, without it.
fn files_below(dir: &Path) -> Vec<String> {
    let listing = Command::new("find")
        .args([".", "-type", "f"])
        .current_dir(dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listing.stdout);
    let mut files: Vec<String> = text.lines().map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn make_uninstall_removes_what_make_install_has_put_there_but_for_the_configuration() {
    let dir = temp_dir();
    let make = |target: &str| {
        let done = Command::new("make")
            .arg(target)
            .arg(format!("DESTDIR={}", dir.path().display()))
            .arg("PREFIX=/opt/sidekick")
            .arg(format!("BINARY={}", env!("CARGO_BIN_EXE_sidekick")))
            .current_dir(root())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", said(&done));
    };
    make("install");
    let files = files_below(dir.path());
    for file in [
        "./opt/sidekick/bin/sidekick",
        "./opt/sidekick/share/man/man1/sidekick-watch.1",
        "./opt/sidekick/share/man/man5/sidekick-conf.d.5",
        "./opt/sidekick/share/zsh/site-functions/_sidekick",
        "./opt/sidekick/share/doc/etcd-sidekick/docs/debian.md",
        "./etc/sidekick/sidekick.env",
    ] {
        assert!(
            files.iter().any(|there| there == file),
            "{file}: {files:#?}"
        );
    }
    let unit = dir
        .path()
        .join("opt/sidekick/lib/systemd/system/sidekick-watch.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    assert!(
        unit.contains("ExecStart=/opt/sidekick/bin/sidekick watch"),
        "{unit}"
    );

    // A file of the operator's stays as it is, also at the next installation.
    let own = dir.path().join("etc/sidekick/sidekick.env");
    std::fs::write(&own, "SIDEKICK_STORE=etcd://mine\n").unwrap();
    make("install");
    assert_eq!(
        std::fs::read_to_string(&own).unwrap(),
        "SIDEKICK_STORE=etcd://mine\n"
    );

    make("uninstall");
    let left = files_below(dir.path());
    assert_eq!(
        left,
        ["./etc/sidekick/sidekick.env", "./etc/sidekick/watch.env"]
    );
}
