//! Why a text from outside is not what it should be. Pure.

use std::fmt;

use thiserror::Error;

use super::{MAX_SEGMENT, MAX_WEIGHT};

/// Why a text is not what it should be; the text itself is shown shortened and escaped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidField {
    /// A service, id or attribute segment breaks the naming rule.
    #[error(
        "{noun} {} is not a valid name: 1 to {MAX_SEGMENT} of A-Z a-z 0-9 . _ : -, not starting with a dot",
        Shown(text)
    )]
    Segment {
        /// What it was meant to be.
        noun: &'static str,
        /// What it is.
        text: String,
    },
    /// Not an RFC 1123 host name.
    #[error("host {} is not a host name (RFC 1123: letters, digits and hyphens between dots)", Shown(.0))]
    Host(String),
    /// Not an IP address, or one nobody can connect to.
    #[error("ip {} is not usable: {reason}", Shown(.text))]
    Ip {
        /// What was given.
        text: String,
        /// Why it will not do.
        reason: &'static str,
    },
    /// Not a port number.
    #[error("port {} is not a number from 1 to 65535", Shown(.0))]
    Port(String),
    /// Not a weight.
    #[error("weight {} is not a number from 0 to {MAX_WEIGHT}", Shown(.0))]
    Weight(String),
    /// Not a state.
    #[error("state {} is neither drain nor maint (an instance that is up has no state key)", Shown(.0))]
    State(String),
    /// A value is too long, or holds control characters.
    #[error("value {} of {field} {reason}", Shown(.text))]
    Value {
        /// The attribute.
        field: String,
        /// Its value.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An attribute has the name of a key with a meaning of its own.
    #[error("attribute {0} has a meaning of its own; {1}")]
    Reserved(String, &'static str),
    /// One attribute is a directory in which another one lives.
    #[error("attribute {0} is a value and {1} lies below it; one name cannot be both")]
    Nested(String, String),
}

/// Text from outside, short and on one line whatever is in it.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: String = self.0.chars().take(40).collect();
        let dots = if head.len() < self.0.len() { "…" } else { "" };
        write!(f, "\"{}{dots}\"", head.escape_debug())
    }
}
