//! The style of a file in conf.d, and the language of a template.

use std::path::Path;

/// How a file in conf.d is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// In sidekick's own style, strictly: a mistake in one file stops all targets at the start.
    Own,
    /// As confd reads it: a mistake stops its own target only.
    Confd,
}

/// Whether a template is written for Tera, by the ending of its name. Any other template is written for Go.
#[must_use]
pub fn is_tera(src: &Path) -> bool {
    src.extension().is_some_and(|ending| ending == "tera")
}
