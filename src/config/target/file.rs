//! One file of conf.d: in which style it is, and whether it gives a target.

use std::fs;
use std::io;
use std::path::Path;

use super::{BadTarget, Targets, group};
use crate::config::Problem;
use crate::config::confd::Confd;
use crate::config::style::Style;
use crate::config::toml_file::Document;
use crate::config::toml_table::Section;

/// A file that may give a target.
pub(super) struct File<'a> {
    pub(super) path: &'a Path,
    pub(super) conf_dir: &'a Path,
    /// Its name is `*.toml` and not hidden, and it lies in conf.d itself. Any other is read in confd's style only.
    pub(super) is_plain: bool,
    pub(super) confd: &'a Confd,
}

/// What a file gives.
pub(super) enum Read {
    /// It is none of ours, and was passed over.
    Nothing,
    /// It gives a target, which stands among the good or the bad ones.
    Target,
    /// It gives a bad target that does not show its style.
    InDoubt(BadTarget),
}

impl File<'_> {
    /// Reads it, and puts what it gives into `all`.
    pub(super) fn read(&self, all: &mut Targets) -> Read {
        let text = match fs::read_to_string(self.path) {
            Ok(text) => text,
            // Emacs marks a file as locked by a hidden link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_plain => {
                return Read::Nothing;
            }
            Err(error) => {
                let problem = Problem::in_file(self.path, None, format!("cannot be read: {error}"));
                let style = self.confd.is_there().then_some(Style::Confd);
                return self.bad(style, vec![problem], Vec::new(), all);
            }
        };
        let document = Document::new(self.path, &text);
        let mut root = Section::root(&document);
        let style = self.confd.style(&root);
        if style == Some(Style::Confd) {
            document.be_lenient();
            root.ignore_case();
        } else if !self.is_plain {
            return Read::Nothing;
        }
        let sections = root.one_or_more("template");
        let mut target = None;
        // What is no table at all has been told of already.
        if sections.is_empty() && document.problem_count() == 0 {
            root.miss(&["template"], "there is no table [template]", None);
        } else if !sections.is_empty() {
            let confd = (style == Some(Style::Confd)).then_some(self.confd);
            target = group::target(sections, &document, (self.path, self.conf_dir), confd);
        }
        root.finish(&["[template]"]);
        all.warnings.extend(document.take_warnings());
        let problems = document.into_problems();
        if problems.is_empty() {
            all.good.extend(target);
            return Read::Target;
        }
        self.bad(style, problems, vec![text], all)
    }

    fn bad(
        &self,
        style: Option<Style>,
        problems: Vec<Problem>,
        texts: Vec<String>,
        all: &mut Targets,
    ) -> Read {
        let bad = |style| BadTarget {
            name: group::name(self.path, self.conf_dir),
            file: self.path.to_owned(),
            style,
            problems,
            texts,
        };
        match style {
            Some(style) => {
                all.bad.push(bad(style));
                Read::Target
            }
            None if self.is_plain => Read::InDoubt(bad(Style::Own)),
            None => Read::Nothing,
        }
    }
}
