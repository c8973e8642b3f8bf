//! One publish of one target: render, compare, stage, check, swap, reload. Shell.
//!
//! Each step is a type whose only way on is the next step, so that a wrong order does not compile. Whatever is dropped
//! on the way takes its candidate file with it; the live file is the old one or the new one at every instant.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use super::kept::print;
use super::ledger::Ledger;
use super::load::Loaded;
use super::paths::fill_in;
use super::render::{RenderError, View};
use super::ward::Running;
use crate::config::{Reload, Target};
use crate::model::report::chain;
use crate::system::command::{self, CommandError, Left};
use crate::system::file::{self, Access, Candidate, How, Look};
use crate::system::process::{self, LeaderError, SignalError};

/// The mode of a file that is not there yet, unless conf.d says otherwise.
const MODE: u32 = 0o644;

/// Why a target was not published.
#[derive(Debug, Error)]
pub(super) enum PublishError {
    #[error("rendering failed")]
    Render(#[from] RenderError),
    #[error("cannot {step} {}", path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the check refused the new file, so the live one stays")]
    Check(#[source] Box<CommandError>),
    #[error("the reload failed, {restored}")]
    Reload {
        restored: Restored,
        source: Box<ReloadError>,
    },
    #[error("the worker that renders has died")]
    Worker,
}

/// Why a program could not be told of a new file.
#[derive(Debug, Error)]
pub(super) enum ReloadError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Signal(#[from] SignalError),
    #[error(transparent)]
    Child(#[from] LeaderError),
}

/// What became of a file whose reload failed.
#[derive(Debug)]
pub(super) enum Restored {
    /// The previous file is back and loaded.
    Yes,
    /// The previous file is back; loading it failed too.
    NotLoaded(Box<ReloadError>),
    /// The previous file could not be put back.
    Failed(io::Error),
    /// There was no previous file; the new one stays.
    NoPrevious,
    /// The file had been right all along; only the reload was owed.
    Unchanged,
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yes => f.write_str("and the previous file is in force again"),
            Self::NotLoaded(error) => {
                write!(
                    f,
                    "the previous file is back, but loading it failed too ({})",
                    chain(error.as_ref())
                )
            }
            Self::Failed(error) => {
                write!(f, "and the previous file could not be put back ({error})")
            }
            Self::NoPrevious => f.write_str("and there is no previous file, so the new one stays"),
            Self::Unchanged => f.write_str("as it did before; the file itself is right"),
        }
    }
}

/// What a publish did.
#[derive(Debug)]
pub(super) enum Published {
    /// The live file is right already.
    Same,
    /// It would have changed.
    Pending,
    /// It was changed.
    Swapped(How),
    /// Only the reload was owed, and has been made.
    Reloaded,
}

/// The text before and after.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) before: Vec<u8>,
    pub(super) after: String,
}

/// Whether a publish has begun to change something.
pub(super) type Progress = Arc<AtomicBool>;

/// One publish.
pub(super) struct Job {
    pub(super) loaded: Arc<Loaded>,
    pub(super) view: View,
    /// Change nothing.
    pub(super) noop: bool,
    /// Print what changes.
    pub(super) diff: bool,
    /// The command of ours that is to be reloaded, if it is there.
    pub(super) child: Running,
    pub(super) ledger: Arc<Ledger>,
    pub(super) progress: Progress,
}

impl Job {
    pub(super) async fn publish(self) -> Result<Published, PublishError> {
        let (worker, view) = (Arc::clone(&self.loaded), self.view.clone());
        let compared =
            blocking(move || Rendered::new(&worker, &view)?.compare(&worker.target)).await??;
        let differs = match compared {
            Compared::Same(live) if !self.noop && self.owes(&live) => {
                return self.reload_owed(&live).await;
            }
            Compared::Same(_) => return Ok(Published::Same),
            Compared::Differs(differs) => differs,
        };
        if self.diff {
            print(&self.loaded.target, &differs.difference());
        }
        if self.noop {
            return Ok(Published::Pending);
        }
        let make_dirs = self.target().make_dirs;
        let staged = blocking(move || differs.stage(make_dirs)).await??;
        let checked = staged.check(&self.loaded.target).await?;
        self.begin(&checked);
        let swapped = blocking(move || checked.swap()).await??;
        let how = swapped.1;
        let Live = swapped.reload(&self).await?;
        Ok(Published::Swapped(how))
    }

    fn target(&self) -> &Target {
        &self.loaded.target
    }

    /// Whether the program has to be told of the live file.
    fn owes(&self, live: &[u8]) -> bool {
        self.target().reload.is_some() && self.ledger.owes(&self.target().dest, live)
    }

    /// From here on the publish goes on to its end.
    fn begin(&self, checked: &Checked) {
        self.progress.store(true, Ordering::Release);
        if self.target().reload.is_some() {
            let previous = checked.0.differs.previous.as_ref();
            let live = previous.map(|look| look.content.as_slice());
            self.ledger.begin(&self.target().dest, live);
        }
    }

    async fn reload_owed(&self, live: &[u8]) -> Result<Published, PublishError> {
        self.progress.store(true, Ordering::Release);
        match self.reload().await {
            Ok(()) => {
                self.ledger.loaded(&self.target().dest, live);
                Ok(Published::Reloaded)
            }
            Err(source) => Err(PublishError::Reload {
                restored: Restored::Unchanged,
                source: Box::new(source),
            }),
        }
    }

