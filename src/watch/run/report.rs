//! What `watch` says of itself: how its targets stand, in its entry in the store and in the service manager's status
//! line. Shell.

use std::collections::BTreeMap;

use super::Shell;
use super::config_reload::is_from_file_of;
use crate::model::date::time_of_day;
use crate::model::target_status::{Failing, TargetStatus};
use crate::store::StoreError;
use crate::system::sd_notify;
use crate::watch::applied::machine::Status;
use crate::watch::host::THIS_HOST;

/// What was reported last, and since when what is wrong is wrong.
#[derive(Debug, Default)]
pub(super) struct Reported {
    status: Status,
    text: String,
    /// The targets whose configuration is wrong, with the time when that was first seen, in seconds since 1970.
    bad_since: BTreeMap<String, u64>,
    /// Since when the store has not answered.
    store_away_since: Option<u64>,
}

/// What the status line is made of.
struct Line<'a> {
    files: usize,
    /// Every target has been published.
    is_ready: bool,
    status: &'a Status,
    /// When the store ceased to answer, in seconds since 1970.
    store_away_since: Option<u64>,
    /// What it does not do since then.
    store_lacks: &'static str,
    /// Seconds since 1970.
    now: u64,
}

impl Shell {
    /// Reports how things stand, if they stand otherwise than was reported last.
    pub(super) fn report(&mut self) {
        let now = (THIS_HOST.now)().as_secs();
        let is_away = !self.unreachable.is_empty();
        let since = self.reported.store_away_since.unwrap_or(now);
        self.reported.store_away_since = is_away.then_some(since);
        let status = self.status_of_all(now);
        if let Some(applied) = self
            .applied
            .as_mut()
            .filter(|_| status != self.reported.status)
        {
            applied.set_status(status.clone());
        }
        self.reported.status = status;
        self.update_admin_status();
        let text = self.status_text();
        if text != self.reported.text && !self.is_stopping() {
            sd_notify::status(&text);
            self.reported.text = text;
        }
    }

    pub(super) fn reported_status(&self) -> &Status {
        &self.reported.status
    }

    fn status_of_all(&mut self, now: u64) -> Status {
        let mut bad_since = std::mem::take(&mut self.reported.bad_since);
        let mut targets: Vec<TargetStatus> = Vec::new();
        for state in &self.targets {
            let held = self.guards.held_services(&state.loaded.target.name);
            targets.push(state.status(held, self.stale));
        }
        for bad in &self.conf.bad {
            let since = bad_since.remove(&bad.name).unwrap_or(now);
            self.reported.bad_since.insert(bad.name.clone(), since);
            let why = bad.problems.first().map(ToString::to_string);
            let failing = Some(Failing::new(since, "config", &why.unwrap_or_default()));
            let in_force = self
                .targets
                .iter()
                .position(|one| is_from_file_of(one, bad));
            match in_force {
                Some(target) => targets[target].failing = failing,
                None => targets.push(TargetStatus {
                    name: bad.name.clone(),
                    failing,
                    ..TargetStatus::default()
                }),
            }
        }
        let problem = self.conf.problems.first().or(self.named.problem());
        Status {
            targets,
            config: problem.map(ToString::to_string),
        }
    }

    pub(super) fn status_text(&self) -> String {
        let files = self.targets.iter();
        let files = files.map(|state| state.loaded.target.outputs.len()).sum();
        Line {
            files,
            is_ready: self.is_ready,
            status: &self.reported.status,
            store_away_since: self.reported.store_away_since,
            store_lacks: match &self.outage {
                Some(StoreError::Unusable { .. }) => "cannot be used",
                Some(_) | None => "does not answer",
            },
            now: (THIS_HOST.now)().as_secs(),
        }
        .text()
    }
}

