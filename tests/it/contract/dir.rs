//! Contract: the directory store.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use sidekick::store::Store;
use sidekick::store::directory::DirectoryStore;

use super::{Bench, Rebuild, Stop};
use crate::harness::temp_dir;

struct DirBench {
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl DirBench {
    fn away(&self) -> PathBuf {
        self.root.with_extension("away")
    }

    fn file(&self, key: &str) -> PathBuf {
        self.root.join(key.trim_start_matches('/'))
    }
}

impl Bench for DirBench {
    async fn start() -> Self {
        let dir = temp_dir();
        let root = dir.path().join("store");
        fs::create_dir(&root).expect("make the root of a store");
        Self { root, _dir: dir }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(DirectoryStore::open(&self.root).expect("open a store"))
    }

    async fn set(&self, key: &str, value: &[u8]) {
        let file = self.file(key);
        fs::create_dir_all(file.parent().expect("a key has a parent")).expect("mkdir -p");
        fs::write(file, value).expect("write a key");
    }

    async fn delete(&self, key: &str) {
        fs::remove_file(self.file(key)).expect("remove a key");
    }
}

impl Stop for DirBench {
    async fn stop(&mut self) {
        fs::rename(&self.root, self.away()).expect("take the root away");
    }

    async fn restart(&mut self) {
        fs::rename(self.away(), &self.root).expect("bring the root back");
    }
}

impl Rebuild for DirBench {
    async fn rebuild(&mut self) {
        fs::remove_dir_all(&self.root).expect("remove the root");
        fs::create_dir(&self.root).expect("make the root anew");
    }
}

super::contract!(DirBench: read, edits, edits_stop, core, stop, rebuild, follow, follow_stop, follow_rebuild);
