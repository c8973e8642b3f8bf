//! The last good snapshot on disk: written after the store has sent something new, read when the store is silent at a
//! start. Shell.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::snapshot_format;
use super::snapshot_format::SavedSnapshot;
use crate::model::catalog::Catalog;
use crate::model::prefix::Prefix;
use crate::model::report::chain;
use crate::system::file::{self, Access, Candidate};
use crate::system::own_files::OwnFiles;
use crate::system::process;

/// How long the store may be silent before the snapshot stands in for it. It is long enough for a slow store or for one
/// with a dead endpoint, and short for a proxy that waits for its file. An estimate, not measured.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// How long a write waits after news, so that it does not compete with the publishes that the news cause.
const SETTLE: Duration = Duration::from_secs(1);
/// The shortest time between two writes. A crash loses at most the news of this time, and only if the store is down
/// then.
const DISTANCE: Duration = Duration::from_secs(5);
/// How long a stop waits for the last write.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// The snapshot file, and when it is to be written and read.
pub(crate) struct SnapshotFile {
    /// Where the file lies; `None` for a single pass, which keeps no snapshot.
    place: Option<Arc<Place>>,
    /// The identity of the store, so that the snapshot of another store is not used.
    store: String,
    /// When the silence of the store has lasted too long; `None` if the store is not waited for.
    recall_at: Option<Instant>,
    /// When to write the news that is not written yet; `None` if there is none.
    write_at: Option<Instant>,
    /// When the last write began.
    written: Option<Instant>,
    writing: Option<JoinHandle<()>>,
}

struct Place {
    file: PathBuf,
    own_files: OwnFiles,
}

impl SnapshotFile {
    /// The snapshot file for the targets in `conf_dir`, below `state_dir`. `store` is the identity of the store.
    pub(crate) fn new(state_dir: Option<&Path>, conf_dir: &Path, store: String) -> Self {
        let place = state_dir.map(|dir| {
            let name = std::path::absolute(conf_dir).unwrap_or_else(|_| conf_dir.to_owned());
            let name = file::name_of_path(&name) + ".json";
            Arc::new(Place {
                file: dir.join("snapshots").join(name),
                own_files: OwnFiles::default(),
            })
        });
        Self {
            place,
            store,
            recall_at: None,
            write_at: None,
            written: None,
            writing: None,
        }
    }

    /// The store is expected to send all data of new paths. Nothing is written until it has, and the snapshot is read
    /// if it stays silent for [`SILENCE_LIMIT`].
    pub(crate) fn start_silence_timer(&mut self, now: Instant) {
        self.write_at = None;
        self.recall_at = self.place.is_some().then_some(now + SILENCE_LIMIT);
    }

    /// Another store is in use from now on.
    pub(crate) fn move_to(&mut self, store: String, now: Instant) {
        self.store = store;
        self.start_silence_timer(now);
    }

    /// The store has sent something new: the file is due [`SETTLE`] from now, or [`DISTANCE`] after the last write.
    pub(crate) fn schedule_write(&mut self, now: Instant) {
        if self.place.is_some() {
            let next = self.written.map_or(now, |at| at + DISTANCE);
            self.write_at.get_or_insert(next.max(now + SETTLE));
        }
    }

    /// When the last write began.
    pub(crate) fn written(&self) -> Option<Instant> {
        self.written
    }

