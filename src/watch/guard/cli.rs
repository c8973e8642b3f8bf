//! What is held, seen and released by hand: the other end of the records of the guards. Shell.

use std::fmt;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;

use super::guards::RELEASE_POLL;
use super::state_file::{Record, Records, ReleaseRequest};
use crate::model::date::length;
use crate::model::instance::ServiceName;
use crate::model::screen::{Screen, Tone};
use crate::model::text_table::{Cell, Fit, Table};
use crate::system::process;
use crate::watch::host::THIS_HOST;

/// How long a release waits until the process has taken the request; a busy process needs longer than a poll.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// So many instances of a hold are named on a terminal; a pipe gets all of them.
const MOST_NAMES: usize = 20;

/// The text of a list without holds.
const NOTHING: &str = "nothing is held\n";

/// Why nothing could be seen or released.
#[derive(Debug, Error)]
pub enum GuardCommandError {
    /// The records cannot be read or written.
    #[error("the state directory {} cannot be used", dir.display())]
    State {
        /// The state directory.
        dir: std::path::PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nobody keeps a target of this name under guard.
    #[error("there is no guarded target {name:?}; {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The process that held it is gone.
    #[error("no `sidekick watch` runs that holds {0}")]
    NotRunning(String),
    /// The process that holds it does not answer.
    #[error("the `sidekick watch` that holds {target} (process {pid}) did not answer")]
    NoAnswer {
        /// The target.
        target: String,
        /// The process.
        pid: u32,
    },
}

/// Everything that is held: as a table on this screen, or as JSON.
pub fn list(state_dir: &Path, screen: Option<Screen>) -> Result<String, GuardCommandError> {
    let records = read_all(state_dir)?;
    Ok(match screen {
        Some(screen) => holds_as_table(&records, screen, (THIS_HOST.now)().as_secs()),
        None => holds_as_json(&records),
    })
}

/// A row for each hold, and below it the instances that are held.
fn holds_as_table(records: &[Record], screen: Screen, now: u64) -> String {
    let mut table = Table::new(&[
        ("TARGET", Fit::Shorten),
        ("SERVICE", Fit::Shorten),
        ("HELD", Fit::Whole),
        ("FOR", Fit::Whole),
        ("LEFT", Fit::Whole),
        ("WHY", Fit::Wrap),
    ]);
    let mut below = Vec::new();
    for record in records {
        let is_running = process::exists(record.pid);
        for held in &record.held {
            let count = held.instances.len();
            let left = match held.until {
                Some(at) => length(at.saturating_sub(now)),
                None => "until it returns".to_owned(),
            };
            table.push(vec![
                Cell::plain(&record.target),
                Cell::plain(held.service.as_deref().unwrap_or("(whole file)")),
                Cell::of((count > 0).then_some(count)),
                Cell::plain(&length(now.saturating_sub(held.since))),
                Cell::plain(&left),
                Cell::toned(Tone::Bad, &held.why),
            ]);
            let ids = instances(&held.instances, screen);
            let ids = (count > 0).then(|| format!("  {}\n", screen.wrap(&ids, 2)));
            let ended = format!("  (process {} has ended)\n", record.pid);
            let ended = (!is_running).then_some(ended);
            below.push(ids.into_iter().chain(ended).collect::<String>());
        }
    }
    if table.is_empty() {
        return NOTHING.to_owned();
    }
    let (head, rows) = table.lines(screen);
    let rows = rows.into_iter().zip(below);
    rows.fold(head, |text, (row, below)| text + &row + &below)
}

/// The instances of a hold, by name as far as a person reads them.
fn instances(all: &[String], screen: Screen) -> String {
    match all.get(MOST_NAMES..) {
        Some(rest) if !rest.is_empty() && screen.width.is_some() => {
            format!("{} and {} more", all[..MOST_NAMES].join(", "), rest.len())
        }
        _ => all.join(", "),
    }
}

/// One hold, as `sidekick guard list --format json` shows it; fields may be added.
#[derive(Serialize)]
struct Hold<'a> {
    target: &'a str,
    dest: &'a Path,
    /// The service; null for the whole file.
    service: Option<&'a str>,
    instances: &'a [String],
    why: &'a str,
    /// Seconds since 1970.
    since: u64,
    /// Seconds since 1970; null until something returns.
    until: Option<u64>,
    /// Whether the process that holds it runs.
    running: bool,
}

