//! How new files come into force: the program is told, and asked whether it runs them; if not, the previous ones come
//! back. Shell.

use std::sync::Arc;
use std::time::Instant;

use tracing::warn;

use super::cancel::Step;
use super::steps::Swapped;
use super::{Job, PublishError, Published, Restored, contents};
use crate::model::report::chain;
use crate::watch::reload::generation::Confirm;
use crate::watch::reload::send::{ReloadError, Told};

impl Job {
    /// Tells the program. If the publish is given up meanwhile, the command that does so is killed.
    pub(super) async fn reload(&mut self) -> Result<Told, Arc<ReloadError>> {
        let Some(ticket) = &mut self.ticket else {
            return Ok(Told::Nobody);
        };
        self.progress.enter(Step::Reload);
        tokio::select! {
            biased;
            told = ticket.reload() => told,
            () = self.progress.given_up() => Err(Arc::new(ReloadError::GivenUp)),
        }
    }

    /// Tells the program, and asks it whether it runs these files, those that are live.
    async fn reload_to<'a>(
        &mut self,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) -> Result<Told, Arc<ReloadError>> {
        let start = Instant::now();
        let told = self.reload_and_confirm(live).await;
        if self.ticket.is_some() {
            self.made("reload", start);
        }
        told
    }

    async fn reload_and_confirm<'a>(
        &mut self,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) -> Result<Told, Arc<ReloadError>> {
        let told = self.reload().await?;
        let confirm = Confirm {
            loaded: &self.loaded,
            generation: self.generation.as_ref(),
            told,
        };
        self.progress.enter(Step::Confirm);
        let confirmed = tokio::select! {
            biased;
            confirmed = confirm.confirm(live) => confirmed,
            () = self.progress.given_up() => Err(ReloadError::GivenUp),
        };
        match confirmed {
            Ok(()) => Ok(told),
            Err(error) if told == Told::Seen && error.has_no_trace() && self.is_first() => {
                self.warn_unread(&chain(&error));
                Ok(Told::Unread)
            }
            Err(error) => Err(Arc::new(error)),
        }
    }

    /// Whether a file of the target has never been seen to be loaded by the program, nor by anybody else before: then a program that
    /// has no trace of it may have to be told first that there is such a file.
    pub(super) fn is_first(&self) -> bool {
        let mut outputs = self.target().outputs.iter();
        outputs.any(|output| {
            let (state, dest) = (&self.loaded_state, &output.dest);
            state.was_never_loaded(dest) || state.is_unread(dest)
        })
    }

    /// Tells, once, that the files are in place and the program does not read them.
    pub(super) fn warn_unread(&self, why: &str) {
        let outputs = self.target().outputs.iter();
        let unread = outputs.filter(|output| self.loaded_state.warns_unread(&output.dest));
        let dests: Vec<String> = unread
            .map(|output| output.dest.display().to_string())
            .collect();
        if !dests.is_empty() {
            warn!(
                "{}: {} published, but the program that runs has been reloaded and does not read that yet ({why}): let its \
                 configuration or its command line name it (haproxy -f FILE_OR_DIRECTORY, include), and restart it where \
                 that is the command line, which a reload does not change; docs/proxies.md has the steps",
                self.target().name,
                dests.join(", "),
            );
        }
    }

    /// The program runs on these files.
    pub(super) fn loaded<T: AsRef<[u8]>>(&self, live: impl Iterator<Item = (usize, T)>) {
        if self.ticket.is_some() {
            for (n, content) in live {
                self.loaded_state.loaded(self.dest(n), content.as_ref());
            }
        }
    }

    /// The program was told of these files, in vain.
    fn refused<'a>(&self, source: &ReloadError, files: impl Iterator<Item = (usize, &'a str)>) {
        if source.is_refusal() {
            for (n, content) in files {
                self.loaded_state.refused(self.dest(n), content.as_bytes());
            }
        }
    }

    pub(super) async fn reload_owed(&mut self, live: &[String]) -> Result<Published, PublishError> {
        self.progress.begin();
        match self.reload_to(contents(live)).await {
            Ok(Told::Unread) => Ok(Published::Unread),
            Ok(told) => {
                let is_first = self.is_first();
                self.loaded(contents(live));
                self.look_behind(told, is_first, contents(live)).await;
                Ok(Published::OwedReload)
            }
            // The reload stays owed. Whoever publishes this file next makes it, or brings back the file of before.
            Err(error) if matches!(*error, ReloadError::GivenUp) => Err(PublishError::GivenUp),
            Err(source) => {
                self.refused(&source, contents(live));
                Err(PublishError::Reload {
                    restored: self.fall_back(live, source.leaves_the_old()).await,
                    source,
                })
            }
        }
    }

    /// Puts back what was there before files that somebody has swapped in who did not live to see them refused.
    async fn fall_back(&mut self, live: &[String], still_in_force: bool) -> Restored {
        let mut before = Vec::new();
        for (n, text) in contents(live) {
            let (dest, text) = (self.dest(n), text.as_bytes());
            let kept = self.loaded_state.before(dest, text);
            if kept.is_none() && self.loaded_state.owes(dest, text) {
                return Restored::Unchanged;
            }
            before.push(kept);
        }
        if before.iter().all(Option::is_none) {
            return Restored::Unchanged;
        }
        match Swapped::for_these(self.target(), &self.loaded_state.access, live, before) {
            Ok(swapped) => self.restore(swapped, still_in_force).await,
            Err(error) => Restored::Failed(error),
        }
    }

    /// Tells the program; if it will not have the new files, the previous ones come back.
    pub(super) async fn put_in_force(&mut self, swapped: Swapped) -> Result<Swapped, PublishError> {
        match self.reload_to(swapped.contents()).await {
            Ok(Told::Unread) => Ok(swapped),
            Ok(told) => {
                let is_first = self.is_first();
                self.loaded(swapped.contents());
                self.look_behind(told, is_first, swapped.contents()).await;
                Ok(swapped)
            }
            Err(error) if matches!(*error, ReloadError::GivenUp) => Err(PublishError::GivenUp),
            Err(source) => {
                self.refused(&source, swapped.contents());
                Err(PublishError::Reload {
                    restored: self.restore(swapped, source.leaves_the_old()).await,
                    source,
                })
            }
        }
    }

    /// Puts the previous files back, and in force, unless the program never left them.
    async fn restore(&mut self, swapped: Swapped, still_in_force: bool) -> Restored {
        if !still_in_force {
            self.lost();
        }
        self.progress.enter(Step::Swap);
        let live = match swapped.put_back(&self.progress).await {
            Ok(Some(_)) if still_in_force => return Restored::NeverLeft,
            Ok(Some(live)) => live,
            Ok(None) => return Restored::NoPrevious,
            Err(error) => return Restored::Failed(error),
        };
        // Theirs is not known any more, but what they say themselves is.
        self.generation = None;
        let texts = live
            .iter()
            .filter_map(|(n, content)| Some((*n, str::from_utf8(content).ok()?)));
        match self.reload_to(texts).await {
            Ok(Told::Unread) => Restored::Yes,
            Ok(Told::Nobody | Told::Sent | Told::Seen) => {
                self.loaded(live.iter().map(|(n, content)| (*n, content.as_slice())));
                Restored::Yes
            }
            Err(error) => Restored::NotLoaded(error),
        }
    }
}
