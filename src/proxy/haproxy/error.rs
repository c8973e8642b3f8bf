//! Why it is not certain what HAProxy has: for a reload to settle, never for a guess. Adapter.

use thiserror::Error;

use super::change::Why;
use super::server::Id;
use super::socket::{Address, CliError};

/// Why it is not certain that HAProxy has the servers that it should have.
#[derive(Debug, Error)]
pub enum Doubt {
    /// It could not be asked or told.
    #[error(transparent)]
    Cli(#[from] CliError),
    /// It did not do as told.
    #[error("{address} refused `{command}`: {reply}")]
    Refused {
        /// The socket.
        address: Address,
        /// The command.
        command: String,
        /// What it said.
        reply: String,
    },
    /// It did as told, and yet is not as it should be: it may have been reloaded in between.
    #[error("{what} of {id} is not as it should be behind {address}")]
    Differs {
        /// The socket.
        address: Address,
        /// The server.
        id: Id,
        /// What of it.
        what: &'static str,
    },
    /// The answer is none that we know.
    #[error("the answer of {address} to `{command}` is not understood")]
    Unreadable {
        /// The socket.
        address: Address,
        /// The command.
        command: String,
    },
    /// The process has been replaced by another one.
    #[error("the HAProxy behind {0} is stopping")]
    Stopping(Address),
    /// A server of the same name is still there.
    #[error("{0} was another server a while ago, and is still there")]
    Haunted(Id),
    /// It is too old for a server that is new.
    #[error("HAProxy {}.{} cannot add {id} while it runs, 2.5 and later can", version.0, version.1)]
    TooOld {
        /// Major and minor.
        version: (u32, u32),
        /// The server.
        id: Id,
    },
    /// What is missing cannot be done at run time.
    #[error(transparent)]
    Why(#[from] Why),
    /// The task that changes it has died.
    #[error("the task of a socket has died")]
    Task,
}

impl Doubt {
    /// Whether nobody listens there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Cli(error) if error.is_absent())
    }

    /// Whether it was asked, and its servers are what is wrong.
    #[must_use]
    pub fn is_of_servers(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Differs { .. } | Self::Haunted(_) | Self::Why(_) => true,
            Self::TooOld { .. } => true,
            Self::Cli(_) | Self::Unreadable { .. } | Self::Stopping(_) | Self::Task => false,
        }
    }
}
