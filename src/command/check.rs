//! `sidekick check`. Shell.

use std::io::Write;

use super::{Job, Surroundings, print};
use crate::cli::Check;
use crate::config;
use crate::error;
use crate::model::report::code;
use crate::watch;

pub(super) fn resolve(args: Check, here: &Surroundings) -> Job {
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), &here.host);
    let is_quiet = here.output.is_quiet();
    let work = async move {
        let mut found = watch::check(&conf_dir, &args.targets)?;
        if is_quiet {
            found.warnings.clear();
        }
        let _ = write!(std::io::stderr(), "{}", error::format_findings(&found));
        if !is_quiet {
            print(format_args!("{}\n", error::format_summary(&found)))?;
        }
        Ok(if found.mistakes.is_empty() {
            0
        } else {
            code::CONFIG
        })
    };
    Job::new(work).warning_of(&here.host)
}
