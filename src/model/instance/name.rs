//! The names: of services, instances, ports, hosts and attributes. Pure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::InvalidField;
use crate::model::fingerprint::fingerprint;

/// The longest path segment (a service, an id, a part of an attribute's name), in bytes.
pub const MAX_SEGMENT: usize = 63;

fn segment(noun: &'static str, text: &str) -> Result<(), InvalidField> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    let fits = (1..=MAX_SEGMENT).contains(&text.len());
    if fits && !text.starts_with('.') && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(InvalidField::Segment {
        noun,
        text: text.to_owned(),
    })
}

macro_rules! segment_type {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        /// Cheap to clone.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidField;
            fn from_str(text: &str) -> Result<Self, InvalidField> {
                segment($noun, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

segment_type!(
    /// The name of a service: one path segment, `[A-Za-z0-9._:-]{1,63}`, not starting with a dot.
    ServiceName,
    "service"
);
segment_type!(
    /// The name of one instance among those of its service; the same rule as [`ServiceName`].
    InstanceId,
    "id"
);
segment_type!(
    /// The name of a further port; its key is `<name>-port`, which must be a valid segment itself.
    PortName,
    "port name"
);

impl InstanceId {
    /// The id of an instance on this port of a host, `<host>-<port>`, whatever the host is called.
    ///
    /// A name that is too long for that, or has characters that no id has, is cut and gets a hash of the whole behind it:
    /// the same host always has the same id, and two hosts have two.
    #[must_use]
    pub fn of_host(host: &[u8], port: u16) -> Self {
        let port = format!("-{port}");
        let id = host_segment(host, MAX_SEGMENT - port.len()) + &port;
        Self(id.into())
    }
}

/// A random id.
impl From<uuid::Uuid> for InstanceId {
    fn from(random: uuid::Uuid) -> Self {
        Self(random.to_string().into())
    }
}

/// The name of a host as the beginning of a path segment, of so many bytes at most.
#[must_use]
pub fn host_segment(host: &[u8], room: usize) -> String {
    if let Ok(text) = std::str::from_utf8(host)
        && text.len() <= room
        && (text.is_empty() || segment("host", text).is_ok())
    {
        return text.to_owned();
    }
    let hash = format!("{:016x}", fingerprint([host]));
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
    let plain = |byte: &u8| {
        if allowed(byte) {
            char::from(*byte)
        } else {
            '-'
        }
    };
    let begin: String = host.iter().map(plain).collect();
    // All of it is ASCII by now.
    let begin = begin.trim_start_matches('.');
    let begin = &begin[..begin.len().min(room.saturating_sub(hash.len() + 1))];
    format!("{begin}-{hash}")
}

/// A host name as RFC 1123 has it: labels of letters, digits and hyphens, 253 characters at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = InvalidField;
    fn from_str(text: &str) -> Result<Self, InvalidField> {
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidField::Host(text.to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an attribute: one or more segments joined by `/`, such as `settings/distribution`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttrName(String);

impl AttrName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AttrName {
    type Err = InvalidField;
    fn from_str(text: &str) -> Result<Self, InvalidField> {
        for part in text.split('/') {
            segment("attribute", part)?;
        }
        let reserved = |hint| Err(InvalidField::Reserved(text.to_owned(), hint));
        match text {
            "host" | "ip" | "port" | "weight" => reserved("give it with the option of that name"),
            "state" => reserved("it says whether the instance takes requests (drain or maint)"),
            "announced_at" | "state_since" => reserved("sidekick writes times there"),
            _ if text.ends_with("-port") && !text.contains('/') => {
                reserved("keys that end in -port hold further ports, given with --port NAME=PORT")
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_host_is_its_name_where_that_fits() {
        assert_eq!(InstanceId::of_host(b"web-1", 8080).as_str(), "web-1-8080");
        let fits = "x".repeat(MAX_SEGMENT - 5);
        assert_eq!(
            InstanceId::of_host(fits.as_bytes(), 8080).as_str(),
            format!("{fits}-8080")
        );
    }

    #[test]
    fn the_id_of_any_host_is_valid_stable_and_its_own() {
        let long = |end: &str| "x".repeat(60) + end;
        let hosts: Vec<Vec<u8>> = [
            long("1").into_bytes(),
            long("2").into_bytes(),
            long("12").into_bytes(),
            "y".repeat(64).into_bytes(),
            b"a b".to_vec(),
            b"a/b".to_vec(),
            b".a".to_vec(),
            b"...".to_vec(),
            b"\xff\xfe".to_vec(),
            b"\xff\xfd".to_vec(),
            "\u{e4}".into(),
            b"".to_vec(),
        ]
        .into();
        let mut seen = std::collections::BTreeSet::new();
        for host in &hosts {
            for port in [1, 8080, 65535] {
                let id = InstanceId::of_host(host, port);
                assert_eq!(id.as_str().parse(), Ok(id.clone()), "{host:?}");
                assert_eq!(InstanceId::of_host(host, port), id);
                assert!(id.as_str().ends_with(&format!("-{port}")), "{id}");
                assert!(seen.insert(id), "{host:?} {port}");
            }
        }
        // Instances that were announced are found again after an upgrade.
        let id = InstanceId::of_host(long("1").as_bytes(), 8080);
        let want = format!(
            "{}-{:016x}-8080",
            "x".repeat(41),
            fingerprint([long("1").as_bytes()])
        );
        assert_eq!(id.as_str(), want);
    }

    #[test]
    fn names() {
        for good in ["web", "a.b", "A_b-c:1", "9", &"x".repeat(63)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", ".web", "a/b", "a b", "ä", "a\n", &"x".repeat(64)] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["a", "web-1.example.org", "1.2.3.4", "a.b"] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a..b",
            "a.",
            "a_b",
            "a b",
            &"x".repeat(64),
            &["abc"; 64].join("."),
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hostile_text_is_shown_short_and_on_one_line() {
        let text = format!("x\n{}", "y".repeat(100));
        let said = text.parse::<ServiceName>().unwrap_err().to_string();
        assert!(!said.contains('\n') && said.contains('…'), "{said}");
    }
}
