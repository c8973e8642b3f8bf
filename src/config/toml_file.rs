//! A TOML file with the problems and warnings that are found in it, each with its line.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, Error as TomlError};

use super::Problem;

/// A TOML file and the problems found in it so far.
pub(super) struct TomlFile<'t> {
    file: PathBuf,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// Whether an unknown key is a warning only.
    lenient: Cell<bool>,
    /// Whether it has a syntax error; further problems are then not reported.
    is_broken: Cell<bool>,
}

impl<'t> TomlFile<'t> {
    pub(super) fn new(file: &Path, text: &'t str) -> Self {
        Self {
            file: file.to_owned(),
            text,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            lenient: Cell::new(false),
            is_broken: Cell::new(false),
        }
    }

    /// Parses the file. A syntax error is reported as the only problem: the parser guesses the rest of the file, and the
    /// guess is used for nothing but the style of the file.
    pub(super) fn parse(&self) -> Spanned<DeTable<'t>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        let first = |error: &&TomlError| error.span().map(|span| span.start);
        if let Some(error) = errors.iter().min_by_key(first) {
            self.report(&error.span().unwrap_or_default(), error.message());
            self.is_broken.set(true);
        }
        root
    }

    /// Reports a problem.
    pub(super) fn report(&self, span: &Range<usize>, what: impl std::fmt::Display) {
        self.report_with_hint(span, what, None);
    }

    pub(super) fn report_with_hint(
        &self,
        span: &Range<usize>,
        what: impl std::fmt::Display,
        hint: Option<&str>,
    ) {
        if self.is_broken.get() {
            return;
        }
        let problem = self.problem(span, what, hint);
        self.problems.borrow_mut().push(problem);
    }

    /// Reports a warning.
    pub(super) fn warn(
        &self,
        span: &Range<usize>,
        what: impl std::fmt::Display,
        hint: Option<&str>,
    ) {
        if self.is_broken.get() {
            return;
        }
        let problem = self.problem(span, what, hint);
        self.warnings.borrow_mut().push(problem);
    }

    /// How many problems have been reported so far.
    pub(super) fn problem_count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// From now on an unknown key is a warning and not a problem.
    pub(super) fn be_lenient(&self) {
        self.lenient.set(true);
    }

    pub(super) fn is_lenient(&self) -> bool {
        self.lenient.get()
    }

    fn problem(
        &self,
        span: &Range<usize>,
        what: impl std::fmt::Display,
        hint: Option<&str>,
    ) -> Problem {
        let mut problem = Problem::in_file(&self.file, Some(self.line(span)), what);
        problem.hint = hint.map(str::to_owned);
        problem
    }

    pub(super) fn take_warnings(&self) -> Vec<Problem> {
        let mut warnings = self.warnings.take();
        warnings.sort_by_key(|warning| warning.place.as_ref().and_then(|(_, line)| *line));
        warnings
    }

    /// The number of the line on which a span begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        1 + before.matches('\n').count()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.place.as_ref().and_then(|(_, line)| *line));
        problems
    }
}
