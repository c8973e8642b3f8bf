//! The difference between two texts, line by line: as a unified diff, or as the lines that one of them has alone. Pure.
//!
//! It calls Myers' algorithm itself. `similar::TextDiff` chooses among five algorithms while the program runs, and so brings all of
//! them into the binary: 0.15 MB.

use std::fmt::Write;

use similar::algorithms::{Capture, Compact, Replace, myers};
use similar::{Change, ChangeTag, DiffOp, group_diff_ops};

/// So many lines that both texts have stand around what differs.
pub const CONTEXT: usize = 3;

/// Which text has a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Before,
    /// The second.
    After,
}

/// Two texts, and what makes the second of the first.
#[derive(Debug)]
pub struct LineDiff<'a> {
    before: Vec<&'a str>,
    after: Vec<&'a str>,
    operations: Vec<DiffOp>,
}

impl<'a> LineDiff<'a> {
    /// Compares two texts. A line ends with a line feed; a carriage return is a character like others.
    #[must_use]
    pub fn new(before: &'a str, after: &'a str) -> Self {
        let before: Vec<&str> = before.split_inclusive('\n').collect();
        let after: Vec<&str> = after.split_inclusive('\n').collect();
        let (old, new) = (&before[..], &after[..]);
        let mut captured = Compact::new(Replace::new(Capture::new()), old, new);
        let Ok(()) = myers::diff(&mut captured, old, 0..old.len(), new, 0..new.len());
        Self {
            operations: captured.into_inner().into_inner().into_ops(),
            before,
            after,
        }
    }

    /// A unified diff with the names of both in its head; nothing if the texts are the same.
    #[must_use]
    pub fn unified(&self, before: &str, after: &str) -> String {
        let mut text = String::new();
        for hunk in group_diff_ops(self.operations.clone(), CONTEXT) {
            let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else {
                continue;
            };
            if text.is_empty() {
                text = format!("--- {before}\n+++ {after}\n");
            }
            let old = range(first.old_range().start, last.old_range().end);
            let new = range(first.new_range().start, last.new_range().end);
            // Writing to a text does not fail.
            let _ = writeln!(text, "@@ -{old} +{new} @@");
            for change in hunk.iter().flat_map(|operation| self.changes(operation)) {
                let line = change.value();
                let _ = write!(text, "{}{line}", change.tag());
                if !line.ends_with('\n') {
                    text.push_str("\n\\ No newline at end of file\n");
                }
            }
        }
        text
    }

    /// The lines that one of the texts has alone, in their order.
    pub fn differing(&self) -> impl Iterator<Item = (Side, &'a str)> {
        let changes = self.operations.iter().flat_map(|each| self.changes(each));
        changes.filter_map(|change| match change.tag() {
            ChangeTag::Equal => None,
            ChangeTag::Delete => Some((Side::Before, change.value())),
            ChangeTag::Insert => Some((Side::After, change.value())),
        })
    }

    fn changes(&self, operation: &DiffOp) -> impl Iterator<Item = Change<&'a str>> {
        operation.iter_changes(&self.before[..], &self.after[..])
    }
}

/// Lines from one to before another, counted from 0, as a unified diff names them.
fn range(start: usize, end: usize) -> String {
    match end - start {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        length => format!("{},{length}", start + 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use similar::TextDiff;

    use super::*;

    proptest! {
        /// Few different lines, so that many are in both texts.
        #[test]
        fn it_says_what_the_crate_says(before in "([a-d]\n){0,40}[a-d]?", after in "([a-d]\n){0,40}[a-d]?") {
            let whole = TextDiff::from_lines(&before, &after);
            let unified = whole.unified_diff().header("a", "b").to_string();
            let diff = LineDiff::new(&before, &after);
            prop_assert_eq!(diff.unified("a", "b"), unified);
            let differing: Vec<_> = diff.differing().collect();
            let changes = whole.iter_all_changes();
            let expected: Vec<_> = changes
                .filter_map(|change| match change.tag() {
                    ChangeTag::Equal => None,
                    ChangeTag::Delete => Some((Side::Before, change.value())),
                    ChangeTag::Insert => Some((Side::After, change.value())),
                })
                .collect();
            prop_assert_eq!(differing, expected);
        }
    }

    #[test]
    fn a_carriage_return_ends_no_line() {
        assert_eq!(
            LineDiff::new("a\rb\n", "a\rc\n").unified("x", "y"),
            "--- x\n+++ y\n@@ -1 +1 @@\n-a\rb\n+a\rc\n"
        );
    }
}
