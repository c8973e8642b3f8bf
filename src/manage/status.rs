//! `sidekick status` and `sidekick ls`: what the store says of services, instances and watchers. Shell.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::overview::{
    LeaseTimes, Overview, StoreState, TableStyle, instance_table, instances, service_rows,
    service_table,
};
use super::{ManageError, read_catalog, read_missing, read_watchers, suggest_service};
use crate::model::instance::ServiceName;
use crate::model::prefix::Prefix;
use crate::model::screen::Screen;
use crate::model::watcher_entry;
use crate::store::{Store, follow};

/// What is asked for, and how it is shown.
#[derive(Debug, Clone)]
pub struct Question {
    /// The service; all of them without it.
    pub service: Option<ServiceName>,
    /// Where instances live in the store.
    pub prefix: Prefix,
    /// How the answer is shown.
    pub form: Form,
    /// The time, in seconds since 1970.
    pub now: u64,
}

impl Question {
    /// The same question, asked again later, for this screen.
    #[must_use]
    pub fn again(&self, screen: Screen, now: u64) -> Self {
        let form = match self.form {
            Form::Json => Form::Json,
            Form::Tables {
                is_wide, is_quiet, ..
            } => Form::Tables {
                screen,
                is_wide,
                is_quiet,
            },
        };
        Self {
            form,
            now,
            ..self.clone()
        }
    }
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// As JSON.
    Json,
    /// As tables on this screen.
    Tables {
        /// What they are drawn on.
        screen: Screen,
        /// With everything, however wide they become.
        is_wide: bool,
        /// Only what is wrong.
        is_quiet: bool,
    },
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
    let leases = read_leases(&store, question).await;
    let state = StoreState {
        catalog: &catalog,
        watchers: &watchers,
        missing: &missing,
        leases: &leases,
        revision,
    };
    let overview = Overview::new(&state, question.service.as_ref());
    let is_unknown =
        question.service.is_some() && overview.instances.is_empty() && overview.watchers.is_empty();
    let text = match question.form {
        Form::Json => json(&overview),
        Form::Tables { .. } if is_unknown => String::new(),
        Form::Tables {
            screen,
            is_wide,
            is_quiet,
        } => {
            let style = TableStyle {
                screen,
                is_wide,
                now: question.now,
            };
            if is_quiet {
                overview.problem_lines(style)
            } else {
                overview.tables(style)
            }
        }
    };
    Ok(Report {
        text,
        is_wrong: !overview.problems.is_empty(),
        missing: no_instances(question, &store, overview.instances.is_empty()).await,
    })
}

/// The services with the numbers of their instances, or the instances of one service.
pub async fn list(question: &Question, store: Arc<dyn Store>) -> Result<Report, ManageError> {
    let catalog = read_catalog(&store, question).await?;
    let is_of_one = question.service.is_some();
    let leases = if is_of_one {
        read_leases(&store, question).await
    } else {
        None
    };
    let rows = instances(&catalog, &leases, question.service.as_ref());
    let text = match question.form {
        Form::Json if is_of_one => json(&rows),
        Form::Json => json(&service_rows(&rows)),
        Form::Tables { .. } if rows.is_empty() && !is_of_one => {
            format!("nothing is announced below {}\n", question.prefix)
        }
        Form::Tables {
            screen, is_wide, ..
        } => {
            let style = TableStyle {
                screen,
                is_wide,
                now: question.now,
            };
            if is_of_one {
                instance_table(&rows, style)
            } else {
                service_table(&service_rows(&rows), style)
            }
        }
    };
    Ok(Report {
        text,
        is_wrong: false,
        missing: no_instances(question, &store, rows.is_empty()).await,
    })
}

/// Reports each change of what is asked for, as long as this runs.
pub async fn report_changes(question: &Question, store: Arc<dyn Store>, to: mpsc::Sender<()>) {
    let instances = match &question.service {
        Some(service) => question.prefix.join(service.as_str()),
        None => question.prefix.clone(),
    };
    let paths = [instances, watcher_entry::root(), watcher_entry::seen_root()];
    let mut followers = JoinSet::new();
    for path in paths {
        let (store, to) = (Arc::clone(&store), to.clone());
        followers.spawn(async move {
            let (own, mut from) = mpsc::channel(16);
            let relay = async {
                while from.recv().await.is_some() {
                    // One that waits already stands for this one, too.
                    let _ = to.try_send(());
                }
            };
            tokio::join!(follow(store, path, own), relay);
        });
    }
    while followers.join_next().await.is_some() {}
}

/// How long the leases of instances live. etcd tells that of one lease at a time, so it is asked only for one service, for wide
/// tables and for programs. A user who may not know gets no times.
async fn read_leases(store: &Arc<dyn Store>, question: &Question) -> LeaseTimes {
    let path = match (&question.service, question.form) {
        (Some(service), _) => question.prefix.join(service.as_str()),
        (None, Form::Json | Form::Tables { is_wide: true, .. }) => question.prefix.clone(),
        (None, Form::Tables { is_wide: false, .. }) => return None,
    };
    store.lease_times(&path).await.ok()
}

fn json(value: &impl serde::Serialize) -> String {
    // All keys are strings, and there are no floats that could fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Returns the error for a service without instances.
async fn no_instances(
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
