//! The error with which a command ends: its exit code, and a report in lines of `error:`, `caused by:` and `hint:`.

use std::error::Error;
use std::fmt;

use crate::config::Problem;
use crate::manage::ManageError;
use crate::model::report::{causes, code, counted};
use crate::register::PlanError;
use crate::watch::{Findings, GuardCommandError, HistoryError, LoadError};

/// Why a command has failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    report: String,
}

impl Failure {
    /// The process's exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The failure for mistakes in the command line or the environment, or in a file that they name.
    #[must_use]
    pub fn usage(problems: &[Problem]) -> Self {
        // A mistake in a file is one of the configuration, not of the command line.
        let in_file = problems.iter().any(|problem| problem.place.is_some());
        let code = if in_file { code::CONFIG } else { code::USAGE };
        Self {
            code,
            report: format_problems("error", problems),
        }
    }

    /// The failure for a standard output that cannot be written.
    #[must_use]
    pub fn output(error: &std::io::Error) -> Self {
        Self {
            code: code::OUTPUT,
            report: format!("error: standard output cannot be written\ncaused by: {error}\n"),
        }
    }

    /// The failure for mistakes in the configuration.
    #[must_use]
    pub fn config(problems: &[Problem]) -> Self {
        Self {
            code: code::CONFIG,
            report: format_problems("error", problems),
        }
    }

    /// The failure for a command that has its answer, and the answer is bad.
    #[must_use]
    pub fn failed(error: &(dyn Error + 'static), hint: &str) -> Self {
        Self {
            code: code::FAILED,
            ..Self::unavailable(error, hint)
        }
    }

    /// The failure for something that is needed and not available.
    #[must_use]
    pub fn unavailable(error: &(dyn Error + 'static), hint: &str) -> Self {
        let causes = causes(error).map(|cause| format!("caused by: {cause}\n"));
        let causes = causes.collect::<Vec<_>>().concat();
        let report = format!("error: {error}\n{causes}hint: {hint}\n");
        Self {
            code: code::UNAVAILABLE,
            report,
        }
    }
}

fn format_problems(kind: &str, problems: &[Problem]) -> String {
    let one = |problem: &Problem| {
        let hint = problem.hint.as_ref();
        let hint = hint.map_or_else(String::new, |hint| format!("hint: {hint}\n"));
        format!("{kind}: {problem}\n{hint}")
    };
    problems.iter().map(one).collect::<Vec<_>>().concat()
}

/// Formats the mistakes and warnings of a configuration as lines of `error:`, `warning:` and `hint:`.
#[must_use]
pub fn format_findings(found: &Findings) -> String {
    format_problems("error", &found.mistakes) + &format_problems("warning", &found.warnings)
}

/// Formats the numbers of targets, mistakes and warnings in one line.
#[must_use]
pub fn format_summary(found: &Findings) -> String {
    let mistakes = match found.mistakes.len() {
        0 => "no mistakes".to_owned(),
        count => counted(count, "mistake"),
    };
    let warnings = match found.warnings.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning")),
    };
    format!("{}, {mistakes}{warnings}", counted(found.targets, "target"))
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unknown(problems) => Self::usage(&problems),
            LoadError::Bad(problems) => Self::config(&problems),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let hint = match &error {
            PlanError::Address(..) => {
                "give the address, or a way to find it, with --ip (`ip` in a file); `sidekick ip` explains the choice"
            }
            PlanError::Twice(_) => "give one of them another id",
        };
        Self::unavailable(&error, hint)
    }
}

impl From<GuardCommandError> for Failure {
    fn from(error: GuardCommandError) -> Self {
        let hint = match &error {
            GuardCommandError::State { .. } => {
                "give the state directory of `sidekick watch` with --state-dir"
            }
            GuardCommandError::Unknown { .. } => {
                "a target has the name of its file in conf.d without .toml; --state-dir names the state directory of \
                 `sidekick watch`"
            }
            GuardCommandError::NotRunning(_) => {
                "start it: it renders the announced instances, unless a file would become empty"
            }
            GuardCommandError::NoAnswer { .. } => "look into its log",
        };
        let code = match &error {
            GuardCommandError::Unknown { .. } => code::USAGE,
            GuardCommandError::State { .. }
            | GuardCommandError::NotRunning(_)
            | GuardCommandError::NoAnswer { .. } => code::UNAVAILABLE,
        };
        Self {
            code,
            ..Self::unavailable(&error, hint)
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let hint =
            "the history is in the state directory of `sidekick watch`, which --state-dir names";
        let code = match &error {
            HistoryError::Unknown { .. } => code::USAGE,
            HistoryError::State { .. } | HistoryError::Read { .. } => code::UNAVAILABLE,
        };
        Self {
            code,
            ..Self::unavailable(&error, hint)
        }
    }
}

impl From<ManageError> for Failure {
    fn from(mut error: ManageError) -> Self {
        let hint = match &mut error {
            ManageError::Unknown { similar, .. } => similar.clone().unwrap_or_else(|| {
                "give one of them; --prefix names the path of the services, --store the store".to_owned()
            }),
            ManageError::Nobody { similar, .. } => similar.clone().unwrap_or_else(|| {
                "--prefix names the path of the services, --store the store; an instance counts as soon as it has an ip and \
                 a port"
                    .to_owned()
            }),
            ManageError::Watchers(why) => why.take_hint().unwrap_or_else(|| {
                "`sidekick status` shows what each watcher has applied, to a user who may read below /sidekick/watchers"
                    .to_owned()
            }),
            ManageError::Binary(_) => {
                "a fixture has texts only; --prefix names a path without these keys".to_owned()
            }
            ManageError::Store(why) => why.take_advice(),
        };
        Self::unavailable(&error, &hint)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}
