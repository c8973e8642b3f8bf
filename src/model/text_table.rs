//! A table for people, in plain text or in colour, that fits a terminal if that is possible. Pure.
//!
//! Two spaces stand between columns, no line ends in spaces, and no cell can command a terminal. A column in which no row says
//! anything is left out. Where a table is wider than
//! the terminal, texts are wrapped and names are shortened in the middle, since their ends tell them apart; two names that
//! differ never look the same. Addresses and numbers stay whole.

use std::collections::BTreeMap;

use super::printable::Printable;
use super::screen::{Screen, Tone, columns, columns_of, wrapped};

/// No name is shortened to less.
const SHORTEST_NAME: usize = 12;
/// No text is wrapped to lines shorter than this.
const SHORTEST_LINE: usize = 20;
/// Between two columns.
const GAP: usize = 2;

/// What happens to the cells of a column where the table is too wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Nothing: addresses, numbers, states.
    Whole,
    /// Their middle is left out: names and ids.
    Shorten,
    /// They are wrapped; for the last column.
    Wrap,
}

/// What stands in a row and a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// With a tone.
    #[must_use]
    pub fn toned(tone: Tone, text: &str) -> Self {
        Self {
            text: Printable(text).to_string(),
            tone,
        }
    }

    /// Without a tone.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self::toned(Tone::Plain, text)
    }

    /// A number, or anything else that knows how to be text; empty if there is none.
    #[must_use]
    pub fn of(value: Option<impl ToString>) -> Self {
        value.map_or_else(Self::default, |value| Self::plain(&value.to_string()))
    }
}

/// A head, and rows below it.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(&'static str, Fit)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// With these columns, and no row yet.
    #[must_use]
    pub fn new(columns: &[(&'static str, Fit)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// One more row: a cell for each column.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All of it.
    #[must_use]
    pub fn draw(&self, screen: Screen) -> String {
        let (head, rows) = self.lines(screen);
        head + &rows.concat()
    }

    /// The head, and each row with its line breaks, for those who put something between rows.
    #[must_use]
    pub fn lines(&self, screen: Screen) -> (String, Vec<String>) {
        let says_something = |column: &usize| self.cells(*column).any(|text| !text.is_empty());
        let columns: Vec<usize> = (0..self.columns.len()).filter(says_something).collect();
        let choose = |row: &Vec<Cell>| {
            let cells = columns.iter().filter_map(|column| row.get(*column));
            cells.cloned().collect()
        };
        let chosen = Self {
            columns: columns.iter().map(|column| self.columns[*column]).collect(),
            rows: self.rows.iter().map(choose).collect(),
        };
        chosen.all_lines(screen)
    }

    fn all_lines(&self, screen: Screen) -> (String, Vec<String>) {
        let widths = self.widths(screen);
        let head: Vec<Cell> = self
            .columns
            .iter()
            .map(|(name, _)| Cell::plain(name))
            .collect();
        let head = self.line(&head, &widths, screen);
        let head = format!("{}\n", screen.paint(Tone::Head, head.trim_end()));
        let rows = self.rows.iter();
        (
            head,
            rows.map(|row| self.line(row, &widths, screen)).collect(),
        )
    }

    fn line(&self, row: &[Cell], widths: &[usize], screen: Screen) -> String {
        let (mut text, mut column_at) = (String::new(), 0);
        // Spaces are written in front of what comes next, so that none stands at the end.
        let mut owed = 0;
        for ((cell, width), (_, fit)) in row.iter().zip(widths).zip(&self.columns) {
            let lines = match fit {
                Fit::Wrap => wrapped(&cell.text, *width),
                Fit::Shorten => vec![shortened(&cell.text, *width)],
                Fit::Whole => vec![cell.text.clone()],
            };
            for (number, line) in lines.iter().enumerate() {
                if number > 0 {
                    text.push('\n');
                    owed = column_at;
                }
                if line.is_empty() {
                    continue;
                }
                text.extend(std::iter::repeat_n(' ', owed));
                text.push_str(&screen.paint(cell.tone, line));
                owed = 0;
            }
            let used = lines.last().map_or(0, |line| columns(line));
            owed += width.saturating_sub(used) + GAP;
            column_at += width + GAP;
        }
        text.push('\n');
        text
    }

    /// How wide each column is.
    fn widths(&self, screen: Screen) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|column| self.widest(column))
            .collect();
        let Some(most) = screen.width else {
            return widths;
        };
        let total =
            |widths: &[usize]| widths.iter().sum::<usize>() + GAP * (widths.len().max(1) - 1);
        let of = |fit: Fit| {
            let columns = self.columns.iter().enumerate();
            columns
                .filter(move |(_, (_, is))| *is == fit)
                .map(|(n, _)| n)
        };
        for column in of(Fit::Wrap) {
            let excess = total(&widths).saturating_sub(most);
            let shortest = widths[column].min(SHORTEST_LINE);
            widths[column] = widths[column].saturating_sub(excess).max(shortest);
        }
        while total(&widths) > most {
            let may_shrink = |column: &usize| widths[*column] > self.shortest(*column);
            let widest = of(Fit::Shorten)
                .filter(may_shrink)
                .max_by_key(|n| widths[*n]);
            let Some(column) = widest else { break };
            widths[column] -= 1;
        }
        for column in of(Fit::Shorten) {
            let natural = self.widest(column);
            while widths[column] < natural && self.is_ambiguous(column, widths[column]) {
                widths[column] += 1;
            }
        }
        widths
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        let cells = self.rows.iter().filter_map(move |row| row.get(column));
        cells.map(|cell| cell.text.as_str())
    }

    fn widest(&self, column: usize) -> usize {
        let head = columns(self.columns[column].0);
        let cells = self.cells(column).map(columns);
        cells.max().unwrap_or_default().max(head)
    }

    /// How narrow a column of names may become.
    fn shortest(&self, column: usize) -> usize {
        let head = columns(self.columns[column].0);
        self.widest(column).min(SHORTEST_NAME.max(head))
    }

    /// Whether two different names of a column look the same when they are shortened.
    fn is_ambiguous(&self, column: usize, width: usize) -> bool {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        self.cells(column).any(|text| {
            let before = seen.insert(shortened(text, width), text);
            before.is_some_and(|before| before != text)
        })
    }
}

