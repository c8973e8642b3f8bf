//! Paths in settings.

use std::path::{Path, PathBuf};

/// Parses an absolute path.
pub(super) fn parse_absolute_path(text: &str) -> Result<PathBuf, String> {
    match Path::new(text) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(format!("{text:?} is not an absolute path")),
    }
}
