//! One file of conf.d: finds its style, and reads its target.

use std::fs;
use std::io;
use std::path::Path;

use super::{BadTarget, Targets, group};
use crate::config::Problem;
use crate::config::confd::Confd;
use crate::config::style::Style;
use crate::config::toml_fields::TomlTable;
use crate::config::toml_file::TomlFile;

/// A file that may give a target.
pub(super) struct TargetFile<'a> {
    pub(super) path: &'a Path,
    pub(super) conf_dir: &'a Path,
    /// Whether its name is `*.toml` and not hidden, and it lies in conf.d itself. Any other file gives a target in confd's
    /// style only.
    pub(super) is_plain: bool,
    pub(super) confd: &'a Confd,
}

/// The result of reading a file.
pub(super) enum Read {
    /// The file gives no target and is ignored.
    Nothing,
    /// The file gives a target, which was added to the good or the bad ones.
    Target,
    /// The file gives a bad target, and does not show its style.
    UnknownStyle(BadTarget),
}

impl TargetFile<'_> {
    /// Reads the file, and adds its target to `all`.
    pub(super) fn read(&self, all: &mut Targets) -> Read {
        let text = match fs::read_to_string(self.path) {
            Ok(text) => text,
            // Emacs locks a file by a hidden link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_plain => {
                return Read::Nothing;
            }
            Err(error) => {
                let problem = Problem::in_file(self.path, None, format!("cannot be read: {error}"));
                let style = self.confd.exists().then_some(Style::Confd);
                return self.bad(style, vec![problem], Vec::new(), all);
            }
        };
        let document = TomlFile::new(self.path, &text);
        let mut root = TomlTable::root(&document);
        let style = self.confd.style(&root);
        if style == Some(Style::Confd) {
            document.be_lenient();
            root.ignore_case();
        } else if !self.is_plain {
            return Read::Nothing;
        }
        let tables = root.one_or_more("template");
        let mut target = None;
        // A `template` that is not a table has been reported already.
        if tables.is_empty() && document.problem_count() == 0 {
            root.note_missing(&["template"], "there is no table [template]", None);
        } else if !tables.is_empty() {
            let confd = (style == Some(Style::Confd)).then_some(self.confd);
            target = group::read_target(tables, &document, (self.path, self.conf_dir), confd);
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
            name: group::target_name(self.path, self.conf_dir),
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
            None if self.is_plain => Read::UnknownStyle(bad(Style::Own)),
            None => Read::Nothing,
        }
    }
}
