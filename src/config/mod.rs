//! What the command line, the environment and the files of conf.d mean. Every problem is found at once.

mod check;
mod document;
mod duration;
mod raw;
mod registration;
mod services;
mod store;
mod target;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use duration::parse_duration;
pub use registration::{Announcement, IdSpec, Ownership, Registration, addresses, registration};
pub use services::announcements;
pub use store::location;
pub use target::{Owner, Reload, Sources, Target, Targets, targets};

use crate::cli;

/// The environment, as far as it is text.
pub type Env = BTreeMap<String, String>;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file and the line, if it stands in a file.
    pub place: Option<(PathBuf, Option<usize>)>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with what was typed, or with the environment.
    #[must_use]
    pub fn with(what: impl fmt::Display) -> Self {
        Self {
            place: None,
            what: what.to_string(),
            hint: None,
        }
    }

    /// A problem in a file.
    #[must_use]
    pub fn in_file(file: &Path, line: Option<usize>, what: impl fmt::Display) -> Self {
        Self {
            place: Some((file.to_owned(), line)),
            ..Self::with(what)
        }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Self {
            hint: Some(hint.to_string()),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some((file, Some(line))) => write!(f, "{}:{line}: {}", file.display(), self.what),
            Some((file, None)) => write!(f, "{}: {}", file.display(), self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// How `sidekick watch` goes about its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Publish once and leave.
    pub once: bool,
    /// How long to wait for the store before leaving, if there is a limit.
    pub timeout: Option<std::time::Duration>,
    /// Change nothing.
    pub noop: bool,
    /// Print diffs.
    pub diff: bool,
    /// The longest time between two comparisons of a file with what it should be.
    pub interval: std::time::Duration,
}

/// What the flags of `sidekick watch` mean.
pub fn pass(args: &cli::Watch) -> Result<Pass, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut time = |flag: &str, text: &str| {
        parse_duration(text).unwrap_or_else(|what| {
            problems.push(Problem::with(format!("{flag}: {what}")));
            std::time::Duration::MAX
        })
    };
    let interval = time("--interval", &args.interval);
    let timeout = args.timeout.as_deref().map(|text| time("--timeout", text));
    if interval.is_zero() {
        problems.push(Problem::with("--interval: it must be longer than nothing"));
    }
    if timeout.is_some() && !args.once && !args.noop {
        problems.push(
            Problem::with("--timeout has a meaning with --once or --noop only")
                .hint("without them sidekick waits for the store for ever"),
        );
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Pass {
        once: args.once || args.noop,
        timeout,
        noop: args.noop,
        diff: args.diff,
        interval,
    })
}
