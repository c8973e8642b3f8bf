//! `sidekick status` and `sidekick ls`. Shell.

use super::{Job, Opening, Surroundings, both, open, print};
use crate::cli::{Format, Ls, Status, StoreArgs};
use crate::config::{self, StorePlace};
use crate::error::Failure;
use crate::manage::{self, Form, Question};
use crate::model::report::code;
use crate::system::clock::unix_seconds;

pub(super) fn resolve(args: &Status, here: &Surroundings) -> Result<Job, Failure> {
    let form = form(args.format, args.wide, here);
    let (question, place) = question(args.service.as_deref(), form, &args.store, here)?;
    let opening = Opening::on_store("status", &place);
    let work = async move {
        let report = manage::status(&question, open(&place)?).await?;
        print(report.text)?;
        match report.missing {
            Some(missing) => Err(missing.into()),
            None if report.is_wrong => Ok(code::FAILED),
            None => Ok(0),
        }
    };
    Ok(Job::new(work).opening(opening))
}

pub(super) fn resolve_ls(args: &Ls, here: &Surroundings) -> Result<Job, Failure> {
    let form = form(args.format, args.wide, here);
    let (question, place) = question(args.service.as_deref(), form, &args.store, here)?;
    let opening = Opening::on_store("ls", &place);
    let work = async move {
        let report = manage::list(&question, open(&place)?).await?;
        print(report.text)?;
        report.missing.map_or(Ok(0), |missing| Err(missing.into()))
    };
    Ok(Job::new(work).opening(opening))
}

fn form(format: Format, is_wide: bool, here: &Surroundings) -> Form {
    match format {
        Format::Json => Form::Json,
        Format::Table => Form::Tables {
            screen: here.screen,
            is_wide,
            is_quiet: here.output.is_quiet(),
        },
    }
}

fn question(
    service: Option<&str>,
    form: Form,
    store: &StoreArgs,
    here: &Surroundings,
) -> Result<(Question, StorePlace), Failure> {
    let service = service.map(config::parse_service).transpose();
    let (service, place) = both(service, here.place(store))?;
    let question = Question {
        service,
        prefix: place.prefix.clone(),
        form,
        now: unix_seconds(),
    };
    Ok((question, place))
}
