//! `sidekick history`. Shell.

use super::{Job, Surroundings, print};
use crate::cli::{Format, History};
use crate::config;
use crate::error::Failure;
use crate::watch::{self, WantedHistory};

pub(super) fn resolve(args: History, here: &Surroundings) -> Result<Job, Failure> {
    let dir = config::watch_state_dir(&args.state, (&here.env, &here.host), here.is_root);
    let dir = dir.map_err(|problem| Failure::usage(&[problem]))?;
    let wanted = WantedHistory {
        target: args.target,
        limit: args.limit,
        diff: args.diff,
        screen: (args.format == Format::Table).then_some(here.screen),
    };
    Ok(Job::new(async move {
        print(watch::show_history(&dir, &wanted)?)?;
        Ok(0)
    }))
}
