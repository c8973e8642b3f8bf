//! The files that are kept, watched themselves: what somebody else does to them is set right at once. Shell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::task::JoinSet;

use super::Shell;
use crate::system::file_watch::Watched;
use crate::system::{bounded, file};
use crate::watch::publish::{Digest, is_changed};
use crate::watch::target::schedule::Input;
use crate::watch::target::state::TargetState;

/// The files of all targets.
pub(super) struct Destinations {
    /// None if nobody stays to keep them.
    watched: Option<Watched>,
    /// The targets whose files are found changed.
    comparisons: JoinSet<Vec<String>>,
}

/// What has come of watching.
pub(super) enum Touched {
    /// Something has happened to a file, or beside it.
    Something,
    /// The files of these targets are not as they were left.
    Changed(Vec<String>),
}

impl Destinations {
    pub(super) fn new(targets: &[TargetState], stays: bool) -> Self {
        let mut own = Self {
            watched: stays.then(|| Watched::new("the files that are kept")),
            comparisons: JoinSet::new(),
        };
        own.watch_files(targets);
        own
    }

    /// The files may lie elsewhere by now.
    pub(super) fn watch_files(&mut self, targets: &[TargetState]) {
        if let Some(watched) = &mut self.watched {
            let outputs = targets
                .iter()
                .flat_map(|state| &state.loaded.target.outputs);
            // Nobody can be told of what happens where nothing answers; it is asked again at the next change.
            let places = outputs.flat_map(|output| {
                bounded::within(&output.dest, places_to_watch).unwrap_or_default()
            });
            watched.follow(BTreeSet::new(), places.collect());
        }
    }

    /// Dropping the future loses nothing.
    pub(super) async fn next_touched(&mut self) -> Touched {
        let Some(watched) = &mut self.watched else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = watched.changed() => Touched::Something,
            Some(looked) = self.comparisons.join_next() => Touched::Changed(looked.unwrap_or_default()),
        }
    }

    /// Looks at the files of these targets where a file system that hangs holds nobody up.
    fn start_comparison(&mut self, left: Vec<(String, Vec<(PathBuf, Digest)>)>) {
        if left.is_empty() {
            return;
        }
        self.comparisons.spawn_blocking(move || {
            let changed = left.into_iter().filter(|(_, files)| {
                let mut files = files.iter();
                files.any(|(dest, left)| is_changed(dest, *left))
            });
            changed.map(|(name, _)| name).collect()
        });
    }
}

/// A file, what it is a link to, and the directories above them that may be replaced or are still to be made.
fn places_to_watch(dest: &Path) -> BTreeSet<PathBuf> {
    let ends = [Some(dest.to_owned()), file::resolve(dest).ok()];
    let mut places = BTreeSet::new();
    for end in ends.into_iter().flatten() {
        for (above, place) in end.ancestors().enumerate() {
            // Of the directories that are there, the nearest one.
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

    /// Those that are being published are looked at behind that.
    pub(super) fn compare_files(&mut self) {
        let left = self.targets.iter_mut().filter_map(|state| {
            let files = state.files_left()?;
            Some((state.loaded.target.name.clone(), files))
        });
        self.destinations.start_comparison(left.collect());
    }

    /// Repairs that had to wait and are due.
    pub(super) fn repair_all_due(&mut self, now: Instant) {
        for target in 0..self.targets.len() {
            if self.targets[target].is_repair_due(now) {
                self.repair(target);
            }
        }
    }

    fn repair(&mut self, target: usize) {
        // What a guard holds as it is cannot be made anew.
        let is_frozen = self
            .guards
            .is_frozen(&self.targets[target].loaded.target.name);
        if !is_frozen && self.subscriptions.is_complete() {
            self.advance(target, Input::Changed);
        }
    }
}
