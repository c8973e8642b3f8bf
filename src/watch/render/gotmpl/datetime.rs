//! confd's `datetime`, in UTC: Go prints it as text and lets templates call methods of it. Pure: the time is passed in.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::model::date;

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment in UTC.
pub(super) struct Date {
    pub(super) since_1970: Duration,
    pub(super) year: u64,
    pub(super) month: usize,
    pub(super) day: u64,
    pub(super) weekday: usize,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
    pub(super) nanos: u32,
}

impl Date {
    pub(super) fn at(since_1970: Duration) -> Self {
        let seconds = since_1970.as_secs();
        let date = date::Date::from_unix(seconds);
        Self {
            since_1970,
            year: date.year,
            month: usize::try_from(date.month - 1).unwrap_or_default(),
            day: date.day,
            // The first of January 1970 was a Thursday.
            weekday: usize::try_from((seconds / 86_400 + 4) % 7).unwrap_or_default(),
            hour: date.hour,
            minute: date.minute,
            second: date.second,
            nanos: since_1970.subsec_nanos(),
        }
    }

    /// Writes it as Go's layouts say: by the example of `Mon Jan 2 15:04:05 MST 2006`.
    pub(super) fn format(&self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        while let Some(c) = rest.chars().next() {
            let length = self.piece(rest, &mut out).unwrap_or_else(|| {
                out.push(c);
                c.len_utf8()
            });
            rest = &rest[length..];
        }
        out
    }

    /// Writes what the layout asks for at its beginning; how long that was in the layout, if it asks for anything.
    fn piece(&self, layout: &str, out: &mut String) -> Option<usize> {
        let (month, weekday) = (MONTHS[self.month], DAYS[self.weekday]);
        let twelve = (self.hour + 11) % 12 + 1;
        let half = if self.hour < 12 { "AM" } else { "PM" };
        let number = self.month + 1;
        // Longer ones stand before those they begin with.
        let pieces: [(&str, String); 27] = [
            ("January", month.to_owned()),
            ("Jan", month[..3].to_owned()),
            ("Monday", weekday.to_owned()),
            ("Mon", weekday[..3].to_owned()),
            ("MST", "UTC".to_owned()),
            ("2006", format!("{:04}", self.year)),
            ("-07:00", "+00:00".to_owned()),
            ("-0700", "+0000".to_owned()),
            ("-07", "+00".to_owned()),
            ("Z07:00", "Z".to_owned()),
            ("Z0700", "Z".to_owned()),
            ("01", format!("{number:02}")),
            ("02", format!("{:02}", self.day)),
            ("03", format!("{twelve:02}")),
            ("04", format!("{:02}", self.minute)),
            ("05", format!("{:02}", self.second)),
            ("06", format!("{:02}", self.year % 100)),
            ("15", format!("{:02}", self.hour)),
            ("PM", half.to_owned()),
            ("pm", half.to_lowercase()),
            ("_2", format!("{:2}", self.day)),
            ("1", number.to_string()),
            ("2", self.day.to_string()),
            ("3", twelve.to_string()),
            ("4", self.minute.to_string()),
            ("5", self.second.to_string()),
            ("\0", String::new()),
        ];
        if let Some(length) = self.fraction(layout, out) {
            return Some(length);
        }
        let (piece, text) = pieces.iter().find(|(piece, _)| layout.starts_with(piece))?;
        out.push_str(text);
        Some(piece.len())
    }

    /// `.000` is so many digits, `.999` the same without zeros at the end.
    fn fraction(&self, layout: &str, out: &mut String) -> Option<usize> {
        let digit = layout.strip_prefix(['.', ','])?.chars().next()?;
        let digits = layout[1..].chars().take_while(|c| *c == digit).count();
        let ends = layout[1 + digits..]
            .chars()
            .next()
            .is_none_or(|c| !c.is_ascii_digit());
        if !matches!(digit, '0' | '9') || digits > 9 || !ends {
            return None;
        }
        let all = format!("{:09}", self.nanos);
        let mut shown = &all[..digits];
        if digit == '9' {
            shown = shown.trim_end_matches('0');
        }
        if !shown.is_empty() {
            let _ = write!(out, ".{shown}");
        }
        Some(1 + digits)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        // 2024-02-29 13:04:05.12 UTC, a Thursday.
        let date = Date::at(Duration::new(1_709_211_845, 120_000_000));
        for (layout, want) in [
            (
                "Jan 2, 2006 at 3:04pm (MST)",
                "Feb 29, 2024 at 1:04pm (UTC)",
            ),
            ("2006-01-02T15:04:05Z07:00", "2024-02-29T13:04:05Z"),
            (
                "Mon, 02 Jan 2006 15:04:05 -0700",
                "Thu, 29 Feb 2024 13:04:05 +0000",
            ),
            (
                "Monday, January _2 06 03PM",
                "Thursday, February 29 24 01PM",
            ),
            ("15:04:05.000 5.999 x", "13:04:05.120 5.12 x"),
            ("é", "é"),
        ] {
            assert_eq!(date.format(layout), want, "{layout}");
        }
        assert_eq!(
            Date::at(Duration::ZERO).format("2006-1-2 Mon"),
            "1970-1-1 Thu"
        );
        assert_eq!(
            Date::at(Duration::from_secs(4_102_444_799)).format("2006-01-02 15:04:05"),
            "2099-12-31 23:59:59"
        );
    }
}
