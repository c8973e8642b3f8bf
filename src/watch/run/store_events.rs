//! Takes in what the store sends, its outages, and its silence at a start. Shell.

use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info, warn};

use super::Shell;
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Snapshot, Update};
use crate::store::{Followed, StoreError};
use crate::watch::host::THIS_HOST;
use crate::watch::source::snapshot::{SILENCE_LIMIT, format_age};
use crate::watch::target::state::TargetState;

impl Shell {
    /// Takes in an event of the store, of one scope.
    pub(super) fn handle_store_event(&mut self, scope: usize, followed: Followed) {
        match followed {
            Followed::Outage(error) => {
                // An outage concerns all scopes as a rule, so only the first one is logged.
                if self.unreachable.is_empty() {
                    self.admin.store_lost();
                    self.report_outage(error);
                } else if self.is_another_mistake(&error) {
                    self.report_outage(error);
                }
                self.unreachable.insert(scope);
            }
            Followed::Restored(past) => {
                if self.unreachable.remove(&scope) && self.unreachable.is_empty() {
                    let works = match self.outage.take() {
                        Some(StoreError::Refused { .. }) => {
                            "no longer refuses the requests of sidekick"
                        }
                        Some(StoreError::Unusable { .. }) => "can be used again",
                        Some(_) | None => "answers again",
                    };
                    info!(took_ms = past.took_ms(), "the store {works}, {past}");
                    self.apply_waiting_config();
                }
            }
            Followed::Update(update) => self.handle_update(scope, update),
        }
    }

    /// Whether somebody has to correct something else in the store than what was logged.
    fn is_another_mistake(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Unusable { .. }) && self.outage.as_ref() != Some(error)
    }

    /// Logs why the store cannot be followed. A single pass ends if somebody has to correct the store: waiting does not help.
    fn report_outage(&mut self, error: StoreError) {
        let has_to_be_corrected = matches!(error, StoreError::Unusable { .. });
        if has_to_be_corrected && self.options.once && !self.subscriptions.is_complete() {
            error!(%error, "{error}; nothing was changed");
            self.has_given_up = true;
        } else {
            warn!(%error, "{error}; the live files stay as they are; trying again");
        }
        self.outage = Some(error);
    }

    /// Applies an update, and has the snapshot written if it brings something new.
    fn handle_update(&mut self, scope: usize, update: Update) {
        let was_complete = self.subscriptions.is_complete();
        let is_reset = matches!(update, Update::Reset(_));
        if is_reset {
            self.subscriptions.mark_heard(scope);
        }
        if was_complete && self.named.is_moving {
            // The catalog has everything of the store before.
            if let Some(arrived) = self.subscriptions.gather(scope, update) {
                self.take_in_new_store(arrived);
            }
            return;
        }
        let has_changed = self.apply_update(scope, update, was_complete);
        if self.subscriptions.is_fresh() && (is_reset || has_changed) {
            self.snapshot.schedule_write(Instant::now());
            self.clear_stale();
        }
    }

    /// Another store has sent everything: from now on its data count, all of them at once.
    fn take_in_new_store(&mut self, arrived: Vec<(usize, Update)>) {
        self.named.is_arriving = true;
        for (scope, update) in arrived {
            self.apply_update(scope, update, true);
        }
        self.named.is_arriving = false;
        self.snapshot.schedule_write(Instant::now());
        self.clear_stale();
    }

    /// Applies an update to the catalog, the guards and our entry, and notifies the targets that it concerns. Returns
    /// whether it has changed anything. `was_complete`: something was known of every path before it.
    fn apply_update(&mut self, scope: usize, update: Update, was_complete: bool) -> bool {
        let revision = update.revision();
        let prefix = self.subscriptions.path(scope);
        let changes = Arc::make_mut(&mut self.catalog).apply(prefix, update);
        for (dir, error) in &changes.skipped {
            let (service, instance) = keyspace::service_and_id(dir);
            warn!(service, instance, %error, "{dir} is skipped: {error}");
        }
        if let Some(applied) = &mut self.applied {
            applied.store_updated(scope, revision, &changes, &self.catalog, &self.targets);
        }
        if self.is_stopping() {
            // Nothing is published any more, so the guards are not told: servers that stop together with us are no
            // loss.
        } else if was_complete {
            self.guards.take_in_changes(&self.catalog, &changes);
            self.record_changes_for_admin(&changes);
            self.take_in_guard_events();
            let prefix = self.catalog.prefix();
            for state in &mut self.targets {
                state.add_changes(&changes, prefix);
            }
            self.notify_targets(|state| state.concerns(&changes));
        } else if self.subscriptions.is_complete() {
            self.guards.take_in_all(&self.catalog, &self.snapshot);
            self.take_in_guard_events();
            self.notify_targets(|_| true);
        }
        self.warn_of_unannounced();
        !changes.is_empty()
    }

    /// The store has been silent for [`SILENCE_LIMIT`]: renders from the snapshot what it has not sent.
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
            revision = saved.revision.0,
            "the store has not answered for {} s: until it does, files are rendered from the snapshot on disk \
             and are stale; the snapshot of revision {} was written {}",
            SILENCE_LIMIT.as_secs(),
            saved.revision,
            format_age(age)
        );
        self.stale = Some((THIS_HOST.now)().saturating_sub(age).as_secs());
        for (scope, entries) in scopes.into_iter().zip(saved.entries) {
            self.subscriptions.mark_stale(scope);
            // The revision of the snapshot means nothing now: the store may have been rebuilt.
            let revision = Revision::default();
            self.apply_update(scope, Update::Reset(Snapshot { revision, entries }), false);
        }
    }

    /// The store has sent all data itself, so nothing is of a snapshot or of another store any more. Every target is compared with that, also one that
    /// nothing has changed for: from then on its files are those of a revision of the store.
    fn clear_stale(&mut self) {
        let was_stale = self.stale.take().is_some();
        let has_moved = std::mem::take(&mut self.named.is_moving);
        if was_stale {
            info!("the store has sent everything: nothing is stale any more");
        } else if has_moved {
            info!("the store has sent everything: the files are those of this store from now on");
        }
        if was_stale || has_moved {
            self.notify_targets(|_| true);
        }
    }
}

/// How many files these targets publish.
pub(super) fn count_files(targets: &[TargetState]) -> usize {
    let counts = targets
        .iter()
        .map(|state| state.loaded.target.outputs.len());
    counts.sum()
}
