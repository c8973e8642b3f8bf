//! The commands that install units and proxies' files, word for word, on a Debian in a container whose systemd runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::markdown::blocks;
use super::root;
use crate::harness::docker::{docker, said};
use crate::harness::{temp_dir, wait_for};
use crate::systemd::Booted;

/// The commands of a page, in its order; of some sections only, if any are named.
fn commands(page: &str, headings: &[&str]) -> Vec<String> {
    let all = blocks(page).into_iter();
    let wanted = all.filter(|block| {
        let is_in = headings.is_empty() || headings.contains(&block.heading.as_str());
        block.language == "sh" && is_in
    });
    wanted.map(|block| block.text).collect()
}

/// A Debian with nothing of ours installed but the binary, and a directory in which commands run.
fn boot(dirs: &[PathBuf]) -> Option<Booted> {
    let booted = Booted::new()?;
    booted.shell(
        "rm -r /etc/sidekick /etc/haproxy/sidekick.d /etc/haproxy/haproxy.cfg /etc/systemd/system/sidekick-* \
         /etc/systemd/system/*/sidekick* /etc/sysusers.d/sidekick.conf /etc/tmpfiles.d/sidekick.conf; \
         mkdir -p /root/checkout; systemctl daemon-reload",
    );
    for dir in dirs {
        let from = dir.display().to_string();
        let to = format!("{}:/root/checkout/", booted.container.0);
        let copied = docker(&["cp", &from, &to]);
        assert!(copied.status.success(), "{}", said(&copied));
    }
    Some(booted)
}

/// The directories of the sources.
fn sources() -> Vec<PathBuf> {
    let names = ["conf.d", "templates", "contrib"];
    names.map(|name| root().join(name)).to_vec()
}

/// The directories of the examples that a package brings; they go with the guard.
fn packaged() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = temp_dir();
    let made = Command::new(root().join("contrib/make-install.sh"))
        .args(["install", env!("CARGO_BIN_EXE_sidekick")])
        .env("DESTDIR", dir.path())
        .env("PREFIX", "/usr")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let examples = dir.path().join("usr/share/doc/etcd-sidekick/examples");
    let names = ["conf.d", "templates", "contrib"];
    let dirs = names.map(|name| examples.join(name)).to_vec();
    (dir, dirs)
}

/// Runs a script in the directory of these directories.
#[track_caller]
fn run(booted: &Booted, script: &str) -> String {
    let script = format!("cd /root/checkout; set -e\n{script}");
    booted.write("/root/script", &script);
    let output = booted
        .container
        .exec(&["timeout", "600", "bash", "/root/script"]);
    let text = said(&output);
    assert!(output.status.success(), "{script}\n{text}");
    text
}

#[test]
fn the_units_are_installed_and_started_by_hand() {
    let Some(booted) = boot(&sources()) else {
        return;
    };
    let blocks = commands("docs/systemd.md", &[]);
    let [install, announce, keep, examples] = blocks.as_slice() else {
        panic!("other blocks: {blocks:?}");
    };
    // HAProxy's own file, which the check of the target reads: docs/proxies.md has it.
    let base = "install -Dm 644 ../haproxy/base.cfg /etc/haproxy/haproxy.cfg; mkdir -p /etc/haproxy/sidekick.d";
    run(
        &booted,
        &format!("{install}{announce}{base}\n{keep}{examples}"),
    );
    wait_for("the announcement", || {
        let said = said(&booted.container.exec(&["sidekick", "ls", "web"]));
        said.contains("up").then_some(())
    });
    let backends = booted.shell("cat /etc/haproxy/sidekick.d/backends.cfg");
    assert!(backends.contains("backend web"), "{backends}");
    for unit in ["sidekick-register@web", "sidekick-watch"] {
        assert_eq!(booted.show(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(booted.show(unit, "UnitFileState"), "enabled", "{unit}");
    }
    let journal = booted.journal("sidekick-watch");
    assert!(!journal.contains("ERROR"), "{journal}");
}

const STORE: &str = "mkdir -p /run/sidekick\n\
                     sidekick register --name web --id a --ip 127.0.0.1 --port 8001 --attr path=/ -- \
                     python3 -m http.server 8001 --bind 127.0.0.1 --directory /var &\n\
                     until sidekick ls web; do sleep 0.1; done\n";

#[test]
fn haproxy_is_put_in_front_as_the_page_says() {
    let (_guard, dirs) = packaged();
    let Some(booted) = boot(&dirs) else { return };
    let blocks = commands("docs/proxies.md", &["HAProxy"]);
    let text = run(
        &booted,
        &format!(
            "{STORE}{}\nsidekick check\nsidekick watch --once\n\
             curl --silent --fail --retry 9 --retry-all-errors http://127.0.0.1/; systemctl is-active haproxy\n\
             kill $(jobs -p); wait",
            blocks.concat()
        ),
    );
    for words in ["Directory listing", "\nactive\n"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn nginx_is_put_in_front_as_the_page_says() {
    if !Path::new("/etc/nginx/nginx.conf").exists() {
        return crate::harness::skipped("nginx is not installed from Debian's package");
    }
    let (_guard, dirs) = packaged();
    let Some(booted) = boot(&dirs) else { return };
    let copied = docker(&["cp", "/etc/nginx", &format!("{}:/etc/", booted.container.0)]);
    assert!(copied.status.success(), "{}", said(&copied));
    let blocks = commands("docs/proxies.md", &["nginx"]);
    let text = run(
        &booted,
        &format!(
            "{STORE}mkdir -p /var/log/nginx /var/lib/nginx; touch /etc/nginx/sites-enabled/default\n\
             {USER}{}\nsidekick check\nsidekick watch --once\nsystemctl restart nginx\n\
             curl --silent --fail --retry 9 --retry-all-errors http://127.0.0.1/; systemctl is-active nginx\n\
             kill $(jobs -p); wait",
            blocks.concat()
        ),
    );
    for words in ["Directory listing", "\nactive\n"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// What Debian's package `apache2` brings besides the programs.
const APACHE: &str = r"mkdir -p /etc/apache2/sites-enabled /run/apache2 /var/log/apache2
touch /etc/apache2/sites-enabled/000-default.conf
cat >/etc/systemd/system/apache2.service <<'FILE'
[Service]
ExecStart=/usr/sbin/apache2 -D FOREGROUND
ExecReload=/usr/sbin/apache2 -k graceful
FILE
systemctl daemon-reload
";

/// The user of nginx and Apache.
const USER: &str = "grep www-data /etc/passwd || echo www-data:x:33:33::/:/bin/false >>/etc/passwd\n\
                    grep www-data /etc/group || echo www-data:x:33: >>/etc/group\n";

#[test]
fn apache_is_put_in_front_as_the_page_says() {
    let (_guard, dirs) = packaged();
    let Some(booted) = boot(&dirs) else { return };
    let blocks = commands("docs/proxies.md", &["Apache"]);
    let text = run(
        &booted,
        &format!(
            "{STORE}{USER}{APACHE}{}\nsidekick check\nsidekick watch --once\n\
             systemctl start apache2\n\
             curl --silent --fail --retry 9 --retry-all-errors http://127.0.0.1/; systemctl is-active apache2\n\
             kill $(jobs -p); wait",
            blocks.concat()
        ),
    );
    assert!(text.contains("Directory listing"), "{text}");
}