fn holds_as_json(records: &[Record]) -> String {
    let holds = records.iter().flat_map(|record| {
        record.held.iter().map(|held| Hold {
            target: &record.target,
            dest: &record.dest,
            service: held.service.as_deref(),
            instances: &held.instances,
            why: &held.why,
            since: held.since,
            until: held.until,
            running: process::exists(record.pid),
        })
    });
    // There are no maps and no floats that could fail.
    serde_json::to_string_pretty(&holds.collect::<Vec<_>>()).unwrap_or_default() + "\n"
}

/// What became of one target that was to let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Released {
    target: String,
    /// Only what was held of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Whether something was held, which is let go now.
    #[serde(rename = "released")]
    pub was_held: bool,
}

/// A line for people.
impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match (&self.service, self.was_held) {
            (Some(service), true) => writeln!(f, "{target}: {service}: released"),
            (None, true) => writeln!(f, "{target}: released"),
            (Some(service), false) => writeln!(f, "{target}: nothing of {service} is held"),
            (None, false) => writeln!(f, "{target}: nothing is held"),
        }
    }
}

/// Lines for people about all of them.
#[must_use]
pub fn released_lines(all: &[Released]) -> String {
    if all.is_empty() {
        return NOTHING.to_owned();
    }
    all.iter().map(ToString::to_string).collect()
}

/// Asks those who hold these targets, or all of them, to let go: all that is held, or what is held of one service.
pub fn release(
    state_dir: &Path,
    names: &[String],
    every: bool,
    service: Option<&ServiceName>,
) -> Result<Vec<Released>, GuardCommandError> {
    let known = read_all(state_dir)?;
    let mut chosen = Vec::new();
    for name in names {
        let is_it = |record: &&Record| record.target == *name || record.dest == Path::new(name);
        let before = chosen.len();
        chosen.extend(known.iter().filter(is_it));
        if chosen.len() == before {
            return Err(unknown(name, &known, state_dir));
        }
    }
    if every {
        chosen.extend(known.iter().filter(|record| !record.held.is_empty()));
    }
    let mut all = Vec::new();
    for record in chosen {
        let name = service.map(ServiceName::as_str);
        let mut held = record.held.iter();
        let is_held = held.any(|held| name.is_none() || held.service.as_deref() == name);
        if is_held {
            let request = ReleaseRequest {
                service: service.cloned(),
            };
            request_and_wait(state_dir, record, &request)?;
        }
        all.push(Released {
            target: record.target.clone(),
            service: name.map(str::to_owned),
            was_held: is_held,
        });
    }
    Ok(all)
}

fn read_all(state_dir: &Path) -> Result<Vec<Record>, GuardCommandError> {
    let records = Records::new(state_dir).read_all();
    records.map_err(state_error(state_dir))
}

fn state_error(dir: &Path) -> impl FnOnce(io::Error) -> GuardCommandError {
    let dir = dir.to_owned();
    move |source| GuardCommandError::State { dir, source }
}

fn unknown(name: &str, known: &[Record], state_dir: &Path) -> GuardCommandError {
    let mut names: Vec<&str> = known.iter().map(|record| record.target.as_str()).collect();
    names.dedup();
    let known = if names.is_empty() {
        format!("{} knows none", state_dir.display())
    } else {
        format!("{} knows {}", state_dir.display(), names.join(", "))
    };
    GuardCommandError::Unknown {
        name: name.to_owned(),
        known,
    }
}

/// Writes a request, and waits until the process has taken it.
fn request_and_wait(
    state_dir: &Path,
    record: &Record,
    request: &ReleaseRequest,
) -> Result<(), GuardCommandError> {
    let (records, target) = (Records::new(state_dir), &record.target);
    if !process::exists(record.pid) {
        return Err(GuardCommandError::NotRunning(target.clone()));
    }
    records
        .request_release(&record.dest, request)
        .map_err(state_error(state_dir))?;
    let start = Instant::now();
    while records.requested_release(&record.dest).is_some() {
        if start.elapsed() > ANSWER_WITHIN {
            // Nobody is to be surprised by it later.
            records.remove_request(&record.dest);
            return Err(GuardCommandError::NoAnswer {
                target: target.clone(),
                pid: record.pid,
            });
        }
        sleep(RELEASE_POLL / 5);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_a_few_names_and_a_pipe_all_of_them() {
        let ids = |count: usize| (1..=count).map(|id| format!("i{id}")).collect::<Vec<_>>();
        let terminal = Screen {
            width: Some(80),
            ..Screen::default()
        };
        assert!(instances(&ids(20), terminal).ends_with(", i20"));
        assert!(instances(&ids(3000), terminal).ends_with(", i20 and 2980 more"));
        assert!(instances(&ids(3000), Screen::default()).ends_with(", i3000"));
    }
}
