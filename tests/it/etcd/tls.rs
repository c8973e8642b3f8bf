//! Certificates: of the server, of the client, and what is said when one is missing.

use std::sync::Arc;

use sidekick::model::store_url::{EtcdOptions, TlsFiles};
use sidekick::store::{Store, StoreError};

use super::{assert_says, open};
use crate::contract::{Follower, LONG, expected, grant, prefix, publish};
use crate::harness::etcd::{Etcd, Setup};
use crate::harness::pki::Pki;

fn start(client_certs: bool) -> Etcd {
    Etcd::with(Setup {
        pki: Some(Pki::make()),
        client_certs,
        ..Setup::default()
    })
}

/// The options with other files.
fn with(etcd: &Etcd, tls: Option<TlsFiles>) -> Arc<dyn Store> {
    open(EtcdOptions {
        tls,
        ..etcd.options()
    })
}

fn files(pki: &Pki, client: bool) -> TlsFiles {
    TlsFiles {
        cacert: Some(pki.file("ca.pem")),
        identity: client.then(|| (pki.file("client.pem"), pki.file("client.key"))),
    }
}

async fn error(store: Arc<dyn Store>) -> StoreError {
    let answer = store.snapshot(&prefix("/")).await;
    answer.expect_err("it cannot get in")
}

async fn assert_works(store: Arc<dyn Store>) {
    let lease = grant(&store, LONG).await;
    publish(&store, lease, "/services/web/a", &[("ip", "1")]).await;
    store.keep_alive(lease).await.expect("renew");
    let mut follower = Follower::start(store, "/services");
    follower
        .until_is(&expected(&[("/services/web/a/ip", "1")]))
        .await;
}

#[tokio::test]
async fn the_server_proves_who_it_is() {
    let etcd = start(false);
    assert_works(open(etcd.options())).await;
    let at = etcd.endpoint();

    // Without --cacert it is the authorities of the system that count, and they do not know this one.
    let unknown = with(&etcd, Some(TlsFiles::default()));
    assert_says(&error(unknown).await, &[&at, "UnknownIssuer", "--cacert"]);

    let other = Pki::make();
    let unknown = with(&etcd, Some(files(&other, false)));
    assert_says(&error(unknown).await, &[&at, "--cacert"]);

    let plain = with(&etcd, None);
    assert_says(&error(plain).await, &[&at, "the server may speak TLS"]);
}

#[tokio::test]
async fn a_server_may_ask_for_a_client_certificate() {
    let etcd = start(true);
    assert_works(with(&etcd, Some(files(etcd.pki(), true)))).await;
    let without = with(&etcd, Some(files(etcd.pki(), false)));
    assert_says(
        &error(without).await,
        &[&etcd.endpoint(), "--cert and --key"],
    );
    let other = Pki::make();
    let stranger = TlsFiles {
        cacert: Some(etcd.pki().file("ca.pem")),
        ..files(&other, true)
    };
    let error = error(with(&etcd, Some(stranger))).await;
    assert_says(&error, &[&etcd.endpoint(), "client certificate"]);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_apart() {
    let etcd = Etcd::start_new();
    let pki = Pki::make();
    let store = with(&etcd, Some(files(&pki, false)));
    assert_says(
        &error(store).await,
        &[&etcd.endpoint(), "may not speak TLS"],
    );
}

#[tokio::test]
async fn files_are_read_when_they_are_needed() {
    let etcd = start(true);
    let pki = etcd.pki();
    let late = TlsFiles {
        cacert: Some(pki.file("ca.pem")),
        identity: Some((pki.file("late.pem"), pki.file("late.key"))),
    };
    let store = with(&etcd, Some(late));
    let error = error(store.clone()).await;
    assert_says(&error, &["late.pem", "No such file"]);
    for end in ["pem", "key"] {
        let (from, to) = (
            pki.file(&format!("client.{end}")),
            pki.file(&format!("late.{end}")),
        );
        std::fs::copy(from, to).expect("copy a file");
    }
    assert_works(store).await;
}
