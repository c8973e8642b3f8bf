//! The commands of `docs/etcd.md`, `docs/keys.md`, `docs/files.md` and `docs/attributes.md`, word for word and in order, on a
//! network and among processes of their own. Those of `docs/tutorial.md` need a Docker Engine: `tests/it/docker/tutorial.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::markdown::blocks;
use super::root;
use crate::harness::{self, skipped, temp_dir, tool};

/// The commands of a document.
pub(crate) fn commands(path: &str) -> String {
    let shell = blocks(path)
        .into_iter()
        .filter(|block| block.language == "sh");
    // `set -e` passes over what is expected to fail, also when it does not.
    let line = |line: &str| match line.strip_prefix("! ") {
        Some(fails) => format!("if {fails}; then echo 'it was not refused'; exit 1; fi\n"),
        None => format!("{line}\n"),
    };
    shell
        .map(|block| block.text.lines().map(line).collect::<String>())
        .collect()
}

/// What the commands print, on both outputs; `None`, and a word on it, where namespaces are not permitted.
pub(super) fn run(script: &str, dir: &Path, env: &[(&str, &str)]) -> Option<String> {
    let unshare = tool("unshare");
    let args = ["-rnpf", "--mount-proc", "ip", "link", "set", "lo", "up"];
    let can = Command::new(&unshare).args(args).output();
    if !can.is_ok_and(|output| output.status.success()) {
        skipped("a network namespace of its own is not permitted here");
        return None;
    }
    let file = dir.join("script");
    fs::write(&file, format!("set -e\n{script}")).unwrap();
    let binary = harness::sidekick();
    let binaries = Path::new(binary.get_program())
        .parent()
        .unwrap()
        .display()
        .to_string();
    let bin = dir.join("bin");
    let path = std::env::var("PATH").unwrap();
    // The first process ends what is left when it ends.
    let first = "ip link set lo up; timeout 150 bash \"$0\"; exit $?";
    let mut command = Command::new(&unshare);
    command.args(["-rnpf", "--mount-proc", "sh", "-c", first]);
    command.arg(&file).current_dir(root());
    for (name, _) in std::env::vars() {
        if name.starts_with("SIDEKICK_") || name.starts_with("ETCDCTL_") {
            command.env_remove(name);
        }
    }
    let path = format!("{}:{binaries}:{path}:/usr/sbin:/sbin", bin.display());
    command
        .env("PATH", path)
        .env("TMPDIR", dir)
        .env("HOME", dir);
    let output = command.envs(env.iter().copied()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{}: {text}", output.status);
    Some(text)
}

/// Something announced as the page says, in a store that is a directory.
fn announced(script: &str, stand_in: &str) -> Option<String> {
    let dir = temp_dir();
    let store = format!("dir://{}", dir.path().join("store").display());
    let look = "until ls $TMPDIR/store/services/web/*/vhost; do sleep 0.1; done\n\
                for key in $TMPDIR/store/services/web/*/*; do echo \"${key##*/}=$(cat $key)\"; done";
    let script = format!("ip addr add 10.9.9.9/8 dev lo\n{script} &\n{look}")
        .replace("-- ./web", &format!("-- {stand_in}"));
    run(&script, dir.path(), &[("SIDEKICK_STORE", &store)])
}

#[test]
fn the_attributes_are_announced_by_flags_and_by_a_file() {
    let all = blocks("docs/attributes.md");
    let block = |language: &str| {
        let block = all.iter().find(|block| block.language == language);
        block.unwrap().text.trim_end().to_owned()
    };
    let by_file = format!(
        "cat >$TMPDIR/services.toml <<'END'\n{}\nEND\nsidekick register --config $TMPDIR/services.toml",
        block("toml")
    );
    for script in [block("sh"), by_file] {
        let Some(text) = announced(&script, "sleep 60") else {
            return;
        };
        for key in [
            "ip=10.9.9.9",
            "port=8080",
            "metrics-port=9100",
            "weight=50",
            "vhost=www.example.org",
            "path=/shop",
            "check=/healthz",
        ] {
            assert!(
                text.lines().any(|line| line == key),
                "{script}: {key}: {text}"
            );
        }
    }
}

#[test]
fn an_instance_that_is_announced_without_sidekick_is_one() {
    let dir = temp_dir();
    let start = "export ETCDCTL_API=3 SIDEKICK_STORE=etcd://127.0.0.1:2379\n\
                 etcd --data-dir $TMPDIR/data >$TMPDIR/log 2>&1 &\n\
                 until etcdctl endpoint health 2>/dev/null; do sleep 0.1; done\n";
    let script = start.to_owned() + &commands("docs/keys.md");
    let Some(text) = run(&script, dir.path(), &[]) else {
        return;
    };
    assert!(text.contains("10.0.0.9:80"), "{text}");
}

#[test]
fn keys_come_from_a_file_and_from_the_environment() {
    let dir = temp_dir();
    let at = |name: &str| dir.path().join(name);
    for name in ["conf.d", "templates"] {
        fs::create_dir(at(name)).unwrap();
    }
    let target = "[template]\nsrc = 'a.tera'\ndest = 'DIR/a.cfg'\nservices = ['web']\nreload_cmd = 'cat DIR/a.cfg'\n";
    let here = dir.path().display().to_string();
    fs::write(at("conf.d/a.toml"), target.replace("DIR", &here)).unwrap();
    let template = "{% for i in services.web %}server {{ i.id }} {{ i.addr }}\n{% endfor %}";
    fs::write(at("templates/a.tera"), template).unwrap();
    let all = blocks("docs/files.md");
    let keys = all.iter().find(|block| block.language == "yaml").unwrap();
    fs::write(at("keys.yaml"), &keys.text).unwrap();
    program(
        dir.path(),
        "haproxy",
        &format!("echo HAPROXY; cat {here}/a.cfg"),
    );
    let script = commands("docs/files.md").replace("/etc/sidekick", &here);
    let state = at("state").display().to_string();
    let env = [
        ("SIDEKICK_CONF_DIR", here.as_str()),
        ("SIDEKICK_STATE_DIR", &state),
    ];
    let Some(text) = run(&script, dir.path(), &env) else {
        return;
    };
    assert!(text.contains("web/b     10.0.0.2:80  drain"), "{text}");
    assert!(
        text.contains("server a 10.0.0.1:80\nserver b 10.0.0.2:80\n"),
        "{text}"
    );
    let by_env = "HAPROXY\nserver a 10.0.0.1:80\n";
    assert!(
        text.contains(by_env) && !text.contains("HAPROXY\nserver a 10.0.0.1:80\nserver"),
        "{text}"
    );
}

pub(super) fn program(dir: &Path, name: &str, text: &str) {
    let file = dir.join("bin").join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_commands_for_etcd_give_each_user_its_own_rights_and_no_others() {
    for name in ["etcd", "etcdctl", "openssl"] {
        tool(name);
    }
    let dir = temp_dir();
    let at = |name: &str| dir.path().join(name).display().to_string();
    // In place of systemd, and of a group that is not in this namespace.
    let start = "set -a; . {default}; etcd --data-dir {data} >{log} 2>&1 &";
    let start = start
        .replace("{default}", &at("default-etcd"))
        .replace("{data}", &at("data"))
        .replace("{log}", &at("etcd.log"));
    program(dir.path(), "systemctl", &start);
    program(dir.path(), "chgrp", "exit 0");
    let script = commands("docs/etcd.md")
        .replace("/etc/default/etcd", &at("default-etcd"))
        .replace("/etc/etcd", &at("etcd"))
        .replace("/etc/sidekick", &at("sidekick"));
    let env_file = at("sidekick/sidekick.env");
    let env = [
        ("SIDEKICK_ENV_FILE", env_file.as_str()),
        ("SIDEKICK_CONF_DIR", &at("sidekick")),
        ("SIDEKICK_STATE_DIR", &at("state")),
    ];
    let Some(text) = run(&script, dir.path(), &env) else {
        return;
    };
    for words in ["127.0.0.1:8001", "permission denied", "give --user"] {
        assert!(text.contains(words), "there is no {words:?} in: {text}");
    }
    for user in ["root", "register", "watch", "operator", "look"] {
        let password =
            fs::read_to_string(dir.path().join(format!("etcd/{user}.password"))).unwrap();
        assert!(!text.contains(password.trim()), "{user}: {text}");
    }
}
