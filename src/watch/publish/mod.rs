//! One publish of one target: render, compare, stage, check, swap, reload. Shell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use self::loaded_state::LoadedState;
use self::outcome::Outcome;
use super::conf::load::Loaded;
use super::reload::coalesce::ReloadTicket;
use super::render::{Generation, View};
use crate::config::Target;
use crate::system::file::SwapMethod;

mod access_state;
mod activate;
mod cancel;
mod check_in_place;
mod diff;
mod edited;
mod error;
pub(super) mod loaded_state;
pub(super) mod outcome;
mod runtime;
mod steps;
mod unchecked;

pub(super) use self::cancel::Progress;
use self::cancel::Step;
pub(super) use self::diff::{Difference, print};
pub(super) use self::edited::{Digest, Foreign, is_changed};
pub(super) use self::runtime::Has;
use self::runtime::Way;
pub(super) use error::{PublishError, Restored, TakenOut};
use steps::{Checked, Compared, Differs, Rendered, Swapped};

/// What a publish did.
#[derive(Debug)]
pub(super) enum Published {
    /// The live files are right already.
    Unchanged,
    /// They would have changed.
    WouldChange,
    /// These were changed, and the program has been told.
    Swapped(Vec<Change>),
    /// These were changed, and are in force without a reload.
    AtRuntime(Vec<Change>),
    /// The files were right, the running `HAProxies` were not: so many changes.
    Reconciled(usize),
    /// It takes a reload, for which it is too early; these were changed already.
    ReloadOwed(Vec<Change>),
    /// It is what the program has refused, and too early to try that again; nothing was changed.
    RefusedBefore,
    /// The running `HAProxies` have been changed; the check of the files has made way for newer data.
    Overtaken,
    /// Only the reload was owed, and has been made.
    OwedReload,
    /// The files are right and the program was reloaded once more; it does not read them yet.
    Unread,
}

/// A file that was replaced.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) dest: PathBuf,
    pub(super) how: SwapMethod,
    /// What the file said, if there was one.
    pub(super) before: Option<Vec<u8>>,
    /// What it says.
    pub(super) after: String,
}

/// How long a step of a publish took: `render`, `runtime`, `check`, `swap`, `verify` or `reload`.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepTime {
    pub(super) step: &'static str,
    pub(super) took: Duration,
}

/// What is live, in the order of the outputs.
type Lives = Vec<Option<Vec<u8>>>;

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
    pub(super) ticket: Option<ReloadTicket>,
    pub(super) loaded_state: Arc<LoadedState>,
    /// What the running `HAProxies` have.
    pub(super) has: Has,
    pub(super) progress: Arc<Progress>,
    /// That of the files, once they are rendered.
    pub(super) generation: Option<Generation>,
    /// Where announcements contradict each other, once the files are rendered.
    pub(super) disputes: Option<BTreeSet<String>>,
    /// The fingerprint of the files, once they are rendered.
    pub(super) tried: Option<u64>,
    /// What the last publish has left, by the places of the outputs.
    pub(super) left: Option<Vec<Digest>>,
    /// What the files should be, once they are rendered.
    pub(super) wanted: Vec<Digest>,
    /// What somebody else has changed since the last publish.
    pub(super) foreign: Vec<Foreign>,
    /// The steps that have been made, in their order.
    pub(super) steps: Vec<StepTime>,
}

/// How a publish ended.
pub(super) struct End {
    pub(super) result: Result<Published, PublishError>,
    /// What the running `HAProxies` have then.
    pub(super) has: Has,
    /// Where announcements contradict each other; none if nothing could be rendered.
    pub(super) disputes: Option<BTreeSet<String>>,
    /// The contents that it was about, by their fingerprint; none if nothing could be rendered.
    pub(super) tried: Option<u64>,
    /// What the files are, by the places of the outputs, if that is known.
    pub(super) left: Option<Vec<Digest>>,
    /// What somebody else had changed.
    pub(super) foreign: Vec<Foreign>,
    /// The steps that were made, in their order.
    pub(super) steps: Vec<StepTime>,
}

