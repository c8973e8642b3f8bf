//! One publish of one target: render, compare, stage, check, swap, reload. Shell.
//!
//! `steps` has the files on their way, one type for each step; `runtime` changes a running HAProxy without a reload;
//! `activate` asks for the reload and restores the previous files if the program refuses the new ones; `check_in_place`
//! runs the checks that can judge only the live file; `hand_edits` finds files that somebody else has changed; `diff` prints
//! what `--diff` asks for. `cancel` carries requests of the loop to a publish under way. `loaded_state`, `awaiting_check` and
//! `access_state` keep, also for the next process, what the programs have loaded, what no check has accepted yet, and to
//! whom the files are open. `outcome` has the one result that everybody else acts on, `error` why a step failed.
//!
//! Rule: this room makes one publish and knows no schedule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use self::loaded_state::LoadedState;
use self::outcome::Outcome;
use super::conf::load::Loaded;
use super::reload::shared::ReloadTicket;
use super::render::{Generation, View};
use crate::config::Target;
use crate::system::file::SwapMethod;

mod access_state;
mod activate;
mod awaiting_check;
mod cancel;
mod check_in_place;
mod diff;
mod error;
mod hand_edits;
pub(super) mod loaded_state;
pub(super) mod outcome;
mod runtime;
mod steps;

pub(super) use self::cancel::Progress;
use self::cancel::Step;
pub(super) use self::diff::{Difference, print_diff};
pub(super) use self::hand_edits::{Digest, ForeignEdit, is_edited};
use self::runtime::Activation;
pub(super) use self::runtime::RunningConfig;
pub(super) use error::{PublishError, Restored, TakenOut};
use steps::{Checked, Compared, Differs, Rendered, Swapped};

/// What a publish that did not fail has done.
#[derive(Debug)]
pub(super) enum Effect {
    /// The live files were right already.
    Unchanged,
    /// The live files would have changed; `--noop` keeps them.
    WouldChange,
    /// These files were replaced, and the program was reloaded if the target names one.
    Swapped(Vec<Change>),
    /// These files were replaced, and are in force without a reload.
    AtRuntime(Vec<Change>),
    /// The files were right, but the running `HAProxies` had other servers; this many server changes corrected them.
    Reconciled(usize),
    /// The target needs a reload, and `min_interval` does not allow one yet; these files were replaced already.
    ReloadOwed(Vec<Change>),
    /// The program has refused these contents before, and it is too early to try them again; nothing was changed.
    RefusedBefore,
    /// The running `HAProxies` have been changed; the check of the files was ended in favour of newer data.
    Overtaken,
    /// The files were right and a reload was owed; the program has made it.
    ReloadMade,
    /// The files were right and the program has reloaded once more, but it still does not read them.
    Unread,
}

/// A file that was replaced.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) dest: PathBuf,
    pub(super) how: SwapMethod,
    /// The content of the previous file, if there was one.
    pub(super) before: Option<Vec<u8>>,
    /// The content of the new file.
    pub(super) after: String,
}

/// How long a step of a publish took: `render`, `runtime`, `check`, `swap`, `verify` or `reload`.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepTime {
    pub(super) step: &'static str,
    pub(super) took: Duration,
}

/// The contents of the live files, in the order of the outputs; `None` where there is no file.
type LiveContents = Vec<Option<Vec<u8>>>;

