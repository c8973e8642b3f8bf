//! `sidekick status` and `sidekick ls`: what the store says of services, instances and watchers. Shell.

use std::sync::Arc;

use super::overview::{Overview, Said, counts, instance_table, instances, service_table};
use super::{ManageError, read_catalog, read_missing, read_watchers, suggest_service};
use crate::model::instance::ServiceName;
use crate::model::prefix::Prefix;
use crate::store::Store;

/// What is asked for, and how it is shown.
#[derive(Debug)]
pub struct Question {
    /// The service; all of them without it.
    pub service: Option<ServiceName>,
    /// Where instances live in the store.
    pub prefix: Prefix,
    /// JSON in place of tables.
    pub json: bool,
    /// Tables have everything, however wide they become.
    pub wide: bool,
    /// The time, in seconds since 1970.
    pub now: u64,
}

/// The answer.
#[derive(Debug)]
pub struct Report {
    /// Tables, or JSON.
    pub text: String,
    /// Something is wrong.
    pub is_wrong: bool,
    /// Why the answer is not what was probably expected: the service has no instance.
    pub missing: Option<ManageError>,
}

/// What is wrong, and how services, instances, watchers and targets stand.
pub async fn status(question: &Question, store: Arc<dyn Store>) -> Result<Report, ManageError> {
    let catalog = read_catalog(&store, question).await?;
    let (watchers, revision) = read_watchers(&store).await?;
    let missing = read_missing(&store, &watchers).await;
    let said = Said {
        catalog: &catalog,
        watchers: &watchers,
        missing: &missing,
        revision,
        now: question.now,
    };
    let overview = Overview::new(&said, question.service.as_ref());
    let text = if question.json {
        json(&overview)
    } else if question.service.is_some()
        && overview.instances.is_empty()
        && overview.watchers.is_empty()
    {
        String::new()
    } else {
        overview.tables(question.wide, question.now)
    };
    Ok(Report {
        text,
        is_wrong: !overview.problems.is_empty(),
        missing: nobody(question, &store, overview.instances.is_empty()).await,
    })
}

/// The services with the numbers of their instances, or the instances of one service.
pub async fn list(question: &Question, store: Arc<dyn Store>) -> Result<Report, ManageError> {
    let catalog = read_catalog(&store, question).await?;
    let rows = instances(&catalog, question.service.as_ref());
    let text = match (&question.service, question.json) {
        (Some(_), true) => json(&rows),
        (Some(_), false) if rows.is_empty() => String::new(),
        (Some(_), false) => instance_table(&rows, question.wide),
        (None, true) => json(&counts(&rows)),
        (None, false) if rows.is_empty() => {
            format!("nothing is announced below {}\n", question.prefix)
        }
        (None, false) => service_table(&counts(&rows)),
    };
    Ok(Report {
        text,
        is_wrong: false,
        missing: nobody(question, &store, rows.is_empty()).await,
    })
}

fn json(value: &impl serde::Serialize) -> String {
    // All keys are strings, and there are no floats that could fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// The error for a service without instances.
async fn nobody(
    question: &Question,
    store: &Arc<dyn Store>,
    is_empty: bool,
) -> Option<ManageError> {
    let service = question.service.as_ref().filter(|_| is_empty)?;
    Some(ManageError::Nobody {
        service: service.clone(),
        prefix: question.prefix.clone(),
        similar: suggest_service(store, &question.prefix, service).await,
    })
}
