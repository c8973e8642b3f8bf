//! `sidekick render`. Shell.

use tracing::warn;

use super::{Job, Opening, Surroundings};
use crate::cli::Render;
use crate::config::{self, Problem};
use crate::error::Failure;
use crate::watch::{self, Show, WhatIf};

pub(super) fn resolve(args: Render, here: &Surroundings) -> Result<Job, Failure> {
    let env = here.host.complete_for_templates(&here.env);
    let prefix = config::prefix(args.prefix.as_deref(), &env);
    let prefix = prefix.map_err(|problem| Failure::usage(&[problem]))?;
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), &here.host);
    let changes = changes(&args).map_err(|problems| Failure::usage(&problems))?;
    let work = async move {
        let targets = watch::load_some(&conf_dir, &args.targets)?;
        let entries = watch::read_fixture(&args.from).map_err(|error| {
            let hint = "a fixture is an object of keys and values, in JSON or YAML, or what `etcdctl get -w json` prints";
            Failure::unavailable(&error, hint)
        })?;
        let entries = watch::change_fixture(entries, &prefix, &changes)
            .map_err(|error| Failure::usage(&[Problem::with(error)]))?;
        for service in watch::unfollowed(&targets, &prefix, &changes) {
            warn!(
                service = service.as_str(),
                "none of these targets follows {service}, so --with and --without change nothing of it here"
            );
        }
        let show = if args.diff { Show::Diff } else { Show::Text };
        watch::render_offline(targets, entries, &prefix, env, show)
            .map_err(|error| Failure::output(&error))
    };
    Ok(Job::new(work).opening(Opening::default().warning_of(&here.host)))
}

/// What is to be left out, then what is to be there: so an instance can be replaced by one of another id.
fn changes(args: &Render) -> Result<Vec<WhatIf>, Vec<Problem>> {
    let without = args.without.iter().map(|text| WhatIf::without(text));
    let with = args.with.iter().map(|text| WhatIf::with(text));
    let (mut changes, mut problems) = (Vec::new(), Vec::new());
    for change in without.chain(with) {
        match change {
            Ok(change) => changes.push(change),
            Err(error) => problems.push(Problem::with(error)),
        }
    }
    if problems.is_empty() {
        Ok(changes)
    } else {
        Err(problems)
    }
}
