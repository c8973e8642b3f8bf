//! Runs commands that must succeed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a command that must succeed; the answer is what it printed.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    // A command that does not read its input may be gone by now.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("wait for a command");
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where a file of a directory lies, as an argument.
pub(crate) fn arg(path: &Path) -> String {
    path.to_str().expect("paths of tests are text").to_owned()
}
