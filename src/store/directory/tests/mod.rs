//! What the contract suite cannot see: files and the hands at them. Crashes and a model to compare with stand beside.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::data::Manifest;
use super::*;
use crate::model::key::Entries;
use crate::model::publication::Claim;
use crate::model::state_change::{By, STATE, StateValue};

mod crash;
mod hanging;
mod model;

const A: &str = "/services/web/a";
const LONG: Duration = Duration::from_secs(5 * 60);

/// A store in a directory of its own.
struct Bench {
    store: DirectoryStore,
    root: PathBuf,
    _dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            TempDir::new_in(memory)
        } else {
            TempDir::new()
        };
        let dir = dir.unwrap();
        let root = dir.path().join("store");
        Self {
            store: DirectoryStore::open(&root).unwrap(),
            root,
            _dir: dir,
        }
    }

    fn layout(&self) -> &Layout {
        &self.store.layout
    }

    async fn grant(&self) -> LeaseId {
        self.store.grant(LONG, None).await.unwrap().0
    }

    async fn publish(&self, lease: LeaseId, dir: &str, fields: &[(&str, &str)]) -> Revision {
        let publication = publication(dir, fields);
        self.store.publish(lease, &publication).await.unwrap()
    }

    async fn keys(&self) -> BTreeMap<String, String> {
        let all = Prefix::parse("/").unwrap();
        readable(&self.store.snapshot(&all).await.unwrap().entries)
    }

    /// The names in the directory of leases, and of one lease.
    fn leases(&self) -> Vec<String> {
        let found = data::list(&self.layout().leases()).unwrap();
        found.into_iter().map(|(name, _)| name).collect()
    }

    fn in_lease(&self, lease: LeaseId) -> Vec<String> {
        let found = data::list(&self.layout().lease(lease)).unwrap();
        found.into_iter().map(|(name, _)| name).collect()
    }

    fn set(&self, key: &str, value: &str) {
        let file = self.layout().path_of(key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, value).unwrap();
    }

    /// Replaces the heartbeat of a lease with one that another boot has left.
    fn reboot(&self, lease: LeaseId) {
        fs::write(
            self.layout().heartbeat(lease),
            "another-boot 999999999999 5000\n",
        )
        .unwrap();
    }
}

fn publication(dir: &str, fields: &[(&str, &str)]) -> Publication {
    let fields = fields
        .iter()
        .map(|(field, value)| ((*field).to_owned(), value.as_bytes().to_vec()));
    Publication {
        dir: Prefix::parse(dir).unwrap(),
        fields: fields.collect(),
        state: None,
        claim: Claim::default(),
        predecessors: std::collections::BTreeSet::new(),
    }
}

fn readable(entries: &Entries) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    entries
        .iter()
        .map(|(k, v)| (k.to_string(), text(v)))
        .collect()
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[tokio::test]
async fn ls_and_cat_read_an_instance() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench
        .publish(lease, A, &[("ip", "10.0.0.1"), ("settings/zone", "x")])
        .await;
    let run = |command: &str, path: &str| {
        let out = Command::new(command)
            .arg(bench.root.join(path))
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(run("ls", ""), "services\n");
    assert_eq!(run("ls", "services/web/a/"), "ip\nsettings\n");
    assert_eq!(run("cat", "services/web/a/ip"), "10.0.0.1");
    assert_eq!(run("cat", "services/web/a/settings/zone"), "x");
    // The root can be mounted at another place.
    let elsewhere = bench.root.with_extension("moved");
    fs::rename(&bench.root, &elsewhere).unwrap();
    assert_eq!(
        fs::read_to_string(elsewhere.join("services/web/a/ip")).unwrap(),
        "10.0.0.1"
    );
}

#[tokio::test]
async fn hands_leave_newlines() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench
        .publish(lease, A, &[("ip", "10.0.0.1"), ("port", "80")])
        .await;
    bench.set("/services/web/a/state", "maint\n");
    bench.set("/services/web/a/port", "81\n");
    bench.set("/config/motd", "two\nlines\n");
    let want = [
        ("/config/motd", "two\nlines"),
        ("/services/web/a/ip", "10.0.0.1"),
        ("/services/web/a/port", "81"),
        ("/services/web/a/state", "maint"),
    ];
    assert_eq!(bench.keys().await, expected(&want));
}

