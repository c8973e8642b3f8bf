//! One publish of one target: render, compare, stage, check, swap, reload. Shell.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::confirm::Confirm;
use super::kept::print;
use super::ledger::Ledger;
use super::load::Loaded;
use super::reload::Ticket;
use super::render::{Generation, View};
use super::tell::{ReloadError, Told};
use crate::config::Target;
use crate::system::file::How;

mod error;
mod live;
mod steps;

pub(super) use error::{PublishError, Restored};
use live::Way;
use steps::{Checked, Compared, Differs, Rendered, Swapped};

/// What a publish did.
#[derive(Debug)]
pub(super) enum Published {
    /// The live files are right already.
    Same,
    /// They would have changed.
    Pending,
    /// These were changed, and the program has been told.
    Swapped(Vec<Change>),
    /// These were changed, and are in force without a reload.
    Live(Vec<Change>),
    /// The files were right, the running `HAProxies` were not: so many changes.
    Converged(usize),
    /// It takes a reload, for which it is too early; these were changed already.
    Held,
    /// It is what the program has refused, and too early to try that again; nothing was changed.
    Repeated,
    /// Only the reload was owed, and has been made.
    Reloaded,
}

/// A file that was replaced.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) dest: PathBuf,
    pub(super) how: How,
}

/// The text before and after.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) before: Vec<u8>,
    pub(super) after: String,
}

/// What is live where something is to be replaced, by its place among the outputs.
type Lives = Vec<(usize, Option<Vec<u8>>)>;

/// Whether a publish has begun to change something.
pub(super) type Progress = Arc<AtomicBool>;

/// One publish.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Job {
    pub(super) loaded: Arc<Loaded>,
    /// What each of its templates sees.
    pub(super) views: Vec<View>,
    /// Change nothing.
    pub(super) noop: bool,
    /// Enough time has passed since the last reload.
    pub(super) may_reload: bool,
    /// What the program has refused may be tried again.
    pub(super) may_repeat: bool,
    /// The last try has failed.
    pub(super) has_failed: bool,
    /// Print what changes.
    pub(super) diff: bool,
    /// How the program is told, if it has to be.
    pub(super) ticket: Option<Ticket>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) progress: Progress,
    /// That of the files, once they are rendered.
    pub(super) generation: Option<Generation>,
}

impl Job {
    pub(super) async fn publish(mut self) -> Result<Published, PublishError> {
        let (loaded, views) = (Arc::clone(&self.loaded), self.views.clone());
        let compare = move || {
            let rendered = Rendered::new(&loaded, &views)?;
            let generation = rendered.generation.clone();
            let compared = rendered.compare(&loaded.target)?;
            let way = match &compared {
                Compared::Differs(differs) => Way::of(&loaded, differs),
                Compared::Same(_) => Way::Reload,
            };
            Ok::<_, PublishError>((compared, way, generation))
        };
        let (compared, way, generation) = blocking(compare).await??;
        self.generation = generation;
        let differs = match compared {
            Compared::Same(live) => return self.same(&live).await,
            Compared::Differs(differs) => differs,
        };
        if self.diff {
            self.print(&differs);
        }
        if self.noop {
            return Ok(Published::Pending);
        }
        let before = differs.lives();
        let way = if self.is_behind(&before) {
            Way::Reload
        } else {
            way
        };
        if way.takes_reload() && self.is_repeated(differs.contents()) {
            return Ok(Published::Repeated);
        }
        if way.takes_reload() && self.must_wait() {
            return Ok(Published::Held);
        }
        let has_begun = way.changes_haproxy();
        let (way, swapped) = if has_begun && !self.has_failed {
            self.lost(places(&before));
            let way = self.change(way).await;
            match self.replace(differs).await {
                Ok(swapped) => (way, swapped),
                Err(error) => {
                    self.undo(way, &before).await;
                    return Err(error);
                }
            }
        } else {
            // What was refused before may be refused again: HAProxy does not go back and forth with each try.
            let checked = self.check(differs).await?;
            if has_begun {
                self.lost(places(&before));
            }
            let way = self.change(way).await;
            match self.swap(checked).await {
                Ok(swapped) => (way, swapped),
                Err(error) => {
                    if has_begun {
                        self.undo(way, &before).await;
                    }
                    return Err(error);
                }
            }
        };
        let changes = swapped.changes();
        if !self.read_back(way).await.takes_reload() {
            self.loaded(swapped.contents());
            return Ok(Published::Live(changes));
        }
        if self.must_wait() {
            return Ok(Published::Held);
        }
        self.put_in_force(swapped).await?;
        Ok(Published::Swapped(changes))
    }

