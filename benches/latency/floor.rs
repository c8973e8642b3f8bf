//! What no program can do without: etcd's event of the change, and the file written and renamed so that it survives a crash.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use etcd_client::{Client, WatchOptions, WatchStream};

use crate::keys::{Keys, Put};

/// A bare watch of etcd, and a file of the same size as the renderers'.
pub(crate) struct Floor {
    keys: Keys,
    stream: WatchStream,
    dest: PathBuf,
    bytes: Vec<u8>,
}

/// How long a change took.
pub(crate) struct Took {
    pub(crate) put: Put,
    /// When the watch had the event.
    pub(crate) seen: Instant,
    /// The write, fsync, rename and fsync of the directory, in milliseconds.
    pub(crate) write: f64,
}

impl Floor {
    /// Follows its own instances; writes the bytes of `file` beside the renderers' files.
    pub(crate) async fn new(client: &mut Client, size: usize, file: &Path, root: &Path) -> Self {
        let keys = Keys {
            name: "floor",
            size,
        };
        keys.fill(client).await;
        let options = WatchOptions::new().with_prefix();
        let mut stream = client
            .watch(keys.prefix(), Some(options))
            .await
            .expect("a watch");
        stream.message().await.expect("the watch is created");
        let dir = root.join("floor");
        fs::create_dir_all(&dir).expect("a directory");
        Self {
            keys,
            stream,
            dest: dir.join("haproxy.cfg"),
            bytes: fs::read(file).expect("the file"),
        }
    }

    /// Makes one change.
    pub(crate) async fn change(&mut self, client: &mut Client, round: usize) -> Took {
        let put = self.keys.put(client, round).await;
        self.stream.message().await.expect("an event");
        let seen = Instant::now();
        self.write();
        let write = seen.elapsed().as_secs_f64() * 1e3;
        Took { put, seen, write }
    }

    fn write(&self) {
        let staged = self.dest.with_extension("staged");
        let mut file = File::create(&staged).expect("a file");
        file.write_all(&self.bytes).expect("write");
        file.sync_all().expect("fsync");
        fs::rename(&staged, &self.dest).expect("rename");
        let dir = self.dest.parent().expect("its directory");
        File::open(dir)
            .expect("the directory")
            .sync_all()
            .expect("fsync of the directory");
    }
}
