//! The problems that the page shows, with the times at which the dashboard saw them begin. Pure.

use std::time::Duration;

use serde::Serialize;

use super::journal::millis;
use super::memory::Memory;
use crate::model::problems::{self, lagging};

/// How long a watcher may take to report a change as applied. Watchers report most changes with their next heartbeat only,
/// which is up to 15 s later.
pub(super) const LAG: Duration = Duration::from_secs(30);

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Problem {
    #[serde(flatten)]
    problem: problems::Problem,
    /// Its beginning, in milliseconds since the start of the dashboard, if the dashboard has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

/// All problems, the worst first.
pub(super) fn problems(memory: &Memory, now: Duration) -> Vec<Problem> {
    let said = problems::problems(
        memory.watchers().iter(),
        memory.catalog(),
        memory.missing_watchers(),
    );
    let seen = |problem: problems::Problem| {
        let id = problem.about.strip_prefix("watcher:");
        let at = id.and_then(|id| memory.watcher_went(id)).map(millis);
        Problem { problem, at }
    };
    let mut found: Vec<Problem> = said.into_iter().map(seen).collect();
    add_lagging_watchers(memory, now, &mut found);
    found.sort();
    found
}

fn add_lagging_watchers(memory: &Memory, now: Duration, found: &mut Vec<Problem>) {
    for service in memory.catalog().services().keys() {
        let Some(changed) = memory.service_changed(service) else {
            continue;
        };
        let Some(wanted) = changed.revision else {
            continue;
        };
        if now.saturating_sub(changed.at) < LAG {
            continue;
        }
        let dir = memory.catalog().prefix().join(service.as_str());
        let serving = memory.watchers().serving(&dir);
        let behind = serving.filter(|(_, _, applied)| *applied < wanted);
        found.extend(behind.map(|(id, watcher, applied)| Problem {
            problem: lagging(id, watcher, service.as_str(), wanted, applied),
            at: Some(millis(changed.at)),
        }));
    }
}