/// A name in so many columns, with its middle left out if it needs more.
fn shortened(name: &str, width: usize) -> String {
    if columns(name) <= width {
        return name.to_owned();
    }
    let head: String = fitting(name.chars(), width / 2).collect();
    let tail: Vec<char> = fitting(name.chars().rev(), width - width / 2 - 1).collect();
    head + "…" + &tail.iter().rev().collect::<String>()
}

/// As many of these characters as fit into so many columns.
fn fitting(characters: impl Iterator<Item = char>, width: usize) -> impl Iterator<Item = char> {
    characters.scan(0, move |used, c| {
        *used += columns_of(c);
        (*used <= width).then_some(c)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rows: &[[&str; 4]]) -> Table {
        let mut table = Table::new(&[
            ("ID", Fit::Shorten),
            ("ADDRESS", Fit::Whole),
            ("N", Fit::Whole),
            ("WHY", Fit::Wrap),
        ]);
        for row in rows {
            table.push(row.iter().map(|text| Cell::plain(text)).collect());
        }
        table
    }

    fn at(width: usize) -> Screen {
        Screen {
            width: Some(width),
            ..Screen::default()
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let table = table(&[["a-long-one", "", "1", ""], ["b", "10.0.0.1:80", "", "x y"]]);
        assert_eq!(
            table.draw(Screen::default()),
            "ID          ADDRESS      N  WHY\n\
             a-long-one               1\n\
             b           10.0.0.1:80     x y\n"
        );
    }

    #[test]
    fn a_column_that_says_nothing_is_left_out() {
        let table = table(&[["a", "", "1", ""], ["b", "", "2", ""]]);
        assert_eq!(table.draw(Screen::default()), "ID  N\na   1\nb   2\n");
    }

    #[test]
    fn a_table_that_is_too_wide_has_its_texts_wrapped_and_its_names_shortened() {
        let address = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535";
        let table = table(&[
            [
                "web-with-a-long-name.example.org-8080-1",
                "10.0.0.1:80",
                "",
                "a b",
            ],
            ["b", address, "7", "the check of the file refuses it"],
        ]);
        assert_eq!(
            table.draw(at(80)),
            format!(
                "ID            ADDRESS{}N  WHY\n\
                 web-wi…080-1  10.0.0.1:80{}a b\n\
                 b             {address}  7  the check of the\n{}file refuses it\n",
                " ".repeat(address.len() - 5),
                " ".repeat(address.len() - 6),
                " ".repeat(14 + address.len() + 5),
            )
        );
    }

    #[test]
    fn colours_are_no_part_of_a_width() {
        let mut table = Table::new(&[("STATE", Fit::Whole), ("N", Fit::Whole)]);
        table.push(vec![Cell::toned(Tone::Good, "up"), Cell::of(Some(1))]);
        let screen = Screen {
            has_color: true,
            width: None,
        };
        assert_eq!(
            table.draw(screen),
            "\u{1b}[1mSTATE  N\u{1b}[0m\n\u{1b}[32mup\u{1b}[0m     1\n"
        );
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let table = table(&[
            ["日本語のとても長い名前です", "10.0.0.1:80", "1", "x"],
            ["web-1", "10.0.0.2:80", "2", "日本 日本語"],
        ]);
        assert_eq!(
            table.draw(Screen::default()),
            "ID                          ADDRESS      N  WHY\n\
             日本語のとても長い名前です  10.0.0.1:80  1  x\n\
             web-1                       10.0.0.2:80  2  日本 日本語\n"
        );
        assert_eq!(
            table.draw(at(40)),
            "ID            ADDRESS      N  WHY\n\
             日本語…です   10.0.0.1:80  1  x\n\
             web-1         10.0.0.2:80  2  日本 日本語\n"
        );
    }

    #[test]
    fn names_that_differ_in_the_middle_only_stay_apart() {
        let (a, b) = ("x".repeat(30) + "a" + &"x".repeat(30), "x".repeat(61));
        let table = table(&[[&a, "", "", ""], [&b, "", "", ""]]);
        let text = table.draw(at(40));
        let lines: Vec<&str> = text.lines().collect();
        assert_ne!(lines[1], lines[2]);
    }

    proptest! {
        #[test]
        fn names_are_never_mistaken_and_lines_fit_if_they_can(
            names in proptest::collection::btree_set("[ab]{1,40}", 1..20),
            width in 40_usize..120,
        ) {
            let rows: Vec<[&str; 4]> = names.iter().map(|name| [name.as_str(), "10.0.0.1:80", "1", "x"]).collect();
            let table = table(&rows);
            let text = table.draw(at(width));
            let shown: std::collections::BTreeSet<&str> =
                text.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
            prop_assert_eq!(shown.len(), names.len());
        }
    }
}