impl Line<'_> {
    fn text(&self) -> String {
        let time = |seconds| time_of_day(seconds, self.now);
        let targets = &self.status.targets;
        let files = match self.files {
            1 => "1 file".to_owned(),
            files => format!("{files} files"),
        };
        let mut parts = vec![if self.is_ready {
            format!("keeping {files}")
        } else {
            format!("not ready: {files} to be published")
        }];
        if self.status.config.is_some() {
            parts.push("the configuration is wrong, so the previous one is in force".to_owned());
        }
        let failing = || targets.iter().filter_map(|one| one.failing.as_ref());
        if let Some(since) = failing().map(|failing| failing.since).min() {
            parts.push(format!(
                "{} failing since {}",
                failing().count(),
                time(since)
            ));
        }
        let held = || targets.iter().flat_map(|one| &one.held);
        if let Some(since) = held().map(|held| held.since).min() {
            let since = time(since);
            parts.push(format!(
                "a guard holds {} since {since}",
                held_names(held())
            ));
        }
        let stale = targets.iter().filter_map(|one| one.stale).min();
        if let Some(written) = stale {
            parts.push(format!("serving from a snapshot of {}", time(written)));
        }
        if let Some(since) = self.store_away_since {
            parts.push(format!(
                "the store {} since {}",
                self.store_lacks,
                time(since)
            ));
        }
        parts.join("; ")
    }
}

/// `2 instances of web and db`, or that a file is left as it is.
fn held_names<'a>(
    held: impl Iterator<Item = &'a crate::model::target_status::HeldService>,
) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in held {
        let count = counts.entry(one.service.as_deref().unwrap_or_default());
        // Several targets hold the same instances.
        let count = count.or_default();
        *count = one.count.max(*count);
    }
    if counts.contains_key("") {
        return "a file as it is".to_owned();
    }
    let instances = match counts.values().sum() {
        1 => "1 instance".to_owned(),
        count => format!("{count} instances"),
    };
    let names: Vec<&str> = counts.into_keys().collect();
    format!("{instances} of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target_status::HeldService;

    /// 2026-11-26 03:12 UTC.
    const AT: u64 = 1_795_662_720;

    fn line(targets: Vec<TargetStatus>, config: Option<&str>, store: Option<u64>) -> String {
        Line {
            files: 2,
            is_ready: true,
            status: &Status {
                targets,
                config: config.map(str::to_owned),
            },
            store_away_since: store,
            store_lacks: "does not answer",
            now: AT + 600,
        }
        .text()
    }

    #[test]
    fn the_status_line_says_what_is_wrong() {
        let failing = |since| TargetStatus {
            failing: Some(Failing::new(since, "check", "no")),
            ..TargetStatus::default()
        };
        let held = |service: Option<&str>, count| TargetStatus {
            held: vec![HeldService {
                service: service.map(str::to_owned),
                count,
                since: AT,
                until: None,
                why: String::new(),
            }],
            ..TargetStatus::default()
        };
        let stale = TargetStatus {
            stale: Some(AT - 86_400),
            ..TargetStatus::default()
        };
        assert_eq!(
            line(vec![TargetStatus::default()], None, None),
            "keeping 2 files"
        );
        assert_eq!(
            line(vec![failing(AT + 60), failing(AT)], None, None),
            "keeping 2 files; 2 failing since 03:12 UTC"
        );
        assert_eq!(
            line(
                vec![
                    held(Some("web"), 2),
                    held(Some("web"), 2),
                    held(Some("db"), 1)
                ],
                None,
                None
            ),
            "keeping 2 files; a guard holds 3 instances of db, web since 03:12 UTC"
        );
        assert_eq!(
            line(vec![held(None, 0)], None, None),
            "keeping 2 files; a guard holds a file as it is since 03:12 UTC"
        );
        assert_eq!(
            line(vec![stale], None, Some(AT)),
            "keeping 2 files; serving from a snapshot of 2026-11-25 03:12 UTC; the store does not answer since 03:12 UTC"
        );
        assert_eq!(
            line(Vec::new(), Some("x"), None),
            "keeping 2 files; the configuration is wrong, so the previous one is in force"
        );
    }
}
