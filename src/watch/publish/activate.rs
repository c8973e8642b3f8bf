//! Makes a program run its new files: asks for a reload and verifies it. If the program refuses the files, the previous ones
//! are restored. Shell.

use std::sync::Arc;
use std::time::Instant;

use tracing::warn;

use super::cancel::Step;
use super::steps::Swapped;
use super::{Effect, Job, PublishError, Restored, numbered};
use crate::model::report::chain;
use crate::watch::reload::generation::GenerationCheck;
use crate::watch::reload::send::{ReloadError, ReloadResult};

impl Job {
    /// Has the program reloaded. If the publish is given up meanwhile, it stops waiting.
    pub(super) async fn reload(&mut self) -> Result<ReloadResult, Arc<ReloadError>> {
        let Some(ticket) = &mut self.ticket else {
            return Ok(ReloadResult::NotRunning);
        };
        self.progress.enter(Step::Reload);
        tokio::select! {
            biased;
            result = ticket.reload() => result,
            () = self.progress.given_up() => Err(Arc::new(ReloadError::GivenUp)),
        }
    }

    /// Has the program reloaded, and verifies that it runs the `live` files.
    async fn reload_to<'a>(
        &mut self,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) -> Result<ReloadResult, Arc<ReloadError>> {
        let start = Instant::now();
        let result = self.reload_and_confirm(live).await;
        if self.ticket.is_some() {
            self.record_step("reload", start);
        }
        result
    }

    async fn reload_and_confirm<'a>(
        &mut self,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) -> Result<ReloadResult, Arc<ReloadError>> {
        let result = self.reload().await?;
        let check = GenerationCheck {
            loaded: &self.loaded,
            generation: self.generation.as_ref(),
            result,
        };
        self.progress.enter(Step::Verify);
        let confirmed = tokio::select! {
            biased;
            confirmed = check.verify(live) => confirmed,
            () = self.progress.given_up() => Err(ReloadError::GivenUp),
        };
        match confirmed {
            Ok(()) => Ok(result),
            Err(error)
                if result == ReloadResult::Verified && error.has_no_trace() && self.is_first() =>
            {
                self.warn_unread(&chain(&error));
                Ok(ReloadResult::Unread)
            }
            Err(error) => Err(Arc::new(error)),
        }
    }

    /// Whether the target has a file that the program has never been seen to load. The configuration or the command line of
    /// that program may not name the file yet.
    pub(super) fn is_first(&self) -> bool {
        let mut outputs = self.target().outputs.iter();
        outputs.any(|output| {
            let (state, dest) = (&self.loaded_state, &output.dest);
            state.was_never_loaded(dest) || state.is_unread(dest)
        })
    }

    /// Warns once that the files are in place and the program does not read them.
    pub(super) fn warn_unread(&self, why: &str) {
        let outputs = self.target().outputs.iter();
        let unread = outputs.filter(|output| self.loaded_state.needs_unread_warning(&output.dest));
        let dests: Vec<String> = unread
            .map(|output| output.dest.display().to_string())
            .collect();
        if !dests.is_empty() {
            warn!(
                target = self.target().name,
                error = why,
                "{}: {} published, but the running program does not read it, also after a reload ({why}): name the file in \
                 the program's configuration (include) or on its command line (haproxy -f FILE_OR_DIRECTORY); a new command \
                 line needs a restart; docs/proxies.md has the steps",
                self.target().name,
                dests.join(", "),
            );
        }
    }

    /// Records in the loaded state that the program runs on these files.
    pub(super) fn record_loaded<T: AsRef<[u8]>>(&self, live: impl Iterator<Item = (usize, T)>) {
        if self.ticket.is_some() {
            for (n, content) in live {
                self.loaded_state
                    .record_loaded(self.dest(n), content.as_ref());
            }
        }
    }

    /// Records that the program has refused these files, if the error says so.
    fn record_refused<'a>(
        &self,
        source: &ReloadError,
        files: impl Iterator<Item = (usize, &'a str)>,
    ) {
        if source.is_refusal() {
            for (n, content) in files {
                self.loaded_state
                    .record_refused(self.dest(n), content.as_bytes());
            }
        }
    }

    pub(super) async fn reload_owed(&mut self, live: &[String]) -> Result<Effect, PublishError> {
        self.progress.set_begun();
        match self.reload_to(numbered(live)).await {
            Ok(ReloadResult::Unread) => Ok(Effect::Unread),
            Ok(result) => {
                let is_first = self.is_first();
                self.record_loaded(numbered(live));
                self.reconcile_after_reload(result, is_first, numbered(live))
                    .await;
                Ok(Effect::ReloadMade)
            }
            // The reload stays owed. The next publish makes it, or restores the previous file.
            Err(error) if matches!(*error, ReloadError::GivenUp) => Err(PublishError::GivenUp),
            Err(source) => {
                self.record_refused(&source, numbered(live));
                Err(PublishError::Reload {
                    restored: self
                        .restore_last_loaded(live, source.keeps_previous_files())
                        .await,
                    source,
                })
            }
        }
    }

    /// The program has refused files that an earlier process swapped in: restores the files that it loaded last.
    async fn restore_last_loaded(&mut self, live: &[String], still_in_force: bool) -> Restored {
        let mut before = Vec::new();
        for (n, text) in numbered(live) {
            let (dest, text) = (self.dest(n), text.as_bytes());
            let kept = self.loaded_state.previous_file(dest, text);
            if kept.is_none() && self.loaded_state.owes_reload(dest, text) {
                return Restored::Unchanged;
            }
            before.push(kept);
        }
        if before.iter().all(Option::is_none) {
            return Restored::Unchanged;
        }
        match Swapped::with_previous(self.target(), &self.loaded_state.access, live, before) {
            Ok(swapped) => self.restore(swapped, still_in_force).await,
            Err(error) => Restored::Failed(error),
        }
    }

    /// Has the program reloaded for its new files. If it refuses them, the previous ones are restored.
    pub(super) async fn put_in_force(&mut self, swapped: Swapped) -> Result<Swapped, PublishError> {
        match self.reload_to(swapped.contents()).await {
            Ok(ReloadResult::Unread) => Ok(swapped),
            Ok(result) => {
                let is_first = self.is_first();
                self.record_loaded(swapped.contents());
                self.reconcile_after_reload(result, is_first, swapped.contents())
                    .await;
                Ok(swapped)
            }
            Err(error) if matches!(*error, ReloadError::GivenUp) => Err(PublishError::GivenUp),
            Err(source) => {
                self.record_refused(&source, swapped.contents());
                Err(PublishError::Reload {
                    restored: self.restore(swapped, source.keeps_previous_files()).await,
                    source,
                })
            }
        }
    }

    /// Restores the previous files, and reloads the program unless it still runs on them.
    async fn restore(&mut self, swapped: Swapped, still_in_force: bool) -> Restored {
        if !still_in_force {
            self.mark_unknown();
        }
        self.progress.enter(Step::Swap);
        let live = match swapped.restore_previous(&self.progress).await {
            Ok(Some(_)) if still_in_force => return Restored::NeverLeft,
            Ok(Some(live)) => live,
            Ok(None) => return Restored::NoPrevious,
            Err(error) => return Restored::Failed(error),
        };
        // The generation of the previous files is lost; their HAProxy variables can still be read from their texts.
        self.generation = None;
        let texts = live
            .iter()
            .filter_map(|(n, content)| Some((*n, str::from_utf8(content).ok()?)));
        match self.reload_to(texts).await {
            Ok(ReloadResult::Unread) => Restored::Yes,
            Ok(ReloadResult::NotRunning | ReloadResult::Sent | ReloadResult::Verified) => {
                self.record_loaded(live.iter().map(|(n, content)| (*n, content.as_slice())));
                Restored::Yes
            }
            Err(error) => Restored::NotLoaded(error),
        }
    }
}
