//! Three nodes, one of which fails while somebody writes and somebody follows.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidekick::model::key::Entries;
use sidekick::model::lease_id::LeaseId;
use sidekick::store::{Store, StoreError};

use super::open;
use crate::contract::{Follower, LONG, prefix, publication};
use crate::harness::etcd::Cluster;
use crate::harness::wait_for_async;

const SERVICES: &str = "/services";
/// How many writes a follower must see after a fault before it counts as well.
const ENOUGH: u64 = 20;
/// Instances that are written in turn.
const INSTANCES: u64 = 10;

/// Writes numbers, one instance after the other, and takes no failure for an answer.
struct Writer {
    store: Arc<dyn Store>,
    lease: LeaseId,
    written: Cell<u64>,
}

impl Writer {
    async fn start(cluster: &Cluster) -> Self {
        let store = open(cluster.options());
        let granted = store.grant(LONG, None).await.expect("grant a lease");
        Self {
            store,
            lease: granted.0,
            written: Cell::new(0),
        }
    }

    async fn write_for_ever(&self) {
        loop {
            let number = self.written.get() + 1;
            let dir = format!("{SERVICES}/web/{}", number % INSTANCES);
            let value = number.to_string();
            let wanted = publication(&dir, &[("ip", "10.0.0.1"), ("port", &value)]);
            match self.store.publish(self.lease, &wanted).await {
                Ok(_) => self.written.set(number),
                Err(StoreError::Unavailable { .. }) => {}
                Err(error) => panic!("a cluster with a majority refused: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The highest number among the ports.
fn highest(entries: &Entries) -> u64 {
    let ports = entries.iter().filter(|(key, _)| key.ends_with("/port"));
    let numbers = ports.filter_map(|(_, value)| str::from_utf8(value).ok()?.parse().ok());
    numbers.max().unwrap_or(0)
}

/// Does something to each node in turn and undoes it, and checks after each that the follower still follows.
async fn with_each_node(harm: impl Fn(&mut Cluster, usize), heal: impl Fn(&mut Cluster, usize)) {
    let mut cluster = Cluster::start_new();
    let writer = Writer::start(&cluster).await;
    let mut follower = Follower::start(open(cluster.options()), SERVICES);
    let check = async {
        for node in 0..cluster.nodes.len() {
            follow_on(&mut follower, &writer).await;
            harm(&mut cluster, node);
            follow_on(&mut follower, &writer).await;
            heal(&mut cluster, node);
        }
    };
    tokio::select! {
        () = writer.write_for_ever() => {}
        () = check => {}
    }
    assert_same_in_the_end(&cluster, &mut follower).await;
}

/// Waits until the follower has seen what is yet to be written.
async fn follow_on(follower: &mut Follower, writer: &Writer) {
    let want = writer.written.get() + ENOUGH;
    follower
        .until("further writes", |f| highest(&f.fold.entries) >= want)
        .await;
}

async fn assert_same_in_the_end(cluster: &Cluster, follower: &mut Follower) {
    let store = open(cluster.options());
    let snapshot = wait_for_async("the cluster's answer", async || {
        store.snapshot(&prefix(SERVICES)).await.ok()
    })
    .await;
    follower
        .until("the state of the store", |f| {
            f.fold.entries == snapshot.entries
        })
        .await;
}

#[tokio::test]
async fn each_node_is_killed_in_turn() {
    with_each_node(
        |cluster, node| cluster.nodes[node].kill(),
        |cluster, node| cluster.nodes[node].start(),
    )
    .await;
}

#[tokio::test]
async fn each_node_is_paused_in_turn() {
    with_each_node(
        |cluster, node| cluster.nodes[node].pause(),
        |cluster, node| cluster.nodes[node].resume(),
    )
    .await;
}

#[tokio::test]
async fn each_node_is_stopped_in_order_in_turn() {
    with_each_node(
        |cluster, node| cluster.nodes[node].stop(),
        |cluster, node| cluster.nodes[node].start(),
    )
    .await;
}

#[tokio::test]
async fn the_leader_is_killed() {
    let mut cluster = Cluster::start_new();
    let writer = Writer::start(&cluster).await;
    let mut follower = Follower::start(open(cluster.options()), SERVICES);
    let check = async {
        follow_on(&mut follower, &writer).await;
        let leader = cluster.leader();
        cluster.nodes[leader].kill();
        follow_on(&mut follower, &writer).await;
        // A lease outlives the leader that granted it.
        writer.store.keep_alive(writer.lease).await.expect("renew");
    };
    tokio::select! {
        () = writer.write_for_ever() => {}
        () = check => {}
    }
    assert_same_in_the_end(&cluster, &mut follower).await;
}

#[tokio::test]
async fn without_a_majority_nothing_is_taken_and_nothing_forgotten() {
    let mut cluster = Cluster::start_new();
    let writer = Writer::start(&cluster).await;
    let mut follower = Follower::start(open(cluster.options()), SERVICES);
    tokio::select! {
        () = writer.write_for_ever() => {}
        () = follow_on(&mut follower, &writer) => {}
    }
    assert_same_in_the_end(&cluster, &mut follower).await;
    let before = follower.fold.entries.clone();
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    follower
        .until("word of the outage", |f| f.outages == 1)
        .await;
    let start = Instant::now();
    let error = writer
        .store
        .grant(LONG, None)
        .await
        .expect_err("no majority");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{error}");
    assert_eq!(follower.fold.entries, before);
    cluster.nodes[0].start();
    tokio::select! {
        () = writer.write_for_ever() => {}
        () = follow_on(&mut follower, &writer) => {}
    }
    assert_eq!(follower.restored, 1);
    assert_same_in_the_end(&cluster, &mut follower).await;
}
