//! A service as it is announced, and how far those who watch it are. Shell.

use std::sync::Arc;

use serde::Serialize;

use super::{ManageError, read_instances, read_watchers, suggest_service};
use crate::model::instance::ServiceName;
use crate::model::prefix::Prefix;
use crate::model::table::format_table;
use crate::model::update::Revision;
use crate::model::watchers::Watcher;
use crate::store::Store;

/// What there is to say.
#[derive(Debug, Serialize)]
struct Status {
    service: String,
    /// The revision of the store.
    revision: u64,
    instances: Vec<One>,
    watchers: Vec<Watching>,
}

#[derive(Debug, Serialize)]
struct One {
    id: String,
    addr: String,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct Watching {
    id: String,
    host: String,
    /// The last revision that its proxies have in use.
    applied: u64,
    /// How many revisions the furthest one is ahead of it.
    behind: u64,
    /// How many workers its proxies still have from before their last reloads.
    old_workers: usize,
}

/// What is to be shown of a service.
#[derive(Debug)]
pub struct Report {
    /// A table, or JSON.
    pub text: String,
    /// Why that is not what somebody will have asked for: there is no instance.
    pub missing: Option<ManageError>,
}

/// Looks at a service, for a table or for JSON.
pub async fn status(
    service: &ServiceName,
    prefix: &Prefix,
    json: bool,
    store: Arc<dyn Store>,
) -> Result<Report, ManageError> {
    let catalog = read_instances(&store, prefix, service.as_str()).await?;
    let (watchers, revision) = read_watchers(&store).await?;
    let dir = prefix.join(service.as_str());
    let serving: Vec<_> = watchers.serving(&dir).collect();
    let furthest = serving.iter().map(|(_, _, applied)| applied.0).max();
    let one = |(id, watcher, applied): (&str, &Watcher, Revision)| Watching {
        id: id.to_owned(),
        host: watcher.host.clone(),
        applied: applied.0,
        behind: furthest.unwrap_or_default().saturating_sub(applied.0),
        old_workers: watcher.old_workers,
    };
    let status = Status {
        service: service.to_string(),
        revision: revision.0,
        instances: catalog
            .instances(service.as_str())
            .map(|instance| One {
                id: instance.id.to_string(),
                addr: instance.addr().to_string(),
                state: instance.state.as_str(),
            })
            .collect(),
        watchers: serving.into_iter().map(one).collect(),
    };
    let text = if json {
        // It has no maps and no floats that could fail.
        serde_json::to_string_pretty(&status).unwrap_or_default() + "\n"
    } else if status.instances.is_empty() && status.watchers.is_empty() {
        String::new()
    } else {
        status.table()
    };
    let missing = if status.instances.is_empty() {
        Some(ManageError::Nobody {
            service: service.clone(),
            prefix: prefix.clone(),
            similar: suggest_service(&store, prefix, service).await,
        })
    } else {
        None
    };
    Ok(Report { text, missing })
}

impl Status {
    fn table(&self) -> String {
        let instances = self.instances.iter();
        let instances = instances.map(|one| {
            let cells = [one.id.as_str(), one.addr.as_str(), one.state];
            cells.map(str::to_owned).to_vec()
        });
        let watchers = self.watchers.iter().map(|one| {
            let (applied, behind) = (one.applied.to_string(), one.behind.to_string());
            let old_workers = Some(one.old_workers).filter(|count| *count > 0);
            let old_workers = old_workers.map_or_else(String::new, |count| count.to_string());
            vec![
                one.id.clone(),
                one.host.clone(),
                applied,
                behind,
                old_workers,
            ]
        });
        let instances = format_table(&["INSTANCE", "ADDRESS", "STATE"], instances.collect());
        let watchers = format_table(
            &["WATCHER", "HOST", "APPLIED", "BEHIND", "OLD WORKERS"],
            watchers.collect(),
        );
        format!("{instances}\n{watchers}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_workers_are_shown_where_there_are_some() {
        let watching = |id: &str, old_workers| Watching {
            id: id.to_owned(),
            host: "h".to_owned(),
            applied: 7,
            behind: 0,
            old_workers,
        };
        let status = Status {
            service: "web".to_owned(),
            revision: 7,
            instances: Vec::new(),
            watchers: vec![watching("a", 3), watching("b", 0)],
        };
        let table = status.table();
        let (_, watchers) = table.split_once("\n\n").unwrap();
        assert_eq!(
            watchers,
            "WATCHER  HOST  APPLIED  BEHIND  OLD WORKERS\na        h     7        0       3\nb        h     7        0\n"
        );
    }
}
