//! Users, passwords, roles, and tokens that run out.

use sidekick::model::store_url::{EtcdOptions, Password};
use sidekick::model::update::Revision;
use sidekick::store::StoreError;

use super::{assert_says, open};
use crate::contract::{Follower, LONG, Readable, expected, grant, prefix, publication, publish};
use crate::harness::etcd::{Etcd, Setup};
use crate::harness::wait_for_async;

const A: &str = "/services/web/a";

/// A server on which `app` may use `/services/` and nothing else; its tokens run out after 4 seconds.
pub(crate) fn start() -> (Etcd, EtcdOptions) {
    start_with(&["--auth-token", "simple", "--auth-token-ttl", "4"])
}

/// The same with these arguments.
pub(super) fn start_with(args: &[&str]) -> (Etcd, EtcdOptions) {
    let mut etcd = Etcd::with(Setup {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..Setup::default()
    });
    etcd.etcdctl(&["user", "add", "root:over"]);
    etcd.etcdctl(&["user", "grant-role", "root", "root"]);
    allow(&etcd, "app");
    etcd.etcdctl(&["auth", "enable"]);
    etcd.log_in("root", "over");
    let options = with_user(&etcd, "app", "secret");
    (etcd, options)
}

/// Adds a user with the role of `app`.
pub(super) fn allow(etcd: &Etcd, user: &str) {
    etcd.etcdctl(&["user", "add", &format!("{user}:secret")]);
    etcd.etcdctl(&["role", "add", "app"]);
    let services = ["/services/", "--prefix=true"];
    etcd.etcdctl(&[
        "role",
        "grant-permission",
        "app",
        "readwrite",
        services[0],
        services[1],
    ]);
    etcd.etcdctl(&["user", "grant-role", user, "app"]);
}

fn with_user(etcd: &Etcd, user: &str, password: &str) -> EtcdOptions {
    EtcdOptions {
        auth: Some((user.to_owned(), Password::Given(password.to_owned()))),
        ..etcd.options()
    }
}

/// Lets a key of somebody else expire, and so the time of a token pass in which nobody used it.
async fn until_tokens_have_run_out(etcd: &Etcd, follower: &mut Follower) {
    let lease = etcd.etcdctl(&["lease", "grant", "7"]);
    let lease = lease.split_whitespace().nth(1).expect("lease ID granted …");
    let lease = format!("--lease={lease}");
    let clock = "/services/clock";
    etcd.etcdctl(&["put", clock, "runs", &lease]);
    let runs = |f: &Follower| f.fold.entries.contains_key(clock);
    follower.until("the clock", runs).await;
    follower.until("the end of the clock", |f| !runs(f)).await;
}

#[tokio::test]
async fn a_follower_and_a_writer_outlive_their_tokens() {
    let (mut etcd, options) = start();
    let store = open(options.clone());
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "1")]).await;
    let mut follower = Follower::start(open(options), "/services");
    follower.until_is(&ip("1")).await;
    until_tokens_have_run_out(&etcd, &mut follower).await;
    // The writer's token is no longer good; the watch never needed it again.
    publish(&store, lease, A, &[("ip", "2")]).await;
    store.keep_alive(lease).await.expect("renew");
    follower.until_is(&ip("2")).await;
    // A restart ends the watch, and makes every token a stranger's.
    etcd.stop();
    etcd.start();
    wait_for_async("the lease after the restart", async || {
        store.keep_alive(lease).await.ok()
    })
    .await;
    publish(&store, lease, A, &[("ip", "3")]).await;
    follower.until_is(&ip("3")).await;
}

fn ip(value: &str) -> Readable {
    expected(&[("/services/web/a/ip", value)])
}

#[tokio::test]
async fn a_user_may_be_given_before_users_are_asked_for() {
    let etcd = Etcd::start_new();
    let store = open(with_user(&etcd, "root", "over"));
    let mut follower = Follower::start(open(with_user(&etcd, "root", "over")), "/services");
    let lease = grant(&store, LONG).await;
    publish(&store, lease, A, &[("ip", "1")]).await;
    follower.until_is(&ip("1")).await;
    etcd.etcdctl(&["user", "add", "root:over"]);
    etcd.etcdctl(&["user", "grant-role", "root", "root"]);
    etcd.etcdctl(&["auth", "enable"]);
    publish(&store, lease, A, &[("ip", "2")]).await;
    follower.until_is(&ip("2")).await;
}

#[tokio::test]
async fn what_is_refused_says_what_to_do() {
    let (etcd, options) = start();
    let everything = prefix("/services");
    let wrong = open(with_user(&etcd, "app", "guess"));
    let error = wrong
        .snapshot(&everything)
        .await
        .expect_err("a wrong password");
    assert_says(
        &error,
        &[
            &etcd.endpoint(),
            "authentication failed",
            "check the user app and its password",
        ],
    );
    assert!(!error.to_string().contains("guess"), "{error}");

    let nobody = EtcdOptions {
        auth: None,
        ..options.clone()
    };
    let error = open(nobody).snapshot(&everything).await;
    assert_says(
        &error.expect_err("no user"),
        &[&etcd.endpoint(), "give --user"],
    );

    let store = open(options);
    store.snapshot(&everything).await.expect("what is granted");
    let elsewhere = prefix("/elsewhere");
    let denied = [
        store.snapshot(&elsewhere).await.err(),
        store.watch(&elsewhere, Revision::default()).await.err(),
        store
            .publish(
                grant(&store, LONG).await,
                &publication("/elsewhere/a", &[("ip", "1")]),
            )
            .await
            .err(),
    ];
    for error in denied {
        let error = error.expect("nothing was granted there");
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        assert_says(
            &error,
            &[&etcd.endpoint(), "permission denied", "grant-permission"],
        );
    }
}
