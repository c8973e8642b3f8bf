//! `sidekick health`. Shell.

use std::error::Error;

use serde::Serialize;

use super::{Job, Surroundings, print, print_json};
use crate::cli::{Format, Health};
use crate::config;
use crate::error::Failure;
use crate::model::listen_address::ListenAddress;
use crate::model::printable::PrintableLines;
use crate::model::report::{chain, code};
use crate::system::http_get;

/// Why there is no endpoint to ask.
#[derive(Debug, thiserror::Error)]
#[error("the admin endpoint is switched off: --admin (SIDEKICK_ADMIN) is empty")]
struct SwitchedOff;

/// Somebody else answers there.
#[derive(Debug, thiserror::Error)]
#[error(
    "who answers at {address} is no sidekick: its answer has status {status} and begins with {beginning:?}"
)]
struct Stranger {
    address: ListenAddress,
    status: u16,
    beginning: String,
}

pub(super) fn resolve(args: &Health, here: &Surroundings) -> Result<Job, Failure> {
    let asked = config::parse_health(args).map_err(|problems| Failure::usage(&problems))?;
    let (format, is_quiet) = (args.format, here.output.is_quiet());
    Ok(Job::new(async move {
        let is_json = format == Format::Json;
        // A program reads the reason from the JSON; people read the error.
        let nobody = |error: &(dyn Error + 'static), hint: &str| {
            if is_json {
                print_json(&HealthAnswer::nobody(asked.path, &chain(error)))?;
            }
            Err(Failure::failed(error, hint))
        };
        let Some(address) = asked.address else {
            let hint = "give --admin (SIDEKICK_ADMIN) the address to `sidekick watch` or `sidekick register` and to \
                        `sidekick health`; without a value they have no admin endpoint";
            return nobody(&SwitchedOff, hint);
        };
        let hint = "`sidekick watch` and `sidekick register` answer where their --admin says";
        let (status, text) = match http_get::get(&address, asked.path, asked.limit).await {
            Ok(answer) => answer,
            Err(error) => return nobody(&error, hint),
        };
        if !is_ours(status, &text) {
            let stranger = Stranger {
                address,
                status,
                beginning: text.trim().chars().take(40).collect(),
            };
            return nobody(&stranger, hint);
        }
        if is_json {
            print_json(&HealthAnswer::new(asked.path, status, &text))?;
        } else if status != 200 || !is_quiet {
            print(PrintableLines(&text))?;
        }
        Ok(if status == 200 { 0 } else { code::FAILED })
    }))
}

/// Whether this may be the answer of a sidekick. Other servers have a `/health`, too: etcd for one.
fn is_ours(status: u16, text: &str) -> bool {
    match status {
        200 => matches!(text.lines().next(), Some("healthy" | "ready")),
        // The words of a server with too many clients come before those of the endpoint.
        _ => status == 503,
    }
}

/// The answer of the endpoint as JSON.
#[derive(Serialize)]
struct HealthAnswer<'a> {
    /// What was asked: `/health` or `/ready`.
    asked: &'a str,
    ok: bool,
    /// Why not.
    reasons: Vec<&'a str>,
    /// What else is wrong, but is no reason.
    notes: Vec<&'a str>,
}

impl<'a> HealthAnswer<'a> {
    /// There is no answer, for this reason.
    fn nobody(asked: &'a str, why: &'a str) -> Self {
        Self {
            asked,
            ok: false,
            reasons: vec![why],
            notes: Vec::new(),
        }
    }

    fn new(asked: &'a str, status: u16, text: &'a str) -> Self {
        let reason = |line: &'a str| {
            let reason = line.strip_prefix("- ");
            reason.or_else(|| line.strip_prefix("not healthy: "))
        };
        let ok = status == 200;
        let mut reasons: Vec<_> = text.lines().filter_map(reason).collect();
        if !ok && reasons.is_empty() {
            // There are too many clients.
            reasons.push(text.trim());
        }
        Self {
            asked,
            ok,
            reasons,
            notes: text
                .lines()
                .filter_map(|line| line.strip_prefix("note: "))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_notes_are_told_apart() {
        let text = "not ready\n- a is not published\nnote: the store is down\n";
        let answer = HealthAnswer::new("/ready", 503, text);
        assert!(!answer.ok);
        assert_eq!(answer.reasons, ["a is not published"]);
        assert_eq!(answer.notes, ["the store is down"]);
        let stuck = HealthAnswer::new("/health", 503, "not healthy: the loop is stuck\n");
        assert_eq!(stuck.reasons, ["the loop is stuck"]);
        assert!(HealthAnswer::new("/health", 200, "healthy\n").ok);
        let full = HealthAnswer::new("/health", 503, "there are too many clients");
        assert_eq!(full.reasons, ["there are too many clients"]);
    }

    #[test]
    fn what_another_server_says_is_no_answer() {
        assert!(is_ours(200, "healthy\n") && is_ours(200, "ready\nnote: the store is down\n"));
        assert!(is_ours(503, "not ready\n- a is not published\n"));
        for (status, text) in [
            (200, "{\"health\":\"true\"}"),
            (200, ""),
            (302, ""),
            (404, "healthy"),
        ] {
            assert!(!is_ours(status, text), "{status} {text}");
        }
    }
}
