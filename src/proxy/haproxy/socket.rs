//! Commands over HAProxy's stats socket, or over the socket of its master; each batch has a connection of its own. Adapter.
//!
//! A connection that stays open would keep an old worker alive after a reload, and later commands would go to that worker.
//! No value can become a second command, because a [`Command`] is made of [`Word`]s.

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

/// The most that is read of an answer. No answer comes near it: `show stat` of 10,000 servers is 2 MB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A text that HAProxy takes as one word of one command: it has no blank, `;`, line end, quote, backslash or `<<`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(String);

impl Word {
    /// The word, if the text is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-/@,=+%[]()*~!".contains(&byte);
        // On the master's socket, `@` and `!` in front address another process.
        let first = text.bytes().next()?;
        let fine = text.bytes().all(fine) && !matches!(first, b'@' | b'!');
        fine.then(|| Self(text.to_owned()))
    }

    /// Two words as one: `app/web-1`.
    #[must_use]
    pub fn join(&self, between: char, other: &Self) -> Self {
        debug_assert!(matches!(between, '/' | ':'), "the separator is safe, too");
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
    /// A command that is written out in the source code, such as `show servers state`.
    #[must_use]
    pub fn new(verb: &'static str) -> Self {
        Self(verb.to_owned())
    }

    /// Appends a word.
    #[must_use]
    pub fn word(mut self, word: &Word) -> Self {
        self.0.push(' ');
        self.0.push_str(word.as_str());
        self
    }

    /// Appends text that is written out in the source code, such as `state ready`.
    #[must_use]
    pub fn then(mut self, text: &'static str) -> Self {
        self.0.push(' ');
        self.0.push_str(text);
        self
    }

    /// Appends an IP address.
    #[must_use]
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.0.push(' ');
        self.0.push_str(&ip.to_string());
        self
    }

    /// Appends an IP address with its port.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.0.push(' ');
        self.0.push_str(&address.to_string());
        self
    }

    /// Appends a number.
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

/// Why HAProxy has not answered.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Nobody listens at the socket, or sidekick may not connect. [`SocketError::is_absent`] tells the two apart.
    #[error("cannot connect to {address}")]
    Connect {
        /// The socket.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {address} broke")]
    Broken {
        /// The socket.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// HAProxy did not answer completely in time.
    #[error("{address} has not answered within {} s", deadline.as_secs_f32())]
    Silent {
        /// The socket.
        address: Address,
        /// How long HAProxy had.
        deadline: Duration,
    },
    /// HAProxy closed the connection before it had replied to every command, or sent more replies than commands.
    #[error("{address} gave {got} replies to {asked} commands")]
    Count {
        /// The socket.
        address: Address,
        /// How many commands were sent.
        asked: usize,
        /// How many replies came.
        got: usize,
    },
}

impl SocketError {
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

/// A socket of HAProxy, and how long a whole connection may take. It holds no connection.
#[derive(Debug, Clone)]
pub struct CommandSocket {
    address: Address,
    deadline: Duration,
}

impl CommandSocket {
    /// The client of this socket.
    #[must_use]
    pub fn new(address: Address, deadline: Duration) -> Self {
        Self { address, deadline }
    }

    /// The address of the socket.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends the commands to a stats socket and returns one reply for each, in order. After an error it is not known how
    /// many of the commands were carried out.
    pub async fn send_batch(&self, commands: &[Command]) -> Result<Vec<Reply>, SocketError> {
        self.send_lines(commands.chunks(1)).await
    }

    /// As [`CommandSocket::send_batch`], with each slice on one line: HAProxy does nothing else between the commands of a
    /// line.
    pub async fn send_lines<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a [Command]>,
    ) -> Result<Vec<Reply>, SocketError> {
        let mut text = String::from("prompt\nset severity-output number\n");
        // How many commands each line has; the first two lines are `prompt` and `set`.
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
        let answer = self.exchange_in_time(&text, FirstToClose::HaProxy).await?;
        let replies = reply::parse(&answer, &asked).map_err(|got| SocketError::Count {
            address: self.address.clone(),
            asked: asked.iter().skip(2).sum(),
            got: got.saturating_sub(2),
        })?;
        Ok(replies.into_iter().skip(2).collect())
    }

    /// Sends one command to the socket of a master and returns its whole answer, without line ends around it. A command for
    /// the current worker begins with `@1`.
    pub async fn ask(&self, command: &Command) -> Result<String, SocketError> {
        let answer = self
            .exchange_in_time(&format!("{command}\n"), FirstToClose::Sidekick)
            .await?;
        Ok(String::from_utf8_lossy(&answer)
            .trim_matches('\n')
            .to_owned())
    }

    /// Connects, sends the text and reads the whole answer, within the deadline.
    async fn exchange_in_time(
        &self,
        text: &str,
        closer: FirstToClose,
    ) -> Result<Vec<u8>, SocketError> {
        match timeout(self.deadline, self.connect_and_exchange(text, closer)).await {
            Ok(answer) => answer,
            Err(_) => Err(SocketError::Silent {
                address: self.address.clone(),
                deadline: self.deadline,
            }),
        }
    }

    async fn connect_and_exchange(
        &self,
        text: &str,
        closer: FirstToClose,
    ) -> Result<Vec<u8>, SocketError> {
        let connect = |source| SocketError::Connect {
            address: self.address.clone(),
            source,
        };
        let answer = match &self.address {
            Address::Unix(path) => {
                exchange(
                    UnixStream::connect(path).await.map_err(connect)?,
                    text,
                    closer,
                )
                .await
            }
            Address::Tcp(address) => {
                exchange(
                    TcpStream::connect(address).await.map_err(connect)?,
                    text,
                    closer,
                )
                .await
            }
        };
        answer.map_err(|source| SocketError::Broken {
            address: self.address.clone(),
            source,
        })
    }
}

/// Which side closes a connection first.
#[derive(Clone, Copy)]
enum FirstToClose {
    /// HAProxy, at the command `quit`.
    HaProxy,
    /// Sidekick closes its half; the master closes only then.
    Sidekick,
}

/// Writes and reads at the same time, because HAProxy stops reading while nobody reads its replies.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite,
    text: &str,
    closer: FirstToClose,
) -> io::Result<Vec<u8>> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let write = async {
        writer.write_all(text.as_bytes()).await?;
        match closer {
            FirstToClose::HaProxy => writer.flush().await,
            FirstToClose::Sidekick => writer.shutdown().await,
        }
    };
    let mut reader = reader.take(MAX_ANSWER_BYTES as u64);
    let (written, read) = tokio::join!(write, reader.read_to_end(&mut answer));
    // HAProxy may close the connection after `quit` while we still write; what it has answered until then counts.
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
