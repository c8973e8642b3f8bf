//! The file of the history: appended to by a thread of its own, in two parts of bounded size. Shell.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{debug, warn};

use super::entry::Entry;
use crate::model::line_diff::{CONTEXT, LineDiff};
use crate::system::file;
use crate::system::own_files::OwnFiles;
use crate::watch::publish::Change;

/// A part of the history is closed when it has this size. Two parts are kept: some thousand publishes.
const PART: u64 = 1024 * 1024;
/// A longer difference is not kept.
const LONGEST_DIFF: usize = 16 * 1024;
/// Of files that differ in more lines than this no difference is made: it would take long.
const MOST_LINES: usize = 2000;
/// So many entries may wait for a slow disk; later ones are lost.
const WAITING: usize = 256;
/// How long a stop waits for what is to be written.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// An entry, and the changes whose difference belongs to it.
type Recorded = (Entry, Vec<Change>);

/// Where what happens is written down; nowhere without a state directory.
pub(crate) struct Journal {
    sender: Option<SyncSender<Box<Recorded>>>,
    thread: Option<JoinHandle<()>>,
}

/// The files of the history in a state directory: the older part first.
pub(crate) fn parts(state_dir: &Path) -> [PathBuf; 2] {
    ["history.1.jsonl", "history.jsonl"].map(|name| state_dir.join(name))
}

impl Journal {
    pub(crate) fn open(state_dir: Option<&Path>) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let write = |state_dir: PathBuf| move || write_all(&state_dir, &receiver);
        let thread = state_dir.map(|dir| {
            let thread = std::thread::Builder::new().name("history".to_owned());
            thread.spawn(write(dir.to_owned()))
        });
        match thread {
            Some(Ok(thread)) => Self {
                sender: Some(sender),
                thread: Some(thread),
            },
            Some(Err(error)) => {
                warn!(%error, "there will be no history: {error}");
                Self::nowhere()
            }
            None => Self::nowhere(),
        }
    }

    fn nowhere() -> Self {
        Self {
            sender: None,
            thread: None,
        }
    }

    /// Writes an entry, with the difference that these changes make. It does not wait.
    pub(crate) fn record(&self, entry: Entry, changes: Vec<Change>) {
        let Some(sender) = &self.sender else { return };
        if sender.try_send(Box::new((entry, changes))).is_err() {
            debug!("an entry of the history is lost: its disk is too slow");
        }
    }

    /// Waits, for a moment, until everything is written.
    pub(crate) async fn finish(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let end = tokio::task::spawn_blocking(|| thread.join());
            let _ = tokio::time::timeout(FINISH_WITHIN, end).await;
        }
    }
}

/// Writes what comes, until nobody sends any more.
fn write_all(state_dir: &Path, receiver: &Receiver<Box<Recorded>>) {
    let own_files = OwnFiles::default();
    for recorded in receiver {
        let (mut entry, changes) = *recorded;
        let names = changes.iter().map(|change| change.dest.display());
        entry.files = names.map(|name| name.to_string()).collect();
        entry.diff = differences(&changes);
        let written = append(state_dir, &entry.encode());
        let [_, newer] = parts(state_dir);
        let loss = "; `sidekick history` lacks what happens until it can be";
        own_files.log(&newer, loss, written);
    }
}

fn append(state_dir: &Path, line: &str) -> io::Result<()> {
    let [older, newer] = parts(state_dir);
    file::make_private_dir(state_dir)?;
    let size = fs::metadata(&newer).map_or(0, |newer| newer.len());
    if size + line.len() as u64 > PART && size > 0 {
        fs::rename(&newer, &older)?;
    }
    // Differences show what the files say, which may be secret.
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).mode(0o600).open(&newer)?;
    // In one write: another process may keep other targets with the same state directory.
    file.write_all(line.as_bytes())
}

fn differences(changes: &[Change]) -> String {
    let all: Vec<String> = changes.iter().map(difference).collect();
    let all = all.concat();
    if all.len() <= LONGEST_DIFF {
        all
    } else {
        String::new()
    }
}

/// The difference of one file, in the unified form. The lines that both begin and end with are left aside first: most changes
/// are small, and a difference of all lines takes long.
fn difference(change: &Change) -> String {
    let name = change.dest.display().to_string();
    let before = change.before.as_deref().unwrap_or_default();
    let after = change.after.as_bytes();
    let head = common_head(before, after);
    let tail = common_tail(&before[head..], &after[head..]);
    let count = |text: &[u8]| text.split_inclusive(|byte| *byte == b'\n').count();
    let removed = count(&before[head..before.len() - tail]);
    let added = count(&after[head..after.len() - tail]);
    if removed.max(added) > MOST_LINES {
        return format!("--- {name}\n+++ {name} (new)\n({removed} lines removed, {added} added)\n");
    }
    let lines_before = before[..head].split_inclusive(|byte| *byte == b'\n');
    let start = head
        - lines_before
            .rev()
            .take(CONTEXT)
            .map(<[u8]>::len)
            .sum::<usize>();
    let lines_behind = before[before.len() - tail..].split_inclusive(|byte| *byte == b'\n');
    let rest = tail - lines_behind.take(CONTEXT).map(<[u8]>::len).sum::<usize>();
    let part = |text: &[u8]| String::from_utf8_lossy(&text[start..text.len() - rest]).into_owned();
    let (before_part, after_part) = (part(before), part(after));
    let diff = LineDiff::new(&before_part, &after_part);
    let text = diff.unified(&name, &format!("{name} (new)"));
    shifted(&text, count(&before[..start]))
}

