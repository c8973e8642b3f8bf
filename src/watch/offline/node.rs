//! What a fixture has in it, whatever it is written in: maps and values with their lines, and what is wrong with them. Pure.

use thiserror::Error;

/// What is wrong with a fixture.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It cannot be parsed.
    #[error("line {line}: {what}")]
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// Something in it is no value.
    #[error("{}{key} is {what}; a value is a text, a number, true or false", place(*.line))]
    Value {
        /// Where, if that is known.
        line: Option<usize>,
        /// The key.
        key: String,
        /// What is there.
        what: &'static str,
    },
    /// A key is there twice, in two ways of writing it.
    #[error("{}{key} is there twice", place(*.line))]
    Twice {
        /// Where, if that is known.
        line: Option<usize>,
        /// The key.
        key: String,
    },
}

fn place(line: Option<usize>) -> String {
    line.map(|line| format!("line {line}: "))
        .unwrap_or_default()
}

/// Something in a fixture, and the line on which it begins, if that is known.
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
