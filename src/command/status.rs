//! `sidekick status`. Shell.

use super::{Job, Surroundings, both, open, print};
use crate::cli::{Format, Status};
use crate::config;
use crate::error::Failure;
use crate::manage;

pub(super) fn resolve(args: &Status, here: &Surroundings) -> Result<Job, Failure> {
    let (service, place) = both(config::service(&args.service), here.place(&args.store))?;
    let name = place.to_string();
    let json = args.format == Format::Json;
    let work = async move {
        let store = open(&place)?;
        let report = manage::status(&service, &place.prefix, json, store).await?;
        print(report.text)?;
        report.missing.map_or(Ok(0), |missing| Err(missing.into()))
    };
    Ok(Job::new(work).on_store("status", &name))
}
