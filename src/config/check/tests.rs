use std::time::Duration;

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};
use crate::config::read_registration;

fn parse(flags: &[&str]) -> Result<Option<Checks>, Vec<String>> {
    let least = ["sidekick", "register", "--name", "web", "--port", "80"];
    let line = least.iter().chain(flags);
    let Command::Register(args) = Cli::try_parse_from(line).unwrap().command else {
        unreachable!("register was typed");
    };
    let registration =
        read_registration(&args, None).map(|mut all| all.announcements.remove(0).checks);
    registration.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn at(host: &str, port: u16) -> At {
    At {
        host: Some(host).filter(|host| !host.is_empty()).map(Into::into),
        port: Some(port).filter(|port| *port > 0),
    }
}

#[test]
fn each_kind_of_check_is_read() {
    for (text, want) in [
        ("tcp", at("", 0)),
        ("tcp:81", at("", 81)),
        ("tcp:db-1.example:81", at("db-1.example", 81)),
        ("tcp:[2001:db8::1]:81", at("2001:db8::1", 81)),
    ] {
        let want = Check::Tcp(want);
        assert_eq!(parse(&["--check", text]).unwrap().unwrap().list, [want]);
    }
    for (text, want, path) in [
        ("http://:81/healthz", at("", 81), "/healthz"),
        ("http:///healthz", at("", 0), "/healthz"),
        ("http://:81", at("", 81), "/"),
        ("http://:81?a=b", at("", 81), "/?a=b"),
        ("http://a/x?y=http://z", at("a", 80), "/x?y=http://z"),
        ("http://a:81/", at("a", 81), "/"),
        ("http://[::1]/", at("::1", 80), "/"),
        ("http://[::1]:81/", at("::1", 81), "/"),
    ] {
        let checks = parse(&["--check", text]).unwrap().unwrap();
        let [Check::Http(http)] = &checks.list[..] else {
            panic!("{text}: {checks:?}");
        };
        assert_eq!((&http.at, &*http.path), (&want, path), "{text}");
    }
    let exec = parse(&["--check", "exec:test -e /a:b"]).unwrap().unwrap();
    assert_eq!(exec.list, [Check::Exec("test -e /a:b".to_owned())]);
}

#[test]
fn defaults_apply_and_all_flags_are_read() {
    assert_eq!(parse(&[]), Ok(None));
    let least = parse(&["--check", "tcp"]).unwrap().unwrap();
    let thresholds = Thresholds {
        interval: Duration::from_secs(2),
        rise: 2,
        fall: 3,
    };
    assert_eq!(least.thresholds, thresholds);
    assert_eq!(least.timeout, Duration::from_secs(1));
    let most = [
        "--check=http://:1/",
        "--check=tcp",
        "--check-interval=5s",
        "--check-timeout=3s",
        "--rise=1",
        "--fall=9",
        "--check-status=204",
        "--check-header=Host: a",
        "--check-header=X-A:\tb c ",
        "--check-body=all well",
    ];
    let most = parse(&most).unwrap().unwrap();
    assert_eq!((most.thresholds.rise, most.thresholds.fall), (1, 9));
    let [Check::Http(http), Check::Tcp(_)] = &most.list[..] else {
        panic!("{most:?}");
    };
    assert_eq!(
        (&http.status, http.body.as_deref()),
        (&(204..=204), Some("all well"))
    );
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(http.headers, [header("Host", "a"), header("X-A", "b c")]);
}

#[test]
fn a_wrong_check_is_one_problem() {
    for text in [
        "",
        "udp",
        "tcp:",
        "tcp:0",
        "tcp:a",
        "tcp:a:",
        "tcp::80",
        "tcp:::1:80",
        "tcp:a b:80",
        "tcp://a:80",
        "exec:",
        "exec: ",
        "http",
        "http:",
        "http:/x",
        "http::80/",
        "http://:x/",
        "http://:0/",
        "http://u@a/",
        "http://a b/",
        "http://:80/ü",
        "http://:80/#a",
        "http://:80/a b",
        "https://:443/",
        "HTTP://:80/",
    ] {
        let problems = parse(&["--check", text]).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    }
}

#[test]
fn a_wrong_setting_of_a_check_is_one_problem() {
    let http = "--check=http://:80/";
    for flags in [
        [http, "--check-interval=0s"],
        [http, "--check-timeout=1"],
        [http, "--rise=0"],
        [http, "--fall=x"],
        [http, "--fall=1001"],
        [http, "--check-status=99"],
        [http, "--check-status=399-200"],
        [http, "--check-status=0200"],
        [http, "--check-status=2xx"],
        [http, "--check-header=Host"],
        [http, "--check-header=: a"],
        [http, "--check-header=A b: c"],
        [http, "--check-header=A: b\r\nC: d"],
        [http, "--check-header=Connection: keep-alive"],
        [http, "--check-body="],
        ["--check=tcp", "--check-status=204"],
        ["--check=tcp", "--check-header=A: b"],
        ["--check=exec:true", "--check-body=a"],
    ] {
        let problems = parse(&flags).unwrap_err();
        assert_eq!(problems.len(), 1, "{flags:?}: {problems:?}");
    }
}

#[test]
fn a_setting_of_checks_needs_a_check() {
    for flag in [
        "--check-interval=1s",
        "--check-timeout=1s",
        "--rise=1",
        "--fall=1",
        "--check-status=200",
    ] {
        let line = [
            "sidekick", "register", "--name", "web", "--port", "80", flag,
        ];
        assert!(Cli::try_parse_from(line).is_err(), "{flag}");
    }
}
