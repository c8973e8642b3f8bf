//! Standard output, for the commands whose work is what they print. Adapter.

use std::io::{self, Write};

/// Prints all of a text. A reader that is gone (`| head`) has read what it wanted, so that is no error; anything else is,
/// a full disk for one.
pub fn print(text: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    finish(output.write_all(text).and_then(|()| output.flush()))
}

/// What became of something that was printed, as [`print()`] judges it.
pub fn finish(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
