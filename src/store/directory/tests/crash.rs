//! What is read, and what is cleared away, after a writer was killed between two steps, or the machine was rebooted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use super::{A, Bench, expected, publication};
use crate::model::lease_id::LeaseId;
use crate::store::directory::layout::{Data, Layout};
use crate::store::directory::revision::read_revision;
use crate::store::directory::{data, expiry};
use crate::store::{Store, StoreError};

#[tokio::test]
async fn a_beat_of_another_boot_is_none() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "10.0.0.1")]).await;
    bench.reboot(lease);
    assert_eq!(bench.keys().await, BTreeMap::new());
    let lost = Err(StoreError::LeaseLost(lease));
    assert_eq!(bench.store.keep_alive(lease).await, lost);
    bench.grant().await;
    assert_eq!(bench.leases().len(), 1, "the old one is cleared away");
    assert!(!bench.root.join("services/web/a").is_symlink());
}

#[tokio::test]
async fn a_writer_that_died_leaves_nothing_to_be_read_by_halves() {
    let whole = expected(&[("/services/web/a/ip", "1"), ("/services/web/a/port", "1")]);
    // How far the writer of version 2 came.
    for step in 0..6 {
        let bench = Bench::new();
        let lease = bench.grant().await;
        bench.publish(lease, A, &[("ip", "1"), ("port", "1")]).await;
        let revision = read_revision(bench.layout()).unwrap();
        let data = Data {
            lease,
            name: "dead".to_owned(),
        };
        let dir = bench.layout().data(&data);
        let two = publication(A, &[("ip", "2"), ("port", "2")]);
        let mut want = whole.clone();
        if step >= 1 {
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("ip"), "2").unwrap();
        }
        if step >= 2 {
            fs::remove_dir_all(&dir).unwrap();
            data::write(&dir, &two, revision + 1000).unwrap();
        }
        let link = dir.with_extension("link");
        if step >= 3 {
            symlink(Layout::link_text(A, &data), &link).unwrap();
        }
        if step >= 4 {
            fs::rename(&link, bench.layout().path_of(A)).unwrap();
            for value in want.values_mut() {
                *value = "2".to_owned();
            }
        }
        if step >= 5 {
            fs::write(bench.layout().revision().with_extension("new"), "12").unwrap();
        }
        assert_eq!(bench.keys().await, want, "step {step}");
        // The others go on, and the dead one's lease takes all of it along.
        let other = bench.grant().await;
        bench
            .publish(other, "/services/web/b", &[("ip", "3")])
            .await;
        want.insert("/services/web/b/ip".to_owned(), "3".to_owned());
        assert_eq!(bench.keys().await, want, "step {step}");
        assert!(read_revision(bench.layout()).unwrap() > revision);
        bench.reboot(lease);
        bench.grant().await;
        let want = expected(&[("/services/web/b/ip", "3")]);
        assert_eq!(bench.keys().await, want, "step {step}");
        assert!(!bench.leases().contains(&lease.to_string()), "step {step}");
        assert_eq!(
            fs::read_dir(bench.root.join("services/web"))
                .unwrap()
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn a_revocation_that_died_is_finished_by_the_next_writer() {
    for step in 0..4 {
        let bench = Bench::new();
        let lease = bench.grant().await;
        bench.publish(lease, A, &[("ip", "1")]).await;
        bench
            .publish(lease, "/services/web/b", &[("ip", "1")])
            .await;
        bench.set("/services/web/a/state", "maint");
        let heartbeat = expiry::Heartbeat::read(&bench.layout().heartbeat(lease))
            .unwrap()
            .unwrap();
        heartbeat
            .last()
            .write(&bench.layout().heartbeat(lease))
            .unwrap();
        let link = fs::read_link(bench.root.join("services/web/b")).unwrap();
        let data = Layout::parse_link("/services/web/b", &link).unwrap();
        if step >= 1 {
            fs::remove_file(bench.root.join("services/web/b")).unwrap();
        }
        if step >= 2 {
            fs::remove_file(Layout::manifest(&bench.layout().data(&data))).unwrap();
        }
        if step >= 3 {
            fs::remove_dir_all(bench.layout().data(&data)).unwrap();
        }
        let want = expected(&[("/services/web/a/state", "maint")]);
        assert_eq!(bench.keys().await, want, "step {step}");
        bench.grant().await;
        assert_eq!(bench.keys().await, want, "step {step}");
        assert!(!bench.leases().contains(&lease.to_string()), "step {step}");
        assert!(bench.root.join("services/web/a").is_dir());
        assert!(!bench.root.join("services/web/a").is_symlink());
    }
}

#[tokio::test]
async fn a_lease_without_a_beat_and_a_dangling_link_are_nothing() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "1")]).await;
    fs::remove_dir_all(bench.layout().lease(lease)).unwrap();
    fs::create_dir(bench.layout().lease(LeaseId(7))).unwrap();
    assert_eq!(bench.keys().await, BTreeMap::new());
    // The dangling link is no obstacle.
    let next = bench.grant().await;
    bench.publish(next, A, &[("ip", "2")]).await;
    assert_eq!(bench.keys().await, expected(&[("/services/web/a/ip", "2")]));
    assert_eq!(bench.leases(), [next.to_string()]);
}
