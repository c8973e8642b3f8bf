//! The tables of the report, as plain text that is valid Markdown, too. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use super::sample::{Failure, Sample};
use super::stats::{failures, percentile};

/// A table of one scene.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The scene.
    title: &'static str,
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(title: &'static str, head: &'static [&'static str]) -> Self {
        Self {
            title,
            head,
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells at its end stay empty.
    pub(crate) fn row(&mut self, mut cells: Vec<String>) {
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
    }

    /// The table as text; empty if the table has no rows.
    pub(crate) fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.head[column].chars().count()]).max()
        };
        let widths: Vec<usize> = (0..self.head.len()).filter_map(width).collect();
        let line = |cells: &[&str], fill: &str| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| {
                let pad = fill.repeat(width.saturating_sub(cell.chars().count()));
                format!(" {cell}{pad} ")
            });
            format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
        };
        let mut text = format!("{}\n\n{}", self.title, line(self.head, " "));
        text += &line(&vec!["-"; widths.len()], "-");
        for row in &self.rows {
            text += &line(&row.iter().map(String::as_str).collect::<Vec<_>>(), " ");
        }
        text
    }
}

/// Formats a time.
pub(crate) fn time(time: Option<Duration>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) if time < Duration::from_secs(1) => {
            format!("{:.0} ms", time.as_secs_f64() * 1e3)
        }
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// Formats the median and the longest of some times.
pub(crate) fn spread(times: &[Duration]) -> String {
    let (median, worst) = (percentile(times, 50), percentile(times, 100));
    format!("{} / {}", time(median), time(worst))
}

/// Formats the number of failed requests, with their kinds.
pub(crate) fn failed<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> String {
    let kinds = failures(samples);
    let mut text = kinds.values().sum::<usize>().to_string();
    let each = |(kind, count): (&Failure, &usize)| format!("{kind} {count}");
    if !kinds.is_empty() {
        let kinds: Vec<String> = kinds.iter().map(each).collect();
        let _ = write!(text, " ({})", kinds.join(", "));
    }
    text
}
