//! In which style a file of conf.d is written, and in which language a template.

use std::path::Path;

/// How a file in conf.d is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Strictly. A mistake in one file stops all targets at the start.
    Own,
    /// As confd reads it. A mistake stops its own target only.
    Confd,
}

/// Whether a template is in Tera's language; any other is in Go's.
#[must_use]
pub fn is_tera(src: &Path) -> bool {
    src.extension().is_some_and(|ending| ending == "tera")
}
