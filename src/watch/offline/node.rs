//! The tree of a fixture, the same for JSON and YAML: maps and values with their lines; and the faults in it. Pure.

use thiserror::Error;

/// A fault in a fixture.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The text cannot be parsed.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line, from 1 on.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A key has something that is no value.
    #[error("{}{key} is {what}; a value is a text, a number, true or false", line_prefix(*.line))]
    Value {
        /// Where, if that is known.
        line: Option<usize>,
        /// The key.
        key: String,
        /// What is there.
        what: &'static str,
    },
    /// A key is given twice, perhaps once nested and once as a path.
    #[error("{}{key} is there twice", line_prefix(*.line))]
    Twice {
        /// Where, if that is known.
        line: Option<usize>,
        /// The key.
        key: String,
    },
}

fn line_prefix(line: Option<usize>) -> String {
    line.map(|line| format!("line {line}: "))
        .unwrap_or_default()
}

/// A map or a value, and the line on which it begins, if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: Option<usize>,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Map(Vec<(String, Node)>),
    Text(String),
    /// What cannot be a value.
    Other(&'static str),
}
