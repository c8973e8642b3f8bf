//! Watches the published files themselves, and repairs them at once when somebody else changes them. Shell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::task::JoinSet;

use super::Shell;
use crate::system::file_watch::Watched;
use crate::system::{bounded, file};
use crate::watch::publish::{Digest, is_edited};
use crate::watch::target::schedule::Input;
use crate::watch::target::state::TargetState;

/// The published files of all targets.
pub(super) struct Destinations {
    /// `None` if the process does not stay.
    watched: Option<Watched>,
    /// Comparisons that are under way; each yields the names of the targets whose files are changed.
    comparisons: JoinSet<Vec<String>>,
}

/// What has happened to published files.
pub(super) enum Touched {
    /// The kernel has reported a change of a file or of a directory above it.
    Something,
    /// A comparison has found that files of these targets are not as the last publish left them.
    Changed(Vec<String>),
}

impl Destinations {
    /// Begins to watch the files of these targets, if the process `stays`.
    pub(super) fn new(targets: &[TargetState], stays: bool) -> Self {
        let mut own = Self {
            watched: stays.then(|| Watched::new("the files that are kept")),
            comparisons: JoinSet::new(),
        };
        own.watch_files(targets);
        own
    }

    /// Replaces the places that are watched: the targets may be others, or a link may lead elsewhere by now.
    pub(super) fn watch_files(&mut self, targets: &[TargetState]) {
        if let Some(watched) = &mut self.watched {
            let outputs = targets
                .iter()
                .flat_map(|state| &state.loaded.target.outputs);
            // A file system that does not answer cannot be watched; the next change tries again.
            let places = outputs.flat_map(|output| {
                bounded::within(&output.dest, places_to_watch).unwrap_or_default()
            });
            watched.follow(BTreeSet::new(), places.collect());
        }
    }

    /// Waits for the next event. Dropping the future loses nothing.
    pub(super) async fn next_touched(&mut self) -> Touched {
        let Some(watched) = &mut self.watched else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = watched.changed() => Touched::Something,
            Some(looked) = self.comparisons.join_next() => Touched::Changed(looked.unwrap_or_default()),
        }
    }

    /// Compares the files of these targets with what the last publish left, in a thread, so that a file system that
    /// hangs does not hold up the loop.
    fn start_comparison(&mut self, left: Vec<(String, Vec<(PathBuf, Digest)>)>) {
        if left.is_empty() {
            return;
        }
        self.comparisons.spawn_blocking(move || {
            let changed = left.into_iter().filter(|(_, files)| {
                let mut files = files.iter();
                files.any(|(dest, published)| is_edited(dest, *published))
            });
            changed.map(|(name, _)| name).collect()
        });
    }
}

/// The places to watch for one file: the file, what it is a link to, and the directories above them that somebody may
/// replace or that have still to be made.
fn places_to_watch(dest: &Path) -> BTreeSet<PathBuf> {
    let ends = [Some(dest.to_owned()), file::resolve(dest).ok()];
    let mut places = BTreeSet::new();
    for end in ends.into_iter().flatten() {
        for (above, place) in end.ancestors().enumerate() {
            // Of the directories that exist, only the nearest one.
            let is_far = above > 1 && place.parent().is_none_or(Path::exists);
            if place.parent().is_none() || (is_far && place.exists()) {
                break;
            }
            places.insert(place.to_owned());
        }
    }
    places
}

impl Shell {
    /// Compares the files when something has happened to them, and repairs those that are changed.
    pub(super) fn handle_touched(&mut self, touched: Touched) {
        match touched {
            Touched::Something => {
                self.destinations.watch_files(&self.targets);
                self.compare_files();
            }
            Touched::Changed(names) => {
                let now = Instant::now();
                for target in 0..self.targets.len() {
                    let state = &mut self.targets[target];
                    if names.contains(&state.loaded.target.name) && state.may_repair(now) {
                        self.repair(target);
                    }
                }
            }
        }
    }

    /// Starts a comparison of all targets that are not being published; the others are compared after their publish.
    pub(super) fn compare_files(&mut self) {
        let left = self.targets.iter_mut().filter_map(|state| {
            let files = state.published_files()?;
            Some((state.loaded.target.name.clone(), files))
        });
        self.destinations.start_comparison(left.collect());
    }

    /// Makes the repairs that had to wait and are due now.
    pub(super) fn repair_all_due(&mut self, now: Instant) {
        for target in 0..self.targets.len() {
            if self.targets[target].take_due_repair(now) {
                self.repair(target);
            }
        }
    }

    /// Publishes a target again.
    fn repair(&mut self, target: usize) {
        // A guard has frozen the file because its content is not known, so it cannot be rendered again.
        let is_frozen = self
            .guards
            .is_frozen(&self.targets[target].loaded.target.name);
        if !is_frozen && self.subscriptions.is_complete() {
            self.advance(target, Input::Changed);
        }
    }
}
