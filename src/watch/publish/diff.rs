//! The difference between the live file and the new one, as `--diff` prints it. Shell.

use std::io;
use std::path::Path;

use crate::model::line_diff::LineDiff;
use crate::system::output;

/// The content of a file before and after a publish.
#[derive(Debug)]
pub(in crate::watch) struct Difference {
    pub(in crate::watch) before: Vec<u8>,
    pub(in crate::watch) after: String,
}

/// Prints a unified diff to standard output. Bytes that are not UTF-8 are shown as replacement characters.
pub(in crate::watch) fn print_diff(dest: &Path, difference: &Difference) -> io::Result<()> {
    let before = String::from_utf8_lossy(&difference.before);
    let name = dest.display().to_string();
    let diff = LineDiff::new(before.as_ref(), difference.after.as_str());
    let text = diff.unified(&name, &format!("{name} (new)"));
    output::print_foreign(&text)
}
