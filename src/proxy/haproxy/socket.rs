//! A command line of HAProxy: one short connection to its stats socket or to the socket of its master. Adapter.
//!
//! A connection that is kept open would keep an old worker alive after a reload, and would talk to that worker: so each
//! batch has its own. Nothing that is sent can become a second command: a [`Command`] is made of [`Word`]s.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::reply::{self, Reply};
pub use crate::model::socket::{Address, AddressError};

/// No answer that we ask for comes near it: `show stat` of 10,000 servers is 2 MB.
const MOST: usize = 64 << 20;

/// A word that stays one word of one command, whatever it says: no blank, `;`, line end, quote, backslash or `<<`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(String);

impl Word {
    /// The text, if it is such a word.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-/@,=+%[]()*~!".contains(&byte);
        // `@` and `!` in front address another process on the master's socket.
        let first = text.bytes().next()?;
        let fine = text.bytes().all(fine) && !matches!(first, b'@' | b'!');
        fine.then(|| Self(text.to_owned()))
    }

    /// Two words as one: `app/web-1`.
    #[must_use]
    pub fn join(&self, between: char, other: &Self) -> Self {
        debug_assert!(matches!(between, '/' | ':'), "safe itself");
        Self(format!("{}{between}{}", self.0, other.0))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(String);

impl Command {
    /// A command that the source spells out, such as `show servers state`.
    #[must_use]
    pub fn new(verb: &'static str) -> Self {
        Self(verb.to_owned())
    }

    /// One more word.
    #[must_use]
    pub fn word(mut self, word: &Word) -> Self {
        self.0.push(' ');
        self.0.push_str(word.as_str());
        self
    }

    /// One more part that the source spells out, such as `state ready`.
    #[must_use]
    pub fn then(mut self, text: &'static str) -> Self {
        self.0.push(' ');
        self.0.push_str(text);
        self
    }

    /// One more address, as the runtime API takes it.
    #[must_use]
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.0.push(' ');
        self.0.push_str(&ip.to_string());
        self
    }

    /// One more address with its port.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.0.push(' ');
        self.0.push_str(&address.to_string());
        self
    }

    /// One more number.
    #[must_use]
    pub fn number(mut self, number: impl Into<u64>) -> Self {
        self.0.push(' ');
        self.0.push_str(&number.into().to_string());
        self
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why HAProxy could not be asked.
#[derive(Debug, Error)]
pub enum CliError {
    /// Nobody listens there, or not to us. [`CliError::is_absent`] tells the two apart.
    #[error("cannot connect to {address}")]
    Connect {
        /// The socket.
        address: Address,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {address} broke")]
    Broken {
        /// The socket.
        address: Address,
        /// How.
        source: io::Error,
    },
    /// No complete answer in time.
    #[error("{address} has not answered within {} s", deadline.as_secs_f32())]
    Silent {
        /// The socket.
        address: Address,
        /// How long it had.
        deadline: Duration,
    },
    /// It closed the connection before it had replied to everything, or replied more than was asked.
    #[error("{address} gave {got} replies to {asked} commands")]
    Count {
        /// The socket.
        address: Address,
        /// Commands that were sent.
        asked: usize,
        /// Replies that came.
        got: usize,
    },
}

impl CliError {
    /// Whether nobody listens: HAProxy does not run, or its master is loading a configuration just now.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        match self {
            Self::Connect { source, .. } => {
                matches!(source.kind(), ConnectionRefused | NotFound)
            }
            Self::Broken { .. } | Self::Silent { .. } | Self::Count { .. } => false,
        }
    }
}

/// A socket of HAProxy, and how long it may take for a whole connection. Holds no connection.
#[derive(Debug, Clone)]
pub struct Cli {
    address: Address,
    deadline: Duration,
}

impl Cli {
    /// Of this socket.
    #[must_use]
    pub fn new(address: Address, deadline: Duration) -> Self {
        Self { address, deadline }
    }

