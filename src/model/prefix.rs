//! A path under which keys lie. Pure.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A path under which keys lie, compared on path boundaries: `/services/web` covers `/services/web` and
/// `/services/web/a`, and does not cover `/services/webserver`. Cheap to clone: many tables have the directory of an instance as
/// their key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(Arc<str>);

/// Why a text cannot be a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "prefix {0:?} is not a path: it starts with a slash and has no empty, . or .. parts and no control characters"
)]
pub struct InvalidPrefix(String);

impl Prefix {
    /// Parses a path; slashes at its end are dropped, `/` stands for everything.
    pub fn parse(text: &str) -> Result<Self, InvalidPrefix> {
        let path = text.trim_end_matches('/');
        let part_is_fine =
            |p: &str| !matches!(p, "" | "." | "..") && !p.chars().any(char::is_control);
        let is_path = match path.strip_prefix('/') {
            Some(rest) => rest.split('/').all(part_is_fine),
            None => path.is_empty() && !text.is_empty(),
        };
        if is_path {
            Ok(Self(path.into()))
        } else {
            Err(InvalidPrefix(text.to_owned()))
        }
    }

    /// The path that covers everything.
    #[must_use]
    pub fn root() -> Self {
        Self("".into())
    }

    /// The path without a slash at its end; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `key` is this path or lies below it.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        key.strip_prefix(&*self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path of `name` below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self([&*self.0, "/", name].concat().into())
    }

    /// The deepest path that covers all of `prefixes`; `None` if there are none.
    #[must_use]
    pub fn common(prefixes: impl Iterator<Item = Self>) -> Option<Self> {
        prefixes.reduce(|mut common, other| {
            while !common.covers(&other.0) {
                let end = common.0.rfind('/').unwrap_or_default();
                common = Self(common.0[..end].into());
            }
            common
        })
    }

    /// The fewest of `prefixes` that cover them all.
    #[must_use]
    pub fn widest(mut prefixes: Vec<Self>) -> Vec<Self> {
        prefixes.sort();
        prefixes.dedup();
        let all = prefixes.clone();
        prefixes.retain(|one| {
            !all.iter()
                .any(|other| other != one && other.covers(one.as_str()))
        });
        prefixes
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_paths() {
        for (text, want) in [("/", ""), ("/a/", "/a"), ("/a/b", "/a/b"), ("//", "")] {
            assert_eq!(Prefix::parse(text).map(|p| p.0), Ok(want.into()), "{text}");
        }
        for bad in ["", "a", "a/b", "/a//b", "/a/../b", "/./a", "/a\nb"] {
            assert!(Prefix::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_cover_on_path_boundaries() {
        let prefix = Prefix::parse("/services/web").unwrap();
        assert!(prefix.covers("/services/web"));
        assert!(prefix.covers("/services/web/a"));
        assert!(!prefix.covers("/services/webserver"));
        assert!(!prefix.covers("/services"));
        assert!(Prefix::parse("/").unwrap().covers("/anything"));
    }

    #[test]
    fn the_widest_prefixes_cover_all() {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|t| Prefix::parse(t).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            Prefix::widest(parse(&[
                "/services/web",
                "/a",
                "/services",
                "/services",
                "/ab"
            ])),
            parse(&["/a", "/ab", "/services"])
        );
        assert_eq!(Prefix::widest(parse(&["/a", "/"])), parse(&["/"]));
    }

    #[test]
    fn the_common_path_covers_all_and_ends_at_a_boundary() {
        for (paths, want) in [
            (&["/a/b", "/a/b/c"][..], "/a/b"),
            (&["/a/b/c", "/a/b"], "/a/b"),
            (&["/a/web", "/a/webserver", "/a/db"], "/a"),
            (&["/a", "/b"], "/"),
            (&["/", "/b"], "/"),
            (&["/a"], "/a"),
        ] {
            let paths = paths.iter().map(|path| Prefix::parse(path).unwrap());
            assert_eq!(Prefix::common(paths).unwrap().to_string(), want);
        }
        assert_eq!(Prefix::common(std::iter::empty()), None);
    }
}
