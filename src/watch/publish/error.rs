//! Why a target was not published, as an operator reads it. Shell.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::super::render::RenderError;
use super::super::tell::ReloadError;
use crate::model::report::chain;
use crate::system::command::CommandError;
use crate::system::sandbox;

/// Why a target was not published.
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
    #[error("the check refused the new file, so the live one stays")]
    Check(#[source] Box<CommandError>),
    #[error("the reload failed, {restored}")]
    Reload {
        restored: Restored,
        source: Arc<ReloadError>,
    },
    #[error(
        "template.generation_url is given, but no template of the target has generation(), which the page there should show"
    )]
    NoGeneration,
    #[error("the worker that renders has died")]
    Worker,
}

impl PublishError {
    /// The error of a step that has to do with the file or directory at `path`.
    pub(super) fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File {
            step,
            source: sandbox::explain(error, &path),
            path,
        }
    }

    /// Whether the program was told of the new files, and does not run them.
    pub(in crate::watch) fn is_refusal(&self) -> bool {
        match self {
            Self::Reload { source, .. } => source.is_refusal(),
            Self::Render(_) | Self::NoGeneration | Self::Worker => false,
            Self::File { .. } | Self::Check(_) => false,
        }
    }
}

/// What became of files whose reload failed.
#[derive(Debug)]
pub(in crate::watch) enum Restored {
    /// The previous files are back and loaded.
    Yes,
    /// The previous files are back, and the program had not left them.
    NeverLeft,
    /// The previous files are back; loading them failed too.
    NotLoaded(Arc<ReloadError>),
    /// A previous file could not be put back.
    Failed(io::Error),
    /// There was no previous file; the new one stays.
    NoPrevious,
    /// The files had been right all along; only the reload was owed.
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
