//! Contract: etcd, one node.

use std::sync::Arc;

use sidekick::store::Store;
use sidekick::store::etcd::EtcdStore;

use super::{Bench, Compact, Pause, Rebuild, Stop};
use crate::harness::etcd::Etcd;

impl Bench for Etcd {
    async fn start() -> Self {
        Etcd::start_new()
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(EtcdStore::new(self.options()).expect("open a store"))
    }

    async fn set(&self, key: &str, value: &[u8]) {
        match value {
            // etcdctl does not take nothing for a value that it reads.
            b"" => drop(self.etcdctl(&["put", key, ""])),
            value => drop(self.etcdctl_with(&["put", key], value)),
        }
    }

    async fn delete(&self, key: &str) {
        self.etcdctl(&["del", key]);
    }
}

impl Stop for Etcd {
    async fn stop(&mut self) {
        self.kill();
    }

    async fn restart(&mut self) {
        self.start();
    }
}

impl Pause for Etcd {
    async fn pause(&mut self) {
        Etcd::pause(self);
    }

    async fn resume(&mut self) {
        Etcd::resume(self);
    }
}

impl Compact for Etcd {
    async fn compact(&mut self) {
        let now = self.revision().to_string();
        self.etcdctl(&["compaction", &now]);
    }
}

impl Rebuild for Etcd {
    async fn rebuild(&mut self) {
        self.wipe();
    }
}

super::contract!(Etcd:
    read, edits, edits_stop, core, stop, rebuild, pause, compact,
    follow, follow_stop, follow_rebuild, follow_pause, follow_compact,
);
