//! A container of this host, as far as it matters to whoever announces it. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::model::os::Signal;

/// What the labels that speak to sidekick begin with.
pub const LABEL_PREFIX: &str = "sidekick.";

/// A container, as an inspection shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id, which no other container ever has.
    pub id: ContainerId,
    /// Its name, without the slash; somebody may rename it.
    pub name: String,
    /// Its own host name.
    pub hostname: String,
    /// Its labels, of which only those of [`LABEL_PREFIX`] matter.
    pub labels: BTreeMap<String, String>,
    /// Whether it can serve.
    pub status: Status,
    /// When it was started last, in nanoseconds since 1970.
    pub started_at: u64,
    /// The signal that asks it to stop.
    pub stop_signal: Signal,
    /// Whether it has no network of its own and uses the host's.
    pub is_on_host_network: bool,
    /// Its address in each of its networks, as far as it has one.
    pub networks: BTreeMap<String, IpAddr>,
    /// Its published ports, and where on the host each is reached.
    pub published: BTreeMap<u16, Vec<Binding>>,
}

/// The id of a container: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// Whether a container can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It runs, and its health check passes if it has one.
    Up,
    /// It does not run, or is between two attempts to run.
    Stopped,
    /// It is paused.
    Paused,
    /// It runs, and its health check has neither passed nor failed yet.
    Starting,
    /// It runs, and its health check fails.
    Unhealthy,
}

/// Where on the host a published port is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The address; an unspecified one stands for every address of the host.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

impl ContainerId {
    /// The text, if it is such an id. It becomes a part of paths, so nothing else may pass.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as `docker ps` shows it.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Container {
    /// `web-1 (0123456789ab)`, on one line whatever its name is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name.escape_debug(), self.id.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hexadecimal_ids_become_parts_of_paths() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(ContainerId::parse(&id).unwrap().short(), "0123456789ab");
        for bad in ["", "../..", &id[1..], &id.to_uppercase(), &format!("{id}0")] {
            assert_eq!(ContainerId::parse(bad), None, "{bad}");
        }
    }
}
