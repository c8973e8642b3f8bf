//! Where we listen for HTTP requests. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// Where a server of ours listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port of this host; port 0 takes any free one.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// The text is no place to listen at.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no place to listen at: give ADDRESS:PORT, such as 127.0.0.1:9465 or [::1]:9465, or unix:/PATH"
)]
pub struct ListenAddressError(String);

impl ListenAddress {
    /// Whether only this host reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let bad = || ListenAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let is_good = path.starts_with('/') && !path.contains(char::is_control);
            return is_good.then(|| Self::Unix(path.into())).ok_or_else(bad);
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            let address = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            return port
                .parse()
                .map(|port| Self::Tcp(address(port)))
                .map_err(|_| bad());
        }
        text.parse().map(Self::Tcp).map_err(|_| bad())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_listen_at() {
        for (text, back, is_local) in [
            ("127.0.0.1:9465", "127.0.0.1:9465", true),
            ("localhost:9465", "127.0.0.1:9465", true),
            ("[::1]:0", "[::1]:0", true),
            ("0.0.0.0:9465", "0.0.0.0:9465", false),
            ("[::]:9465", "[::]:9465", false),
            (
                "unix:/run/sidekick/watch.sock",
                "unix:/run/sidekick/watch.sock",
                true,
            ),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(
                (address.to_string().as_str(), address.is_local()),
                (back, is_local)
            );
        }
    }

    #[test]
    fn what_is_no_place_to_listen_at() {
        for text in [
            "",
            "9465",
            ":9465",
            "web1:9465",
            "localhost:x",
            "unix:run.sock",
            "unix:",
            "/run/a.sock",
            "127.0.0.1",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text:?}");
        }
    }
}
