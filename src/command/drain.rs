//! `sidekick drain` and `sidekick undrain`. Shell.

use super::{Job, Surroundings, both, open, print};
use crate::cli::DrainArgs;
use crate::config;
use crate::error::Failure;
use crate::manage;
use crate::model::instance::State;
use crate::system::clock::unix_seconds;

pub(super) fn resolve(args: &DrainArgs, state: State, here: &Surroundings) -> Result<Job, Failure> {
    let ((service, id, wait), place) =
        both(config::parse_drain_args(args), here.place(&args.store))?;
    let is_quiet = here.output.is_quiet();
    let name = place.to_string();
    let verb = match state {
        State::Up => "undrain",
        State::Drain | State::Maint => "drain",
    };
    let work = async move {
        let store = open(&place)?;
        let order = manage::Order {
            prefix: place.prefix,
            service,
            id,
            state,
            wait,
            now: unix_seconds(),
        };
        let (text, status) = manage::set_state(order, store).await?;
        if !is_quiet {
            print(text)?;
        }
        Ok(status)
    };
    Ok(Job::new(work).on_store(verb, &name))
}