#[tokio::test]
async fn hidden_files_and_foreign_links_are_no_keys() {
    let bench = Bench::new();
    bench.set("/services/web/.a.swp", "x");
    bench.set("/.hidden/a", "x");
    symlink("/etc", bench.root.join("services/etc")).unwrap();
    symlink("web", bench.root.join("services/alias")).unwrap();
    symlink("/etc/hostname", bench.root.join("services/web/host")).unwrap();
    bench.set("/services/web/b/ip", "10.0.0.1");
    let want = expected(&[("/services/web/b/ip", "10.0.0.1")]);
    assert_eq!(bench.keys().await, want);
}

#[tokio::test]
async fn what_stands_in_the_way_is_named_and_stays() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "10.0.0.1")]).await;
    bench.set("/file", "x");
    symlink("/tmp", bench.root.join("link")).unwrap();
    let before = bench.keys().await;
    for (dir, named) in [
        ("/file", "/file is a file"),
        ("/file/a", "/file is a file"),
        ("/link", "/link is a link"),
        ("/link/a", "/link is a link"),
        ("/services/web/a/b", "/services/web/a is a publication"),
        ("/.sidekick/leases", "hidden"),
    ] {
        let refused = bench
            .store
            .publish(lease, &publication(dir, &[("ip", "x")]))
            .await;
        let error = refused.expect_err(dir);
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    assert_eq!(bench.keys().await, before);
    assert_eq!(
        bench.in_lease(lease).len(),
        2,
        "the heartbeat and one data directory"
    );
}

#[tokio::test]
async fn a_publication_clears_what_lies_below_it() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "10.0.0.1")]).await;
    bench.set("/services/web/a/state", "maint");
    bench
        .publish(lease, "/services/web", &[("motd", "x")])
        .await;
    let want = expected(&[
        ("/services/web/a/state", "maint"),
        ("/services/web/motd", "x"),
    ]);
    assert_eq!(bench.keys().await, want);
    bench.store.revoke(lease).await.unwrap();
    let want = expected(&[("/services/web/a/state", "maint")]);
    assert_eq!(bench.keys().await, want);
}

#[tokio::test]
async fn a_held_lock_is_waited_for_in_bounds() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "1")]).await;
    let held = File::open(bench.layout().lock()).unwrap();
    held.lock().unwrap();
    let start = Instant::now();
    let error = bench.store.keep_alive(lease).await.unwrap_err();
    assert!(error.to_string().contains("has held the lock"), "{error}");
    assert!(start.elapsed() < 3 * PATIENCE);
    // Readers do not care.
    assert_eq!(bench.keys().await.len(), 1);
    let later = bench.store.keep_alive(lease);
    let release = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    let (kept, ()) = tokio::join!(later, release);
    kept.unwrap();
}

#[tokio::test]
async fn a_store_that_is_not_there_says_so() {
    let bench = Bench::new();
    let all = Prefix::parse("/").unwrap();
    let unavailable = |error: StoreError, word: &str| {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    };
    unavailable(
        bench.store.snapshot(&all).await.unwrap_err(),
        "no such directory",
    );
    let watch = bench.store.watch(&all, Revision(0)).await;
    unavailable(watch.err().unwrap(), "no such directory");
    fs::write(&bench.root, "x").unwrap();
    unavailable(
        bench.store.snapshot(&all).await.unwrap_err(),
        "not a directory",
    );
    unavailable(
        bench.store.grant(LONG, None).await.unwrap_err(),
        "cannot make",
    );
    fs::remove_file(&bench.root).unwrap();
    // The first lease makes it.
    bench.grant().await;
    assert_eq!(bench.keys().await, BTreeMap::new());
}

/// Every file below a directory, with what would change if it were written to.
fn fingerprint(dir: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                open.push(entry.path());
            }
            let stamp = (metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
            found.insert(entry.path(), stamp);
        }
    }
    found
}

#[tokio::test]
async fn readers_write_nothing() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "1")]).await;
    bench.set("/services/web/a/state", "maint");
    let dead = bench.grant().await;
    bench.publish(dead, "/services/web/b", &[("ip", "1")]).await;
    bench.reboot(dead);
    let before = fingerprint(&bench.root);
    let reader = DirectoryStore::open(&bench.root).unwrap();
    let services = Prefix::parse("/services").unwrap();
    let snapshot = reader.snapshot(&services).await.unwrap();
    let mut watch = reader.watch(&services, snapshot.revision).await.unwrap();
    watch.next().await.unwrap();
    assert_eq!(snapshot.entries.len(), 2);
    assert_eq!(fingerprint(&bench.root), before);
}

