//! What lets a fleet in is exchanged under it: a password, a token's signature, a certificate with another name.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidekick::model::store_url::{EtcdOptions, Password, TlsFiles};
use sidekick::store::Store;

use super::auth::{allow, start_with};
use super::{assert_says, open};
use crate::contract::{Follower, LONG, expected, grant, publication, publish};
use crate::harness::command::{arg, run};
use crate::harness::etcd::{Etcd, Setup};
use crate::harness::pki::Pki;
use crate::harness::{Process, sidekick, temp_dir, tool, wait_for, wait_for_async};

const A: &str = "/services/web/a";

/// The arguments of a server with tokens that it signs, and keeps nothing of.
fn jwt(dir: &Path) -> String {
    let (key, public) = (dir.join("jwt.key"), dir.join("jwt.pub"));
    let mut make = std::process::Command::new(tool("openssl"));
    run(make.args(["genrsa", "-out"]).arg(&key).arg("2048"), b"");
    let mut extract = std::process::Command::new(tool("openssl"));
    extract.args(["rsa", "-pubout", "-in"]).arg(&key);
    run(extract.arg("-out").arg(&public), b"");
    let (key, public) = (arg(&key), arg(&public));
    format!("jwt,pub-key={public},priv-key={key},sign-method=RS256,ttl=10m")
}

/// A fleet of one: a store whose password is in a file, with something announced and followed.
struct Fleet {
    etcd: Etcd,
    file: PathBuf,
    options: EtcdOptions,
    store: Arc<dyn Store>,
    follower: Follower,
    lease: sidekick::model::lease_id::LeaseId,
    _dir: tempfile::TempDir,
}

impl Fleet {
    async fn start(is_jwt: bool) -> Self {
        let dir = temp_dir();
        let token = if is_jwt {
            jwt(dir.path())
        } else {
            "simple".to_owned()
        };
        let (etcd, options) = start_with(&["--auth-token", &token]);
        let file = dir.path().join("password");
        fs::write(&file, "secret\n").expect("write a password");
        let options = EtcdOptions {
            auth: Some(("app".to_owned(), Password::File(file.clone()))),
            ..options
        };
        let store = open(options.clone());
        let lease = grant(&store, LONG).await;
        publish(&store, lease, A, &[("ip", "1")]).await;
        let mut follower = Follower::start(open(options.clone()), "/services");
        follower
            .until_is(&expected(&[("/services/web/a/ip", "1")]))
            .await;
        Self {
            etcd,
            file,
            options,
            store,
            follower,
            lease,
            _dir: dir,
        }
    }

    fn change_user(&self) {
        let args = ["user", "passwd", "app", "--interactive=false"];
        self.etcd.etcdctl_with(&args, b"next\n");
    }

    fn change_file(&self) {
        fs::write(&self.file, "next\n").expect("write a password");
    }

    /// The lease is the same one, what is announced on it changes, and who follows sees it.
    async fn works(&mut self, ip: &str) {
        self.store.keep_alive(self.lease).await.expect("renew");
        publish(&self.store, self.lease, A, &[("ip", ip)]).await;
        self.follower
            .until_is(&expected(&[("/services/web/a/ip", ip)]))
            .await;
    }

    async fn is_refused(&self) {
        let change = publication(A, &[("ip", "9")]);
        let error = self.store.publish(self.lease, &change).await;
        let error = error.expect_err("the password is the old one");
        assert_says(
            &error,
            &["authentication failed", &arg(&self.file), "read again"],
        );
    }
}

#[tokio::test]
async fn the_user_is_changed_first() {
    for is_jwt in [false, true] {
        let mut fleet = Fleet::start(is_jwt).await;
        fleet.change_user();
        fleet.is_refused().await;
        fleet.change_file();
        fleet.works("2").await;
    }
}

#[tokio::test]
async fn the_file_is_changed_first() {
    for is_jwt in [false, true] {
        let mut fleet = Fleet::start(is_jwt).await;
        fleet.change_file();
        fleet.works("2").await;
        // Every connection and every login is lost, and the file is ahead of the user.
        fleet.etcd.stop();
        fleet.etcd.start();
        let (store, lease) = (Arc::clone(&fleet.store), fleet.lease);
        wait_for_async("the lease after the restart", async || {
            store.keep_alive(lease).await.ok()
        })
        .await;
        fleet.works("3").await;
        fleet.change_user();
        fleet.works("4").await;
    }
}

