//! What the arguments of the commands for people mean: `drain`, `undrain`, `status` and `ip`.

use std::time::Duration;

use super::announcement::specs;
use super::input::{Found, Said};
use super::{Problem, parse_duration};
use crate::cli;
use crate::model::address::Spec;
use crate::model::instance::{InstanceId, ServiceName};

/// What the arguments of `sidekick drain` and `undrain` mean: the instance, and how long to wait.
pub fn mark(
    args: &cli::DrainArgs,
) -> Result<(ServiceName, InstanceId, Option<Duration>), Vec<Problem>> {
    let mut found = Found::default();
    let service = Said::flag("SERVICE", &args.service).parse(&mut found, str::parse);
    let id = Said::flag("ID", &args.id).parse(&mut found, str::parse);
    let wait = Said::flag("--wait", &args.wait).parse(&mut found, parse_duration);
    match (service, id, wait) {
        (Some(service), Some(id), Some(wait)) => Ok((service, id, (!args.no_wait).then_some(wait))),
        (Some(_) | None, Some(_) | None, Some(_) | None) => Err(found.problems),
    }
}

/// What the argument of `sidekick status` means.
pub fn service(text: &str) -> Result<ServiceName, Vec<Problem>> {
    let mut found = Found::default();
    let service = Said::flag("SERVICE", text).parse(&mut found, str::parse);
    service.ok_or(found.problems)
}

/// What the argument of `sidekick ip` means.
pub fn addresses(text: Option<&str>) -> Result<Vec<Spec>, Vec<Problem>> {
    let mut found = Found::default();
    let said = text.map(|text| Said::flag("--ip", text));
    let specs = said.map(|said| specs(&said, &mut found));
    if found.problems.is_empty() {
        Ok(specs.unwrap_or_default())
    } else {
        Err(found.problems)
    }
}
