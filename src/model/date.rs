//! Dates and times of day in UTC, counted from seconds since 1970: as the log writes them. Pure.

use std::fmt;

/// A moment of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// From 1970 on.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
}

impl Date {
    /// The moment so many seconds after 1970 began.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Self {
        // Years begin in March here, so that the leap day is the last one of a year; an era has 400 years.
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    /// The seconds from 1970 to a moment that is written as [`Date`] is printed; `None` if that is not a moment.
    #[must_use]
    pub fn parse(text: &str) -> Option<u64> {
        let number = |range: std::ops::Range<usize>| {
            let digits = text.get(range)?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        // As in `from_unix`, years begin in March.
        let year_from_march = year.checked_sub(u64::from(month <= 2))?;
        let month_from_march = (month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
        let leap_days = year_from_march / 4 - year_from_march / 100 + year_from_march / 400;
        let days = (365 * year_from_march + leap_days + day_of_year).checked_sub(719_468)?;
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
        // A day that its month does not have, and anything else that is out of range, is printed differently.
        (Self::from_unix(seconds).to_string() == text).then_some(seconds)
    }
}

/// To the second: `2026-11-26T03:12:07Z`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// To the minute, for sentences: `03:12 UTC`, and with its date if that is another day than `now`. Both are seconds since
/// 1970.
#[must_use]
pub fn time_of_day(seconds: u64, now: u64) -> String {
    let Date {
        year,
        month,
        day,
        hour,
        minute,
        ..
    } = Date::from_unix(seconds);
    let time = format!("{hour:02}:{minute:02} UTC");
    if seconds / 86_400 == now / 86_400 {
        time
    } else {
        format!("{year:04}-{month:02}-{day:02} {time}")
    }
}

/// How long something has been so, or will be, for a table: `45 s`, `12 min`, `5 h`, `3 d`.
#[must_use]
pub fn length(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (4_107_456_000, "2100-02-28T00:00:00Z"),
        ] {
            assert_eq!(Date::from_unix(seconds).to_string(), date);
            assert_eq!(Date::parse(date), Some(seconds));
        }
    }

    #[test]
    fn what_is_no_date_is_not_taken_for_one() {
        for text in [
            "",
            "2026-11-26",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-00T00:00:00Z",
            "2026-11-26T24:00:00Z",
            "2026-11-26T03:12:07+01:00",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "+026-11-26T03:12:07Z",
            "2026-11-26T03:12:07Zé",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let date = |day: u64| Date::from_unix(day * 86_400);
        for day in 0..200_000 {
            let (one, next) = (date(day), date(day + 1));
            let is_next = match (next.month, next.day) {
                (1, 1) => (one.year + 1, one.month, one.day) == (next.year, 12, 31),
                (_, 1) => (one.year, one.month + 1) == (next.year, next.month) && one.day >= 28,
                _ => (one.year, one.month, one.day + 1) == (next.year, next.month, next.day),
            };
            assert!(is_next, "{one} {next}");
        }
    }

    #[test]
    fn lengths_of_time_are_whole_and_short() {
        let all = [0, 59, 60, 3599, 3600, 172_799, 172_800];
        let lengths = all.map(length);
        assert_eq!(
            lengths,
            ["0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 d"]
        );
    }

    #[test]
    fn another_day_is_named() {
        let at = 951_782_400 + 3 * 3600 + 12 * 60 + 59;
        assert_eq!(time_of_day(at, at + 3600), "03:12 UTC");
        assert_eq!(time_of_day(at, at + 86_400), "2000-02-29 03:12 UTC");
    }
}