    /// Tells the program.
    async fn reload(&self) -> Result<(), ReloadError> {
        let target = self.target();
        match &target.reload {
            None => {}
            Some(Reload::Command(text)) => {
                let text = fill_in(text, &target.dest, &target.dest);
                let output = command::run(&text, target.reload_timeout, Left::Alone).await?;
                tracing::debug!(target_name = target.name, output, "reloaded");
            }
            Some(Reload::Signal { signal, pidfile }) => process::signal_by_file(pidfile, *signal)?,
            Some(Reload::Child(signal)) => {
                // A command that is not started yet will find the new file.
                if let Some(group) = self.child.get() {
                    process::reload_leader(*group, *signal, target.reload_timeout).await?;
                }
            }
        }
        Ok(())
    }
}

/// Runs what may wait for a disk or a processor where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PublishError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| PublishError::Worker)
}

/// The text that should be in the file.
struct Rendered(String);

enum Compared {
    /// The live file is this, and right.
    Same(Vec<u8>),
    Differs(Differs),
}

/// A text that differs from the live file, in content or access.
struct Differs {
    /// Where the file really lies.
    dest: PathBuf,
    text: String,
    access: Access,
    previous: Option<Look>,
}

/// A candidate beside the live file.
struct Staged {
    candidate: Candidate,
    differs: Differs,
}

/// A candidate that the check has accepted.
struct Checked(Staged);

/// The new file is in place; its program does not know yet.
struct Swapped(Differs, How);

/// The new file is in place and in force.
struct Live;

impl Rendered {
    fn new(loaded: &Loaded, view: &View) -> Result<Self, PublishError> {
        Ok(Self(loaded.template.render(view)?))
    }

    fn compare(self, target: &Target) -> Result<Compared, PublishError> {
        let at = |step, path: &Path| {
            let path = path.to_owned();
            move |source| PublishError::File { step, path, source }
        };
        let dest = file::resolve(&target.dest).map_err(at("find", &target.dest))?;
        let previous = file::look(&dest).map_err(at("read", &dest))?;
        let access = access(target, previous.as_ref());
        let is_same = |look: &Look| look.access == access && look.content == self.0.as_bytes();
        if previous.as_ref().is_some_and(is_same) {
            return Ok(Compared::Same(self.0.into_bytes()));
        }
        Ok(Compared::Differs(Differs {
            dest,
            text: self.0,
            access,
            previous,
        }))
    }
}

/// What conf.d says, else what the file has, else what we would make.
fn access(target: &Target, previous: Option<&Look>) -> Access {
    let has = previous.map(|look| look.access);
    let own = process::identity();
    Access {
        mode: target.mode.or(has.map(|has| has.mode)).unwrap_or(MODE),
        uid: target.owner.uid.or(has.map(|has| has.uid)).unwrap_or(own.0),
        gid: target.owner.gid.or(has.map(|has| has.gid)).unwrap_or(own.1),
    }
}

impl Differs {
    fn stage(self, make_dirs: bool) -> Result<Staged, PublishError> {
        let made = if make_dirs {
            file::make_parents(&self.dest)
        } else {
            Ok(())
        };
        let stage = |()| Candidate::stage(&self.dest, self.text.as_bytes(), self.access);
        let candidate = made.and_then(stage);
        match candidate {
            Ok(candidate) => Ok(Staged {
                candidate,
                differs: self,
            }),
            Err(source) => Err(PublishError::File {
                step: "stage a file beside",
                path: self.dest,
                source,
            }),
        }
    }

    fn difference(&self) -> Difference {
        let previous = self.previous.as_ref();
        Difference {
            before: previous
                .map(|look| look.content.clone())
                .unwrap_or_default(),
            after: self.text.clone(),
        }
    }
}

impl Staged {
    async fn check(self, target: &Target) -> Result<Checked, PublishError> {
        if let Some(check) = &target.check {
            let check = fill_in(check, self.candidate.path(), &target.dest);
            let output = command::run(&check, target.check_timeout, Left::Killed).await;
            let output = output.map_err(|error| PublishError::Check(Box::new(error)))?;
            tracing::debug!(
                target_name = target.name,
                output,
                "the check accepts the new file"
            );
        }
        Ok(Checked(self))
    }
}

impl Checked {
    fn swap(self) -> Result<Swapped, PublishError> {
        let Staged { candidate, differs } = self.0;
        match candidate.swap() {
            Ok(how) => Ok(Swapped(differs, how)),
            Err(source) => Err(PublishError::File {
                step: "replace",
                path: differs.dest,
                source,
            }),
        }
    }
}

impl Swapped {
    async fn reload(self, job: &Job) -> Result<Live, PublishError> {
        let dest = &job.target().dest;
        match job.reload().await {
            Ok(()) => {
                if job.target().reload.is_some() {
                    job.ledger.loaded(dest, self.0.text.as_bytes());
                }
                Ok(Live)
            }
            Err(source) => Err(PublishError::Reload {
                restored: self.restore(job).await,
                source: Box::new(source),
            }),
        }
    }

    /// Puts the previous file back and in force.
    async fn restore(self, job: &Job) -> Restored {
        job.ledger.lost(&job.target().dest);
        let Some(previous) = self.0.previous else {
            return Restored::NoPrevious;
        };
        let (dest, content) = (self.0.dest, previous.content.clone());
        let put_back = move || Candidate::stage(&dest, &content, previous.access)?.swap();
        match tokio::task::spawn_blocking(put_back).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Restored::Failed(error),
            Err(died) => return Restored::Failed(io::Error::other(died)),
        }
        match job.reload().await {
            Ok(()) => {
                job.ledger.loaded(&job.target().dest, &previous.content);
                Restored::Yes
            }
            Err(error) => Restored::NotLoaded(Box::new(error)),
        }
    }
}