/// One publish: what it is made from, and what its steps have found out so far.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Job {
    pub(super) loaded: Arc<Loaded>,
    /// What each template of the target sees, in the order of the outputs.
    pub(super) views: Vec<View>,
    /// The publish changes nothing and reports what it would do.
    pub(super) noop: bool,
    /// Enough time has passed since the last reload.
    pub(super) may_reload: bool,
    /// The publish may try contents again that the program has refused.
    pub(super) may_repeat: bool,
    /// The last publish of this target failed.
    pub(super) has_failed: bool,
    /// The publish prints the difference between the live and the new files.
    pub(super) diff: bool,
    /// The right to ask for a reload; `None` if the target has no program to reload.
    pub(super) ticket: Option<ReloadTicket>,
    pub(super) loaded_state: Arc<LoadedState>,
    /// What the running `HAProxies` have, from the last publish on.
    pub(super) running_config: RunningConfig,
    pub(super) progress: Arc<Progress>,
    /// The generation of the new files, if a template shows it; set when they are rendered.
    pub(super) generation: Option<Generation>,
    /// Where announcements contradict each other; set when the files are rendered.
    pub(super) disputes: Option<BTreeSet<String>>,
    /// The fingerprint of the new files; set when they are rendered.
    pub(super) tried: Option<u64>,
    /// The files as the last publish left them, in the order of the outputs, if that is known.
    pub(super) published_digests: Option<Vec<Digest>>,
    /// The files as they should be, in the order of the outputs; set when they are rendered.
    pub(super) wanted: Vec<Digest>,
    /// The files that somebody else has changed since the last publish.
    pub(super) foreign_edits: Vec<ForeignEdit>,
    /// The steps that were made, in their order.
    pub(super) steps: Vec<StepTime>,
}

/// What a publish reports when it has ended. [`PublishReport::outcome`] is its short form.
pub(super) struct PublishReport {
    /// What the publish has done, or why it failed.
    pub(super) result: Result<Effect, PublishError>,
    /// How long the publish took.
    pub(super) took: Duration,
    /// What the running `HAProxies` have afterwards.
    pub(super) running_config: RunningConfig,
    /// Where announcements contradict each other; `None` if the files could not be rendered.
    pub(super) disputes: Option<BTreeSet<String>>,
    /// The fingerprint of the contents that were to be published; `None` if they could not be rendered.
    pub(super) tried: Option<u64>,
    /// The files as this publish leaves them, in the order of the outputs, if that is known.
    pub(super) published_digests: Option<Vec<Digest>>,
    /// The files that somebody else had changed.
    pub(super) foreign_edits: Vec<ForeignEdit>,
    /// The steps that were made, in their order.
    pub(super) steps: Vec<StepTime>,
}