    /// The files are right; the program may not be.
    async fn same(mut self, live: &[Vec<u8>]) -> Result<Published, PublishError> {
        if self.noop {
            return Ok(Published::Same);
        }
        if !self.owes(live) {
            match self.look(live).await {
                Some(0) => return Ok(Published::Same),
                Some(changes) => return Ok(Published::Converged(changes)),
                None if self.ticket.is_none() => return Ok(Published::Same),
                None => self.lost(0..live.len()),
            }
        }
        if self.is_repeated(numbered(live)) {
            return Ok(Published::Repeated);
        }
        if self.must_wait() {
            return Ok(Published::Held);
        }
        self.reload_owed(live).await
    }

    /// Puts the new files in place.
    async fn replace(&mut self, differs: Differs) -> Result<Swapped, PublishError> {
        let checked = self.check(differs).await?;
        self.swap(checked).await
    }

    async fn check(&self, differs: Differs) -> Result<Checked, PublishError> {
        let loaded = Arc::clone(&self.loaded);
        let staged = blocking(move || differs.stage(&loaded.target)).await??;
        staged
            .check(&self.loaded.target, &self.ledger.scratch())
            .await
    }

    async fn swap(&self, checked: Checked) -> Result<Swapped, PublishError> {
        self.begin(&checked);
        blocking(move || checked.swap()).await?
    }

    /// The new files will not do: the running `HAProxies` become again what the live ones say.
    async fn undo(&mut self, way: Way, before: &Lives) {
        let is_back = self.take_back(way).await;
        // What cannot be made now stays owed.
        if is_back || (!self.must_wait() && self.reload().await.is_ok()) {
            let live = before
                .iter()
                .filter_map(|(n, live)| Some((*n, live.as_deref()?)));
            self.loaded(live);
        }
    }

    /// It is too early for the reload that it takes.
    fn must_wait(&self) -> bool {
        !self.may_reload && self.ticket.is_some()
    }

