//! Why a publish failed, in the words that an operator reads. Shell.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::model::os::Exit;
use crate::model::report::chain;
use crate::system::command::CommandError;
use crate::system::sandbox;
use crate::watch::reload::send::ReloadError;
use crate::watch::render::RenderError;

/// Why a publish failed; a variant for each step.
#[derive(Debug, Error)]
pub(in crate::watch) enum PublishError {
    #[error("rendering failed")]
    Render(#[from] RenderError),
    #[error("cannot {step} {}", path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the check refused the new file, {}", describe_live(*has_live))]
    Check {
        /// The target has a live file, which stays.
        has_live: bool,
        source: Box<CommandError>,
    },
    #[error("the check, which can judge the new file only in its place, refused it, {taken_out}")]
    CheckInPlace {
        taken_out: TakenOut,
        source: Box<CommandError>,
    },
    #[error("the reload failed, {restored}")]
    Reload {
        restored: Restored,
        source: Arc<ReloadError>,
    },
    #[error(
        "template.generation_url is set, but no template of the target calls generation(), so the page there cannot show it"
    )]
    NoGeneration,
    #[error("standard output cannot be written")]
    Print(#[source] io::Error),
    #[error("a thread of the publish has ended with a panic, which is a bug in sidekick")]
    Worker,
    #[error("the publish was given up")]
    GivenUp,
    #[error(
        "the publish has not ended within {} s, the sum of all its time limits, and is given up; a disk or a network file \
         system may hang",
        .0.as_secs()
    )]
    Unanswered(Duration),
    #[error(
        "an earlier publish that was given up still waits for a disk; this target is not published until the disk answers"
    )]
    Hangs,
}

impl PublishError {
    /// Makes the error of a step that failed at the file or directory `path`.
    pub(super) fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File {
            step,
            source: sandbox::explain(error, &path),
            path,
        }
    }

    /// The step that failed.
    pub(in crate::watch) fn step(&self) -> &'static str {
        match self {
            Self::Render(_) | Self::NoGeneration => "render",
            Self::File { step, .. } => step,
            Self::Check { .. } | Self::CheckInPlace { .. } => "check",
            Self::Reload { .. } => "reload",
            Self::Print(_) => "print",
            Self::Worker => "worker",
            Self::GivenUp => "give up",
            Self::Unanswered(_) => "answer",
            Self::Hangs => "wait",
        }
    }

    /// How the command of that step ended; `None` if the step ran no command.
    pub(in crate::watch) fn exit(&self) -> Option<Exit> {
        self.command().and_then(CommandError::exit)
    }

    /// Why it failed, where there is little room: the words of the program that refused, or else the whole error.
    pub(in crate::watch) fn brief(&self) -> String {
        match self.command() {
            Some(command) => format!("{} ({self})", command.brief()),
            None => chain(self),
        }
    }

    /// How the command of that step failed.
    fn command(&self) -> Option<&CommandError> {
        match self {
            Self::Check { source, .. } | Self::CheckInPlace { source, .. } => Some(source.as_ref()),
            Self::Reload { source, .. } => source.command(),
            Self::Render(_) | Self::NoGeneration | Self::File { .. } => None,
            Self::Print(_) | Self::Worker | Self::GivenUp => None,
            Self::Unanswered(_) | Self::Hangs => None,
        }
    }

    /// Whether the program or a check refused the new files in their places.
    pub(in crate::watch) fn is_refusal(&self) -> bool {
        match self {
            Self::Reload { source, .. } => source.is_refusal(),
            Self::Render(_) | Self::NoGeneration | Self::Worker | Self::GivenUp => false,
            Self::File { .. } | Self::Check { .. } | Self::Print(_) => false,
            Self::Unanswered(_) | Self::Hangs => false,
            // Each further try would put the refused file in place again, so it has to wait as after a refused reload.
            Self::CheckInPlace { .. } => true,
        }
    }
}

fn describe_live(has_live: bool) -> &'static str {
    if has_live {
        "so the live one stays"
    } else {
        "and there is no live one yet"
    }
}

/// What became of files that a check refused in their places, before any reload.
#[derive(Debug)]
pub(in crate::watch) enum TakenOut {
    /// The previous files were restored.
    Back,
    /// There were no previous files, so the new ones were removed.
    Removed,
    /// A previous file could not be put back.
    Failed(io::Error),
}

impl std::fmt::Display for TakenOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Back => f.write_str("and the previous file is back"),
            Self::Removed => f.write_str("and as there was none before, it has been removed"),
            Self::Failed(error) => {
                write!(f, "and the previous file could not be put back ({error})")
            }
        }
    }
}

/// What became of files whose reload failed.
#[derive(Debug)]
pub(in crate::watch) enum Restored {
    /// The previous files were restored, and the program has loaded them.
    Yes,
    /// The previous files were restored; the program runs on them all along.
    NeverLeft,
    /// The previous files were restored, but the program failed to load them too.
    NotLoaded(Arc<ReloadError>),
    /// A previous file could not be restored.
    Failed(io::Error),
    /// There was no previous file, so the new one stays.
    NoPrevious,
    /// This publish replaced no file, so it restores none; the reload stays owed.
    Unchanged,
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yes => f.write_str("and the previous file is in force again"),
            Self::NeverLeft => {
                f.write_str("and the previous file, which is still in force, is back")
            }
            Self::NotLoaded(error) => {
                write!(
                    f,
                    "the previous file is back, but its reload failed too ({})",
                    chain(error.as_ref())
                )
            }
            Self::Failed(error) => {
                write!(f, "and the previous file could not be put back ({error})")
            }
            Self::NoPrevious => f.write_str("and there is no previous file, so the new one stays"),
            Self::Unchanged => {
                f.write_str("and the file, whose reload stays owed, is left in place")
            }
        }
    }
}
