//! What somebody said of an instance, on the command line or in a file, before it is known whether it means anything.

use std::fmt::Display;
use std::ops::Range;

use super::Problem;
use super::toml_file::Document;

/// A text as it was written, what it is called there, and where it stands if it stands in a file.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) text: String,
    /// `--port`, or `service.port`.
    pub(super) label: String,
    pub(super) span: Option<Range<usize>>,
}

/// An instance.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) name: Option<Said>,
    pub(super) prefix: Option<Said>,
    /// Each with its name, if it has one.
    pub(super) ports: Vec<(Option<Said>, Said)>,
    pub(super) ip: Option<Said>,
    pub(super) host: Option<Said>,
    pub(super) id: Option<Said>,
    pub(super) weight: Option<Said>,
    /// Names and values.
    pub(super) attrs: Vec<(Said, Option<Said>)>,
    pub(super) take_over: Option<Said>,
    pub(super) shared: Option<Said>,
    pub(super) checks: RawChecks,
}

/// What it has to pass.
#[derive(Debug, Default)]
pub(super) struct RawChecks {
    pub(super) list: Vec<Said>,
    pub(super) interval: Option<Said>,
    pub(super) timeout: Option<Said>,
    pub(super) rise: Option<Said>,
    pub(super) fall: Option<Said>,
    pub(super) status: Option<Said>,
    pub(super) headers: Vec<Said>,
    pub(super) body: Option<Said>,
}

impl Said {
    /// What was given with a flag.
    pub(super) fn flag(label: &str, text: &str) -> Self {
        Self {
            text: text.to_owned(),
            label: label.to_owned(),
            span: None,
        }
    }

    /// Parsed, or a problem noted.
    pub(super) fn parse<T, E: Display>(
        &self,
        found: &mut Found<'_, '_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(&self.text)
            .map_err(|error| found.say(self, error))
            .ok()
    }
}

/// The problems found so far; those of a file are kept by its document.
#[derive(Default)]
pub(super) struct Found<'d, 't> {
    pub(super) document: Option<&'d Document<'t>>,
    pub(super) problems: Vec<Problem>,
}

impl Found<'_, '_> {
    /// Something is wrong with what was said.
    pub(super) fn say(&mut self, said: &Said, what: impl Display) {
        self.note(said, what, None);
    }

    /// The same, with advice.
    pub(super) fn note(&mut self, said: &Said, what: impl Display, hint: Option<&str>) {
        let what = format!("{}: {what}", said.label);
        if let (Some(document), Some(span)) = (self.document, &said.span) {
            document.note(span, what, hint);
        } else {
            let mut problem = Problem::with(what);
            problem.hint = hint.map(str::to_owned);
            self.problems.push(problem);
        }
    }
}