    /// Which socket.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends all the commands to a stats socket; one reply for each, in order. An error does not say how many of the
    /// commands were carried out.
    pub async fn batch(&self, commands: &[Command]) -> Result<Vec<Reply>, CliError> {
        self.lines(commands.chunks(1)).await
    }

    /// As [`Cli::batch`], with each slice on one line: HAProxy does nothing else between the commands of a line.
    pub async fn lines<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a [Command]>,
    ) -> Result<Vec<Reply>, CliError> {
        let mut text = String::from("prompt\nset severity-output number\n");
        // Commands of each line, two lines of our own first.
        let mut asked = vec![1, 1];
        for line in lines {
            for (n, command) in line.iter().enumerate() {
                text.push_str(if n == 0 { "" } else { ";" });
                text.push_str(&command.0);
            }
            text.push('\n');
            asked.push(line.len());
        }
        text.push_str("quit\n");
        let answer = self.talk(&text, End::Theirs).await?;
        let replies = reply::read(&answer, &asked).map_err(|got| CliError::Count {
            address: self.address.clone(),
            asked: asked.iter().skip(2).sum(),
            got: got.saturating_sub(2),
        })?;
        Ok(replies.into_iter().skip(2).collect())
    }

    /// Sends one command to the socket of a master and returns all that comes back, without line ends around it. A
    /// command for its current worker begins with `@1`.
    pub async fn ask(&self, command: &Command) -> Result<String, CliError> {
        let answer = self.talk(&format!("{command}\n"), End::Ours).await?;
        Ok(String::from_utf8_lossy(&answer)
            .trim_matches('\n')
            .to_owned())
    }

    /// One connection: everything out, everything in.
    async fn talk(&self, text: &str, end: End) -> Result<Vec<u8>, CliError> {
        match timeout(self.deadline, self.connect_and_exchange(text, end)).await {
            Ok(answer) => answer,
            Err(_) => Err(CliError::Silent {
                address: self.address.clone(),
                deadline: self.deadline,
            }),
        }
    }

    async fn connect_and_exchange(&self, text: &str, end: End) -> Result<Vec<u8>, CliError> {
        let connect = |source| CliError::Connect {
            address: self.address.clone(),
            source,
        };
        let answer = match &self.address {
            Address::Unix(path) => {
                exchange(UnixStream::connect(path).await.map_err(connect)?, text, end).await
            }
            Address::Tcp(address) => {
                exchange(
                    TcpStream::connect(address).await.map_err(connect)?,
                    text,
                    end,
                )
                .await
            }
        };
        answer.map_err(|source| CliError::Broken {
            address: self.address.clone(),
            source,
        })
    }
}

/// Who closes a connection first.
#[derive(Clone, Copy)]
enum End {
    /// HAProxy, at our `quit`.
    Theirs,
    /// We, our half: the socket of a master closes only then.
    Ours,
}

/// Writes and reads at the same time: HAProxy stops to read when nobody reads its replies.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite,
    text: &str,
    end: End,
) -> io::Result<Vec<u8>> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let write = async {
        writer.write_all(text.as_bytes()).await?;
        match end {
            End::Theirs => writer.flush().await,
            End::Ours => writer.shutdown().await,
        }
    };
    let mut reader = reader.take(MOST as u64);
    let (written, read) = tokio::join!(write, reader.read_to_end(&mut answer));
    // HAProxy may close after `quit` before it has seen our end: what it has answered counts.
    match (written, read) {
        (_, Err(error)) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        (Err(error), _) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word() {
        for fine in ["app/web-1", "10.0.0.1:80", "[::1]:80", "2s", "GET,/x"] {
            assert_eq!(Word::new(fine).unwrap().as_str(), fine);
        }
        for bad in [
            "", "a b", "a;b", "a\nb", "a\rb", "<<", "a<<", "a\\", "a\tb", "@1", "!1", "ä", "a\"",
            "a'b", "a#b", "$x", "a\0",
        ] {
            assert_eq!(Word::new(bad), None, "{bad:?}");
        }
    }
}
