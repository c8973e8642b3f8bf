//! What is held, seen and released by hand: the other end of the records of the guards. Shell.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;

use super::guards::RELEASE_POLL;
use super::log;
use super::state_file::{Record, Records, ReleaseRequest};
use crate::model::instance::ServiceName;
use crate::system::process;
use crate::watch::host::WORLD;

/// A process that is busy takes a wish later, but not much.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

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

/// Everything that is held, as lines for people or as JSON.
pub fn list(state_dir: &Path, json: bool) -> Result<String, GuardCommandError> {
    let records = read_all(state_dir)?;
    let now = (WORLD.now)().as_secs();
    if json {
        return Ok(holds_as_json(&records));
    }
    let mut lines = Vec::new();
    for record in records.iter().filter(|record| !record.held.is_empty()) {
        let running = if process::exists(record.pid) {
            String::new()
        } else {
            format!(" (process {} has ended)", record.pid)
        };
        for held in &record.held {
            let service = held.service.as_deref().unwrap_or("the whole file");
            let until = match held.until {
                Some(at) => format!("{} s left", at.saturating_sub(now)),
                None if held.service.is_none() => "until what is missing returns".to_owned(),
                None => "until something returns".to_owned(),
            };
            let since = now.saturating_sub(held.since);
            let what = match held.instances.as_slice() {
                [] => String::new(),
                ids => format!(": {}", log::names(ids)),
            };
            let (target, why) = (&record.target, &held.why);
            lines.push(format!(
                "{target}: {service}: {why}; held for {since} s, {until}{running}{what}\n"
            ));
        }
    }
    Ok(lines_or_nothing(&lines))
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

fn lines_or_nothing(lines: &[String]) -> String {
    if lines.is_empty() {
        return "nothing is held\n".to_owned();
    }
    lines.concat()
}

/// Asks those who hold these targets, or all of them, to let go: all that is held, or what is held of one service. Lines for
/// people; whether something was held.
pub fn release(
    state_dir: &Path,
    names: &[String],
    every: bool,
    service: Option<&ServiceName>,
) -> Result<(String, bool), GuardCommandError> {
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
    let (mut lines, mut any) = (Vec::new(), false);
    for record in chosen {
        let (target, name) = (&record.target, service.map(ServiceName::as_str));
        let of = name.map_or_else(String::new, |name| format!(" of {name}"));
        let mut held = record.held.iter();
        if !held.any(|held| name.is_none() || held.service.as_deref() == name) {
            lines.push(format!("{target}: nothing{of} is held\n"));
            continue;
        }
        let request = ReleaseRequest {
            service: service.cloned(),
        };
        request_and_wait(state_dir, record, &request)?;
        let what = name.map_or_else(String::new, |name| format!("{name}: "));
        lines.push(format!("{target}: {what}released\n"));
        any = true;
    }
    Ok((lines_or_nothing(&lines), any))
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

/// Leaves a wish, and waits until it is taken.
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
