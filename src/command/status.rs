//! `sidekick status` and `sidekick ls`. Shell.

use std::sync::Arc;

use super::live::Live;
use super::{Job, Opening, Surroundings, both, open, print};
use crate::cli::{Format, Ls, Status, StoreArgs};
use crate::config::{self, StorePlace};
use crate::error::Failure;
use crate::manage::{self, Form, Question};
use crate::model::report::code;
use crate::model::screen::Screen;
use crate::store::Store;
use crate::system::clock::unix_seconds;
use crate::system::signals::BlockedSignals;

pub(super) fn resolve(
    args: &Status,
    held: Option<BlockedSignals>,
    here: &Surroundings,
) -> Result<Job, Failure> {
    let form = form(args.format, args.wide, here);
    let (question, place) = question(args.service.as_deref(), form, &args.store, here)?;
    let live = Live::new(held, args.format == Format::Json, here)?;
    let opening = Opening::on_store("status", &place);
    let work = async move {
        let store = open(&place)?;
        if let Some(live) = live {
            return follow(live, question, store, async |question, store| {
                manage::status(question, store).await
            })
            .await;
        }
        let report = manage::status(&question, store).await?;
        print(report.text)?;
        match report.missing {
            Some(missing) => Err(missing.into()),
            None if report.is_wrong => Ok(code::FAILED),
            None => Ok(0),
        }
    };
    Ok(Job::new(work).opening(opening))
}

pub(super) fn resolve_ls(
    args: &Ls,
    held: Option<BlockedSignals>,
    here: &Surroundings,
) -> Result<Job, Failure> {
    let form = form(args.format, args.wide, here);
    let (question, place) = question(args.service.as_deref(), form, &args.store, here)?;
    let live = Live::new(held, args.format == Format::Json, here)?;
    let opening = Opening::on_store("ls", &place);
    let work = async move {
        let store = open(&place)?;
        if let Some(live) = live {
            return follow(live, question, store, async |question, store| {
                manage::list(question, store).await
            })
            .await;
        }
        let report = manage::list(&question, store).await?;
        print(report.text)?;
        report.missing.map_or(Ok(0), |missing| Err(missing.into()))
    };
    Ok(Job::new(work).opening(opening))
}

/// Asks again whenever the store changes. A service without instances is no error here: instances may come.
async fn follow(
    live: Live,
    question: Question,
    store: Arc<dyn Store>,
    ask: impl AsyncFn(&Question, Arc<dyn Store>) -> Result<manage::Report, manage::ManageError>,
) -> Result<u8, Failure> {
    let draw = async |screen: Screen| {
        let question = question.again(screen, unix_seconds());
        let report = ask(&question, Arc::clone(&store)).await?;
        Ok(match report.missing {
            Some(missing) => format!("{}{missing}\n", report.text),
            None => report.text,
        })
    };
    let changes = async |to| manage::report_changes(&question, Arc::clone(&store), to).await;
    live.run(changes, draw).await
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
    let (service, place) = both(service, here.choose_store(store))?;
    let question = Question {
        service,
        prefix: place.prefix.clone(),
        form,
        now: unix_seconds(),
    };
    Ok((question, place))
}