impl PublishReport {
    /// The report of a publish that does not report itself, since its task panicked, hangs or was never started.
    pub(super) fn without_job(error: PublishError, took: Duration) -> Self {
        Self {
            result: Err(error),
            took,
            running_config: RunningConfig::LiveFiles,
            disputes: None,
            tried: None,
            published_digests: None,
            foreign_edits: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The one result on which everybody else acts. `has_reload`: the target has a program to reload.
    pub(super) fn outcome(&self, has_reload: bool) -> Outcome {
        match &self.result {
            Ok(Effect::Swapped(_)) => Outcome::Good {
                reloaded: has_reload,
            },
            Ok(Effect::ReloadMade | Effect::Unread) => Outcome::Good { reloaded: true },
            Ok(Effect::AtRuntime(_) | Effect::Reconciled(_) | Effect::Unchanged) => {
                Outcome::Good { reloaded: false }
            }
            Ok(Effect::WouldChange) => Outcome::WouldChange,
            Ok(Effect::ReloadOwed(_)) => Outcome::ReloadOwed,
            Ok(Effect::RefusedBefore) => Outcome::RefusedBefore,
            Ok(Effect::Overtaken) => Outcome::Overtaken,
            Err(PublishError::GivenUp) => Outcome::GivenUp,
            Err(PublishError::Print(_)) => Outcome::NotPrinted,
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

    /// The files that were replaced.
    pub(super) fn into_changes(self) -> Vec<Change> {
        match self.result {
            Ok(
                Effect::Swapped(changes) | Effect::AtRuntime(changes) | Effect::ReloadOwed(changes),
            ) => changes,
            Ok(_) | Err(_) => Vec::new(),
        }
    }
}

impl Job {
    pub(super) async fn publish(mut self) -> PublishReport {
        let start = Instant::now();
        let result = self.run_steps().await;
        let published_digests = match &result {
            Ok(Effect::Unchanged | Effect::Reconciled(_)) => Some(self.wanted),
            Ok(Effect::ReloadMade | Effect::Unread) => Some(self.wanted),
            Ok(Effect::Swapped(_) | Effect::AtRuntime(_)) => Some(self.wanted),
            // These ends replace no file.
            Ok(Effect::WouldChange | Effect::RefusedBefore | Effect::Overtaken) => {
                self.published_digests
            }
            Err(PublishError::Render(_) | PublishError::NoGeneration) => self.published_digests,
            Err(PublishError::Check { .. }) => self.published_digests,
            Ok(Effect::ReloadOwed(_)) => None,
            // The difference is printed before any file is replaced.
            Err(PublishError::Print(_)) => self.published_digests,
            Err(PublishError::File { .. } | PublishError::CheckInPlace { .. }) => None,
            Err(PublishError::Reload { .. } | PublishError::Worker | PublishError::GivenUp) => None,
            Err(PublishError::Unanswered(_) | PublishError::Hangs) => None,
        };
        PublishReport {
            published_digests,
            foreign_edits: self.foreign_edits,
            steps: self.steps,
            result,
            took: start.elapsed(),
            running_config: self.running_config,
            disputes: self.disputes,
            tried: self.tried,
        }
    }

    async fn run_steps(&mut self) -> Result<Effect, PublishError> {
        self.progress.enter(Step::Render);
        if self.running_config.is_ahead() {
            // HAProxy has been changed ahead of its files, so this publish must not be dropped during a stop.
            self.progress.set_begun();
        }
        let (loaded, views, running_config) = (
            Arc::clone(&self.loaded),
            self.views.clone(),
            self.running_config.clone(),
        );
        let (is_retry, noop) = (self.has_failed, self.noop);
        let access = Arc::clone(&self.loaded_state.access);
        let last_digests = self.published_digests.clone().unwrap_or_default();
        let compare = move || {
            let rendered = Rendered::new(&loaded, &views)?;
            let (generation, tried) = (rendered.generation.clone(), rendered.fingerprint());
            let disputes = rendered.disputes.clone();
            let (compared, wanted) = rendered.compare(&loaded.target, &access, noop)?;
            let foreign_edits = compared.foreign_edits(&loaded.target, &last_digests, &wanted);
            let way = match &compared {
                Compared::Differs(differs) => {
                    Activation::choose(&loaded, differs, &running_config, is_retry)
                }
                Compared::Same(_) => Activation::Reload,
            };
            Ok::<_, PublishError>((
                compared,
                way,
                generation,
                disputes,
                tried,
                (wanted, foreign_edits),
            ))
        };
        let start = Instant::now();
        let compared = run_blocking(&self.progress, compare).await;
        self.record_step("render", start);
        let (compared, way, generation, disputes, tried, known) = compared??;
        (self.wanted, self.foreign_edits) = known;
        (self.generation, self.tried) = (generation, Some(tried));
        self.disputes = Some(disputes);
        let differs = match compared {
            Compared::Same(live) => return self.publish_unchanged(&live).await,
            Compared::Differs(differs) => differs,
        };
        if self.diff {
            self.print_diff(&differs)?;
        }
        if self.noop {
            return Ok(Effect::WouldChange);
        }
        let before = differs.live_contents();
        let way = if self.is_program_unknown(&before) {
            Activation::Reload
        } else {
            way
        };
        if way.needs_reload() && self.was_refused_before(differs.contents()) {
            // The contents wait for their next try; until then the running HAProxies must match the live files.
            self.undo_runtime_changes(&before).await;
            return Ok(Effect::RefusedBefore);
        }
        if way.needs_reload() && self.must_wait_for_reload() {
            return Ok(Effect::ReloadOwed(Vec::new()));
        }
        let (swapped, way) = match self.replace_files(differs, way).await {
            Ok(Some(replaced)) => replaced,
            Ok(None) => return Ok(Effect::Overtaken),
            Err(error) => {
                self.undo_runtime_changes(&before).await;
                return Err(error);
            }
        };
        if !self.read_back(way).await.needs_reload() {
            self.record_loaded(swapped.contents());
            return Ok(Effect::AtRuntime(swapped.into_changes()));
        }
        if self.must_wait_for_reload() {
            return Ok(Effect::ReloadOwed(swapped.into_changes()));
        }
        let swapped = self.put_in_force(swapped).await?;
        Ok(Effect::Swapped(swapped.into_changes()))
    }

    /// The live files are right, but the program may run something else: makes it run them.
    async fn publish_unchanged(&mut self, live: &[String]) -> Result<Effect, PublishError> {
        if self.noop {
            return Ok(Effect::Unchanged);
        }
        self.check_left_unjudged(live).await?;
        if self.running_config.is_ahead() {
            let lives = live.iter().map(|live| Some(live.clone().into_bytes()));
            if self.revert_running(lives.collect()).await {
                self.record_loaded(numbered(live));
                return Ok(Effect::Unchanged);
            }
        }
        if !self.owes_reload(live) {
            match self.reconcile_running(numbered(live)).await {
                Some(0) => return Ok(Effect::Unchanged),
                Some(changes) => return Ok(Effect::Reconciled(changes)),
                None if self.ticket.is_none() => return Ok(Effect::Unchanged),
                None => self.mark_unknown(),
            }
        }
        if self.was_refused_before(numbered(live)) {
            return Ok(Effect::RefusedBefore);
        }
        if self.must_wait_for_reload() {
            return Ok(Effect::ReloadOwed(Vec::new()));
        }
        self.reload_owed(live).await
    }

    /// Puts the new files in place and changes the running `HAProxies`. `None`: the publish made way for newer data.
    async fn replace_files(
        &mut self,
        differs: Differs,
        mut way: Activation,
    ) -> Result<Option<(Swapped, Activation)>, PublishError> {
        // A check that failed may fail again, so HAProxy is changed only after it; otherwise each try would change HAProxy
        // and revert it.
        let at_once = !self.has_failed || self.running_config.is_ahead();
        if at_once {
            way = self.change_running(way).await;
        }
        // Only a target with a reload records in the loaded state that HAProxy is ahead of its files. Without that record,
        // nobody would know of the change if the next publish failed.
        let may_make_way =
            self.running_config.is_ahead() && !way.needs_reload() && self.ticket.is_some();
        let start = Instant::now();
        let checked = self.check(differs, may_make_way).await;
        self.record_step("check", start);
        let Some(checked) = checked? else {
            return Ok(None);
        };
        if !at_once {
            way = self.change_running(way).await;
        }
        let start = Instant::now();
        let swapped = self.swap(checked).await;
        self.record_step("swap", start);
        let swapped = self.check_swapped(swapped?).await?;
        self.running_config = RunningConfig::LiveFiles;
        Ok(Some((swapped, way)))
    }

    /// Records how long a step took that began at `start` and ends now.
    fn record_step(&mut self, step: &'static str, start: Instant) {
        let took = start.elapsed();
        self.steps.push(StepTime { step, took });
    }

    /// Stages the new files and runs their checks. `None`: the check was ended in favour of newer data.
    async fn check(
        &self,
        differs: Differs,
        may_make_way: bool,
    ) -> Result<Option<Checked>, PublishError> {
        self.progress.enter(Step::Check);
        let loaded = Arc::clone(&self.loaded);
        let staged = run_blocking(&self.progress, move || differs.stage(&loaded.target)).await??;
        let scratch = self.loaded_state.scratch();
        tokio::select! {
            biased;
            () = self.progress.check_given_up() => Err(PublishError::GivenUp),
            checked = staged.check(self.target(), &scratch) => checked.map(Some),
            () = self.progress.overtaken(), if may_make_way => Ok(None),
        }
    }

    async fn swap(&self, checked: Checked) -> Result<Swapped, PublishError> {
        self.begin_swap(&checked);
        self.record_unchecked(&checked);
        self.progress.enter(Step::Swap);
        run_blocking(&self.progress, move || checked.swap()).await?
    }

    /// The new files are not published: makes the running `HAProxies` match the live files again, by a reload if need be.
    async fn undo_runtime_changes(&mut self, before: &LiveContents) {
        if matches!(self.running_config, RunningConfig::LiveFiles) {
            return;
        }
        let is_back = self.revert_running(before.clone()).await;
        // A reload that cannot be made now stays owed.
        if is_back || (!self.must_wait_for_reload() && self.reload().await.is_ok()) {
            let live = before.iter().enumerate();
            self.record_loaded(live.filter_map(|(n, live)| Some((n, live.as_deref()?))));
        }
    }

    /// Whether the target has a program to reload, and it is too early for a reload.
    fn must_wait_for_reload(&self) -> bool {
        !self.may_reload && self.ticket.is_some()
    }

    /// Whether the program has refused these contents, and it is too early to try them again.
    fn was_refused_before<'a>(&self, mut contents: impl Iterator<Item = (usize, &'a str)>) -> bool {
        let is_refused = |(n, content): (usize, &str)| {
            self.loaded_state
                .has_refused(self.dest(n), content.as_bytes())
        };
        !self.may_repeat && contents.all(is_refused)
    }

    /// Whether it is unknown what the program runs on, or the program does not run yet. There is nothing then that runtime
    /// changes could start from.
    fn is_program_unknown(&self, lives: &LiveContents) -> bool {
        let owes = |(n, live): (usize, &Option<Vec<u8>>)| match live {
            Some(live) => self.loaded_state.owes_reload(self.dest(n), live),
            None => true,
        };
        let is_owed = || !self.running_config.is_ahead() && lives.iter().enumerate().any(owes);
        let ticket = self.ticket.as_ref();
        ticket.is_some_and(|ticket| ticket.waits_for_its_child() || is_owed())
    }

    /// Records in the loaded state that it is unknown what the program runs on. A reload is owed until that is known again.
    fn mark_unknown(&self) {
        self.progress.set_begun();
        if self.ticket.is_some() {
            for output in &self.target().outputs {
                self.loaded_state.mark_unknown(&output.dest);
            }
        }
    }

    fn target(&self) -> &Target {
        &self.loaded.target
    }

    fn dest(&self, output: usize) -> &Path {
        &self.target().outputs[output].dest
    }

    /// Prints the difference between the live and the new files. Only with `--noop` is a failed print an error, since the
    /// print is the purpose then.
    fn print_diff(&self, differs: &Differs) -> Result<(), PublishError> {
        for (n, new) in differs.news() {
            let before = new.previous.as_ref().map(|look| look.content.clone());
            let difference = Difference {
                before: before.unwrap_or_default(),
                after: new.text.clone(),
            };
            match print_diff(self.dest(n), &difference) {
                Err(error) if self.noop => return Err(PublishError::Print(error)),
                Err(error) => warn!(%error, "the difference cannot be printed: {error}"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Whether the program still has to reload for one of the live files.
    fn owes_reload(&self, lives: &[String]) -> bool {
        let owes = |(n, live): (usize, &String)| {
            self.loaded_state.owes_reload(self.dest(n), live.as_bytes())
        };
        self.ticket.is_some() && lives.iter().enumerate().any(owes)
    }

    /// Records that a swap follows. From here on a stop lets the publish go on to its end.
    fn begin_swap(&self, checked: &Checked) {
        self.progress.set_begun();
        if self.ticket.is_some() {
            for (n, live, _) in checked.news() {
                self.loaded_state.record_swap(self.dest(n), live);
            }
        }
    }
}

/// The texts, each with the place of its output.
fn numbered(texts: &[String]) -> impl Iterator<Item = (usize, &str)> {
    texts.iter().map(String::as_str).enumerate()
}

/// Runs work that may wait for a disk or a processor on a thread for blocking work. As long as the work runs, it holds on to
/// `progress`, by which the loop sees that the publish hangs. Work that has not begun when the publish is abandoned never
/// begins, since another publish may own the files by then.
async fn run_blocking<T: Send + 'static>(
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
    async fn an_abandoned_publish_begins_no_work_and_holds_its_progress_while_a_thread_works() {
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
                run_blocking(&progress, work).await
            }
        });
        has_begun.await.unwrap();
        progress.abandon();
        job.abort();
        assert!(job.await.unwrap_err().is_cancelled());
        let late = run_blocking(&progress, || panic!("work of an abandoned publish began")).await;
        assert!(matches!(late, Err(PublishError::GivenUp)), "{late:?}");
        drop(progress);
        assert_eq!(watched.strong_count(), 1, "its thread still works");
        let_go.send(()).unwrap();
        while watched.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