#[tokio::test]
async fn a_password_from_the_environment_is_said_to_stay() {
    let fleet = Fleet::start(false).await;
    let given = open(EtcdOptions {
        auth: Some(("app".to_owned(), Password::Given("old".to_owned()))),
        ..fleet.options.clone()
    });
    let error = given.grant(LONG, None).await.expect_err("a wrong password");
    assert_says(&error, &["read only at the start", "--password-file"]);
    assert!(!error.to_string().contains("old\""), "{error}");
}

/// A server on which the common name of a certificate is the user.
fn start_with_names() -> Etcd {
    let mut etcd = Etcd::with(Setup {
        pki: Some(Pki::make()),
        client_certs: true,
        ..Setup::default()
    });
    etcd.etcdctl(&["user", "add", "root:over"]);
    etcd.etcdctl(&["user", "grant-role", "root", "root"]);
    allow(&etcd, "client");
    etcd.etcdctl(&["auth", "enable"]);
    etcd.log_in("root", "over");
    etcd
}

#[tokio::test]
async fn a_certificate_gets_another_name() {
    let etcd = start_with_names();
    let pki = etcd.pki();
    let copy = |name: &str| {
        for end in ["pem", "key"] {
            let (from, to) = (format!("{name}.{end}"), format!("fleet.{end}"));
            fs::copy(pki.file(&from), pki.file(&to)).expect("copy a file");
        }
    };
    copy("client");
    let store = open(EtcdOptions {
        tls: Some(TlsFiles {
            cacert: Some(pki.file("ca.pem")),
            identity: Some((pki.file("fleet.pem"), pki.file("fleet.key"))),
        }),
        auth: None,
        ..etcd.options()
    });
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "1")]).await;
    etcd.etcdctl(&["user", "add", "renamed:unused"]);
    etcd.etcdctl(&["user", "grant-role", "renamed", "app"]);
    etcd.etcdctl(&["user", "delete", "client"]);
    let change = publication(A, &[("ip", "2")]);
    let error = store.publish(lease, &change).await.expect_err("no user");
    assert_says(
        &error,
        &[
            "permission denied",
            "common name",
            "fleet.pem",
            "/services/web/",
        ],
    );
    pki.issue("renamed", "basicConstraints=CA:FALSE");
    copy("renamed");
    store.keep_alive(lease).await.expect("renew");
    publish(&store, lease, A, &[("ip", "2")]).await;
}

/// The real program: its lease is kept, and the trouble is said once.
#[test]
fn register_goes_on_and_says_so_once() {
    let dir = temp_dir();
    let (etcd, _) = start_with(&["--auth-token", "simple"]);
    let file = dir.path().join("password");
    fs::write(&file, "secret\n").expect("write a password");
    let mut command = sidekick();
    command
        .args(["register", "--store", &etcd.url(), "--user", "app"])
        .args([
            "--name",
            "web",
            "--id",
            "a",
            "--ip",
            "127.0.0.1",
            "--port",
            "80",
        ])
        .args(["--ttl", "3s", "--password-file"])
        .arg(&file);
    let process = Process::start(&mut command, &dir.path().join("log"));
    let lease = || {
        let got = etcd.etcdctl(&["get", "/services/web/a/ip", "-w", "fields"]);
        let line = got.lines().find(|line| line.starts_with("\"Lease\""));
        line.map(str::to_owned)
    };
    let before = wait_for("the instance", lease);
    let args = ["user", "passwd", "app", "--interactive=false"];
    etcd.etcdctl_with(&args, b"next\n");
    wait_for("the refusal", || {
        process
            .output()
            .contains("authentication failed")
            .then_some(())
    });
    fs::write(&file, "next\n").expect("write a password");
    wait_for("the end of it", || {
        process.output().contains("no longer refuses").then_some(())
    });
    // It is kept alive from here on: without a heartbeat the lease would have ended long before this.
    let end = Instant::now() + Duration::from_secs(7);
    wait_for("more than two lives of the lease", || {
        (Instant::now() >= end).then_some(())
    });
    assert_eq!(lease().as_ref(), Some(&before), "{}", process.output());
    let output = process.output();
    assert_eq!(
        output.matches("authentication failed").count(),
        1,
        "{output}"
    );
    assert!(!output.contains("answers again"), "{output}");
}