impl End {
    /// In one word; `has_reload`: the target has a program that is told of new files.
    pub(super) fn outcome(&self, has_reload: bool) -> Outcome {
        match &self.result {
            Ok(Published::Swapped(_)) => Outcome::Good {
                reloaded: has_reload,
            },
            Ok(Published::OwedReload | Published::Unread) => Outcome::Good { reloaded: true },
            Ok(Published::AtRuntime(_) | Published::Reconciled(_) | Published::Unchanged) => {
                Outcome::Good { reloaded: false }
            }
            Ok(Published::WouldChange) => Outcome::WouldChange,
            Ok(Published::ReloadOwed(_)) => Outcome::ReloadOwed,
            Ok(Published::RefusedBefore) => Outcome::RefusedBefore,
            Ok(Published::Overtaken) => Outcome::Overtaken,
            Err(PublishError::GivenUp) => Outcome::GivenUp,
            Err(error) => {
                let reloaded = matches!(error, PublishError::Reload { .. });
                if error.is_refusal() {
                    Outcome::Refused { reloaded }
                } else {
                    Outcome::Failed { reloaded }
                }
            }
        }
    }
}

impl End {
    /// The files that were replaced.
    pub(super) fn into_changes(self) -> Vec<Change> {
        match self.result {
            Ok(
                Published::Swapped(changes)
                | Published::AtRuntime(changes)
                | Published::ReloadOwed(changes),
            ) => changes,
            Ok(_) | Err(_) => Vec::new(),
        }
    }
}

impl Job {
    pub(super) async fn publish(mut self) -> End {
        let result = self.bring_up_to_date().await;
        let left = match &result {
            Ok(Published::Unchanged | Published::Reconciled(_)) => Some(self.wanted),
            Ok(Published::OwedReload | Published::Unread) => Some(self.wanted),
            Ok(Published::Swapped(_) | Published::AtRuntime(_)) => Some(self.wanted),
            // Nothing has been put in place.
            Ok(Published::WouldChange | Published::RefusedBefore | Published::Overtaken) => {
                self.left
            }
            Err(PublishError::Render(_) | PublishError::NoGeneration) => self.left,
            Err(PublishError::Check { .. }) => self.left,
            Ok(Published::ReloadOwed(_)) => None,
            // It comes before anything is put in place.
            Err(PublishError::Print(_)) => self.left,
            Err(PublishError::File { .. } | PublishError::CheckInPlace { .. }) => None,
            Err(PublishError::Reload { .. } | PublishError::Worker | PublishError::GivenUp) => None,
            Err(PublishError::Unanswered(_) | PublishError::Hangs) => None,
        };
        End {
            left,
            foreign: self.foreign,
            steps: self.steps,
            result,
            has: self.has,
            disputes: self.disputes,
            tried: self.tried,
        }
    }

    async fn bring_up_to_date(&mut self) -> Result<Published, PublishError> {
        self.progress.enter(Step::Render);
        if self.has.is_ahead() {
            // The files follow, also if we are told to stop.
            self.progress.begin();
        }
        let (loaded, views, has) = (
            Arc::clone(&self.loaded),
            self.views.clone(),
            self.has.clone(),
        );
        let (is_retry, noop) = (self.has_failed, self.noop);
        let access = Arc::clone(&self.loaded_state.access);
        let left = self.left.clone().unwrap_or_default();
        let compare = move || {
            let rendered = Rendered::new(&loaded, &views)?;
            let (generation, tried) = (rendered.generation.clone(), rendered.fingerprint());
            let disputes = rendered.disputes.clone();
            let (compared, wanted) = rendered.compare(&loaded.target, &access, noop)?;
            let foreign = compared.foreign(&loaded.target, &left, &wanted);
            let way = match &compared {
                Compared::Differs(differs) => Way::of(&loaded, differs, &has, is_retry),
                Compared::Same(_) => Way::Reload,
            };
            Ok::<_, PublishError>((
                compared,
                way,
                generation,
                disputes,
                tried,
                (wanted, foreign),
            ))
        };
        let start = Instant::now();
        let compared = blocking(&self.progress, compare).await;
        self.made("render", start);
        let (compared, way, generation, disputes, tried, known) = compared??;
        (self.wanted, self.foreign) = known;
        (self.generation, self.tried) = (generation, Some(tried));
        self.disputes = Some(disputes);
        let differs = match compared {
            Compared::Same(live) => return self.same(&live).await,
            Compared::Differs(differs) => differs,
        };
        if self.diff {
            self.print(&differs)?;
        }
        if self.noop {
            return Ok(Published::WouldChange);
        }
        let before = differs.lives();
        let way = if self.is_behind(&before) {
            Way::Reload
        } else {
            way
        };
        if way.takes_reload() && self.is_repeated(differs.contents()) {
            // Files and HAProxies are not to differ for as long as that waits.
            self.undo(&before).await;
            return Ok(Published::RefusedBefore);
        }
        if way.takes_reload() && self.must_wait() {
            return Ok(Published::ReloadOwed(Vec::new()));
        }
        let (swapped, way) = match self.replace(differs, way).await {
            Ok(Some(replaced)) => replaced,
            Ok(None) => return Ok(Published::Overtaken),
            Err(error) => {
                self.undo(&before).await;
                return Err(error);
            }
        };
        if !self.read_back(way).await.takes_reload() {
            self.loaded(swapped.contents());
            return Ok(Published::AtRuntime(swapped.into_changes()));
        }
        if self.must_wait() {
            return Ok(Published::ReloadOwed(swapped.into_changes()));
        }
        let swapped = self.put_in_force(swapped).await?;
        Ok(Published::Swapped(swapped.into_changes()))
    }

