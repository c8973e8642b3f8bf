//! What text for people is drawn on: in colour or not, and how wide. Pure.

use unicode_width::UnicodeWidthChar;

/// A terminal, or what stands in for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Screen {
    /// Whether the reader understands the colours of a terminal.
    pub has_color: bool,
    /// How many columns a line may have; `None` where nothing is cut: in a pipe, or a file.
    pub width: Option<usize>,
}

/// What a piece of text says about how things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// All is as it should be.
    Good,
    /// It is meant to be so, but does not last: a drain, a reload that is owed.
    Notice,
    /// Something is wrong.
    Bad,
    /// The head of a table.
    Head,
}

impl Tone {
    /// The parameters of the terminal's command (SGR) for it.
    fn parameters(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Notice => Some("33"),
            Self::Bad => Some("31"),
            Self::Head => Some("1"),
        }
    }
}

impl Screen {
    /// The text, in the colour of its tone.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match tone.parameters() {
            Some(parameters) if self.has_color && !text.is_empty() => {
                format!("\u{1b}[{parameters}m{text}\u{1b}[0m")
            }
            Some(_) | None => text.to_owned(),
        }
    }

    /// The text in lines that fit, each but the first behind so many spaces. A word that is longer than a line stays whole.
    #[must_use]
    pub fn wrap(self, text: &str, indent: usize) -> String {
        let Some(width) = self.width else {
            return text.to_owned();
        };
        let lines = wrapped(text, width.saturating_sub(indent));
        lines.join(&format!("\n{:indent$}", ""))
    }
}

/// How many columns of a terminal a text takes: two for a wide character, as those of Chinese and Japanese, and none for
/// what [`Screen::paint`] puts around it.
#[must_use]
pub fn columns(text: &str) -> usize {
    let mut is_command = false;
    let mut columns = 0;
    for c in text.chars() {
        if is_command {
            is_command = c != 'm';
        } else if c == '\u{1b}' {
            is_command = true;
        } else {
            columns += columns_of(c);
        }
    }
    columns
}

/// How many columns of a terminal a character takes.
#[must_use]
pub(super) fn columns_of(c: char) -> usize {
    c.width().unwrap_or_default()
}

/// The lines of a text that has to fit into so many columns. A word that is longer stays whole.
#[must_use]
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if columns(line) + 1 + columns(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_painted_without_colour() {
        let plain = Screen::default();
        let colored = Screen {
            has_color: true,
            ..plain
        };
        assert_eq!(plain.paint(Tone::Bad, "x"), "x");
        assert_eq!(colored.paint(Tone::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(colored.paint(Tone::Plain, "x"), "x");
        assert_eq!(colored.paint(Tone::Good, ""), "");
    }

    #[test]
    fn long_text_is_wrapped_between_words() {
        let screen = Screen {
            width: Some(12),
            ..Screen::default()
        };
        assert_eq!(screen.wrap("one two three", 2), "one two\n  three");
        assert_eq!(
            screen.wrap("a-word-that-is-long b", 2),
            "a-word-that-is-long\n  b"
        );
        assert_eq!(Screen::default().wrap("one two three", 2), "one two three");
        assert_eq!(screen.wrap("日本 日本語", 2), "日本\n  日本語");
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        let colored = Screen {
            has_color: true,
            ..Screen::default()
        };
        for (text, wanted) in [("", 0), ("web", 3), ("日本", 4), ("e\u{301}…", 2)] {
            assert_eq!(columns(text), wanted, "{text}");
            assert_eq!(columns(&colored.paint(Tone::Bad, text)), wanted, "{text}");
        }
    }
}
