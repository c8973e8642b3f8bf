//! What a watcher says about one of its targets, as JSON in its entry in the store: for `sidekick status`, the dashboard and
//! `/status`. Pure.
//!
//! The form is kept: fields may be added, and a reader passes over those that it does not know. A field that says nothing
//! is left out. Times are seconds since 1970, UTC.

use serde::{Deserialize, Serialize};

/// So many characters of a reason are written: the log has the rest.
const REASON: usize = 200;

/// One target and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its name: that of its file in conf.d without `.toml`.
    pub name: String,
    /// Since when its files are as they are now and in force; none if this process has not seen them so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The store's revision that the last good publish was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What fails, if its last publish failed or its configuration is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
    /// Its files need a reload for which it is too early.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owed: bool,
    /// What its guard holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldService>,
    /// When the snapshot was written from which it is served, while the store has not said everything itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<u64>,
}

/// A failure that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// When the first of the failures in a row happened.
    pub since: u64,
    /// The step that failed last: `config`, `render`, `check`, `reload` or another step of a publish.
    pub step: String,
    /// Why, in one line of at most 200 characters that begins with the words of the program that refused, if one did. The log
    /// has the whole error.
    pub why: String,
}

impl Failing {
    /// With the reason cut to one line.
    #[must_use]
    pub fn new(since: u64, step: &str, why: &str) -> Self {
        Self {
            since,
            step: step.to_owned(),
            why: one_line(why),
        }
    }
}

/// What a guard holds of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldService {
    /// The service; without one the file as a whole is left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// How many instances are held.
    pub count: usize,
    /// Since when.
    pub since: u64,
    /// Until when; without it, until something returns or somebody releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Which limit was exceeded.
    pub why: String,
}

impl TargetStatus {
    /// Whether somebody has to know: it fails, something is held, or it is stale.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.failing.is_some() || !self.held.is_empty() || self.stale.is_some()
    }

    /// What is wrong with it, without what changes while it stays wrong in the same way.
    fn alarm(&self) -> impl PartialEq + '_ {
        let failing = self.failing.as_ref();
        let held = self.held.iter();
        (
            self.name.as_str(),
            failing.map(|failing| (failing.since, failing.step.as_str())),
            held.map(|one| (one.service.as_deref(), one.count))
                .collect::<Vec<_>>(),
            self.stale,
        )
    }
}

/// Whether something has become wrong or right between these, so that it should be known soon.
#[must_use]
pub fn is_alarm(before: &[TargetStatus], now: &[TargetStatus]) -> bool {
    let wrong = |all: &'_ [TargetStatus]| all.iter().any(TargetStatus::is_wrong);
    (wrong(before) || wrong(now))
        && (before.len() != now.len()
            || before
                .iter()
                .zip(now)
                .any(|(before, now)| before.alarm() != now.alarm()))
}

/// As JSON, in one line.
#[must_use]
pub fn encode(all: &[TargetStatus]) -> String {
    // There are no maps and no floats that could fail.
    serde_json::to_string(all).unwrap_or_default()
}

/// What another watcher says; what cannot be read says nothing.
#[must_use]
pub fn decode(text: &str) -> Vec<TargetStatus> {
    let all: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    let one = |value| serde_json::from_value(value).ok();
    all.into_iter().filter_map(one).collect()
}

/// The first characters, without line breaks and other control characters.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    if line.chars().count() <= REASON {
        return line;
    }
    line.chars().take(REASON - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> TargetStatus {
        TargetStatus {
            name: "haproxy".to_owned(),
            since: Some(100),
            revision: Some(7),
            failing: Some(Failing::new(
                120,
                "check",
                "refused\n  line 3:\tno such thing",
            )),
            owed: true,
            held: vec![HeldService {
                service: Some("web".to_owned()),
                count: 2,
                since: 110,
                until: None,
                why: "none is left".to_owned(),
            }],
            stale: Some(90),
        }
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let good = TargetStatus {
            name: "haproxy".to_owned(),
            since: Some(100),
            revision: Some(7),
            ..TargetStatus::default()
        };
        assert_eq!(
            encode(std::slice::from_ref(&good)),
            r#"[{"name":"haproxy","since":100,"revision":7}]"#
        );
        let text = encode(&[wrong(), good.clone()]);
        assert_eq!(decode(&text), [wrong(), good]);
        assert_eq!(
            encode(&[wrong()]),
            "[{\"name\":\"haproxy\",\"since\":100,\"revision\":7,\"failing\":{\"since\":120,\"step\":\"check\",\"why\":\
             \"refused line 3: no such thing\"},\"owed\":true,\"held\":[{\"service\":\"web\",\"count\":2,\"since\":110,\
             \"why\":\"none is left\"}],\"stale\":90}]"
        );
    }

    #[test]
    fn what_another_version_writes_is_read_as_far_as_it_goes() {
        let text = r#"[{"name":"a","later":{"x":1}},7,{"since":3},{"name":"b","held":[]}]"#;
        let names: Vec<String> = decode(text).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(decode("no json"), []);
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let failing = Failing::new(1, "check", &"é\u{1b}[31m\n".repeat(300));
        assert_eq!(failing.why.chars().count(), REASON);
        assert!(!failing.why.contains(char::is_control), "{failing:?}");
    }

    #[test]
    fn only_what_becomes_wrong_or_right_is_an_alarm() {
        let good = TargetStatus {
            failing: None,
            held: Vec::new(),
            stale: None,
            ..wrong()
        };
        let later = |one: &TargetStatus| TargetStatus {
            since: Some(500),
            revision: Some(9),
            owed: false,
            ..one.clone()
        };
        let alarm = |a: &TargetStatus, b: &TargetStatus| {
            is_alarm(std::slice::from_ref(a), std::slice::from_ref(b))
        };
        assert!(alarm(&good, &wrong()) && alarm(&wrong(), &good));
        assert!(!alarm(&good, &later(&good)) && !alarm(&wrong(), &later(&wrong())));
        assert!(is_alarm(&[wrong()], &[]) && !is_alarm(std::slice::from_ref(&good), &[]));
        let mut more = wrong();
        more.held[0].count = 3;
        assert!(alarm(&wrong(), &more));
    }
}