/// How many bytes both begin with, in whole lines.
fn common_head(one: &[u8], other: &[u8]) -> usize {
    let pairs = one.iter().zip(other);
    let common = pairs.take_while(|(one, other)| one == other).count();
    let last = one[..common].iter().rposition(|byte| *byte == b'\n');
    last.map_or(0, |last| last + 1)
}

/// How many bytes both end with, in whole lines. Both begin with the beginning of a line.
fn common_tail(one: &[u8], other: &[u8]) -> usize {
    let pairs = one.iter().rev().zip(other.iter().rev());
    let common = pairs.take_while(|(one, other)| one == other).count();
    let begins_line = |text: &[u8]| {
        let start = text.len() - common;
        start == 0 || text[start - 1] == b'\n'
    };
    if begins_line(one) && begins_line(other) {
        return common;
    }
    let tail = &one[one.len() - common..];
    let first = tail.iter().position(|byte| *byte == b'\n');
    first.map_or(0, |first| common - first - 1)
}

/// The numbers of the lines counted from the beginning of the file.
fn shifted(diff: &str, by: usize) -> String {
    let line = |line: &str| {
        let numbers = line.strip_prefix("@@ -")?.strip_suffix(" @@\n")?;
        let (before, after) = numbers.split_once(" +")?;
        Some(format!(
            "@@ -{} +{} @@\n",
            moved(before, by)?,
            moved(after, by)?
        ))
    };
    let lines = diff.split_inclusive('\n');
    lines
        .map(|one| line(one).unwrap_or_else(|| one.to_owned()))
        .collect()
}

fn moved(range: &str, by: usize) -> Option<String> {
    let (start, length) = match range.split_once(',') {
        Some((start, length)) => (start, format!(",{length}")),
        None => (range, String::new()),
    };
    let start: usize = start.parse().ok()?;
    Some(format!("{}{length}", start + by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::file::SwapMethod;
    use crate::watch::history::entry::Action;

    fn change(before: &str, after: &str) -> Change {
        Change {
            dest: PathBuf::from("/a.cfg"),
            how: SwapMethod::Renamed,
            before: Some(before.into()),
            after: after.to_owned(),
        }
    }

    fn entry(cause: &str) -> Entry {
        Entry {
            at: 1,
            target: "a".to_owned(),
            action: Action::Written,
            revision: 1,
            cause: cause.to_owned(),
            error: String::new(),
            took_ms: 1,
            steps: Vec::new(),
            files: Vec::new(),
            diff: String::new(),
        }
    }

    #[test]
    fn what_both_begin_and_end_with_is_whole_lines() {
        for (one, other, want) in [
            ("a\nb\nc\n", "a\nx\nc\n", (2, 2)),
            ("a\nb", "a\nb\n", (2, 0)),
            ("b\n", "ab\n", (0, 0)),
            ("x\nb", "y\nb", (0, 1)),
            ("a\n", "a\na\n", (2, 0)),
            ("", "a\n", (0, 0)),
            ("a\n", "a\n", (2, 0)),
        ] {
            let (one, other) = (one.as_bytes(), other.as_bytes());
            let head = common_head(one, other);
            assert_eq!((head, common_tail(&one[head..], &other[head..])), want);
        }
    }

    #[test]
    fn a_difference_is_that_of_the_whole_files() {
        let lines = |range: std::ops::Range<u32>, odd: Option<u32>| {
            let line = |n| match odd {
                Some(odd) if odd == n => format!("changed {n}\n"),
                Some(_) | None => format!("{n}\n"),
            };
            range.map(line).collect::<String>()
        };
        for (before, after) in [
            (lines(0..100, None), lines(0..100, Some(50))),
            (lines(0..100, None), lines(0..101, None)),
            (lines(0..100, None), lines(1..100, None)),
            (lines(0..3, None), String::new()),
            (String::new(), lines(0..3, None)),
            (lines(0..100, Some(1)), lines(0..100, Some(98))),
            ("no end".to_owned(), "no end\n".to_owned()),
        ] {
            let whole = LineDiff::new(&before, &after).unified("/a.cfg", "/a.cfg (new)");
            assert_eq!(difference(&change(&before, &after)), whole);
        }
    }

    #[test]
    fn what_differs_in_too_many_lines_is_counted() {
        let text = difference(&change("", &"x\n".repeat(3000)));
        assert!(text.ends_with("(0 lines removed, 3000 added)\n"), "{text}");
    }

    #[tokio::test]
    async fn the_file_stays_small_and_private_and_the_newest_entries_are_kept() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("state");
        let long = "x".repeat(200 * 1024);
        for n in 0..20 {
            let mut journal = Journal::open(Some(&state_dir));
            journal.record(entry(&format!("{n} {long}")), vec![change("a\n", "b\n")]);
            journal.finish().await;
        }
        let texts = parts(&state_dir).map(|part| {
            let mode = fs::metadata(&part).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            fs::read_to_string(part).unwrap()
        });
        assert!(texts.iter().all(|text| text.len() as u64 <= PART));
        let entries: Vec<Entry> = texts
            .iter()
            .flat_map(|text| Entry::decode_all(text))
            .collect();
        let numbers: Vec<&str> = entries
            .iter()
            .map(|one| one.cause.split(' ').next().unwrap())
            .collect();
        assert_eq!(
            numbers,
            ["10", "11", "12", "13", "14", "15", "16", "17", "18", "19"]
        );
        assert_eq!(entries[0].files, ["/a.cfg"]);
        assert!(entries[0].diff.ends_with("-a\n+b\n"), "{}", entries[0].diff);
    }
}
