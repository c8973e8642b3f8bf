//! What the tests read in a document besides its links: tables, and fenced blocks.

use std::fs;

use super::root;

/// A row of a table.
pub(crate) struct Row {
    /// File and line.
    pub(crate) place: String,
    /// The titles of its table.
    pub(crate) titles: Vec<String>,
    pub(crate) cells: Vec<String>,
}

/// A fenced block.
pub(crate) struct Block {
    /// File and line of its beginning.
    pub(crate) place: String,
    /// The text of the last heading above it.
    pub(crate) heading: String,
    /// What stands behind the fence: `sh`, `toml`.
    pub(crate) language: String,
    pub(crate) text: String,
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of all tables of a document.
pub(crate) fn rows(path: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut titles: Option<Vec<String>> = None;
    let mut is_code = false;
    for (at, line) in read(path).lines().enumerate() {
        is_code ^= line.starts_with("```");
        if is_code || !line.starts_with('|') {
            titles = None;
        } else if let Some(titles) = &titles {
            if !line.starts_with("| ---") {
                rows.push(Row {
                    place: format!("{path}:{}", at + 1),
                    titles: titles.clone(),
                    cells: cells(line),
                });
            }
        } else {
            titles = Some(cells(line));
        }
    }
    rows
}

/// The cells of a line of a table; `\|` is a bar within one.
fn cells(line: &str) -> Vec<String> {
    let inside = line.trim().trim_start_matches('|').trim_end_matches('|');
    let inside = inside.replace("\\|", "\0");
    let cells = inside.split('|');
    cells.map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// The texts in backticks of a cell.
pub(crate) fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The fenced blocks of a document.
pub(crate) fn blocks(path: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut heading = String::new();
    let mut is_open = false;
    for (at, line) in read(path).lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            is_open = !is_open;
            if is_open {
                blocks.push(Block {
                    place: format!("{path}:{}", at + 1),
                    heading: heading.clone(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
        } else if is_open && let Some(block) = blocks.last_mut() {
            block.text.push_str(line);
            block.text.push('\n');
        } else if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        }
    }
    blocks
}
