//! `sidekick check`. Shell.

use std::io::Write;

use super::{Job, print};
use crate::cli::Check;
use crate::config::{self, HostFile};
use crate::error;
use crate::model::report::code;
use crate::watch;

pub(super) fn resolve(args: Check, host: &HostFile) -> Job {
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), host);
    let work = async move {
        let found = watch::check(&conf_dir, &args.targets)?;
        let _ = write!(std::io::stderr(), "{}", error::findings(&found));
        print(format_args!("{}\n", error::summary(&found)))?;
        Ok(if found.mistakes.is_empty() {
            0
        } else {
            code::CONFIG
        })
    };
    Job::new(work).warning_of(host)
}
