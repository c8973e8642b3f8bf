//! The difference between the live file and the new one, as `--diff` prints it. Shell.

use std::io;
use std::path::Path;

use similar::TextDiff;

use crate::system::output;

/// The text before and after.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) before: Vec<u8>,
    pub(crate) after: String,
}

/// Prints a unified diff.
pub(crate) fn print(dest: &Path, difference: &Difference) -> io::Result<()> {
    let before = String::from_utf8_lossy(&difference.before);
    let name = dest.display().to_string();
    let diff = TextDiff::from_lines(before.as_ref(), difference.after.as_str());
    let mut unified = diff.unified_diff();
    let text = unified.header(&name, &format!("{name} (new)")).to_string();
    output::print(text.as_bytes())
}
