//! Durations as people write them: a number and a unit, `500ms`, `15s`, `5m`, `1h`.

use std::time::Duration;

/// The longest time that is accepted: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Parses a duration. The unit is required, since a bare number means seconds to some people and milliseconds to others.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || {
        format!(
            "\"{}\" is not a time such as 500ms, 15s, 5m or 1h",
            text.escape_debug()
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    let time = Duration::from_millis(number.checked_mul(millis).ok_or_else(bad)?);
    if time > LONGEST { Err(bad()) } else { Ok(time) }
}

/// Parses a duration that is longer than 0.
pub(super) fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it has to be longer than 0".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit() {
        for (text, millis) in [
            ("20ms", 20),
            ("0s", 0),
            ("15s", 15_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "15",
            "1.5s",
            "-1s",
            "+1s",
            "1 s",
            "1d",
            "99999999999999999999s",
            "999999h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
