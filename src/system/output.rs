//! Standard output, for the commands whose work is what they print. Adapter.

use std::io::{self, IsTerminal, Write};

use nix::errno::Errno;

use super::syscalls;
use crate::model::printable::PrintableLines;

/// Prints all of a text. A reader that is gone (`| head`) has read what it wanted, so that is no error; anything else is,
/// a full disk for one, or a standard output that was closed from the start.
pub fn print(text: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let printed = output.write_all(text).and_then(|()| output.flush());
    if text.is_empty() {
        return Ok(());
    }
    finish(printed)
}

/// Prints text that others have written, such as a rendered file: as it is into a file or a pipe, without what would command
/// the terminal on one.
pub fn print_foreign(text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() {
        return print(PrintableLines(text).to_string().as_bytes());
    }
    print(text.as_bytes())
}

/// What became of something that was printed, as [`print()`] judges it.
pub fn finish(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Ok(()) if !syscalls::has_stdout() => Err(Errno::EBADF.into()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