#[tokio::test]
async fn an_edit_in_an_instance_is_noticed_by_its_event() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    for dir in [A, "/services/web/b"] {
        bench.publish(lease, dir, &[("ip", "1")]).await;
    }
    let all = Prefix::parse("/services").unwrap();
    let mut watch = bench.store.watch(&all, Revision(0)).await.unwrap();
    watch.next().await.unwrap();
    for round in 0..3 {
        // A rescan that takes the other instance from the cache goes on watching it.
        let value = round.to_string();
        let published = bench
            .publish(lease, "/services/web/b", &[("port", &value)])
            .await;
        assert_eq!(watch.next().await.unwrap().revision(), published);
        let start = Instant::now();
        bench.set("/services/web/a/state", &value);
        watch.next().await.unwrap();
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "the backstop noticed it"
        );
    }
}

#[tokio::test]
async fn one_publication_is_one_update() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    bench.publish(lease, A, &[("ip", "0")]).await;
    let all = Prefix::parse("/services").unwrap();
    let mut watch = bench.store.watch(&all, Revision(0)).await.unwrap();
    watch.next().await.unwrap();
    for n in 1..30 {
        let published = bench.publish(lease, A, &[("ip", &n.to_string())]).await;
        let update = watch.next().await.unwrap();
        assert_eq!(update.revision(), published, "nothing came in between");
    }
}

#[test]
fn a_manifest_tells_the_revision() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("d");
    data::write(&data_dir, &publication(A, &[("ip", "1")]), 12).unwrap();
    let manifest = Manifest::read(&data_dir).unwrap().unwrap();
    assert_eq!((manifest.revision, manifest.dir.as_str()), (12, A));
}

#[tokio::test]
async fn the_root_may_be_a_link() {
    let bench = Bench::new();
    let lease = bench.grant().await;
    let alias = bench.root.with_extension("alias");
    symlink(&bench.root, &alias).unwrap();
    let reader = DirectoryStore::open(&alias).unwrap();
    let all = Prefix::parse("/").unwrap();
    let mut watch = reader.watch(&all, Revision(0)).await.unwrap();
    watch.next().await.unwrap();
    let start = Instant::now();
    bench.publish(lease, A, &[("ip", "1")]).await;
    watch.next().await.unwrap();
    bench.set("/motd", "x");
    watch.next().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "the backstop noticed it"
    );
    let snapshot = reader.snapshot(&all).await.unwrap();
    assert_eq!(snapshot.entries.len(), 2);
}

#[tokio::test]
async fn a_state_that_a_hand_sets_is_replaced_in_one_step() {
    use std::io::Read as _;

    let bench = Bench::new();
    bench.grant().await;
    bench.set("/services/web/a/ip", "10.0.0.1");
    let mark = |state: &str| StateChange {
        dir: Prefix::parse(A).unwrap(),
        state: Some(StateValue::new(state)),
        by: By::Hand,
    };
    bench.store.set_state(&mark("maint")).await.unwrap();
    let file = bench.layout().path_of(A).join(STATE);
    let mut reader = File::open(&file).unwrap();
    bench.store.set_state(&mark("drain")).await.unwrap();
    // Whoever has opened it reads all of the old state, and whoever opens it reads all of the new one.
    let mut old = String::new();
    reader.read_to_string(&mut old).unwrap();
    let new = fs::read_to_string(&file).unwrap();
    assert_eq!((old.as_str(), new.as_str()), ("maint", "drain"));
}

#[tokio::test]
async fn a_state_goes_with_its_instance_to_the_next_lease_of_the_same_owner() {
    let bench = Bench::new();
    let (first, second) = (bench.grant().await, bench.grant().await);
    bench.publish(first, A, &[("ip", "1")]).await;
    let mark = StateChange {
        dir: Prefix::parse(A).unwrap(),
        state: Some(StateValue::new("drain")),
        by: By::Hand,
    };
    bench.store.set_state(&mark).await.unwrap();
    let successor = Publication {
        predecessors: [first].into(),
        ..publication(A, &[("ip", "1")])
    };
    bench.store.publish(second, &successor).await.unwrap();
    let successor = [successor];
    let standing = bench.store.verify(second, &successor).await.unwrap();
    assert_eq!(standing[0].state, Some(StateValue::new("drain")));
}
