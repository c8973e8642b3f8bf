//! The arguments of the commands that people call: `drain`, `undrain`, `status` and `ip`.

use std::time::Duration;

use super::announcement::parse_address_specs;
use super::input::{Problems, Setting};
use super::{Problem, parse_duration};
use crate::cli;
use crate::model::address::Spec;
use crate::model::instance::{InstanceId, ServiceName};

/// Reads the arguments of `sidekick drain` and `undrain`: service, id, and how long to wait (`None`: not at all).
pub fn parse_drain_args(
    args: &cli::DrainArgs,
) -> Result<(ServiceName, InstanceId, Option<Duration>), Vec<Problem>> {
    let mut found = Problems::default();
    let service = Setting::flag("SERVICE", &args.service).parse(&mut found, str::parse);
    let id = Setting::flag("ID", &args.id).parse(&mut found, str::parse);
    let wait = Setting::flag("--wait", &args.wait).parse(&mut found, parse_duration);
    match (service, id, wait) {
        (Some(service), Some(id), Some(wait)) => Ok((service, id, (!args.no_wait).then_some(wait))),
        (Some(_) | None, Some(_) | None, Some(_) | None) => Err(found.problems),
    }
}

/// Reads the argument of `sidekick status`.
pub fn parse_service(text: &str) -> Result<ServiceName, Vec<Problem>> {
    let mut found = Problems::default();
    let service = Setting::flag("SERVICE", text).parse(&mut found, str::parse);
    service.ok_or(found.problems)
}

/// Reads the argument of `sidekick ip`.
pub fn parse_ip_arg(text: Option<&str>) -> Result<Vec<Spec>, Vec<Problem>> {
    let mut found = Problems::default();
    let setting = text.map(|text| Setting::flag("--ip", text));
    let specs = setting.map(|setting| parse_address_specs(&setting, &mut found));
    if found.problems.is_empty() {
        Ok(specs.unwrap_or_default())
    } else {
        Err(found.problems)
    }
}
