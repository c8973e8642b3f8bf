//! `sidekick ip`. Shell.

use std::io::Write;

use super::{Job, Surroundings, both, print};
use crate::cli::Ip;
use crate::config;
use crate::error::Failure;
use crate::model::report::code;
use crate::register;

pub(super) fn resolve(args: &Ip, here: &Surroundings) -> Result<Job, Failure> {
    let specs = config::parse_ip_arg(args.spec.as_deref());
    let (specs, place) = both(specs, here.place(&args.store))?;
    let is_quiet = here.output.is_quiet();
    let name = place.to_string();
    let work = async move {
        let choice = register::choose_address(&specs, &place.location);
        if !is_quiet || choice.ip.is_none() {
            // Nothing can be done about a terminal that is gone.
            let _ = write!(std::io::stderr(), "{choice}");
        }
        let Some(ip) = choice.ip else {
            return Ok(code::UNAVAILABLE);
        };
        print(format_args!("{ip}\n"))?;
        Ok(0)
    };
    Ok(Job::new(work).on_store("ip", &name))
}
