//! A TOML file and all that is found wrong with it, each problem with its line.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, Error as TomlError};

use super::Problem;

/// A file and what is wrong with it.
pub(super) struct Document<'t> {
    file: PathBuf,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    lenient: Cell<bool>,
    /// It has a syntax error.
    is_broken: Cell<bool>,
}

impl<'t> Document<'t> {
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

    /// Parses the file. A syntax error is a problem, and the only one: what the parser makes of the rest is a guess, which
    /// shows in which style the file is and is good for nothing else.
    pub(super) fn parse(&self) -> Spanned<DeTable<'t>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        let first = |error: &&TomlError| error.span().map(|span| span.start);
        if let Some(error) = errors.iter().min_by_key(first) {
            self.say(&error.span().unwrap_or_default(), error.message());
            self.is_broken.set(true);
        }
        root
    }

    /// Notes a problem.
    pub(super) fn say(&self, span: &Range<usize>, what: impl std::fmt::Display) {
        self.note(span, what, None);
    }

    pub(super) fn note(
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

    /// Notes what is no problem, and should be known all the same.
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

    /// How many problems have been noted so far.
    pub(super) fn problem_count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// From now on a key that nobody knows is a warning and no problem.
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

    /// The line on which something begins.
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
