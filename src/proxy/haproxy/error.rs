//! Why it is not certain which servers HAProxy has. The caller then asks for a reload; it never guesses. Adapter.

use thiserror::Error;

use super::change::ReloadReason;
use super::server::Id;
use super::socket::{Address, SocketError};

/// Why it is not certain that HAProxy has the servers that it should have.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// HAProxy could not be reached over its socket, or did not answer.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// HAProxy did not carry out a command.
    #[error("{address} refused `{command}`: {reply}")]
    Refused {
        /// The socket.
        address: Address,
        /// The command.
        command: String,
        /// The first line of HAProxy's reply.
        reply: String,
    },
    /// HAProxy carried out the commands, and a server differs all the same: HAProxy may have been reloaded in between.
    #[error("{what} of {id} differs from what the HAProxy behind {address} was given")]
    Differs {
        /// The socket.
        address: Address,
        /// The server.
        id: Id,
        /// What differs: `address`, `weight`, `state` or `presence`.
        what: &'static str,
    },
    /// The answer has a form that sidekick does not know.
    #[error("the answer of {address} to `{command}` has a form that sidekick does not know")]
    Unreadable {
        /// The socket.
        address: Address,
        /// The command.
        command: String,
    },
    /// The process has been replaced by another one.
    #[error("the HAProxy behind {0} is stopping")]
    Stopping(Address),
    /// HAProxy still has an earlier server of the same name, which had other settings.
    #[error("HAProxy still has an earlier server {0} with other settings")]
    RetiredDiffers(Id),
    /// HAProxy is too old to add a server while it runs.
    #[error("HAProxy {}.{} cannot add {id} while it runs, 2.5 and later can", version.0, version.1)]
    TooOld {
        /// HAProxy's major and minor version.
        version: (u32, u32),
        /// The server that is to be added.
        id: Id,
    },
    /// HAProxy lacks something that only a reload can bring.
    #[error(transparent)]
    NeedsReload(#[from] ReloadReason),
    /// The task that talks to one of the sockets has panicked.
    #[error("the task that talks to a socket has panicked")]
    Task,
}

impl RuntimeError {
    /// Whether nobody listens at the socket.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Socket(error) if error.is_absent())
    }

    /// Whether HAProxy has answered, and the trouble is with its servers.
    #[must_use]
    pub fn is_of_servers(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Differs { .. }
            | Self::RetiredDiffers(_)
            | Self::NeedsReload(_) => true,
            Self::TooOld { .. } => true,
            Self::Socket(_) | Self::Unreadable { .. } | Self::Stopping(_) | Self::Task => false,
        }
    }
}
