//! A file system that does not answer: whoever reads waits in the kernel, as on a network mount whose server is gone.

use nix::sys::stat::Mode;

use super::*;

/// The heartbeat of a lease becomes a pipe: opening it to read waits for a writer, and nobody comes.
fn hang(bench: &Bench, lease: LeaseId) -> PathBuf {
    let heartbeat = bench.layout().heartbeat(lease);
    fs::remove_file(&heartbeat).unwrap();
    nix::unistd::mkfifo(&heartbeat, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    heartbeat
}

/// Lets go whoever waits there, and those who come later.
fn go_on(heartbeat: &Path) {
    let writer = File::options()
        .read(true)
        .write(true)
        .open(heartbeat)
        .unwrap();
    fs::remove_file(heartbeat).unwrap();
    drop(writer);
}

#[tokio::test]
async fn every_verb_ends_and_few_threads_are_lost() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "1")]).await;
    let all = Prefix::parse("/").unwrap();
    let heartbeat = hang(&bench, lease);
    let start = Instant::now();
    let verbs = async {
        let store = &bench.store;
        let publication = publication(A, &[("ip", "2")]);
        let (snapshot, watch, grant, publish, renew, revoke) = tokio::join!(
            store.snapshot(&all),
            store.watch(&all, Revision::default()),
            store.grant(LONG, None),
            store.publish(lease, &publication),
            store.keep_alive(lease),
            store.revoke(lease),
        );
        [
            snapshot.err(),
            watch.err(),
            grant.err(),
            publish.err(),
            renew.err(),
            revoke.err(),
        ]
    };
    let errors = verbs.await;
    let took = start.elapsed();
    let many: Vec<_> = (0..10).map(|_| bench.store.snapshot(&all)).collect();
    for snapshot in many {
        assert!(
            tokio::time::timeout(3 * HANGS, snapshot)
                .await
                .unwrap()
                .is_err()
        );
        if bench.store.readers.available_permits() == 0 {
            break;
        }
    }
    let lost = READERS - bench.store.readers.available_permits();
    go_on(&heartbeat);
    for error in errors {
        let error = error.expect("nobody can read the beat");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    }
    assert!(took < 3 * HANGS, "{took:?}");
    assert_eq!(lost, READERS, "others have their threads");
}

#[tokio::test]
async fn a_watch_says_that_it_has_stopped_seeing() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "1")]).await;
    let all = Prefix::parse("/").unwrap();
    let mut watch = bench.store.watch(&all, Revision::default()).await.unwrap();
    watch.next().await.unwrap();
    let heartbeat = hang(&bench, lease);
    // Something changes, so it looks.
    bench.set("/services/clock", "runs");
    let next = tokio::time::timeout(6 * HANGS, watch.next()).await;
    go_on(&heartbeat);
    let error = next.expect("it ends").expect_err("it cannot see");
    assert!(error.to_string().contains("has not answered"), "{error}");
}

#[tokio::test]
async fn work_that_goes_on_may_take_long() {
    let bench = Bench::new();
    let start = Instant::now();
    // Each of them is slow, and none hangs.
    let many_files = move |layout: &Layout, _: &Clock| {
        while start.elapsed() < HANGS + HANGS / 4 {
            layout.path_of(A);
            std::thread::sleep(HANGS / 40);
        }
        Ok(())
    };
    let done = bench.store.blocking(many_files).await;
    assert_eq!(done, Ok(()));
}
