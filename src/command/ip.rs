//! `sidekick ip`. Shell.

use std::io::Write;

use serde::Serialize;

use super::{Job, Opening, Surroundings, both, print, print_json};
use crate::cli::{Format, Ip};
use crate::config;
use crate::error::Failure;
use crate::model::address::{Choice, Tried};
use crate::model::report::code;
use crate::register;

pub(super) fn resolve(args: &Ip, here: &Surroundings) -> Result<Job, Failure> {
    let specs = config::parse_ip_arg(args.spec.as_deref());
    let (specs, place) = both(specs, here.choose_store(&args.store))?;
    let (format, is_quiet) = (args.format, here.output.is_quiet());
    let opening = Opening::on_store("ip", &place);
    let work = async move {
        let choice = register::choose_address(&specs, &place.location);
        match format {
            Format::Json => print_json(&IpAnswer::new(&choice))?,
            Format::Table => print_choice(&choice, is_quiet)?,
        }
        let is_found = choice.ip.is_some();
        Ok(if is_found { 0 } else { code::UNAVAILABLE })
    };
    Ok(Job::new(work).opening(opening))
}

fn print_choice(choice: &Choice, is_quiet: bool) -> Result<(), Failure> {
    if !is_quiet || choice.ip.is_none() {
        // If standard error is gone, nobody can read this.
        let _ = write!(std::io::stderr(), "{choice}");
    }
    match choice.ip {
        Some(ip) => print(format_args!("{ip}\n")),
        None => Ok(()),
    }
}

/// The choice as JSON.
#[derive(Serialize)]
struct IpAnswer {
    /// The address; null if there is none.
    ip: Option<String>,
    /// The candidates, in the order in which they were tried.
    tried: Vec<Candidate>,
}

/// One candidate.
#[derive(Serialize)]
struct Candidate {
    spec: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    /// Why it was not chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl IpAnswer {
    fn new(choice: &Choice) -> Self {
        let candidate = |one: &Tried| Candidate {
            spec: one.spec.to_string(),
            ip: one.found.as_ref().map(|(ip, _)| ip.to_string()),
            interface: one.found.as_ref().and_then(|(_, name)| name.clone()),
            refused: one.refused.as_ref().map(ToString::to_string),
        };
        Self {
            ip: choice.ip.map(|ip| ip.to_string()),
            tried: choice.tried.iter().map(candidate).collect(),
        }
    }
}