    /// When [`SnapshotFile::is_recall_due`] or [`SnapshotFile::write_if_due`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.recall_at.into_iter().chain(self.write_at).min()
    }

    /// Whether the store has been silent for [`SILENCE_LIMIT`]. It is true once for each silence.
    pub(crate) fn is_recall_due(&mut self, now: Instant) -> bool {
        self.recall_at.take_if(|at| now >= *at).is_some()
    }

    /// Reads what an earlier process got from the store below these paths, and how long ago that was. `None` if there is no
    /// snapshot, or one that cannot be used; the log says why.
    pub(crate) fn read(&self, paths: &[Prefix]) -> Option<(SavedSnapshot, Duration)> {
        let file = &self.place.as_ref()?.file;
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                debug!("there is no snapshot in {}", file.display());
                return None;
            }
            Err(error) => {
                warn!(%error, "the snapshot {} cannot be read: {error}", file.display());
                return None;
            }
        };
        match snapshot_format::decode(&text, &self.store, paths) {
            Ok(saved) => Some((saved, file::age(file).unwrap_or_default())),
            Err(error) => {
                warn!(
                    "the snapshot {} is not used: {}",
                    file.display(),
                    chain(&error)
                );
                None
            }
        }
    }

    /// Writes what `catalog` knows of these paths, if a write is due. The write runs in a thread of its own.
    pub(crate) fn write_if_due(
        &mut self,
        now: Instant,
        paths: Vec<Prefix>,
        catalog: &Arc<Catalog>,
    ) {
        if self.write_at.is_none_or(|at| now < at) {
            return;
        }
        if self.writing.as_ref().is_some_and(|one| !one.is_finished()) {
            // The disk is slow: the write before this one has not ended.
            self.write_at = Some(now + SETTLE);
            return;
        }
        self.start_write(now, paths, catalog);
    }

    /// Writes what is not written yet and waits for that, for two seconds at most.
    pub(crate) async fn finish(mut self, paths: Vec<Prefix>, catalog: &Arc<Catalog>) {
        let finish = async {
            if let Some(writing) = self.writing.take() {
                // A write that panicked has written nothing; the next start then lacks the latest news.
                let _ = writing.await;
            }
            if self.write_at.is_some() {
                self.start_write(Instant::now(), paths, catalog);
            }
            if let Some(writing) = self.writing.take() {
                let _ = writing.await;
            }
        };
        // A disk that hangs must not delay the stop.
        let _ = tokio::time::timeout(LAST_WRITE, finish).await;
    }

    fn start_write(&mut self, now: Instant, paths: Vec<Prefix>, catalog: &Arc<Catalog>) {
        (self.write_at, self.written) = (None, Some(now));
        let Some(place) = self.place.clone() else {
            return;
        };
        let (catalog, store) = (Arc::clone(catalog), self.store.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            place.write(&store, &paths, &catalog);
            drop(catalog);
            // The publishes that the news have caused are over as a rule, and what they took for a moment is free.
            process::give_back_memory();
        }));
    }
}

impl Place {
    fn write(&self, store: &str, paths: &[Prefix], catalog: &Catalog) {
        let start = Instant::now();
        let written = snapshot_format::encode(store, paths, catalog)
            .map_err(std::io::Error::from)
            .and_then(|text| self.replace(&text));
        if written.is_ok() {
            let took = start.elapsed().as_micros();
            debug!("the snapshot was written in {took} us");
        }
        let loss = "; if the store does not answer at the next start, that start has to wait for it; give --state-dir";
        self.own_files.log(&self.file, loss, written);
    }

    fn replace(&self, text: &[u8]) -> std::io::Result<()> {
        self.file.parent().map_or(Ok(()), file::make_private_dir)?;
        let (uid, gid) = process::effective_ids();
        let access = Access {
            mode: 0o600,
            uid,
            gid,
        };
        Candidate::stage(&self.file, text, access)?.swap()?;
        Ok(())
    }
}

/// How long ago something was, as text for people: in seconds, minutes, hours or days.
pub(crate) fn format_age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_given_in_a_fitting_unit() {
        for (seconds, want) in [
            (0, "0 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7200, "2 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(format_age(Duration::from_secs(seconds)), want);
        }
    }

    #[test]
    fn news_that_come_fast_are_written_at_a_distance() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut snapshot =
            SnapshotFile::new(Some(dir.path()), Path::new("/etc/sidekick"), String::new());
        snapshot.schedule_write(start);
        snapshot.schedule_write(start + SETTLE / 2);
        assert_eq!(snapshot.deadline(), Some(start + SETTLE));
        (snapshot.write_at, snapshot.written) = (None, Some(start + SETTLE));
        snapshot.schedule_write(start + SETTLE);
        assert_eq!(snapshot.deadline(), Some(start + SETTLE + DISTANCE));
    }

    #[test]
    fn a_single_pass_keeps_no_snapshot() {
        let now = Instant::now();
        let mut snapshot = SnapshotFile::new(None, Path::new("/etc/sidekick"), String::new());
        snapshot.start_silence_timer(now);
        snapshot.schedule_write(now);
        assert_eq!(snapshot.deadline(), None);
        assert!(!snapshot.is_recall_due(now + SILENCE_LIMIT));
        assert!(snapshot.read(&[]).is_none());
    }
}
