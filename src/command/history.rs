//! `sidekick history`. Shell.

use super::live::Live;
use super::{Job, Surroundings, print};
use crate::cli::{Format, History};
use crate::config;
use crate::error::Failure;
use crate::system::signals::BlockedSignals;
use crate::watch::{self, WantedHistory};

pub(super) fn resolve(
    args: History,
    held: Option<BlockedSignals>,
    here: &Surroundings,
) -> Result<Job, Failure> {
    let dir = config::watch_state_dir(&args.state, (&here.env, &here.host), here.is_root);
    let dir = dir.map_err(|problem| Failure::usage(&[problem]))?;
    let wanted = WantedHistory {
        target: args.target,
        limit: args.limit,
        diff: args.diff,
        screen: (args.format == Format::Table).then_some(here.screen),
    };
    let live = Live::new(held, args.format == Format::Json, here)?;
    Ok(Job::new(async move {
        let Some(live) = live else {
            print(watch::show_history(&dir, &wanted)?)?;
            return Ok(0);
        };
        // Nobody reports changes of this file; each draw reads it.
        let nothing = async |_| ();
        let draw = async |screen| {
            let wanted = WantedHistory {
                screen: Some(screen),
                ..wanted.clone()
            };
            Ok(watch::show_history(&dir, &wanted)?)
        };
        live.run(nothing, draw).await
    }))
}