    /// It is too early for these contents: the program has refused them.
    fn is_repeated<'a>(&self, mut contents: impl Iterator<Item = (usize, &'a [u8])>) -> bool {
        let is_refused = |(n, content)| self.ledger.has_refused(self.dest(n), content);
        !self.may_repeat && contents.all(is_refused)
    }

    /// Whether the program does not run on the live files, or not yet at all: then there is nothing to start from.
    fn is_behind(&self, lives: &Lives) -> bool {
        let is_behind = |(n, live): &(usize, Option<Vec<u8>>)| match live {
            Some(live) => self.ledger.owes(self.dest(*n), live),
            None => true,
        };
        let ticket = self.ticket.as_ref();
        ticket.is_some_and(|ticket| ticket.waits_for_its_child() || lives.iter().any(is_behind))
    }

    /// Nobody knows whether the program runs on these files, until it is certain again.
    fn lost(&self, outputs: impl IntoIterator<Item = usize>) {
        self.progress.store(true, Ordering::Release);
        if self.ticket.is_some() {
            for n in outputs {
                self.ledger.lost(self.dest(n));
            }
        }
    }

    fn target(&self) -> &Target {
        &self.loaded.target
    }

    fn dest(&self, output: usize) -> &Path {
        &self.target().outputs[output].dest
    }

    fn print(&self, differs: &Differs) {
        for (n, new) in differs.news() {
            let before = new.previous.as_ref().map(|look| look.content.clone());
            let difference = Difference {
                before: before.unwrap_or_default(),
                after: new.text.clone(),
            };
            print(self.dest(n), &difference);
        }
    }

    /// Whether the program has to be told of one of the live files.
    fn owes(&self, lives: &[Vec<u8>]) -> bool {
        let owes = |(n, live): (usize, &Vec<u8>)| self.ledger.owes(self.dest(n), live);
        self.ticket.is_some() && lives.iter().enumerate().any(owes)
    }

    /// From here on the publish goes on to its end.
    fn begin(&self, checked: &Checked) {
        self.progress.store(true, Ordering::Release);
        if self.ticket.is_some() {
            for (n, live) in checked.lives() {
                self.ledger.begin(self.dest(n), live);
            }
        }
    }

    async fn reload(&mut self) -> Result<Told, Arc<ReloadError>> {
        match &mut self.ticket {
            Some(ticket) => ticket.reload().await,
            None => Ok(Told::Nobody),
        }
    }

    /// Tells the program, and asks it whether it runs these files, those that are live.
    async fn reload_to<'a>(
        &mut self,
        live: impl Iterator<Item = (usize, &'a [u8])>,
    ) -> Result<(), Arc<ReloadError>> {
        let told = self.reload().await?;
        let confirm = Confirm {
            loaded: &self.loaded,
            generation: self.generation.as_ref(),
            told,
        };
        confirm.confirm(live).await.map_err(Arc::new)
    }

    /// The program runs on these files.
    fn loaded<'a>(&self, live: impl Iterator<Item = (usize, &'a [u8])>) {
        if self.ticket.is_some() {
            for (n, content) in live {
                self.ledger.loaded(self.dest(n), content);
            }
        }
    }

    /// The program was told of these files, in vain.
    fn refused<'a>(&self, source: &ReloadError, files: impl Iterator<Item = (usize, &'a [u8])>) {
        if source.is_refusal() {
            for (n, content) in files {
                self.ledger.refused(self.dest(n), content);
            }
        }
    }

    async fn reload_owed(&mut self, live: &[Vec<u8>]) -> Result<Published, PublishError> {
        self.progress.store(true, Ordering::Release);
        match self.reload_to(numbered(live)).await {
            Ok(()) => {
                self.loaded(numbered(live));
                Ok(Published::Reloaded)
            }
            Err(source) => {
                self.refused(&source, numbered(live));
                Err(PublishError::Reload {
                    restored: Restored::Unchanged,
                    source,
                })
            }
        }
    }

    /// Tells the program; if it will not have the new files, the previous ones come back.
    async fn put_in_force(&mut self, swapped: Swapped) -> Result<(), PublishError> {
        match self.reload_to(swapped.contents()).await {
            Ok(()) => {
                self.loaded(swapped.contents());
                Ok(())
            }
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
            self.lost(0..self.target().outputs.len());
        }
        let live = match swapped.put_back().await {
            Ok(Some(_)) if still_in_force => return Restored::NeverLeft,
            Ok(Some(live)) => live,
            Ok(None) => return Restored::NoPrevious,
            Err(error) => return Restored::Failed(error),
        };
        // Theirs is not known any more, but what they say themselves is.
        self.generation = None;
        let files = || live.iter().map(|(n, content)| (*n, content.as_slice()));
        match self.reload_to(files()).await {
            Ok(()) => {
                self.loaded(files());
                Restored::Yes
            }
            Err(error) => Restored::NotLoaded(error),
        }
    }
}

fn places(lives: &Lives) -> impl Iterator<Item = usize> {
    lives.iter().map(|(n, _)| *n)
}

/// Contents, by the places of their outputs.
fn numbered(contents: &[Vec<u8>]) -> impl Iterator<Item = (usize, &[u8])> {
    contents.iter().map(Vec::as_slice).enumerate()
}

/// Runs what may wait for a disk or a processor where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PublishError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| PublishError::Worker)
}
