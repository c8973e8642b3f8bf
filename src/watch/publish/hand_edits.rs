//! Files that somebody else has changed since they were published: finds and describes them. Shell.

use std::path::{Path, PathBuf};

use super::steps::New;
use crate::model::fingerprint::content_hash;
use crate::model::line_diff::{LineDiff, Side};
use crate::system::bounded;
use crate::system::file::{self, Access, FileState};

/// How many lines of a difference the log shows.
const LINES: usize = 6;
/// How many characters of each line the log shows.
const WIDTH: usize = 120;
/// The permission bit by which everybody may read a file.
const PUBLIC: u32 = 0o004;

/// A hash of the content, mode and owners of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::watch) struct Digest(u64);

impl Digest {
    pub(super) fn of(content: &[u8], access: Access) -> Self {
        let Access { mode, uid, gid } = access;
        let access = [mode, uid, gid].map(u32::to_le_bytes).concat();
        Self(content_hash([&access[..], content]))
    }

    pub(super) fn of_look(look: &FileState) -> Self {
        Self::of(&look.content, look.access)
    }
}

/// Whether the file at `dest` is not the published one any more. A file that cannot be read, or whose file system does not
/// answer, counts as the same.
pub(in crate::watch) fn is_edited(dest: &Path, published: Digest) -> bool {
    let look = bounded::within(dest, |dest| file::read(&file::resolve(dest)?)).flatten();
    look.is_ok_and(|look| look.as_ref().map(Digest::of_look) != Some(published))
}

/// A file that somebody else has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::watch) struct ForeignEdit {
    pub(in crate::watch) dest: PathBuf,
    /// How it differed from what it should be, as the end of a sentence.
    pub(in crate::watch) difference: String,
}

impl ForeignEdit {
    /// `new` is what the file should be.
    pub(super) fn of(dest: &Path, new: &New) -> Self {
        let what = match &new.previous {
            None => "it was gone".to_owned(),
            Some(look) if look.content == new.text.as_bytes() => {
                let access =
                    |Access { mode, uid, gid }| format!("mode {mode:04o}, owner {uid}:{gid}");
                format!(
                    "it had {} instead of {}",
                    access(look.access),
                    access(new.access)
                )
            }
            Some(look) if look.access.mode & new.access.mode & PUBLIC == 0 => {
                "not everybody may read it, so the log does not show the difference".to_owned()
            }
            Some(look) => describe_difference(&String::from_utf8_lossy(&look.content), &new.text),
        };
        Self {
            dest: dest.to_owned(),
            difference: what,
        }
    }
}

/// The first lines that differ, as the end of a sentence.
fn describe_difference(had: &str, new: &str) -> String {
    let diff = LineDiff::new(had, new);
    let verb = |side| match side {
        Side::Before => "had",
        Side::After => "should have",
    };
    let lines = diff.differing().map(|(side, line)| {
        let line: String = line.trim_end().escape_debug().take(WIDTH).collect();
        format!("{} `{line}`", verb(side))
    });
    let mut lines: Vec<String> = lines.collect();
    let more = lines.len().saturating_sub(LINES);
    lines.truncate(LINES);
    let more = if more > 0 {
        format!(", and {more} more lines")
    } else {
        String::new()
    };
    format!("it {}{more}", lines.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::watch::publish::access_state::AccessState;

    fn foreign(previous: Option<(&str, u32)>, text: &str, mode: u32) -> String {
        let access = |mode| Access {
            mode,
            uid: 0,
            gid: 0,
        };
        let new = New {
            dest: PathBuf::from("/a"),
            text: text.to_owned(),
            access: access(mode),
            state: Arc::new(AccessState::open(None)),
            remembered: None,
            previous: previous.map(|(content, mode)| FileState {
                content: content.as_bytes().to_vec(),
                access: access(mode),
            }),
        };
        ForeignEdit::of(Path::new("/a"), &new).difference
    }

    #[test]
    fn an_edit_is_described_in_few_lines_and_without_the_text_of_a_private_file() {
        for (previous, mode, want) in [
            (None, 0o644, "it was gone"),
            (
                Some(("a\nb\n", 0o600)),
                0o644,
                "it had mode 0600, owner 0:0 instead of mode 0644, owner 0:0",
            ),
            (
                Some(("a\nc\u{1b}\n", 0o644)),
                0o644,
                "it had `c\\u{1b}`, should have `b`",
            ),
            (
                Some(("a\nsecret\n", 0o640)),
                0o644,
                "not everybody may read it, so the log does not show the difference",
            ),
            (
                Some(("a\nsecret\n", 0o644)),
                0o640,
                "not everybody may read it, so the log does not show the difference",
            ),
        ] {
            assert_eq!(foreign(previous, "a\nb\n", mode), want);
        }
        let long = foreign(Some((&"x\n".repeat(100), 0o644)), "", 0o644);
        assert!(
            long.ends_with(", and 94 more lines") && long.len() < 200,
            "{long}"
        );
    }
}
