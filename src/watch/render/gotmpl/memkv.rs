//! The keys as confd's own little store answers, where that is not what [`Keys`] answers: it takes a key letter by
//! letter, and shows no directories at the root. Pure.

use crate::watch::render::glob::Glob;
use crate::watch::render::keys::{KeyError, Keys, Pair};

/// Whether a key is written as keys are stored: `/a/b`, not `a/b`, `/a//b` or `/a/b/`.
fn is_exact(key: &str) -> bool {
    key.len() > 1 && key.starts_with('/') && !key.ends_with('/') && !key.contains("//")
}

/// Whether exactly this key exists.
pub(super) fn exists(keys: &Keys, key: &str) -> bool {
    is_exact(key) && keys.exists(key)
}

/// The value of exactly this key, if it exists.
pub(super) fn value<'k>(keys: &'k Keys, key: &str) -> Result<Option<&'k str>, KeyError> {
    if is_exact(key) {
        keys.value(key)
    } else {
        Ok(None)
    }
}

/// The pairs whose keys match the pattern as a whole, sorted by key.
pub(super) fn matching(keys: &Keys, pattern: &str) -> Result<Vec<Pair>, KeyError> {
    // A star takes no slash, so one in front of the first takes nothing.
    let rooted = pattern.trim_start_matches('*');
    if is_exact(rooted) {
        return keys.matching(rooted);
    }
    // No key matches such a pattern, but the pattern itself may be wrong.
    Glob::parse(pattern)?;
    Ok(Vec::new())
}

/// A directory at or below which every match of a pattern lies. It need not be the deepest.
pub(super) fn literal_dir(pattern: &str) -> &str {
    let rooted = pattern.trim_start_matches('*');
    let end = rooted.find(['*', '?', '[', '\\']);
    let literal = &rooted[..end.unwrap_or(rooted.len())];
    literal.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// The path as confd compares it: cleaned, but not given the slash it lacks; nothing if no key can lie there.
pub(super) fn cleaned(path: &str) -> Option<String> {
    let parts = path.strip_prefix('/')?.split('/');
    let mut clean = Vec::new();
    for part in parts {
        match part {
            "" | "." => {}
            ".." => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    Some(format!("/{}", clean.join("/")))
}

/// The names right below a path. At the root these are the keys only, as confd has it.
pub(super) fn list(keys: &Keys, path: &str) -> Result<Vec<String>, KeyError> {
    let (given, Some(path)) = (path, cleaned(path)) else {
        return Ok(Vec::new());
    };
    if given != path && keys.exists(&path) && path != "/" {
        // A path with a slash at its end asks for what lies below the key, not for the key.
        return below(keys, &path);
    }
    let mut names = keys.list(&path)?;
    if path == "/" {
        names.retain(|name| keys.exists(&format!("/{name}")));
    }
    Ok(names)
}

/// The names right below a key.
fn below(keys: &Keys, path: &str) -> Result<Vec<String>, KeyError> {
    let dirs = keys.list_dirs(path)?;
    let mut names = keys.list(path)?;
    names.retain(|name| dirs.contains(name) || keys.exists(&format!("{path}/{name}")));
    Ok(names)
}

/// The names right below a path that have something below them; at the root there are none, as confd has it.
pub(super) fn list_dirs(keys: &Keys, path: &str) -> Result<Vec<String>, KeyError> {
    match cleaned(path).as_deref() {
        None | Some("/") => Ok(Vec::new()),
        Some(path) => keys.list_dirs(path),
    }
}
