//! Checks that can judge a file only in its place, since they name neither the candidate nor the tree. Shell.
//!
//! They run after the swap and before the reload. A file that they refuse is taken out again: the previous file is restored,
//! or the new one removed if there was none. The previous file is noted before the swap, so that also the next process can
//! restore it.

use super::cancel::Step;
use super::steps::{Checked, Swapped, check_live_files};
use super::{Job, PublishError, TakenOut, numbered};
use crate::watch::conf::placeholders::judges_in_place;

impl Job {
    /// Notes which files are about to be replaced by files that no check has accepted.
    pub(super) fn record_unchecked(&self, checked: &Checked) {
        if self.has_check_in_place() {
            for (n, live, new) in checked.news() {
                self.loaded_state
                    .unchecked
                    .record(self.dest(n), live, new.as_bytes());
            }
        }
    }

    /// Checks files that have just been swapped in. If the check refuses them, the previous files are restored.
    pub(super) async fn check_swapped(&self, swapped: Swapped) -> Result<Swapped, PublishError> {
        if !self.has_check_in_place() {
            return Ok(swapped);
        }
        let swapped = self.with_last_accepted(swapped)?;
        self.judge(swapped, false).await
    }

    /// Checks live files that an earlier process has swapped in without living to check them.
    pub(super) async fn check_left_unjudged(&self, live: &[String]) -> Result<(), PublishError> {
        let is_left = |(n, text): (usize, &str)| {
            let before = self
                .loaded_state
                .unchecked
                .last_accepted(self.dest(n), text.as_bytes());
            before.is_some()
        };
        if !numbered(live).any(is_left) {
            return Ok(());
        }
        self.progress.set_begun();
        let swapped = self.with_last_accepted(Swapped::unchanged(live))?;
        // The configuration may have changed since, and its check may name the candidate by now; so all checks run.
        self.judge(swapped, true).await.map(drop)
    }

    fn with_last_accepted(&self, swapped: Swapped) -> Result<Swapped, PublishError> {
        let before = |n: usize, content: &str| {
            let unchecked = &self.loaded_state.unchecked;
            unchecked.last_accepted(self.dest(n), content.as_bytes())
        };
        let swapped = swapped.with_previous_where(self.target(), &self.loaded_state.access, before);
        swapped.map_err(|source| PublishError::File {
            step: "read",
            path: self.dest(0).to_owned(),
            source,
        })
    }

    async fn judge(&self, swapped: Swapped, all: bool) -> Result<Swapped, PublishError> {
        self.progress.enter(Step::Check);
        let judged = tokio::select! {
            biased;
            () = self.progress.check_given_up() => Err(None),
            judged = check_live_files(self.target(), all) => judged.map_err(Some),
        };
        let Err(refusal) = judged else {
            self.forget_unchecked();
            return Ok(swapped);
        };
        if refusal.is_some() {
            for (n, content) in swapped.contents() {
                self.loaded_state
                    .record_refused(self.dest(n), content.as_bytes());
            }
        }
        let taken_out = match swapped.take_out(&self.progress).await {
            Ok(true) => TakenOut::Back,
            Ok(false) => TakenOut::Removed,
            Err(error) => TakenOut::Failed(error),
        };
        if !matches!(taken_out, TakenOut::Failed(_)) {
            self.forget_unchecked();
        }
        Err(match refusal {
            Some(source) => PublishError::CheckInPlace {
                taken_out,
                source: Box::new(source),
            },
            None => PublishError::GivenUp,
        })
    }

    fn forget_unchecked(&self) {
        for output in &self.target().outputs {
            self.loaded_state.unchecked.forget(&output.dest);
        }
    }

    fn has_check_in_place(&self) -> bool {
        let mut checks = self
            .target()
            .outputs
            .iter()
            .filter_map(|output| output.check.as_ref());
        checks.any(|check| judges_in_place(check))
    }
}
