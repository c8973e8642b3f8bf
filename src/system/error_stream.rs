//! Standard error, to which the log goes: plain, or connected to the journal of systemd. Adapter.
//!
//! systemd says in `JOURNAL_STREAM` which device and inode the journal reads. Where these are the ones of standard error,
//! each line begins with its priority (`<3>`), as `sd-daemon(3)` describes: the journal takes it off and keeps it as the
//! field `PRIORITY`, so that `journalctl -p err` finds the errors.

use std::env;
use std::io::{self, Write};

use nix::sys::stat::fstat;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::model::printable::PrintableLines;

/// Where systemd says what the journal reads.
const VARIABLE: &str = "JOURNAL_STREAM";

/// What standard error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStream {
    /// A terminal, a file, a pipe.
    Plain,
    /// The journal of systemd, which has a time and a priority for each line.
    Journal,
}

impl ErrorStream {
    /// What standard error of this process is.
    #[must_use]
    pub fn detect() -> Self {
        let named = env::var(VARIABLE).unwrap_or_default();
        let stream = fstat(io::stderr()).map(|stat| (stat.st_dev, stat.st_ino));
        match stream {
            Ok((device, inode)) if named == format!("{device}:{inode}") => Self::Journal,
            Ok(_) | Err(_) => Self::Plain,
        }
    }

    /// Writes a text of this level.
    pub fn write(self, level: Level, text: &str) -> io::Result<()> {
        let text = PrintableLines(text).to_string();
        self.line(level).write_all(text.as_bytes())
    }

    fn line(self, level: Level) -> Line {
        Line((self == Self::Journal).then(|| priority(level)))
    }
}

impl MakeWriter<'_> for ErrorStream {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        self.line(Level::INFO)
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> Line {
        self.line(*meta.level())
    }
}

/// Takes one text, which may have several lines, with the priority of each of them.
#[derive(Debug)]
pub struct Line(Option<char>);

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let Some(priority) = self.0 else {
            return io::stderr().write(text);
        };
        // In one call, so that no line of another process comes between two of ours.
        io::stderr().write_all(&with_priority(priority, text))?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The priority of `syslog(3)`.
fn priority(level: Level) -> char {
    match level {
        Level::ERROR => '3',
        Level::WARN => '4',
        Level::INFO => '6',
        Level::DEBUG | Level::TRACE => '7',
    }
}

fn with_priority(priority: char, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        out.extend(format!("<{priority}>").bytes());
        out.extend(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_the_priority() {
        let said = |level, text: &str| {
            String::from_utf8(with_priority(priority(level), text.as_bytes())).unwrap()
        };
        assert_eq!(said(Level::ERROR, "one\n"), "<3>one\n");
        assert_eq!(
            said(Level::WARN, "one\n two\n\nthree"),
            "<4>one\n<4> two\n<4>\n<4>three"
        );
        assert_eq!(said(Level::INFO, ""), "");
        assert_eq!(said(Level::DEBUG, "x\n"), "<7>x\n");
    }
}
