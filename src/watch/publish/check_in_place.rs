//! Checks that can judge a file only in its place, since they name neither the staged file nor the tree. Shell.
//!
//! They run behind the swap and before the reload. What they refuse is taken out again: the file of before comes back, or
//! there is none, as before. What was there before is noted ahead of the swap, for the next process.

use super::cancel::Step;
use super::steps::{Checked, Swapped, check_in_place};
use super::{Job, PublishError, TakenOut, contents};
use crate::watch::conf::placeholders::judges_in_place;

impl Job {
    /// Notes what is about to be replaced by what no check has accepted.
    pub(super) fn begin_unchecked(&self, checked: &Checked) {
        if self.has_check_in_place() {
            for (n, live, new) in checked.news() {
                self.loaded_state
                    .unchecked
                    .begin(self.dest(n), live, new.as_bytes());
            }
        }
    }

    /// Judges files that have just been swapped in. If they are refused, those of before are back.
    pub(super) async fn check_swapped(&self, swapped: Swapped) -> Result<Swapped, PublishError> {
        if !self.has_check_in_place() {
            return Ok(swapped);
        }
        let swapped = self.with_last_accepted(swapped)?;
        self.judge(swapped, false).await
    }

    /// Judges live files that a process has swapped in which did not live to do so.
    pub(super) async fn check_left(&self, live: &[String]) -> Result<(), PublishError> {
        let is_left = |(n, text): (usize, &str)| {
            let before = self
                .loaded_state
                .unchecked
                .before(self.dest(n), text.as_bytes());
            before.is_some()
        };
        if !contents(live).any(is_left) {
            return Ok(());
        }
        self.progress.begin();
        let swapped = self.with_last_accepted(Swapped::unchanged(live))?;
        // The configuration may be another one by now, and its check one that names the staged file.
        self.judge(swapped, true).await.map(drop)
    }

    fn with_last_accepted(&self, swapped: Swapped) -> Result<Swapped, PublishError> {
        let before = |n: usize, content: &str| {
            let unchecked = &self.loaded_state.unchecked;
            unchecked.before(self.dest(n), content.as_bytes())
        };
        let swapped = swapped.over(self.target(), &self.loaded_state.access, before);
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
            judged = check_in_place(self.target(), all) => judged.map_err(Some),
        };
        let Err(refusal) = judged else {
            self.end_unchecked();
            return Ok(swapped);
        };
        if refusal.is_some() {
            for (n, content) in swapped.contents() {
                self.loaded_state.refused(self.dest(n), content.as_bytes());
            }
        }
        let taken_out = match swapped.take_out(&self.progress).await {
            Ok(true) => TakenOut::Back,
            Ok(false) => TakenOut::Removed,
            Err(error) => TakenOut::Failed(error),
        };
        if !matches!(taken_out, TakenOut::Failed(_)) {
            self.end_unchecked();
        }
        Err(match refusal {
            Some(source) => PublishError::CheckInPlace {
                taken_out,
                source: Box::new(source),
            },
            None => PublishError::GivenUp,
        })
    }

    fn end_unchecked(&self) {
        for output in &self.target().outputs {
            self.loaded_state.unchecked.end(&output.dest);
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
