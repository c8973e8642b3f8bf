//! What the loop writes down for the admin endpoint. Shell.

use super::Shell;
use crate::admin::watch::{PublishEnd, WatchStatus};
use crate::model::catalog::Changes;
use crate::watch::applied::publisher::AppliedPublisher;
use crate::watch::publish::outcome::Outcome;
use crate::watch::publish::{PublishError, PublishReport};

impl Shell {
    /// Records which targets changes of the store concern. It has to be called before the targets are notified, since they may
    /// publish at once.
    pub(super) fn record_changes_for_admin(&self, changes: &Changes) {
        if !self.admin.is_on() {
            return;
        }
        let concerned = self.targets.iter().filter(|state| state.concerns(changes));
        for state in concerned {
            self.admin.changed(&state.loaded.target.name);
        }
    }

    /// Records the report of a publish.
    pub(super) fn record_publish_for_admin(
        &self,
        target: usize,
        report: &PublishReport,
        outcome: Outcome,
    ) {
        let loaded = &self.targets[target].loaded;
        let failed = report.result.as_ref().err();
        let failed = failed.filter(|_| outcome.is_failure());
        self.admin.publish_ended(&PublishEnd {
            target: &loaded.target.name,
            outcome: outcome.name(),
            failed_step: failed.map(PublishError::step),
            has_reloaded: outcome.has_reloaded(),
            is_good: outcome.is_good(),
            took: report.took,
            runtime_changes: loaded.haproxies.take_changes(),
        });
    }

    /// Hands the status of the watcher to the admin endpoint.
    pub(super) fn update_admin_status(&self) {
        self.admin.update_status(|| {
            let status = self.reported_status();
            let applied = self.applied.as_ref();
            let away = !self.unreachable.is_empty();
            let answers = self.subscriptions.is_fresh().then_some(true);
            let services = self.catalog.services().values();
            WatchStatus {
                targets: status.targets.clone(),
                config: status.config.clone(),
                is_store_up: if away { Some(false) } else { answers },
                outage: self
                    .outage
                    .as_ref()
                    .filter(|_| away)
                    .map(ToString::to_string),
                is_ready: self.is_ready,
                instances: services.map(|instances| instances.len()).sum(),
                snapshot_written: self.snapshot.written(),
                old_workers: applied.map_or(0, AppliedPublisher::old_workers),
                lease_expires: applied.and_then(AppliedPublisher::lease_expires),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::watch::OUTCOMES;

    /// A counter that begins with its first event hides that event.
    #[test]
    fn every_outcome_is_counted_from_zero() {
        let reloaded = true;
        for outcome in [
            Outcome::Good { reloaded },
            Outcome::WouldChange,
            Outcome::ReloadOwed,
            Outcome::RefusedBefore,
            Outcome::Overtaken,
            Outcome::GivenUp,
            Outcome::Failed { reloaded },
            Outcome::NotPrinted,
            Outcome::Refused { reloaded },
        ] {
            assert!(OUTCOMES.contains(&outcome.name()), "{outcome:?}");
        }
    }
}
