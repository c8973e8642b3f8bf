//! Tells a new failure from one that is in the log already. Pure.
//!
//! A failure is the same as one before
//! - if its text is the same apart from dates, times, process ids and long hashes, which differ each time; or
//! - if the same contents failed at the same step with the same exit status, and the words without a digit are the same.
//!   Other counts and measurements do not make the refusal of the same contents news.

use crate::model::os::Exit;

/// How many different failures are remembered while a target fails; they may alternate.
const REMEMBERED: usize = 16;

/// A publish that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The fingerprint of the contents that were tried, if they could be rendered.
    pub(crate) tried: Option<u64>,
    /// The step that failed.
    pub(crate) step: &'static str,
    /// How the command of that step ended, if it had one.
    pub(crate) exit: Option<Exit>,
    /// The error as the log says it.
    pub(crate) text: String,
}

/// The failures of a target since its last success.
#[derive(Debug, Default)]
pub(crate) struct RecentFailures {
    logged: Vec<Failure>,
    times: usize,
}

impl RecentFailures {
    /// How often the target has failed in a row.
    pub(crate) fn times(&self) -> usize {
        self.times
    }

    /// The same number of failures, of which nothing counts as logged: what fails under a new configuration is news.
    pub(crate) fn renewed(&self) -> Self {
        Self {
            logged: Vec::new(),
            times: self.times,
        }
    }

    /// Takes in a failure; returns whether it still has to be logged.
    pub(crate) fn is_news(&mut self, failure: Failure) -> bool {
        self.times += 1;
        if self.logged.iter().any(|logged| logged.is_same(&failure)) {
            return false;
        }
        if self.logged.len() == REMEMBERED {
            self.logged.remove(0);
        }
        self.logged.push(failure);
        true
    }
}

impl Failure {
    fn is_same(&self, other: &Self) -> bool {
        if (self.step, self.exit) != (other.step, other.exit) {
            return false;
        }
        let is_same_attempt = self.tried.is_some() && self.tried == other.tried;
        lasting(&self.text) == lasting(&other.text)
            || (is_same_attempt && words(&self.text).eq(words(&other.text)))
    }
}

/// The words of a text that have no digit in them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split_whitespace();
    words.filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()))
}

/// A text without the parts that differ each time a program writes it. Other numbers stay, since they may be what is wrong,
/// such as a line or a port.
fn lasting(text: &str) -> String {
    let mut before = "";
    let mut lasting = Vec::new();
    for word in text.split_whitespace() {
        lasting.push(if differs_each_time(word, before) {
            "#".to_owned()
        } else {
            without_pid(word, before)
        });
        before = word;
    }
    lasting.join(" ")
}

/// Whether a word is a time, a part of a date, a process id in parentheses, or a long hash.
fn differs_each_time(word: &str, before: &str) -> bool {
    let is_punctuation = |c: char| "[](),;:".contains(c);
    let (core, before) = (
        word.trim_matches(is_punctuation),
        before.trim_matches(is_punctuation),
    );
    let is_day = |word: &str| DAYS.contains(&word);
    let is_month = |word: &str| MONTHS.contains(&word);
    let in_parentheses = word.trim_end_matches([':', ',']);
    let in_parentheses = in_parentheses
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    let is_hash = |word: &str| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        word.len() >= 16 && word.bytes().all(is_hex)
    };
    is_time(core)
        || is_day(core)
        || is_month(core)
        || (is_number(core) && is_month(before) && core.len() <= 2)
        || (is_number(core) && is_time(before) && core.len() == 4)
        || in_parentheses.is_some_and(is_number)
        || is_hash(core)
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a word is a time of day, a date, or both: `13:07:40.25`, `2026/11/26`, `2026-11-26T13:07:40Z`, and the `329/130740` of an old
/// HAProxy.
fn is_time(word: &str) -> bool {
    let mut parts = word.split(|c: char| "/-:.,TZ+".contains(c));
    let all_numbers = parts.all(|part| part.is_empty() || is_number(part));
    let lengths: Vec<usize> = word.split(['/', '-', ':', 'T']).map(str::len).collect();
    let is_one = match lengths.as_slice() {
        [4, 2, 2, ..] | [1..=3, 6] => true,
        [2, 2, seconds] => *seconds >= 2,
        _ => false,
    };
    all_numbers && is_one
}

