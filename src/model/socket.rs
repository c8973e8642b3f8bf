//! Where HAProxy listens for commands. Pure.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// The address of a stats socket or a master socket of HAProxy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// An address and a port, for an HAProxy in another container.
    Tcp(SocketAddr),
}

/// The text names no socket.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no socket: give an absolute path, or ipv4@ADDRESS:PORT, or ipv6@[ADDRESS]:PORT")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let path = text.strip_prefix("unix@").unwrap_or(text);
        if path.starts_with('/') && !path.contains(char::is_control) {
            return Ok(Self::Unix(path.into()));
        }
        let tcp = |text: &str| text.parse().ok();
        let tcp = match text.split_once('@') {
            Some(("ipv4", rest)) => tcp(rest).filter(SocketAddr::is_ipv4),
            Some(("ipv6", rest)) => tcp(rest).filter(SocketAddr::is_ipv6),
            _ => None,
        };
        tcp.map(Self::Tcp)
            .ok_or_else(|| AddressError(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address @ SocketAddr::V4(_)) => write!(f, "ipv4@{address}"),
            Self::Tcp(address @ SocketAddr::V6(_)) => write!(f, "ipv6@{address}"),
        }
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, back) in [
            ("/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
            ("unix@/run/a.sock", "/run/a.sock"),
            ("ipv4@127.0.0.1:9999", "ipv4@127.0.0.1:9999"),
            ("ipv6@[::1]:9999", "ipv6@[::1]:9999"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), back);
        }
        for text in ["", "a.sock", "ipv4@[::1]:1", "127.0.0.1:9", "ipv4@host:1"] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
