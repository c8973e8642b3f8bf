//! What the loop does with what the store says, or with its silence. Shell.

use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::Shell;
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Snapshot, Update};
use crate::store::{Followed, StoreError};
use crate::watch::host::WORLD;
use crate::watch::source::snapshot::{SILENCE_LIMIT, format_age};
use crate::watch::target::state::TargetState;

impl Shell {
    pub(super) fn handle_store_event(&mut self, scope: usize, followed: Followed) {
        match followed {
            Followed::Outage(error) => {
                // All that is followed is away together, as a rule.
                if self.unreachable.is_empty() {
                    self.is_refused = matches!(error, StoreError::Refused { .. });
                    warn!("{error}; what is live stays as it is, trying again");
                }
                self.unreachable.insert(scope);
            }
            Followed::Restored => {
                if self.unreachable.remove(&scope) && self.unreachable.is_empty() {
                    if self.is_refused {
                        info!("the store no longer refuses what we ask");
                    } else {
                        info!("the store answers again");
                    }
                    self.apply_waiting_config();
                }
            }
            Followed::Update(update) => self.handle_update(scope, update),
        }
    }

    fn handle_update(&mut self, scope: usize, update: Update) {
        let was_complete = self.subscriptions.is_complete();
        let is_reset = matches!(update, Update::Reset(_));
        if is_reset {
            self.subscriptions.mark_heard(scope);
        }
        let has_changed = self.apply_update(scope, update, was_complete);
        if self.subscriptions.is_fresh() && (is_reset || has_changed) {
            self.snapshot.schedule_write(Instant::now());
            self.clear_stale();
        }
    }

    /// Brings the catalog up to date and tells the targets concerned; whether anything has changed.
    fn apply_update(&mut self, scope: usize, update: Update, was_complete: bool) -> bool {
        let revision = update.revision();
        let prefix = self.subscriptions.path(scope);
        let changes = Arc::make_mut(&mut self.catalog).apply(prefix, update);
        for (dir, error) in &changes.skipped {
            warn!("{dir} is skipped: {error}");
        }
        if let Some(applied) = &mut self.applied {
            applied.store_updated(scope, revision, &changes, &self.catalog, &self.targets);
        }
        if self.is_stopping() {
            // Nothing is published any more, so nothing is held back from it: servers that stop together with us are no loss.
        } else if was_complete {
            self.guards.take_in_changes(&self.catalog, &changes);
            self.notify_targets(|state| state.concerns(&changes));
        } else if self.subscriptions.is_complete() {
            self.guards.take_in_all(&self.catalog, &self.snapshot);
            self.notify_targets(|_| true);
        }
        self.warn_of_unannounced();
        !changes.is_empty()
    }

    /// The store is silent: what it said last stands in for it.
    pub(super) fn fall_back_to_snapshot(&mut self) {
        let (scopes, paths): (Vec<usize>, Vec<Prefix>) =
            self.subscriptions.unknown_paths().into_iter().unzip();
        if scopes.is_empty() {
            return;
        }
        let Some((saved, age)) = self.snapshot.read(&paths) else {
            return;
        };
        warn!(
            "the store has not answered for {} s: until it does, files are rendered from what it said last, and are \
             stale; the snapshot of revision {} was written {}",
            SILENCE_LIMIT.as_secs(),
            saved.revision,
            format_age(age)
        );
        self.stale = Some((WORLD.now)().saturating_sub(age).as_secs());
        for (scope, entries) in scopes.into_iter().zip(saved.entries) {
            self.subscriptions.mark_stale(scope);
            // The revision of back then means nothing: the store may have been rebuilt.
            let revision = Revision::default();
            self.apply_update(scope, Update::Reset(Snapshot { revision, entries }), false);
        }
    }

    /// The store has said everything itself.
    fn clear_stale(&mut self) {
        if self.stale.take().is_some() {
            info!("the store has said everything: nothing is stale any more");
        }
    }
}

pub(super) fn count_files(targets: &[TargetState]) -> usize {
    let counts = targets
        .iter()
        .map(|state| state.loaded.target.outputs.len());
    counts.sum()
}
