//! Draws a picture on the terminal again and again, and restores what the terminal showed before. Adapter.

use std::fmt::Write as _;
use std::io;

use super::output;
use crate::model::screen::columns;

/// Switches to the terminal's other screen and hides the cursor; the first screen comes back in the end.
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

    /// Shows as much of a text as fits into so many columns and lines, and a line below it.
    pub fn show(&self, text: &str, below: &str, size: (usize, usize)) -> io::Result<()> {
        output::print(picture(text, below, size).as_bytes())
    }
}

impl Drop for LiveScreen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = output::print(LEAVE.as_bytes());
    }
}

/// What draws a picture over the one before, without a moment in which the screen is empty.
fn picture(text: &str, below: &str, (width, height): (usize, usize)) -> String {
    let width = width.max(1);
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(2).max(1);
    let shown = shown(&lines, width, room);
    let mut picture = HOME.to_owned();
    for line in &lines[..shown] {
        let _ = write!(picture, "{}\r\n", over_the_rest(line, width));
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

/// How many of these lines are shown: all of them if there is room for so many lines of the terminal, otherwise as many as leave
/// one for the number of the others. The terminal makes several of a line that is wider than itself.
fn shown(lines: &[&str], width: usize, room: usize) -> usize {
    let fitting = |room: usize| {
        let ends = lines.iter().scan(0, |end, line| {
            *end += columns(line).div_ceil(width).max(1);
            Some(*end)
        });
        ends.take_while(|end| *end <= room).count()
    };
    if fitting(room) == lines.len() {
        lines.len()
    } else {
        fitting(room - 1)
    }
}

/// A line, and what removes the rest of what stood there. Where it ends with the last column there is no rest, and the cursor
/// still stands on its last character.
fn over_the_rest(line: &str, width: usize) -> String {
    let columns = columns(line);
    let is_full = columns > 0 && columns.is_multiple_of(width);
    let rest = if is_full { "" } else { REST_OF_LINE };
    format!("{line}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_and_says_what_it_leaves_out() {
        let plain = |text: &str, height| {
            let picture = picture(text, "below", (80, height));
            let picture = picture.replace(REST_OF_LINE, "").replace(HOME, "");
            picture.replace(REST_OF_SCREEN, "").replace('\r', "")
        };
        assert_eq!(plain("a\nb\n", 4), "a\nb\n\nbelow");
        assert_eq!(plain("a\nb\nc\n", 4), "a\n… 2 more lines\n\nbelow");
        assert_eq!(plain("", 4), "\nbelow");
        assert_eq!(plain("a\nb\n", 0), "… 2 more lines\n\nbelow");
    }

    #[test]
    fn a_line_that_is_wider_than_the_terminal_takes_several() {
        let drawn = |text: &str, height| picture(text, "below", (4, height));
        let first =
            |text: &str, height| drawn(text, height).split("\r\n").next().map(str::to_owned);
        for wide in ["abcde", "日本語"] {
            let text = format!("{wide}\nb\nc\n");
            assert!(drawn(&text, 6).contains("c\u{1b}[K\r\n"));
            assert!(drawn(&text, 5).contains(&format!("{wide}\u{1b}[K\r\n… 2 more lines")));
        }
        assert!(drawn("\u{1b}[31mabcd\u{1b}[0m\nb\n", 4).contains("b\u{1b}[K"));
        // What stood beside it is removed, and its own last character is not.
        assert_eq!(first("abc", 9).as_deref(), Some("\u{1b}[Habc\u{1b}[K"));
        assert_eq!(first("abcd", 9).as_deref(), Some("\u{1b}[Habcd"));
    }
}
