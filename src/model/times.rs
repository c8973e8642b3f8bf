//! The times of an instance: keys beside its address that tell people when it was announced, and since when and by whom it is
//! out of service. No proxy needs them, and a reader that does not know them takes them for attributes. Pure.

use std::fmt;

use super::date::Date;

/// The field with the time at which `sidekick register` announced the instance: `2026-11-26T03:12:07Z`.
pub const ANNOUNCED_AT: &str = "announced_at";
/// The field beside `state` with the time since which it is so, and who made it so: `2026-11-26T03:12:07Z operator`.
pub const STATE_SINCE: &str = "state_since";

/// The times of an instance, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Times {
    /// When it was announced, in seconds since 1970.
    pub announced_at: Option<u64>,
    /// Since when it has its state.
    pub state_since: Option<StateSince>,
}

/// How long a lease lives without another keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTime {
    /// From its last keep-alive on, in seconds.
    pub ttl: u64,
    /// From now on, in whole seconds.
    pub left: u64,
}

/// Since when an instance is out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateSince {
    /// In seconds since 1970, by the clock of whoever changed the state.
    pub at: u64,
    /// Who changed it.
    pub by: StateBy,
}

/// Who changes the state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateBy {
    /// Its own `sidekick register`, which is about to stop.
    Stop,
    /// A person, with `sidekick drain`.
    Operator,
}

impl StateBy {
    /// In one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Operator => "operator",
        }
    }
}

/// As it stands in the store.
impl fmt::Display for StateSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Date::from_unix(self.at), self.by.as_str())
    }
}

impl StateSince {
    /// From the store; `None` if it is no such text. Whoever sets a state by hand may leave it out or write anything.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, by) = text.split_once(' ')?;
        let by = match by {
            "stop" => StateBy::Stop,
            "operator" => StateBy::Operator,
            _ => return None,
        };
        let at = Date::parse(at)?;
        Some(Self { at, by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let since = StateSince {
            at: 1_795_662_727,
            by: StateBy::Operator,
        };
        assert_eq!(since.to_string(), "2026-11-26T03:12:07Z operator");
        assert_eq!(StateSince::parse(&since.to_string()), Some(since));
        for text in [
            "",
            "2026-11-26T03:12:07Z",
            "yesterday operator",
            "2026-11-26T03:12:07Z me",
        ] {
            assert_eq!(StateSince::parse(text), None, "{text}");
        }
    }
}
