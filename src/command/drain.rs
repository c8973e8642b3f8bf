//! `sidekick drain` and `sidekick undrain`. Shell.

use std::io::Write;

use super::{Job, Opening, Surroundings, both, open, print, print_json};
use crate::cli::{DrainArgs, Format};
use crate::config;
use crate::error::Failure;
use crate::manage;
use crate::model::instance::State;
use crate::model::report::code;
use crate::system::clock::unix_seconds;

pub(super) fn resolve(args: &DrainArgs, state: State, here: &Surroundings) -> Result<Job, Failure> {
    let verb = match state {
        State::Up => "undrain",
        State::Drain | State::Maint => "drain",
    };
    let place = here.place_to_write(verb, &args.store);
    let ((service, id, wait), place) = both(config::parse_drain_args(args), place)?;
    let (format, is_quiet) = (args.format, here.output.is_quiet());
    let opening = Opening::on_store(verb, &place);
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
        let drained = manage::set_state(order, store).await?;
        match format {
            Format::Json => print_json(&drained)?,
            Format::Table if is_quiet => {}
            Format::Table => print(&drained)?,
        }
        let Some(complaint) = drained.complaint() else {
            return Ok(0);
        };
        let _ = writeln!(std::io::stderr(), "error: {complaint}");
        Ok(code::FAILED)
    };
    Ok(Job::new(work).opening(opening))
}
