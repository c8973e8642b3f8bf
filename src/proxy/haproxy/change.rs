//! Changes of servers that HAProxy's runtime API can make, and the reasons why any other change needs a reload. Pure.

use std::net::SocketAddr;

use thiserror::Error;

use super::server::{Id, Settings};
use super::socket::Word;

/// One change of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerChange {
    /// The server that changes.
    pub id: Id,
    /// What is done to it.
    pub action: Action,
}

/// What is done to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The server is added, with this address and all its settings.
    Add(SocketAddr, Settings),
    /// The server is taken out of service at once, and deleted when no connection uses it any more.
    Remove {
        /// The keywords that it had, so that it can be used again if the same server comes back. `None` if they are not
        /// known.
        was: Option<Vec<Word>>,
    },
    /// The server gets another address.
    Move {
        /// The new address.
        to: SocketAddr,
    },
    /// The server gets another weight, 0 to 256.
    SetWeight(u16),
    /// The server is put into service (true), or taken out of it (false, `disabled` in a file).
    SetEnabled(bool),
}

/// Why a difference between two configurations needs a reload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReloadReason {
    /// A line differs that is not a `server` line.
    #[error("line {0} differs, and it is not a server that can be changed at run time")]
    OtherLine(usize),
    /// A section was added, removed or renamed.
    #[error("the sections differ from line {0} on")]
    Sections(usize),
    /// A line may change the meaning of others.
    #[error("line {0} may change what other lines mean")]
    Ambiguous(usize),
    /// The line of a server cannot be read with certainty.
    #[error("the server of line {0} is not written with a plain name, address and port")]
    UnreadableServer(usize),
    /// A server that stays differs in something that cannot be changed at run time.
    #[error("{0} differs in more than address, weight and state")]
    OtherKeywords(Id),
    /// The balance algorithm goes by the order of the servers, or computes its map when HAProxy starts.
    #[error(
        "the balance algorithm of {0} goes by the order of its servers: with balance roundrobin, leastconn or random they \
         can change at run time"
    )]
    FixedPlaces(String),
    /// A server has a keyword that HAProxy does not take at run time.
    #[error("{id} cannot be added at run time with {keyword:?}")]
    Keyword {
        /// The server.
        id: Id,
        /// The keyword.
        keyword: String,
    },
    /// A setting of the section applies to its servers, and HAProxy does not apply it to one that is added at run time.
    #[error(
        "{what:?} of the section {backend} is not applied to servers that are added at run time"
    )]
    Section {
        /// The section.
        backend: String,
        /// The setting.
        what: &'static str,
    },
    /// Another line refers to the server (`track`, `use-server`).
    #[error("another line refers to {0}")]
    Referenced(Id),
    /// The file is a part of a configuration, and the defaults of its servers stand in another part.
    #[error(
        "the file is a part of a configuration, so the defaults of a new server are not known: name the other files with \
         `base`"
    )]
    UnknownDefaults,
}
