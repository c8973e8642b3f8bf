//! The socket of a service manager, at which a process says how it is.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;

use super::PATIENCE;

/// A service manager that listens.
pub(crate) struct Notify {
    socket: UnixDatagram,
    /// As the environment has it.
    name: OsString,
}

impl Notify {
    /// At a path.
    pub(crate) fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("bind a socket");
        Self::with(socket, path.into())
    }

    /// At a name that is no file.
    pub(crate) fn abstractly(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).expect("a name for a socket");
        let socket = UnixDatagram::bind_addr(&address).expect("bind a socket");
        Self::with(socket, format!("@{name}").into())
    }

    fn with(socket: UnixDatagram, name: OsString) -> Self {
        let patience = socket.set_read_timeout(Some(PATIENCE));
        patience.expect("bound the patience of a socket");
        Self { socket, name }
    }

    /// Sets the variable by which the command finds the socket.
    pub(crate) fn pass_socket_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", &self.name)
    }

    /// Waits for a word that has this.
    #[track_caller]
    pub(crate) fn wait_said(&self, want: &str) -> String {
        loop {
            let word = self.receive();
            if word.contains(want) {
                return word;
            }
        }
    }

    /// The next word, if one has been sent.
    pub(crate) fn pending(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let changed = self.socket.set_nonblocking(true);
        changed.expect("do not wait for notifications");
        let received = self.socket.recv(&mut buffer);
        let changed = self.socket.set_nonblocking(false);
        changed.expect("wait for notifications");
        let n = received.ok()?;
        Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    /// The next word.
    #[track_caller]
    pub(crate) fn receive(&self) -> String {
        let mut buffer = [0; 4096];
        let n = self.socket.recv(&mut buffer).expect("a notification");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }
}
