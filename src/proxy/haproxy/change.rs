//! Changes of servers that the runtime API can make, and why something else takes a reload. Pure.

use std::net::SocketAddr;

use thiserror::Error;

use super::server::{Full, Id};
use super::socket::Word;

/// One change of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Which server.
    pub id: Id,
    /// What becomes of it.
    pub act: Act,
}

/// What becomes of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// It is new.
    Add(SocketAddr, Full),
    /// It takes no new request, and is deleted when nothing uses it any more.
    Remove {
        /// What it was, so that one that comes back the same can be used again. None if nobody knows.
        was: Option<Vec<Word>>,
    },
    /// It is somewhere else.
    Move {
        /// Where.
        to: SocketAddr,
    },
    /// Its share of the requests.
    Weigh(u16),
    /// In service, or out of it (`disabled`).
    Serve(bool),
}

/// Why it takes a reload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// Something else than a server.
    #[error("line {0} is no server that could be changed at run time")]
    Line(usize),
    /// A section came or went.
    #[error("the sections are others from line {0} on")]
    Sections(usize),
    /// A line may change the meaning of others.
    #[error("line {0} may change what other lines mean")]
    Odd(usize),
    /// A server is written in a way that is not understood.
    #[error("the server of line {0} is not written with a plain name, address and port")]
    Server(usize),
    /// Something else about a server that stays.
    #[error("{0} differs in more than address, weight and state")]
    Rest(Id),
    /// The balance counts servers by their place or makes its map at the start.
    #[error(
        "the servers of {0} have fixed places: balance roundrobin, leastconn or random has none"
    )]
    Places(String),
    /// A keyword that cannot be given at run time.
    #[error("{id} cannot be added at run time with {keyword:?}")]
    Keyword {
        /// The server.
        id: Id,
        /// The keyword.
        keyword: String,
    },
    /// Something in the section that is not known at run time.
    #[error("servers of {backend} depend on {what:?} of the section")]
    Section {
        /// The section.
        backend: String,
        /// What.
        what: &'static str,
    },
    /// Another line names the server.
    #[error("{0} is named by another line")]
    Named(Id),
    /// The rest of the configuration, with its defaults, is elsewhere.
    #[error(
        "the file is a part of a configuration, so the defaults of a new server are not in sight: name the rest with \
         `base`"
    )]
    Part,
}
