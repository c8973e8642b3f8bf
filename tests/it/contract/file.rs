//! Contract: a file of keys, and a directory of such files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sidekick::store::Store;
use sidekick::store::read_only::ReadOnlyStore;

use super::{Bench, Stop};
use crate::harness::temp_dir;

/// Puts a file in place of the one that is there, as careful people do.
fn replace(file: &Path, keys: &BTreeMap<String, String>) {
    let text = serde_json::to_string(keys).expect("strings are JSON");
    let new = file.with_extension("new");
    fs::write(&new, text).expect("write a file of keys");
    fs::rename(new, file).expect("put a file of keys in place");
}

fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).expect("files of keys have texts")
}

mod one {
    use super::*;

    /// All keys are in one file.
    struct FileBench {
        file: PathBuf,
        keys: Mutex<BTreeMap<String, String>>,
        _dir: tempfile::TempDir,
    }

    impl FileBench {
        fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
            let mut keys = self.keys.lock().expect("no test panics with it");
            change(&mut keys);
            replace(&self.file, &keys);
        }
    }

    impl Bench for FileBench {
        async fn start() -> Self {
            let dir = temp_dir();
            let bench = Self {
                file: dir.path().join("keys.json"),
                keys: Mutex::default(),
                _dir: dir,
            };
            bench.change(|_| {});
            bench
        }

        fn store(&self) -> Arc<dyn Store> {
            Arc::new(ReadOnlyStore::of_files(&self.file))
        }

        async fn set(&self, key: &str, value: &[u8]) {
            self.change(|keys| drop(keys.insert(key.to_owned(), text(value))));
        }

        async fn delete(&self, key: &str) {
            self.change(|keys| drop(keys.remove(key)));
        }
    }

    impl Stop for FileBench {
        async fn stop(&mut self) {
            fs::rename(&self.file, self.file.with_extension("away")).expect("take the file away");
        }

        async fn restart(&mut self) {
            fs::rename(self.file.with_extension("away"), &self.file).expect("bring it back");
        }
    }

    crate::contract::contract!(FileBench: read, edits, edits_stop);
}

mod many {
    use super::*;

    /// Each key is in a file of its own, and each file in a directory of its own.
    struct FilesBench(tempfile::TempDir);

    impl FilesBench {
        fn file(&self, key: &str) -> PathBuf {
            let name = key.trim_start_matches('/').replace('/', "+");
            self.0.path().join(name).join("key.yaml")
        }
    }

    impl Bench for FilesBench {
        async fn start() -> Self {
            let bench = Self(temp_dir());
            fs::write(bench.0.path().join("none.yaml"), "{}").expect("write a file without keys");
            bench
        }

        fn store(&self) -> Arc<dyn Store> {
            Arc::new(ReadOnlyStore::of_files(self.0.path()))
        }

        async fn set(&self, key: &str, value: &[u8]) {
            let file = self.file(key);
            fs::create_dir_all(file.parent().expect("it has one")).expect("make its directory");
            replace(&file, &BTreeMap::from([(key.to_owned(), text(value))]));
        }

        async fn delete(&self, key: &str) {
            let file = self.file(key);
            fs::remove_dir_all(file.parent().expect("it has one")).expect("remove its directory");
        }
    }

    crate::contract::contract!(FilesBench: read, edits);
}
