//! The terminal at standard output as a picture that is drawn again and again, and given back as it was. Adapter.

use std::fmt::Write as _;
use std::io;

use super::output;

/// Another screen, without a cursor, so that what stood there is there again in the end.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";

/// A terminal that shows a picture, until this is dropped.
#[derive(Debug)]
pub struct LiveScreen(());

impl LiveScreen {
    /// Takes the terminal.
    pub fn enter() -> io::Result<Self> {
        output::print(ENTER.as_bytes())?;
        Ok(Self(()))
    }

    /// Shows as much of a text as fits into so many lines, and a line below it.
    pub fn show(&self, text: &str, below: &str, height: usize) -> io::Result<()> {
        output::print(picture(text, below, height).as_bytes())
    }
}

impl Drop for LiveScreen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = output::print(LEAVE.as_bytes());
    }
}

/// What draws a picture over the one before, without a moment in which the screen is empty.
fn picture(text: &str, below: &str, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(2).max(1);
    let shown = if lines.len() > room {
        room - 1
    } else {
        lines.len()
    };
    let mut picture = HOME.to_owned();
    for line in &lines[..shown] {
        let _ = write!(picture, "{line}{REST_OF_LINE}\r\n");
    }
    if shown < lines.len() {
        let more = lines.len() - shown;
        let _ = write!(picture, "… {more} more lines{REST_OF_LINE}\r\n");
    }
    let _ = write!(
        picture,
        "{REST_OF_LINE}\r\n{below}{REST_OF_LINE}{REST_OF_SCREEN}"
    );
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_and_says_what_it_leaves_out() {
        let plain = |text: &str, height| {
            let picture = picture(text, "below", height);
            let picture = picture.replace(REST_OF_LINE, "").replace(HOME, "");
            picture.replace(REST_OF_SCREEN, "").replace('\r', "")
        };
        assert_eq!(plain("a\nb\n", 4), "a\nb\n\nbelow");
        assert_eq!(plain("a\nb\nc\n", 4), "a\n… 2 more lines\n\nbelow");
        assert_eq!(plain("", 4), "\nbelow");
        assert_eq!(plain("a\nb\n", 0), "… 2 more lines\n\nbelow");
    }
}
