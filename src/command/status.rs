//! `sidekick status` and `sidekick ls`. Shell.

use super::{Job, Surroundings, both, open, print};
use crate::cli::{Format, Ls, Status, StoreArgs};
use crate::config::{self, Place};
use crate::error::Failure;
use crate::manage::{self, Question};
use crate::model::report::code;
use crate::watch;

pub(super) fn resolve(args: &Status, here: &Surroundings) -> Result<Job, Failure> {
    let (question, place) = question(args.service.as_deref(), &args.store, here)?;
    let name = place.to_string();
    let question = Question {
        json: args.format == Format::Json,
        wide: args.wide,
        ..question
    };
    let work = async move {
        let report = manage::status(&question, open(&place)?).await?;
        print(report.text)?;
        match report.missing {
            Some(missing) => Err(missing.into()),
            None if report.is_wrong => Ok(code::FAILED),
            None => Ok(0),
        }
    };
    Ok(Job::new(work).on_store("status", &name))
}

pub(super) fn resolve_ls(args: &Ls, here: &Surroundings) -> Result<Job, Failure> {
    let (question, place) = question(args.service.as_deref(), &args.store, here)?;
    let name = place.to_string();
    let question = Question {
        json: args.format == Format::Json,
        wide: args.wide,
        ..question
    };
    let work = async move {
        let report = manage::list(&question, open(&place)?).await?;
        print(report.text)?;
        report.missing.map_or(Ok(0), |missing| Err(missing.into()))
    };
    Ok(Job::new(work).on_store("ls", &name))
}

fn question(
    service: Option<&str>,
    store: &StoreArgs,
    here: &Surroundings,
) -> Result<(Question, Place), Failure> {
    let service = service.map(config::service).transpose();
    let (service, place) = both(service, here.place(store))?;
    let question = Question {
        service,
        prefix: place.prefix.clone(),
        json: false,
        wide: false,
        now: watch::unix_seconds(),
    };
    Ok((question, place))
}
