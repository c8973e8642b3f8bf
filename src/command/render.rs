//! `sidekick render`. Shell.

use super::{Job, Surroundings};
use crate::cli::Render;
use crate::config;
use crate::error::Failure;
use crate::watch::{self, Show};

pub(super) fn resolve(args: Render, here: &Surroundings) -> Result<Job, Failure> {
    let env = here.host.complete_for_templates(&here.env);
    let prefix = config::prefix(args.prefix.as_deref(), &env);
    let prefix = prefix.map_err(|problem| Failure::usage(&[problem]))?;
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), &here.host);
    let work = async move {
        let targets = watch::load_some(&conf_dir, &args.targets)?;
        let entries = watch::fixture(&args.from).map_err(|error| {
            let hint = "a fixture is an object of keys and values, in JSON or YAML";
            Failure::unavailable(&error, hint)
        })?;
        let show = if args.diff { Show::Diff } else { Show::Text };
        watch::render_offline(targets, entries, &prefix, env, show)
            .map_err(|error| Failure::output(&error))
    };
    Ok(Job::new(work).warning_of(&here.host))
}
