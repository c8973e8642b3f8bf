//! Where a server listens: an address, or a socket in the file system. Adapter.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use rustix::fs::{Mode, fchmod};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::model::listen_address::ListenAddress;

/// Who may connect to a socket of the file system: its owner, and its group.
const MODE: u32 = 0o660;
const BACKLOG: i32 = 64;
/// What one connection too many is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 26\r\nconnection: close\r\n\r\nthere are too many clients";

/// Why nobody can listen there.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The system refuses the address.
    #[error("cannot listen at {0}")]
    Address(SocketAddr, #[source] io::Error),
    /// The system refuses the socket.
    #[error("cannot listen at {}", .0.display())]
    Socket(PathBuf, #[source] io::Error),
    /// Another process answers there.
    #[error("cannot listen at {}: another process does already", .0.display())]
    Taken(PathBuf),
    /// There is something that nobody may remove for a socket.
    #[error("cannot listen at {}: there is a file, which is no socket", .0.display())]
    NoSocket(PathBuf),
}

impl ListenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Address(..) => {
                "give an address of this host and a port that no other process has"
            }
            Self::Socket(..) => "give a path in a directory that this user may write to",
            Self::Taken(_) => "give each process a socket of its own, or stop the other one",
            Self::NoSocket(_) => "give another path, or remove the file",
        }
    }
}

/// A place that is claimed, in a runtime or not.
#[derive(Debug)]
pub(super) struct Listener {
    address: ListenAddress,
    socket: Claimed,
}

#[derive(Debug)]
enum Claimed {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener, SocketFile),
}

impl Listener {
    pub(super) fn bind(address: &ListenAddress) -> Result<Self, ListenError> {
        match address {
            ListenAddress::Tcp(address) => {
                let claim = || {
                    let listener = std::net::TcpListener::bind(address)?;
                    listener.set_nonblocking(true)?;
                    Ok(Self {
                        address: ListenAddress::Tcp(listener.local_addr()?),
                        socket: Claimed::Tcp(listener),
                    })
                };
                claim().map_err(|error| ListenError::Address(*address, error))
            }
            ListenAddress::Unix(path) => {
                remove_stale(path)?;
                let (listener, file) =
                    claim_path(path).map_err(|error| ListenError::Socket(path.clone(), error))?;
                Ok(Self {
                    address: address.clone(),
                    socket: Claimed::Unix(listener, file),
                })
            }
        }
    }

    pub(super) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// In the runtime that calls.
    pub(super) fn listen(self) -> io::Result<Accepting> {
        let socket = match self.socket {
            Claimed::Tcp(listener) => Socket::Tcp(TcpListener::from_std(listener)?),
            Claimed::Unix(listener, file) => Socket::Unix(UnixListener::from_std(listener)?, file),
        };
        Ok(Accepting {
            address: self.address,
            socket,
        })
    }
}

/// A place where connections are taken.
pub(super) struct Accepting {
    address: ListenAddress,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "its end removes the file")] SocketFile,
    ),
}

impl Accepting {
    pub(super) fn address(&self) -> &ListenAddress {
        &self.address
    }

    pub(super) async fn accept(&self) -> io::Result<Peer> {
        match &self.socket {
            Socket::Tcp(listener) => listener.accept().await.map(|(stream, _)| Peer::Tcp(stream)),
            Socket::Unix(listener, _) => listener
                .accept()
                .await
                .map(|(stream, _)| Peer::Unix(stream)),
        }
    }
}

/// Who has connected.
pub(super) enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    /// Tells that there are too many already. Nobody waits for that to be read.
    pub(super) fn refuse(self) {
        let _ = match self {
            Self::Tcp(stream) => stream.try_write(FULL),
            Self::Unix(stream) => stream.try_write(FULL),
        };
    }
}

/// The file of a socket that is ours. It goes with this, unless somebody has put another one in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let there = fs::symlink_metadata(path)?;
    Ok((there.dev(), there.ino()))
}

/// Removes a socket that nobody listens at any more.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |error| ListenError::Socket(path.to_owned(), error);
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !there.file_type().is_socket() {
        return Err(ListenError::NoSocket(path.to_owned()));
    }
    let asked = stream_socket().and_then(|fd| {
        use std::os::fd::AsRawFd;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)
    });
    match asked {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed),
        // A queue that is full belongs to somebody.
        Ok(()) | Err(Errno::EAGAIN) => Err(ListenError::Taken(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

/// The socket is never open to others, whatever the umask: its mode is set before its file is made. Then the umask may have
/// taken the group's part, so it is set again.
fn claim_path(path: &Path) -> io::Result<(StdUnixListener, SocketFile)> {
    let fd = stream_socket()?;
    fchmod(fd.as_fd(), Mode::from_raw_mode(MODE))?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &UnixAddr::new(path)?)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path)?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok((StdUnixListener::from(fd), file))
}

fn stream_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}