    /// The files are right; the program may not be.
    async fn same(&mut self, live: &[String]) -> Result<Published, PublishError> {
        if self.noop {
            return Ok(Published::Unchanged);
        }
        self.check_left(live).await?;
        if self.has.is_ahead() {
            let lives = live.iter().map(|live| Some(live.clone().into_bytes()));
            if self.take_back(lives.collect()).await {
                self.loaded(contents(live));
                return Ok(Published::Unchanged);
            }
        }
        if !self.owes(live) {
            match self.look(contents(live)).await {
                Some(0) => return Ok(Published::Unchanged),
                Some(changes) => return Ok(Published::Reconciled(changes)),
                None if self.ticket.is_none() => return Ok(Published::Unchanged),
                None => self.lost(),
            }
        }
        if self.is_repeated(contents(live)) {
            return Ok(Published::RefusedBefore);
        }
        if self.must_wait() {
            return Ok(Published::ReloadOwed(Vec::new()));
        }
        self.reload_owed(live).await
    }

    /// Puts the new files in place, and changes the `HAProxies` that run. None if newer data are there meanwhile.
    async fn replace(
        &mut self,
        differs: Differs,
        mut way: Way,
    ) -> Result<Option<(Swapped, Way)>, PublishError> {
        // What was refused before may be refused again: HAProxy does not go back and forth with each try.
        let at_once = !self.has_failed || self.has.is_ahead();
        if at_once {
            way = self.change(way).await;
        }
        // Without a loaded state nobody would know of the change if the next publish fails.
        let may_make_way = self.has.is_ahead() && !way.takes_reload() && self.ticket.is_some();
        let start = Instant::now();
        let checked = self.check(differs, may_make_way).await;
        self.made("check", start);
        let Some(checked) = checked? else {
            return Ok(None);
        };
        if !at_once {
            way = self.change(way).await;
        }
        let start = Instant::now();
        let swapped = self.swap(checked).await;
        self.made("swap", start);
        let swapped = self.check_swapped(swapped?).await?;
        self.has = Has::Live;
        Ok(Some((swapped, way)))
    }

    /// A step has been made that began then.
    fn made(&mut self, step: &'static str, start: Instant) {
        let took = start.elapsed();
        self.steps.push(StepTime { step, took });
    }

    /// None if it has made way.
    async fn check(
        &self,
        differs: Differs,
        may_make_way: bool,
    ) -> Result<Option<Checked>, PublishError> {
        self.progress.enter(Step::Check);
        let loaded = Arc::clone(&self.loaded);
        let staged = blocking(&self.progress, move || differs.stage(&loaded.target)).await??;
        let scratch = self.loaded_state.scratch();
        tokio::select! {
            biased;
            () = self.progress.check_given_up() => Err(PublishError::GivenUp),
            checked = staged.check(self.target(), &scratch) => checked.map(Some),
            () = self.progress.overtaken(), if may_make_way => Ok(None),
        }
    }

    async fn swap(&self, checked: Checked) -> Result<Swapped, PublishError> {
        self.begin(&checked);
        self.begin_unchecked(&checked);
        self.progress.enter(Step::Swap);
        blocking(&self.progress, move || checked.swap()).await?
    }

    /// The new files will not do: the running `HAProxies` become again what the live ones say.
    async fn undo(&mut self, before: &Lives) {
        if matches!(self.has, Has::Live) {
            return;
        }
        let is_back = self.take_back(before.clone()).await;
        // What cannot be made now stays owed.
        if is_back || (!self.must_wait() && self.reload().await.is_ok()) {
            let live = before.iter().enumerate();
            self.loaded(live.filter_map(|(n, live)| Some((n, live.as_deref()?))));
        }
    }

