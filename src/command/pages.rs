//! `sidekick completions` and `sidekick man`. Shell.

use std::io;
use std::path::{Path, PathBuf};

use super::Job;
use crate::cli;
use crate::error::Failure;
use crate::system::output;

pub(super) fn completions(shell: clap_complete::Shell) -> Job {
    Job::new(async move {
        output::print(&cli::completions(shell)).map_err(|error| Failure::output(&error))?;
        Ok(0)
    })
}

pub(super) fn man(dir: PathBuf) -> Job {
    Job::new(async move {
        let hint = "give a directory that can be written";
        write(&dir).map_err(|error| Failure::unavailable(&error, hint))?;
        Ok(0)
    })
}

/// Writes the manual pages. The error names the path that could not be written.
fn write(dir: &Path) -> io::Result<()> {
    for (name, text) in cli::manuals()? {
        let file = dir.join(name);
        let section = file.parent().unwrap_or(dir);
        std::fs::create_dir_all(section).map_err(|error| at(section, &error))?;
        std::fs::write(&file, text).map_err(|error| at(&file, &error))?;
    }
    Ok(())
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{} cannot be written: {error}", path.display()),
    )
}
