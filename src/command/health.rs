//! `sidekick health`. Shell.

use super::{Job, Surroundings, print};
use crate::cli::Health;
use crate::config;
use crate::error::Failure;
use crate::model::report::code;
use crate::system::http_get;

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[error("the admin endpoint is switched off: --admin (SIDEKICK_ADMIN) is empty")]
struct SwitchedOff;

pub(super) fn resolve(args: &Health, here: &Surroundings) -> Result<Job, Failure> {
    let asked = config::parse_health(args).map_err(|problems| Failure::usage(&problems))?;
    let is_quiet = here.output.is_quiet();
    Ok(Job::new(async move {
        let Some(address) = asked.address else {
            let hint = "give --admin (SIDEKICK_ADMIN) the address to `sidekick watch` or `sidekick register` and to \
                        `sidekick health`; without a value they have no admin endpoint";
            return Err(Failure::failed(&SwitchedOff, hint));
        };
        let answer = http_get::get(&address, asked.path, asked.limit).await;
        let (status, text) = answer.map_err(|error| {
            let hint = "`sidekick watch` and `sidekick register` answer where their --admin says";
            Failure::failed(&error, hint)
        })?;
        if status != 200 || !is_quiet {
            print(text)?;
        }
        Ok(if status == 200 { 0 } else { code::FAILED })
    }))
}