/// A word with its process id left out: `5075#5075:`, `nginx[5075]:`, `pid=5075`, and what follows the word `pid`.
fn without_pid(word: &str, before: &str) -> String {
    let (start, rest) = leading_number(word);
    if let Some(other) = rest.strip_prefix('#')
        && !start.is_empty()
        && is_number(other.trim_end_matches(':'))
    {
        return "#".to_owned();
    }
    if let Some((name, pid)) = word.split_once('[')
        && let Some(pid) = pid.strip_suffix("]:")
        && !name.is_empty()
        && is_number(pid)
    {
        return format!("{name}[#]:");
    }
    let names_a_process = |word: &str| {
        let letters = |c: char| !c.is_ascii_alphabetic();
        let last = word.rsplit(letters).find(|part| !part.is_empty());
        last.is_some_and(|last| ["pid", "PID", "tid", "process"].contains(&last))
    };
    if let Some((name, pid)) = word.split_once('=')
        && names_a_process(name)
    {
        return format!("{name}=#{}", leading_number(pid).1);
    }
    if !start.is_empty() && names_a_process(before) {
        return format!("#{rest}");
    }
    word.to_owned()
}

fn leading_number(word: &str) -> (&str, &str) {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    word.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Failure {
        Failure {
            tried: None,
            step: "check",
            exit: Some(Exit::Code(1)),
            text: text.to_owned(),
        }
    }

    /// Messages of daemons: one error at two times, and another error of the same kind.
    const MESSAGES: &[(&str, &str, &str)] = &[
        // HAProxy 2.2.
        (
            "[ALERT] 329/130740 (5066) : parsing [/etc/h.cfg:2] : unknown keyword 'bogus' in 'global' section",
            "[ALERT] 329/130742 (17) : parsing [/etc/h.cfg:2] : unknown keyword 'bogus' in 'global' section",
            "[ALERT] 329/130742 (17) : parsing [/etc/h.cfg:3] : unknown keyword 'bogus' in 'global' section",
        ),
        // HAProxy 2.6, 3.0 and 3.2.
        (
            "[NOTICE]   (5066) : haproxy version is 2.6.12-1+deb12u4 / [ALERT]    (5066) : config : parsing [h.cfg:2] : \
             unknown keyword 'bogus' in 'global' section",
            "[NOTICE]   (6001) : haproxy version is 2.6.12-1+deb12u4 / [ALERT]    (6001) : config : parsing [h.cfg:2] : \
             unknown keyword 'bogus' in 'global' section",
            "[NOTICE]   (6001) : haproxy version is 2.6.12-1+deb12u4 / [ALERT]    (6001) : config : parsing [h.cfg:2] : \
             unknown keyword 'bogus2' in 'global' section",
        ),
        (
            "[ALERT]    (5066) : Starting frontend f: cannot bind socket (Address already in use) [127.0.0.1:8080]",
            "[ALERT]    (99) : Starting frontend f: cannot bind socket (Address already in use) [127.0.0.1:8080]",
            "[ALERT]    (99) : Starting frontend f: cannot bind socket (Address already in use) [127.0.0.1:8081]",
        ),
        // nginx, to its standard error and to its log.
        (
            "2026/11/26 13:07:40 [emerg] 5075#5075: unknown directive \"nonsense\" in /etc/n.conf:2 / nginx: configuration \
             file /etc/n.conf test failed",
            "2026/11/27 01:07:41 [emerg] 80#80: unknown directive \"nonsense\" in /etc/n.conf:2 / nginx: configuration \
             file /etc/n.conf test failed",
            "2026/11/27 01:07:41 [emerg] 80#80: unknown directive \"nonsense\" in /etc/n.conf:12 / nginx: configuration \
             file /etc/n.conf test failed",
        ),
        (
            "2026/11/26 13:07:40 [emerg] 5077#0: bind() to 127.0.0.1:80 failed (98: Address already in use)",
            "2026/11/26 13:07:45 [emerg] 5078#0: bind() to 127.0.0.1:80 failed (98: Address already in use)",
            "2026/11/26 13:07:45 [emerg] 5078#0: bind() to 127.0.0.1:81 failed (98: Address already in use)",
        ),
        // Apache.
        (
            "[Thu Nov 26 13:07:40.123456 2026] [core:emerg] [pid 5079:tid 140141] (98)Address already in use: AH00072: \
             make_sock: could not bind to address 127.0.0.1:80",
            "[Fri Dec 04 03:07:40.5 2026] [core:emerg] [pid 80:tid 7] (98)Address already in use: AH00072: \
             make_sock: could not bind to address 127.0.0.1:80",
            "[Fri Dec 04 03:07:40.5 2026] [core:emerg] [pid 80:tid 7] (98)Address already in use: AH00072: \
             make_sock: could not bind to address 127.0.0.1:443",
        ),
        (
            "AH00526: Syntax error on line 5 of /etc/a.conf: / Invalid command 'Nonsense'",
            "AH00526: Syntax error on line 5 of /etc/a.conf: / Invalid command 'Nonsense'",
            "AH00526: Syntax error on line 6 of /etc/a.conf: / Invalid command 'Nonsense'",
        ),
        // syslog, ISO, a key with a value; and our own words.
        (
            "Nov 26 13:07:40 web1 nginx[5075]: pid=5075 time 2026-11-26T13:07:40.123Z no port 80",
            "Nov  3 03:07:40 web1 nginx[80]: pid=80 time 2026-12-26T03:07:40Z no port 80",
            "Nov  3 03:07:40 web1 nginx[80]: pid=80 time 2026-12-26T03:07:40Z no port 81",
        ),
        (
            "nginx (process 5075) HAS ENDED; process 12 of the pidfile /run/1.pid cannot be sent SIGHUP; generation \
             d3a4f7000000abcd",
            "nginx (process 80) HAS ENDED; process 13 of the pidfile /run/1.pid cannot be sent SIGHUP; generation \
             0000f700000012cd",
            "nginx (process 80) HAS ENDED; process 13 of the pidfile /run/2.pid cannot be sent SIGHUP; generation \
             0000f700000012cd",
        ),
        ("line 5 (a) (7)", "line 5 (a) (8)", "line 5 (b) (8)"),
        ("line 5 (a) (7)", "line 5 (a) (8)", "line 5 (a)"),
        ("no host 10.0.0.1", "no host 10.0.0.1", "no host 10.0.0.2"),
    ];

    #[test]
    fn a_failure_is_news_once_whatever_times_and_process_ids_its_text_has() {
        for (first, again, other) in MESSAGES {
            let mut failures = RecentFailures::default();
            assert!(failures.is_news(check(first)), "{first}");
            assert!(!failures.is_news(check(again)), "{again}");
            assert!(failures.is_news(check(other)), "{other}");
            assert!(!failures.is_news(check(first)), "it alternates: {first}");
            assert_eq!(failures.times(), 4);
        }
    }

    #[test]
    fn the_same_contents_that_fail_with_other_counts_are_no_news() {
        let of = |tried, step, exit, text: &str| Failure {
            tried,
            step,
            exit: Some(Exit::Code(exit)),
            text: text.to_owned(),
        };
        let mut failures = RecentFailures::default();
        assert!(failures.is_news(of(Some(1), "check", 1, "refused after 0.12s, 7 workers")));
        for (failure, is_news) in [
            (
                of(Some(1), "check", 1, "refused after 3.4s, 9 workers"),
                false,
            ),
            (
                of(Some(2), "check", 1, "refused after 3.4s, 9 workers"),
                true,
            ),
            (
                of(Some(1), "check", 2, "refused after 0.12s, 7 workers"),
                true,
            ),
            (
                of(Some(1), "reload", 1, "refused after 0.12s, 7 workers"),
                true,
            ),
            (of(Some(1), "check", 1, "no such host"), true),
            (of(None, "check", 1, "refused after 8s, 1 workers"), true),
        ] {
            assert_eq!(failures.is_news(failure.clone()), is_news, "{failure:?}");
        }
    }

    #[test]
    fn a_bounded_number_of_failures_is_remembered() {
        let mut failures = RecentFailures::default();
        for line in 0..=REMEMBERED {
            assert!(failures.is_news(check(&format!("line {line}"))));
        }
        assert!(failures.is_news(check("line 0")), "the oldest is forgotten");
    }
}
