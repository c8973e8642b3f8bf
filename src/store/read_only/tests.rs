use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::model::update::Update;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    dir
}

async fn keys(path: &Path) -> Result<Vec<String>, String> {
    let store = ReadOnlyStore::of_files(path);
    let snapshot = store.snapshot(&Prefix::root()).await;
    let entries = snapshot.map_err(|error| error.to_string())?.entries;
    Ok(entries.into_keys().map(|key| key.to_string()).collect())
}

#[tokio::test]
async fn the_files_of_a_directory_are_those_with_keys_and_not_hidden() {
    let dir = directory(&[
        ("a.yaml", "a: 1"),
        ("b.yml", "b: 1"),
        ("below/deep/c.json", r#"{"c": 1}"#),
        ("README", "no keys"),
        ("old.yaml.bak", "no keys"),
        (".hidden.yaml", "no: [keys"),
        (".git/x.yaml", "no: [keys"),
        ("lost+found/x.yaml", "no: [keys"),
    ]);
    assert_eq!(keys(dir.path()).await.unwrap(), ["/a", "/b", "/c"]);
    // A file that is named itself may be called anything.
    let alone = dir.path().join("old.yaml.bak");
    fs::write(&alone, "d: 1").unwrap();
    assert_eq!(keys(&alone).await.unwrap(), ["/d"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let dir = directory(&[
        ("pipes/a.yaml", ""),
        ("none/x", ""),
        ("loop/a.yaml", "a: 1"),
    ]);
    let at = |name: &str| dir.path().join(name);
    fs::remove_file(at("pipes/a.yaml")).unwrap();
    nix::unistd::mkfifo(&at("pipes/a.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("..", at("loop/up")).unwrap();
    std::os::unix::fs::symlink("nowhere", at("dangling.yaml")).unwrap();
    let big = fs::File::create(at("big.yaml")).unwrap();
    big.set_len(65 * 1024 * 1024).unwrap();
    for (path, want) in [
        (
            "missing",
            "it cannot be read: No such file or directory (os error 2)",
        ),
        (
            "dangling.yaml",
            "it cannot be read: No such file or directory (os error 2)",
        ),
        ("pipes/a.yaml", "it is neither a file nor a directory"),
        ("pipes", "pipes/a.yaml is neither a file nor a directory"),
        (
            "none",
            "there is no file of keys in it (*.yaml, *.yml or *.json); {} in a file stands for no keys",
        ),
        ("loop", "lies too deep: does a link lead back?"),
        (
            "big.yaml",
            "it is too long: all files together may have 64 MiB",
        ),
    ] {
        let path = at(path);
        let said = keys(&path).await.unwrap_err();
        let begins = format!("file:{} cannot be used: ", path.display());
        assert!(said.starts_with(&begins) && said.ends_with(want), "{said}");
    }
}

#[tokio::test]
async fn mistakes_are_told_as_long_as_they_stand_and_cost_no_revision() {
    let dir = directory(&[("a.yaml", "a: 1")]);
    let file = dir.path().join("a.yaml");
    let store = ReadOnlyStore::of_files(&file);
    let list = async || store.snapshot(&Prefix::root()).await;
    let good = list().await.unwrap();
    fs::write(&file, "a: 1\nb: [").unwrap();
    for _ in 0..2 {
        let Err(StoreError::Unusable { reason, .. }) = list().await else {
            panic!("the file is wrong");
        };
        assert!(reason.starts_with("line "), "{reason}");
    }
    fs::write(&file, "# mended\na: 1").unwrap();
    assert_eq!(list().await.unwrap(), good, "the keys are the same");
    fs::write(&file, "a: 2").unwrap();
    assert!(list().await.unwrap().revision > good.revision);
}

#[tokio::test]
async fn a_watch_begins_with_all_keys_unless_it_goes_on_from_the_present_revision() {
    let dir = directory(&[("a.yaml", "{a: 1, b: 1}")]);
    let file = dir.path().join("a.yaml");
    let store = ReadOnlyStore::of_files(&file);
    let root = Prefix::root();
    let listed = store.snapshot(&root).await.unwrap();
    let other = Revision(listed.revision.0 - 1);
    let mut watch = store.watch(&root, other).await.unwrap();
    assert_eq!(watch.next().await, Ok(Update::Reset(listed.clone())));
    let mut watch = store.watch(&root, listed.revision).await.unwrap();
    replace(&file, "{a: 1, b: 2}");
    let Ok(Update::Changed { revision, changes }) = watch.next().await else {
        panic!("the keys have changed");
    };
    assert!(revision > listed.revision);
    assert_eq!(changes.len(), 1, "{changes:?}");
}

fn replace(file: &Path, text: &str) {
    let new: PathBuf = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// Waits for a correction of a file that is wrong, and gives the file this text meanwhile.
async fn wait_while_it_becomes(text: &str) {
    let dir = directory(&[("a.yaml", "a: [")]);
    let file = dir.path().join("a.yaml");
    let store = ReadOnlyStore::of_files(&file);
    let again = store.usable_again();
    tokio::pin!(again);
    let early = timeout(Duration::from_millis(50), &mut again).await;
    assert!(early.is_err(), "it is still wrong");
    replace(&file, text);
    timeout(Duration::from_secs(30), again).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_correction_hears_of_it() {
    wait_while_it_becomes("a: 1").await;
}

#[tokio::test]
async fn who_waits_for_a_correction_hears_of_another_mistake() {
    wait_while_it_becomes("a: 1\nb:\n").await;
}

#[tokio::test]
async fn whoever_changes_something_is_refused() {
    let store = ReadOnlyStore::of_environment([]);
    let refused = store.grant(Duration::from_secs(5), None).await;
    let error = refused.unwrap_err().to_string();
    assert_eq!(error, "env: refused: it is only read");
    assert!(store.keep_alive(LeaseId(1)).await.is_err());
    assert!(store.revoke(LeaseId(1)).await.is_err());
}
