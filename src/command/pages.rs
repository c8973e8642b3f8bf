//! `sidekick completions` and `sidekick man`. Shell.

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

fn write(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let pages = cli::manuals()?;
    pages
        .iter()
        .try_for_each(|(name, text)| std::fs::write(dir.join(name), text))
}
