//! `sidekick export`. Shell.

use super::{Job, Opening, Surroundings, open, print};
use crate::cli::{Export, ExportFormat};
use crate::error::Failure;
use crate::manage;

pub(super) fn resolve(args: &Export, here: &Surroundings) -> Result<Job, Failure> {
    let place = here.choose_store(&args.store);
    let place = place.map_err(|problems| Failure::usage(&problems))?;
    let opening = Opening::on_store("export", &place);
    let is_yaml = args.format == ExportFormat::Yaml;
    let work = async move {
        let store = open(&place)?;
        print(manage::export(&place.prefix, is_yaml, store).await?)?;
        Ok(0)
    };
    Ok(Job::new(work).opening(opening))
}
