//! By which names a server may be asked. Adapter.
//!
//! A page of the web can have its own name point to 127.0.0.1 and so make a browser read what only this host may read (DNS
//! rebinding). What it cannot do is change the name that the browser sends, so a name that is not ours is refused. Such a
//! page needs a name of the public DNS: addresses, and names without a dot, are none.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr};

/// The names that are right.
#[derive(Debug)]
pub(super) struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    /// `own` is the name of this host.
    pub(super) fn new(names: Vec<String>, own: Option<OsString>) -> Self {
        let own = own.and_then(|name| name.into_string().ok());
        Self {
            names: names.into_iter().chain(own).collect(),
        }
    }

    /// Whether an authority, `host` or `host:port`, names this server.
    pub(super) fn are_right(&self, authority: Option<&str>) -> bool {
        let Some(host) = authority.and_then(host) else {
            return false;
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_address = host.parse::<IpAddr>().is_ok() || in_brackets(host).is_some();
        let is_name = |name: &String| name.eq_ignore_ascii_case(host);
        is_address || (!host.is_empty() && !host.contains('.')) || self.names.iter().any(is_name)
    }
}

/// The host of an authority without its port; None if the rest is no port.
fn host(authority: &str) -> Option<&str> {
    let end = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[end..].find(':') {
        None if end == 0 || end == authority.len() => Some(authority),
        None => None,
        Some(at) if end > 0 && at > 0 => None,
        Some(at) => {
            let port = &authority[end + at + 1..];
            port.parse::<u16>().ok().map(|_| &authority[..end + at])
        }
    }
}

fn in_brackets(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_right(authority: &str) -> bool {
        let hosts = Hosts::new(
            vec!["metrics.example.org".into()],
            Some("web1.example.org".into()),
        );
        hosts.are_right(Some(authority))
    }

    #[test]
    fn addresses_and_own_names_are_right() {
        for authority in [
            "127.0.0.1:9465",
            "127.0.0.1",
            "[::1]:9465",
            "[::1]",
            "10.0.0.5:80",
            "localhost:9465",
            "LOCALHOST",
            "localhost.:9465",
            "watch:9465",
            "web1.example.org:9465",
            "Metrics.Example.org",
        ] {
            assert!(is_right(authority), "{authority}");
        }
    }

    #[test]
    fn other_names_and_what_is_no_name_are_refused() {
        for authority in [
            "",
            ":9465",
            ".",
            "evil.example",
            "evil.example:9465",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9465",
            "127.0.0.1:9465:1",
            "[::1]evil.example",
            "[evil.example]:1",
            "user@evil.example",
            "localhost:port",
        ] {
            assert!(!is_right(authority), "{authority}");
        }
        assert!(!Hosts::new(Vec::new(), None).are_right(None));
    }
}
