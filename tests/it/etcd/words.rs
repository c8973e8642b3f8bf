//! What an operator reads when a cluster cannot be used: what failed, why, and what helps in that very case.

use std::fs;
use std::path::Path;

use super::auth::{allow, start_with};
use crate::harness::command::arg;
use crate::harness::etcd::{Etcd, Setup};
use crate::harness::pki::Pki;
use crate::harness::{free_port, sidekick, temp_dir};

/// A command for people that cannot do what it was told: what it prints says all of `must`, and nothing that helps in
/// another case only.
#[track_caller]
fn assert_advice(what: &str, store: &str, flags: &[&str], must: &[&str]) {
    let mut command = sidekick();
    command
        .args(["status", "web", "--store", store])
        .args(flags);
    let output = command.output().expect("run sidekick status");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{what}: {text}");
    for start in ["error: ", "caused by: ", "hint: "] {
        let lines = text.lines().filter(|line| line.starts_with(start));
        assert_eq!(lines.count(), 1, "{what}: one line of {start:?}: {text}");
    }
    for part in must {
        assert!(text.contains(part), "{what}: {part:?} is not in: {text}");
    }
    for part in ["PREFIX", "give another store", "{place}"] {
        assert!(!text.contains(part), "{what}: {part:?} is in: {text}");
    }
}

#[test]
fn users_and_passwords() {
    let (etcd, _) = start_with(&["--auth-token", "simple"]);
    let dir = temp_dir();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("write a password");
        arg(&path)
    };
    let (wrong, right) = (file("wrong", "guess\n"), file("right", "secret\n"));
    let app = |password| ["--user", "app", "--password-file", password];
    let at = etcd.endpoint();
    for (what, flags, must) in [
        (
            "a wrong password",
            &app(&wrong)[..],
            &[
                at.as_str(),
                "refused: authentication failed",
                &wrong,
                "user app",
            ][..],
        ),
        (
            "no user",
            &[],
            &[
                &at,
                "user name is empty",
                "hint: the cluster asks for a user",
            ],
        ),
        (
            "no rights there",
            &[&app(&right)[..], &["--prefix", "/elsewhere"]].concat(),
            &[
                &at,
                "permission denied",
                "user app",
                "readwrite /elsewhere/web/ --prefix",
            ],
        ),
    ] {
        assert_advice(what, &etcd.url(), flags, must);
    }
}

#[test]
fn nobody_and_somebody_else() {
    let nobody = format!("etcd://127.0.0.1:{}", free_port());
    assert_advice(
        "nobody listens",
        &nobody,
        &[],
        &[
            "does not answer",
            "onnection refused",
            "hint: is etcd running there",
        ],
    );
    let pki = Pki::make();
    let plain = Etcd::start_new();
    assert_advice(
        "no TLS there",
        &plain.url(),
        &["--cacert", &arg(&pki.file("ca.pem"))],
        &["speak TLS", "--cacert"],
    );
}

#[test]
fn certificates() {
    let mut etcd = Etcd::with(Setup {
        pki: Some(Pki::make()),
        client_certs: true,
        ..Setup::default()
    });
    let other = Pki::make();
    let file = |pki: &Pki, name: &str| arg(&pki.file(name));
    let ca = file(etcd.pki(), "ca.pem");
    let (cert, key) = (
        file(etcd.pki(), "client.pem"),
        file(etcd.pki(), "client.key"),
    );
    let wrong_ca = file(&other, "ca.pem");
    let (stranger, strangers_key) = (file(&other, "client.pem"), file(&other, "client.key"));
    let broken = etcd.pki().file("broken.pem");
    fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .expect("write a certificate");
    let broken = arg(&broken);
    etcd.pki().issue_version_1("old");
    let old = file(etcd.pki(), "old.pem");
    let url = etcd.url();
    let flags = |ca: &str, pair: Option<(&str, &str)>| {
        let mut flags = vec!["--cacert".to_owned(), ca.to_owned()];
        if let Some((cert, key)) = pair {
            flags.extend(["--cert", cert, "--key", key].map(str::to_owned));
        }
        flags
    };
    for (what, flags, must) in [
        (
            "TLS is asked for",
            vec![],
            vec!["hint: the server may speak TLS: give --cacert"],
        ),
        (
            "another authority",
            flags(&wrong_ca, Some((&cert, &key))),
            vec!["hint: no certificate in", &wrong_ca, "--cacert"],
        ),
        (
            "a client certificate of version 1",
            flags(&ca, Some((&old, &key))),
            vec!["hint: a certificate is of X.509 version 1", &old],
        ),
        ("no certificate", flags(&ca, None), vec!["--cert and --key"]),
        (
            "a stranger's certificate",
            flags(&ca, Some((&stranger, &strangers_key))),
            vec!["accept the client certificate", &stranger],
        ),
        (
            "a key of another certificate",
            flags(&ca, Some((&cert, &strangers_key))),
            vec![&cert, &strangers_key, "does not belong to the certificate"],
        ),
        (
            "a certificate that is none",
            flags(&ca, Some((&broken, &key))),
            vec![&broken, &key],
        ),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        assert_advice(what, &url, &flags, &must);
    }

    // From here on the common name of a certificate is a user, and there is no user of this name.
    etcd.etcdctl(&["user", "add", "root:over"]);
    etcd.etcdctl(&["user", "grant-role", "root", "root"]);
    allow(&etcd, "somebody");
    etcd.etcdctl(&["auth", "enable"]);
    etcd.log_in("root", "over");
    let pair = flags(&ca, Some((&cert, &key)));
    let pair: Vec<&str> = pair.iter().map(String::as_str).collect();
    let must = [
        "permission denied",
        "hint: the user is the common name (CN)",
        &cert,
        "/services/web/",
    ];
    assert_advice("no such user", &url, &pair, &must);
    assert!(
        Path::new(&cert).exists(),
        "the certificate is the server's own"
    );
}
