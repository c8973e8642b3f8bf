//! `sidekick guard`. Shell.

use super::live::Live;
use super::{Job, Surroundings, print, print_json};
use crate::cli::{Format, Guard, GuardAction, GuardRelease};
use crate::config;
use crate::error::Failure;
use crate::model::report::code;
use crate::system::signals::BlockedSignals;
use crate::watch;

pub(super) fn resolve(
    args: Guard,
    held: Option<BlockedSignals>,
    here: &Surroundings,
) -> Result<Job, Failure> {
    let state = match &args.action {
        GuardAction::List(list) => &list.state,
        GuardAction::Release(release) => &release.state,
    };
    let dir = config::watch_state_dir(state, (&here.env, &here.host), here.is_root);
    let dir = dir.map_err(|problem| Failure::usage(&[problem]))?;
    let (screen, is_quiet) = (here.screen, here.output.is_quiet());
    let is_json = match &args.action {
        GuardAction::List(list) => list.format == Format::Json,
        GuardAction::Release(_) => false,
    };
    let live = Live::new(held, is_json, here)?;
    let work = async move {
        match args.action {
            GuardAction::List(list) => {
                if let Some(live) = live {
                    // Nobody reports changes of these files; each draw reads them.
                    let nothing = async |_| ();
                    let draw = async |screen| Ok(watch::guard_list(&dir, Some(screen))?);
                    return live.run(nothing, draw).await;
                }
                let screen = (list.format == Format::Table).then_some(screen);
                print(watch::guard_list(&dir, screen)?)?;
                Ok(0)
            }
            GuardAction::Release(release) => self::release(&dir, &release, is_quiet),
        }
    };
    Ok(Job::new(work))
}

fn release(dir: &std::path::Path, args: &GuardRelease, is_quiet: bool) -> Result<u8, Failure> {
    let service = args
        .service
        .as_deref()
        .map(config::parse_service)
        .transpose();
    let service = service.map_err(|problems| Failure::usage(&problems))?;
    let released = watch::guard_release(dir, &args.targets, args.all, service.as_ref())?;
    match args.format {
        Format::Json => print_json(&released)?,
        Format::Table if is_quiet => {}
        Format::Table => print(watch::released_lines(&released))?,
    }
    let any = released.iter().any(|one| one.was_held);
    Ok(if any { 0 } else { code::FAILED })
}
