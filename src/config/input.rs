//! The settings of an instance as written on the command line or in a file, before they are checked.

use std::fmt::Display;
use std::ops::Range;

use super::Problem;
use super::toml_file::TomlFile;

/// The text of one setting, with the name and the place that a problem with it is reported under.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) text: String,
    /// The name of the setting: `--port`, or `service.port`.
    pub(super) label: String,
    /// Its place in the file, if it stands in a file.
    pub(super) span: Option<Range<usize>>,
}

/// All settings of an instance.
#[derive(Debug, Default)]
pub(super) struct RawInstance {
    pub(super) name: Option<Setting>,
    pub(super) prefix: Option<Setting>,
    /// The ports, each with its name if it has one.
    pub(super) ports: Vec<(Option<Setting>, Setting)>,
    pub(super) ip: Option<Setting>,
    pub(super) host: Option<Setting>,
    pub(super) id: Option<Setting>,
    pub(super) weight: Option<Setting>,
    /// Names and values; `None` where a flag has no `=`.
    pub(super) attrs: Vec<(Setting, Option<Setting>)>,
    pub(super) take_over: Option<Setting>,
    pub(super) shared: Option<Setting>,
    pub(super) checks: RawChecks,
}

/// The settings of an instance's checks.
#[derive(Debug, Default)]
pub(super) struct RawChecks {
    pub(super) list: Vec<Setting>,
    pub(super) interval: Option<Setting>,
    pub(super) timeout: Option<Setting>,
    pub(super) rise: Option<Setting>,
    pub(super) fall: Option<Setting>,
    pub(super) status: Option<Setting>,
    pub(super) headers: Vec<Setting>,
    pub(super) body: Option<Setting>,
}

impl Setting {
    /// A setting that was given with a flag.
    pub(super) fn flag(label: &str, text: &str) -> Self {
        Self {
            text: text.to_owned(),
            label: label.to_owned(),
            span: None,
        }
    }

    /// Parses the text, or reports the problem.
    pub(super) fn parse<T, E: Display>(
        &self,
        found: &mut Problems<'_, '_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(&self.text)
            .map_err(|error| found.report(self, error))
            .ok()
    }
}

/// Collects the problems with settings. Problems in a file go to its [`TomlFile`], which knows the lines.
#[derive(Default)]
pub(super) struct Problems<'d, 't> {
    pub(super) document: Option<&'d TomlFile<'t>>,
    pub(super) problems: Vec<Problem>,
}

impl Problems<'_, '_> {
    /// Reports a problem with a setting.
    pub(super) fn report(&mut self, said: &Setting, what: impl Display) {
        self.report_with_hint(said, what, None);
    }

    /// Reports a problem with a setting, and what to do about it.
    pub(super) fn report_with_hint(
        &mut self,
        said: &Setting,
        what: impl Display,
        hint: Option<&str>,
    ) {
        let what = format!("{}: {what}", said.label);
        if let (Some(document), Some(span)) = (self.document, &said.span) {
            document.report_with_hint(span, what, hint);
        } else {
            let mut problem = Problem::with(what);
            problem.hint = hint.map(str::to_owned);
            self.problems.push(problem);
        }
    }
}
