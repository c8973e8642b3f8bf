//! The engine's clock: times as its answers write them. Pure.

use crate::model::date::Date;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970 of a `Date` header: `Fri, 27 Nov 2026 02:01:08 GMT`.
pub(super) fn http_date(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, clock, "GMT"] = words[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Date::parse(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

/// Nanoseconds since 1970 of a time in UTC: `2026-11-27T02:01:08.123456789Z`.
pub(super) fn rfc3339(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = Date::parse(&format!("{seconds}Z"))?;
    let nanos: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_engine() {
        let seconds = 1_795_744_868;
        assert_eq!(http_date("Fri, 27 Nov 2026 02:01:08 GMT"), Some(seconds));
        let nanos = seconds * 1_000_000_000;
        for (text, more) in [
            ("2026-11-27T02:01:08Z", 0),
            ("2026-11-27T02:01:08.5Z", 500_000_000),
            ("2026-11-27T02:01:08.123456789Z", 123_456_789),
        ] {
            assert_eq!(rfc3339(text), Some(nanos + more), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        // A container that never ran has the year 1.
        for bad in [
            "",
            "0001-01-01T00:00:00Z",
            "2026-11-27",
            "2026-13-01T00:00:00Z",
            "2026-11-27T25:00:00Z",
            "2026-11-27T02:01:08+01:00",
        ] {
            assert_eq!(rfc3339(bad), None, "{bad}");
        }
        for bad in ["", "yesterday", "Fri, 27 Nox 2026 02:01:08 GMT"] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }
}
