//! What `sidekick history` prints. Shell.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::entry::{Action, Entry};
use super::journal::parts;
use crate::model::date::Date;
use crate::model::printable::Printable;
use crate::model::screen::{Screen, Tone};
use crate::model::suggestion;
use crate::model::text_table::{Cell, Fit, Table};

/// Why the history cannot be shown.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The state directory is not there, or cannot be searched.
    #[error("the state directory {} cannot be used", dir.display())]
    State {
        /// The state directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of the history cannot be read.
    #[error("the history {} cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing is known of this target.
    #[error("the history in {} has nothing of {target:?}{known}", state_dir.display())]
    Unknown {
        /// What was asked for.
        target: String,
        /// Where it was looked for.
        state_dir: PathBuf,
        /// What there is.
        known: String,
    },
}

/// What is to be shown.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Only this target.
    pub target: Option<String>,
    /// So many entries at most, the newest ones.
    pub limit: usize,
    /// The differences of the files, too.
    pub diff: bool,
    /// What a table is drawn on; JSON without it.
    pub screen: Option<Screen>,
}

/// The history in this state directory, the oldest entry first.
pub fn show(state_dir: &Path, wanted: &Wanted) -> Result<String, HistoryError> {
    let mut entries = read(state_dir)?;
    if let Some(target) = &wanted.target {
        let names: BTreeSet<String> = entries.iter().map(|one| one.target.clone()).collect();
        entries.retain(|one| one.target == *target);
        if entries.is_empty() {
            return Err(HistoryError::Unknown {
                target: target.clone(),
                state_dir: state_dir.to_owned(),
                known: known_names(target, &names),
            });
        }
    }
    entries.drain(..entries.len().saturating_sub(wanted.limit));
    if !wanted.diff {
        for entry in &mut entries {
            entry.diff.clear();
        }
    }
    Ok(match wanted.screen {
        Some(screen) => table(&entries, screen),
        None => serde_json::to_string_pretty(&entries).unwrap_or_default() + "\n",
    })
}

/// The end of the sentence about an unknown target: the most similar name, or all names.
fn known_names(target: &str, names: &BTreeSet<String>) -> String {
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    match suggestion::did_you_mean(target, all.iter().copied()) {
        Some(question) => format!("; {question}"),
        None if all.is_empty() => "; it is empty".to_owned(),
        None => format!("; it knows {}", all.join(", ")),
    }
}

/// A state directory that is not there is an error, since it is probably not the one of `sidekick watch`.
fn read(state_dir: &Path) -> Result<Vec<Entry>, HistoryError> {
    std::fs::metadata(state_dir).map_err(|source| HistoryError::State {
        dir: state_dir.to_owned(),
        source,
    })?;
    let mut entries = Vec::new();
    for file in parts(state_dir) {
        match std::fs::read(&file) {
            Ok(text) => entries.extend(Entry::decode_all(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(HistoryError::Read { file, source }),
        }
    }
    Ok(entries)
}

fn table(entries: &[Entry], screen: Screen) -> String {
    let mut table = Table::new(&[
        ("TIME", Fit::Whole),
        ("TARGET", Fit::Shorten),
        ("DONE", Fit::Whole),
        ("CAUSE", Fit::Wrap),
    ]);
    for entry in entries {
        table.push(vec![
            Cell::plain(&Date::from_unix(entry.at).to_string()),
            Cell::plain(&entry.target),
            Cell::toned(tone(entry.action), entry.action.as_str()),
            Cell::plain(&entry.cause),
        ]);
    }
    if table.is_empty() {
        return "nothing has been published yet\n".to_owned();
    }
    let (head, rows) = table.lines(screen);
    let rows = rows.into_iter().zip(entries);
    rows.fold(head, |text, (row, entry)| {
        text + &row + &below(entry, screen)
    })
}

/// What stands below the row of an entry: how long the steps took, what went wrong, what differs.
fn below(entry: &Entry, screen: Screen) -> String {
    let mut text = String::new();
    let steps = entry.steps.iter();
    let steps: Vec<String> = steps
        .map(|one| format!("{} {}", one.step, milliseconds(one.took_us)))
        .collect();
    if !steps.is_empty() {
        let line = format!(
            "revision {}, {} ms: {}",
            entry.revision,
            entry.took_ms,
            steps.join(", ")
        );
        let _ = writeln!(text, "  {}", screen.wrap(&line, 2));
    }
    for line in entry.error.lines() {
        let line = Printable(line).to_string();
        let line = screen.paint(Tone::Bad, &screen.wrap(&line, 2));
        let _ = writeln!(text, "  {line}");
    }
    for line in entry.diff.lines() {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(_) | None => Tone::Plain,
        };
        let line = screen.paint(tone, &Printable(line).to_string());
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn tone(action: Action) -> Tone {
    match action {
        Action::Failed | Action::RolledBack => Tone::Bad,
        Action::Held | Action::ReloadOwed => Tone::Notice,
        Action::Reloaded
        | Action::Runtime
        | Action::Written
        | Action::OwedReload
        | Action::Reconciled
        | Action::Recovered
        | Action::HoldEnded => Tone::Good,
        Action::Unknown => Tone::Plain,
    }
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::history::entry::Step;

    #[test]
    fn a_table_has_what_a_person_asks_for() {
        let good = Entry {
            at: 1_795_662_720,
            target: "haproxy".to_owned(),
            action: Action::Runtime,
            revision: 7,
            cause: "+web/b".to_owned(),
            error: String::new(),
            took_ms: 12,
            steps: vec![
                Step {
                    step: "render".to_owned(),
                    took_us: 900,
                },
                Step {
                    step: "check".to_owned(),
                    took_us: 10_950,
                },
            ],
            files: Vec::new(),
            diff: "@@ -1 +1 @@\n-a\n+b\n".to_owned(),
        };
        let bad = Entry {
            action: Action::Failed,
            cause: String::new(),
            error: "the check refuses it\nline 3".to_owned(),
            steps: Vec::new(),
            diff: String::new(),
            ..good.clone()
        };
        assert_eq!(
            table(&[good, bad], Screen::default()),
            "TIME                  TARGET   DONE     CAUSE\n\
             2026-11-26T03:12:00Z  haproxy  runtime  +web/b\n  \
             revision 7, 12 ms: render 0.9 ms, check 10.9 ms\n    \
             @@ -1 +1 @@\n    -a\n    +b\n\
             2026-11-26T03:12:00Z  haproxy  failed\n  \
             the check refuses it\n  line 3\n"
        );
    }
}
