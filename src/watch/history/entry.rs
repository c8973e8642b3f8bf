//! One event of a target, as a line of the history in JSON. The form of the line is stable: fields may be added, and empty ones
//! are left out. Pure.

use serde::{Deserialize, Serialize};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// The files were replaced, and the program was reloaded.
    Reloaded,
    /// The files were replaced, and the running HAProxy was changed without a reload.
    Runtime,
    /// The files were replaced; the target has no program to reload.
    Written,
    /// The files were replaced, and the reload has to wait.
    ReloadOwed,
    /// The reload that was owed has been made.
    OwedReload,
    /// The files were right, and the running HAProxy was made equal to them.
    Reconciled,
    /// Nothing had to be changed any more after failures.
    Recovered,
    /// A step failed before anything was changed, or could not be undone.
    Failed,
    /// The program refused the files, and the previous ones are back.
    RolledBack,
    /// The guard began to hold something.
    Held,
    /// The guard holds it no longer.
    HoldEnded,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Action {
    /// The name of the action in tables.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reloaded => "reloaded",
            Self::Runtime => "runtime",
            Self::Written => "written",
            Self::ReloadOwed => "reload owed",
            Self::OwedReload => "owed reload",
            Self::Reconciled => "reconciled",
            Self::Recovered => "recovered",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Held => "held",
            Self::HoldEnded => "hold ended",
            Self::Unknown => "unknown",
        }
    }
}

/// How long a step took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// `render`, `runtime`, `check`, `swap`, `verify` or `reload`.
    pub(crate) step: String,
    /// In microseconds.
    pub(crate) took_us: u64,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When it ended, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) target: String,
    pub(crate) action: Action,
    /// The revision of the store that was rendered; 0 before the first answer of the store.
    #[serde(default)]
    pub(crate) revision: u64,
    /// What had happened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) cause: String,
    /// What went wrong, and at which step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub(crate) took_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<Step>,
    /// The files that were replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<String>,
    /// The unified difference of these, as far as it is short.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) diff: String,
}

impl Entry {
    /// As one line of JSON, with its end.
    pub(crate) fn encode(&self) -> String {
        // There are no maps and no floats that could fail.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// The entries of a file. A line that is damaged, or was cut off by a crash, is passed over.
    pub(crate) fn decode_all(text: &str) -> impl Iterator<Item = Self> {
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            at: 1_795_662_720,
            target: "haproxy".to_owned(),
            action: Action::ReloadOwed,
            revision: 7,
            cause: "+web/b".to_owned(),
            error: String::new(),
            took_ms: 12,
            steps: vec![Step {
                step: "render".to_owned(),
                took_us: 900,
            }],
            files: vec!["/etc/haproxy.cfg".to_owned()],
            diff: "-a\n+b\n".to_owned(),
        }
    }

    #[test]
    fn an_entry_is_a_line() {
        assert_eq!(
            entry().encode(),
            "{\"at\":1795662720,\"target\":\"haproxy\",\"action\":\"reload-owed\",\"revision\":7,\"cause\":\"+web/b\",\
             \"took_ms\":12,\"steps\":[{\"step\":\"render\",\"took_us\":900}],\"files\":[\"/etc/haproxy.cfg\"],\
             \"diff\":\"-a\\n+b\\n\"}\n"
        );
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        let good = entry().encode();
        let later = good.replace("reload-owed", "something-new");
        let text = format!("{}{good}no json\n\n{later}{}", &good[20..], &good[..30]);
        let read: Vec<Entry> = Entry::decode_all(&text).collect();
        let unknown = Entry {
            action: Action::Unknown,
            ..entry()
        };
        assert_eq!(read, [entry(), unknown]);
    }
}