    /// It is too early for the reload that it takes.
    fn must_wait(&self) -> bool {
        !self.may_reload && self.ticket.is_some()
    }

    /// It is too early for these contents: the program has refused them.
    fn is_repeated<'a>(&self, mut contents: impl Iterator<Item = (usize, &'a str)>) -> bool {
        let is_refused = |(n, content): (usize, &str)| {
            self.loaded_state
                .has_refused(self.dest(n), content.as_bytes())
        };
        !self.may_repeat && contents.all(is_refused)
    }

    /// Whether nobody knows what the program has, or it does not run yet: then there is nothing to start from.
    fn is_behind(&self, lives: &Lives) -> bool {
        let owes = |(n, live): (usize, &Option<Vec<u8>>)| match live {
            Some(live) => self.loaded_state.owes(self.dest(n), live),
            None => true,
        };
        let has_debt = || !self.has.is_ahead() && lives.iter().enumerate().any(owes);
        let ticket = self.ticket.as_ref();
        ticket.is_some_and(|ticket| ticket.waits_for_its_child() || has_debt())
    }

    /// Nobody knows whether the program runs on its files, until it is certain again.
    fn lost(&self) {
        self.progress.begin();
        if self.ticket.is_some() {
            for output in &self.target().outputs {
                self.loaded_state.lost(&output.dest);
            }
        }
    }

    fn target(&self) -> &Target {
        &self.loaded.target
    }

    fn dest(&self, output: usize) -> &Path {
        &self.target().outputs[output].dest
    }

    /// Prints what changes. Where nothing else is asked for, that is what has to work.
    fn print(&self, differs: &Differs) -> Result<(), PublishError> {
        for (n, new) in differs.news() {
            let before = new.previous.as_ref().map(|look| look.content.clone());
            let difference = Difference {
                before: before.unwrap_or_default(),
                after: new.text.clone(),
            };
            match print(self.dest(n), &difference) {
                Err(error) if self.noop => return Err(PublishError::Print(error)),
                Err(error) => warn!("the difference cannot be printed: {error}"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Whether the program has to be told of one of the live files.
    fn owes(&self, lives: &[String]) -> bool {
        let owes =
            |(n, live): (usize, &String)| self.loaded_state.owes(self.dest(n), live.as_bytes());
        self.ticket.is_some() && lives.iter().enumerate().any(owes)
    }

    /// From here on the publish goes on to its end.
    fn begin(&self, checked: &Checked) {
        self.progress.begin();
        if self.ticket.is_some() {
            for (n, live) in checked.lives() {
                self.loaded_state.begin(self.dest(n), live);
            }
        }
    }
}

/// By the places of their outputs.
fn contents(texts: &[String]) -> impl Iterator<Item = (usize, &str)> {
    texts.iter().map(String::as_str).enumerate()
}

/// Runs what may wait for a disk or a processor where it holds nobody up. As long as it runs, the publish is known to be at
/// work, and what has not begun when the publish is abandoned never does: its files may be another publish's by then.
async fn blocking<T: Send + 'static>(
    progress: &Arc<Progress>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PublishError> {
    let progress = Arc::clone(progress);
    let work = move || (!progress.is_abandoned()).then(work);
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| PublishError::Worker)?
        .ok_or(PublishError::GivenUp)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn nothing_of_an_abandoned_publish_begins_and_what_is_at_work_is_known() {
        let progress = Arc::new(Progress::default());
        let watched = Arc::downgrade(&progress);
        let (let_go, hangs) = mpsc::channel::<()>();
        let (begins, has_begun) = tokio::sync::oneshot::channel();
        let job = tokio::spawn({
            let progress = Arc::clone(&progress);
            async move {
                let work = move || {
                    let _ = begins.send(());
                    hangs.recv()
                };
                blocking(&progress, work).await
            }
        });
        has_begun.await.unwrap();
        progress.abandon();
        job.abort();
        assert!(job.await.unwrap_err().is_cancelled());
        let late = blocking(&progress, || panic!("it begins")).await;
        assert!(matches!(late, Err(PublishError::GivenUp)), "{late:?}");
        drop(progress);
        assert_eq!(watched.strong_count(), 1, "its thread is at work");
        let_go.send(()).unwrap();
        while watched.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
