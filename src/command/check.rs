//! `sidekick check`. Shell.

use std::io::Write;

use serde::Serialize;

use super::{Job, Opening, Surroundings, print, print_json};
use crate::cli::{Check, Format};
use crate::config::{self, Problem};
use crate::error::{self, Failure};
use crate::model::report::code;
use crate::watch::{self, Findings};

pub(super) fn resolve(args: Check, here: &Surroundings) -> Job {
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), &here.host);
    let is_quiet = here.output.is_quiet();
    let work = async move {
        let mut found = watch::check(&conf_dir, &args.targets)?;
        if is_quiet {
            found.warnings.clear();
        }
        match args.format {
            Format::Json => print_json(&CheckAnswer::new(&found))?,
            Format::Table => print_findings(&found, is_quiet)?,
        }
        let is_good = found.mistakes.is_empty();
        Ok(if is_good { 0 } else { code::CONFIG })
    };
    Job::new(work).opening(Opening::default().warning_of(&here.host))
}

fn print_findings(found: &Findings, is_quiet: bool) -> Result<(), Failure> {
    let _ = write!(std::io::stderr(), "{}", error::format_findings(found));
    if is_quiet {
        return Ok(());
    }
    print(format_args!("{}\n", error::format_summary(found)))
}

/// What was found, as JSON.
#[derive(Serialize)]
struct CheckAnswer<'a> {
    /// How many targets were looked at.
    targets: usize,
    mistakes: Vec<Finding<'a>>,
    warnings: Vec<Finding<'a>>,
}

/// One mistake or warning.
#[derive(Serialize)]
struct Finding<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl<'a> CheckAnswer<'a> {
    fn new(found: &'a Findings) -> Self {
        let all = |problems: &'a [Problem]| problems.iter().map(Finding::new).collect();
        Self {
            targets: found.targets,
            mistakes: all(&found.mistakes),
            warnings: all(&found.warnings),
        }
    }
}

impl<'a> Finding<'a> {
    fn new(problem: &'a Problem) -> Self {
        let place = problem.place.as_ref();
        Self {
            file: place.map(|(file, _)| file.display().to_string()),
            line: place.and_then(|(_, line)| *line),
            text: &problem.what,
            hint: problem.hint.as_deref(),
        }
    }
}
