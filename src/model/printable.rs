//! Text of others, made harmless for a terminal and a log: anybody may write into the store. Pure.

use std::fmt::{self, Write};

/// What is shown in place of a character that a terminal would obey, or that would hide or reorder others.
const REPLACEMENT: char = '\u{fffd}';

/// One line of text.
pub struct Printable<'a>(pub &'a str);

/// Several lines of text, with their tabs.
pub struct PrintableLines<'a>(pub &'a str);

/// The message of a log line. The lines below its first one are indented, so that none of them looks like a line of the log.
pub struct LogMessage<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let harmless = |c: char| if is_harmful(c) { REPLACEMENT } else { c };
        self.0.chars().try_for_each(|c| f.write_char(harmless(c)))
    }
}

impl fmt::Display for PrintableLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' | '\t' => f.write_char(c),
            _ if is_harmful(c) => f.write_char(REPLACEMENT),
            _ => f.write_char(c),
        })
    }
}

impl fmt::Display for LogMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.0.split('\n').enumerate() {
            let indentation = if at > 0 { "\n    " } else { "" };
            write!(f, "{indentation}{}", PrintableLines(line))?;
        }
        Ok(())
    }
}

/// Control characters, and those of Unicode that have no width or turn the direction of the text around them.
fn is_harmful(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    );
    c.is_control() || is_invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "/app/\u{1b}[31mRED\r\nERROR forged\u{202e}\tend\u{200b}";

    #[test]
    fn a_text_stays_one_line_and_commands_nobody() {
        let text = Printable(HOSTILE).to_string();
        assert_eq!(
            text,
            "/app/\u{fffd}[31mRED\u{fffd}\u{fffd}ERROR forged\u{fffd}\u{fffd}end\u{fffd}"
        );
        assert_eq!(Printable("Zürich 日本 ✓").to_string(), "Zürich 日本 ✓");
    }

    #[test]
    fn lines_and_tabs_of_a_text_stay() {
        let text = PrintableLines(HOSTILE).to_string();
        assert_eq!(
            text,
            "/app/\u{fffd}[31mRED\u{fffd}\nERROR forged\u{fffd}\tend\u{fffd}"
        );
    }

    #[test]
    fn no_value_begins_a_line_of_the_log() {
        let text = LogMessage("key /a\n2026-11-27 ERROR forged\nmore").to_string();
        assert_eq!(text, "key /a\n    2026-11-27 ERROR forged\n    more");
    }
}
