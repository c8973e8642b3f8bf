//! The command line as people meet it: help, mistakes, exit codes.

use std::process::Output;

use crate::harness::{sidekick, temp_dir};

fn run(args: &[&str]) -> Output {
    sidekick().args(args).output().expect("run sidekick")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_names_every_command_and_exits_0() {
    for args in [
        &["--help"][..],
        &["register", "--help"],
        &["watch", "--help"],
        &["--version"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            assert!(line.chars().count() <= 100, "{args:?}: too wide: {line}");
        }
    }
    let help = String::from_utf8_lossy(&run(&["--help"]).stdout).into_owned();
    assert!(
        help.contains("register") && help.contains("watch"),
        "{help}"
    );
}

#[test]
fn mistakes_exit_64_and_come_all_at_once() {
    for args in [
        &[][..],
        &["fly"],
        &["register"],
        &["watch", "--no-such-flag"],
    ] {
        assert_eq!(run(args).status.code(), Some(64), "{args:?}");
    }
    let output = run(&[
        "register",
        "--name",
        "a/b",
        "--port",
        "0",
        "--ttl",
        "15",
        "--store",
        "consul://x",
    ]);
    assert_eq!(output.status.code(), Some(64));
    let text = stderr(&output);
    assert_eq!(text.matches("error: ").count(), 4, "{text}");
    assert!(text.contains("hint: write etcd://HOST:2379"), "{text}");
}

#[test]
fn a_wrong_configuration_exits_78_with_file_and_line() {
    let dir = temp_dir();
    let conf = dir.path().join("conf.d");
    let templates = dir.path().join("templates");
    for path in [&conf, &templates] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(templates.join("bad.tera"), "fine\n{% if %}\n").unwrap();
    std::fs::write(
        conf.join("a.toml"),
        "[template]\nsrc = 'bad.tera'\ndest = '/tmp/x'\nkeys = ['/services']\n",
    )
    .unwrap();
    std::fs::write(
        conf.join("b.toml"),
        "[template]\nsrc = 'none.tera'\ndest = 'x'\nmode = 7\n",
    )
    .unwrap();
    let conf_dir = dir.path().to_str().unwrap();
    let output = run(&["watch", "--store", "dir:///nowhere", "--conf-dir", conf_dir]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    for want in ["bad.tera:2: ", "b.toml:2: ", "b.toml:3: ", "b.toml:4: "] {
        assert!(text.contains(want), "{want} is missing in:\n{text}");
    }
    let missing = run(&[
        "watch",
        "--store",
        "dir:///nowhere",
        "--conf-dir",
        "/no/such/directory",
    ]);
    assert_eq!(missing.status.code(), Some(78));
}

#[test]
fn a_password_shows_up_nowhere() {
    let args = [
        "register",
        "--name",
        "a",
        "--port",
        "1",
        "--ip",
        "127.0.0.1",
        "--ttl",
        "2s",
    ];
    let output = sidekick()
        .args(args)
        .args([
            "--store",
            "etcd://127.0.0.1:1",
            "--log-level",
            "trace",
            "--",
            "sleep",
            "1",
        ])
        .env("ETCDCTL_USER", "root:very-secret")
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("127.0.0.1:1") && !text.contains("very-secret"),
        "{text}"
    );
}
