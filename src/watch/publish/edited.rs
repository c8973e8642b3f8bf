//! Files that somebody else has changed since they were published: how that is noticed, and what is told of it. Shell.

use std::path::{Path, PathBuf};

use similar::{ChangeTag, TextDiff};

use super::steps::New;
use crate::model::fingerprint::content_hash;
use crate::system::bounded;
use crate::system::file::{self, Access, FileState};

/// So many lines of a difference are told, and so much of each.
const LINES: usize = 6;
const WIDTH: usize = 120;
/// Everybody may read the file.
const PUBLIC: u32 = 0o004;

/// What a file is, in a number.
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

/// Whether the file at `dest` is not this one any more. What cannot be looked at, or does not answer, is left alone.
pub(in crate::watch) fn is_changed(dest: &Path, left: Digest) -> bool {
    let look = bounded::within(dest, |dest| file::read(&file::resolve(dest)?)).flatten();
    look.is_ok_and(|look| look.as_ref().map(Digest::of_look) != Some(left))
}

/// A file that somebody else has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::watch) struct Foreign {
    pub(in crate::watch) dest: PathBuf,
    /// What has become of it, as the end of a sentence.
    pub(in crate::watch) what: String,
}

impl Foreign {
    /// `new` is what the file should be.
    pub(super) fn of(dest: &Path, new: &New) -> Self {
        let what = match &new.previous {
            None => "it was gone".to_owned(),
            Some(look) if look.content == new.text.as_bytes() => {
                let access =
                    |Access { mode, uid, gid }| format!("mode {mode:04o}, owner {uid}:{gid}");
                format!(
                    "it had {} in place of {}",
                    access(look.access),
                    access(new.access)
                )
            }
            Some(look) if look.access.mode & new.access.mode & PUBLIC == 0 => {
                "not everybody may read it, so what differed is not shown".to_owned()
            }
            Some(look) => difference(&String::from_utf8_lossy(&look.content), &new.text),
        };
        Self {
            dest: dest.to_owned(),
            what,
        }
    }
}

/// The first lines that differ.
fn difference(had: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(had, new);
    let sign = |tag| match tag {
        ChangeTag::Delete => Some("had"),
        ChangeTag::Insert => Some("should have"),
        ChangeTag::Equal => None,
    };
    let lines = diff.iter_all_changes().filter_map(|change| {
        let line: String = change
            .value()
            .trim_end()
            .escape_debug()
            .take(WIDTH)
            .collect();
        Some(format!("{} `{line}`", sign(change.tag())?))
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
        Foreign::of(Path::new("/a"), &new).what
    }

    #[test]
    fn what_differed_is_told_in_few_lines_and_no_secret_is() {
        for (previous, mode, want) in [
            (None, 0o644, "it was gone"),
            (
                Some(("a\nb\n", 0o600)),
                0o644,
                "it had mode 0600, owner 0:0 in place of mode 0644, owner 0:0",
            ),
            (
                Some(("a\nc\u{1b}\n", 0o644)),
                0o644,
                "it had `c\\u{1b}`, should have `b`",
            ),
            (
                Some(("a\nsecret\n", 0o640)),
                0o644,
                "not everybody may read it, so what differed is not shown",
            ),
            (
                Some(("a\nsecret\n", 0o644)),
                0o640,
                "not everybody may read it, so what differed is not shown",
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
