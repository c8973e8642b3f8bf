//! The raw keys as templates see them: confd's `get`, `gets`, `ls` and `lsdir`, for any engine. Pure.
//!
//! Two things differ from confd on purpose: `ls("/")` and `lsdir("/")` list what is there, and a value that is not UTF-8
//! is an error that names its key.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use super::glob::{Glob, InvalidGlob};
use crate::model::catalog::Catalog;
use crate::model::key::Value;
use crate::model::key_tree::{Tree, is_clean};
use crate::model::prefix::Prefix;

/// Why the keys have no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// There is no such key among those the target lists.
    #[error("key {} does not exist among the keys of this target", .0.escape_debug())]
    Missing(String),
    /// The value is not text.
    #[error("the value of key {} is not UTF-8", .0.escape_debug())]
    NotText(String),
    /// The path holds what no key holds.
    #[error("{} is not a path of keys", .0.escape_debug())]
    Path(String),
    /// The pattern is none.
    #[error(transparent)]
    Pattern(#[from] InvalidGlob),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key, without the root.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The keys under some prefixes of a catalog's tree, relative to a root.
#[derive(Debug, Clone)]
pub struct Keys {
    catalog: Arc<Catalog>,
    scope: Vec<Prefix>,
    root: Prefix,
    /// The keys that are not written as paths are, such as `/a//b` and `/a/`, by the paths that they stand for.
    cleaned: BTreeMap<String, Value>,
    /// The keys of `cleaned` that only mark a directory: `/a/` without a value, as etcd v2 left them.
    markers: BTreeSet<String>,
}

impl Keys {
    /// The keys of `catalog` under `scope`, shown without `root`.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, scope: Vec<Prefix>, root: Prefix) -> Self {
        let scope = Prefix::widest(scope);
        let has_unclean = !catalog.tree().is_clean();
        let unclean = scope.iter().filter(|_| has_unclean);
        let unclean = unclean.flat_map(|prefix| catalog.tree().under(prefix));
        let unclean = unclean.map(|(key, value)| (key.to_key(), value));
        let unclean = unclean.filter(|(key, _)| !is_clean(key));
        let mut cleaned = BTreeMap::new();
        let mut markers = BTreeSet::new();
        for (key, value) in unclean {
            let path = clean(&key);
            if catalog.tree().get(&path).is_some() {
                continue;
            }
            if key.ends_with('/') && value.is_empty() {
                markers.insert(path.clone());
            } else {
                markers.remove(&path);
            }
            cleaned.insert(path, value.into());
        }
        Self {
            catalog,
            scope,
            root,
            cleaned,
            markers,
        }
    }

    /// The prefixes under which keys are visible.
    #[must_use]
    pub fn scope(&self) -> &[Prefix] {
        &self.scope
    }

    /// What the keys are shown without.
    #[must_use]
    pub fn root(&self) -> &Prefix {
        &self.root
    }

    /// All keys, also those that are not visible here.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        self.catalog.tree()
    }

    /// Whether exactly this key exists; a directory is not a key.
    #[must_use]
    pub fn exists(&self, key: &str) -> bool {
        self.bytes(&normal(key)).is_some()
    }

    /// The value of exactly this key, if it exists. A value that is there and empty is empty text.
    pub fn value(&self, key: &str) -> Result<Option<&str>, KeyError> {
        let key = normal(key);
        let Some(bytes) = self.bytes(&key) else {
            return Ok(None);
        };
        text(&key, bytes).map(Some)
    }

    /// The key and its value, or an error if it does not exist.
    pub fn get(&self, key: &str) -> Result<Pair, KeyError> {
        let value = self.value(key)?;
        let value = value.ok_or_else(|| KeyError::Missing(normal(key).into_owned()))?;
        Ok(Pair {
            key: normal(key).into_owned(),
            value: value.to_owned(),
        })
    }

    /// The keys that match a pattern as a whole, with their values, sorted by key. None is no error.
    pub fn matching(&self, pattern: &str) -> Result<Vec<Pair>, KeyError> {
        let pattern = normal(pattern);
        let glob = Glob::parse(&pattern)?;
        let mut pairs = Vec::new();
        let mut failed = None;
        self.each(&self.absolute(glob.literal_dir())?, |key, bytes| {
            if failed.is_none() && glob.matches(key) {
                match text(key, bytes) {
                    Ok(value) => pairs.push(Pair {
                        key: key.to_owned(),
                        value: value.to_owned(),
                    }),
                    Err(error) => failed = Some(error),
                }
            }
        });
        pairs.sort_by(|a, b| a.key.cmp(&b.key));
        failed.map_or(Ok(pairs), Err)
    }

    /// The names right below a path, keys and directories, sorted. Asked for a key, it answers with the key's own name.
    pub fn list(&self, path: &str) -> Result<Vec<String>, KeyError> {
        self.children(path, |_| true)
    }

    /// The names right below a path that have something below them, sorted.
    pub fn list_dirs(&self, path: &str) -> Result<Vec<String>, KeyError> {
        self.children(path, |rest| rest.contains('/'))
    }

    fn children(&self, path: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, KeyError> {
        let path = normal(path);
        let dir = path.trim_end_matches('/');
        // Neighbours in the tree mostly have the same name here.
        let mut names: Vec<String> = Vec::new();
        let is_marked = self
            .markers
            .contains(&format!("{}{dir}", self.root.as_str()));
        self.each(&self.absolute(dir)?, |key, _| {
            let below = key
                .strip_prefix(dir)
                .and_then(|rest| rest.strip_prefix('/'));
            if below.is_none() && is_marked {
                // The path is a directory and no key, so its own name does not lie below it.
                return;
            }
            // The path is a key itself: its name is the last part.
            let rest = below.or_else(|| key.rsplit('/').next()).unwrap_or_default();
            let name = rest.split('/').next().unwrap_or_default();
            if !name.is_empty() && names.last().is_none_or(|last| last != name) && wanted(rest) {
                names.push(name.to_owned());
            }
        });
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn bytes(&self, key: &str) -> Option<&[u8]> {
        let full = match self.root.as_str() {
            "" => Cow::Borrowed(key),
            root => Cow::Owned(format!("{root}{key}")),
        };
        let full = &*full;
        let visible = self.scope.iter().any(|prefix| prefix.covers(full));
        let found = || {
            let clean = self.catalog.tree().get(full);
            clean.or_else(|| self.cleaned.get(full).map(|value| &**value))
        };
        visible.then(found).flatten()
    }

    fn absolute(&self, dir: &str) -> Result<Prefix, KeyError> {
        let full = format!("{}{dir}", self.root.as_str());
        let full = if full.is_empty() { "/" } else { &full };
        Prefix::parse(full).map_err(|_| KeyError::Path(full.to_owned()))
    }

    /// Calls `visit` with every visible key under `dir`, without the root, and its value.
    fn each(&self, dir: &Prefix, mut visit: impl FnMut(&str, &[u8])) {
        let are_clean = self.catalog.tree().is_clean();
        let mut visit = |key: &str, value: &[u8]| {
            if self.root.covers(key) {
                visit(&key[self.root.as_str().len()..], value);
            }
        };
        let mut key = String::new();
        for scope in &self.scope {
            let narrower = if scope.covers(dir.as_str()) {
                dir
            } else if dir.covers(scope.as_str()) {
                scope
            } else {
                continue;
            };
            for (parts, value) in self.catalog.tree().under(narrower) {
                key.clear();
                parts.append_to(&mut key);
                if are_clean || is_clean(&key) {
                    visit(&key, value);
                }
            }
            let cleaned = self.cleaned.iter();
            for (key, value) in cleaned.filter(|(key, _)| narrower.covers(key)) {
                visit(key, value);
            }
        }
    }
}

/// The path that a key stands for, as confd reads it: without empty, `.` and `..` parts and without a slash at its end.
fn clean(key: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in key.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// One slash at the start, none at the end, never two in a row: what people mean when they write `a//b/`.
fn normal(path: &str) -> Cow<'_, str> {
    let is_normal = path.starts_with('/') && !path.ends_with('/') && !path.contains("//");
    if is_normal || path == "/" {
        return Cow::Borrowed(path);
    }
    let parts = path.split('/').filter(|part| !part.is_empty());
    let path: String = parts.flat_map(|part| ["/", part]).collect();
    Cow::Owned(if path.is_empty() {
        "/".to_owned()
    } else {
        path
    })
}

fn text<'a>(key: &str, bytes: &'a [u8]) -> Result<&'a str, KeyError> {
    std::str::from_utf8(bytes).map_err(|_| KeyError::NotText(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::Entries;
    use crate::model::update::{Revision, Snapshot, Update};

    fn keys(entries: &[(&str, &[u8])], scope: &[&str], root: &str) -> Keys {
        let all = Prefix::parse("/").unwrap();
        let mut catalog = Catalog::new(Prefix::parse("/services").unwrap());
        let entries = entries.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let snapshot = Snapshot {
            revision: Revision(1),
            entries: entries.collect::<Entries>(),
        };
        catalog.apply(&all, Update::Reset(snapshot));
        let scope = scope.iter().map(|p| Prefix::parse(p).unwrap()).collect();
        Keys::new(Arc::new(catalog), scope, Prefix::parse(root).unwrap())
    }

    fn sample(scope: &[&str], root: &str) -> Keys {
        let entries: [(&str, &[u8]); 9] = [
            ("/a/x", b"2"),
            ("/a/y", b"1"),
            ("/a/z", b"1"),
            ("/a/d/e", b"deep"),
            ("/a-b/x", b"other"),
            ("/empty", b""),
            ("/bin", b"\xff"),
            ("/top", b"t"),
            ("/mark/", b""),
        ];
        keys(&entries, scope, root)
    }

    #[test]
    fn exact_keys() {
        let keys = sample(&["/"], "/");
        for (key, want) in [
            ("/a/x", Some("2")),
            ("a//x/", Some("2")),
            ("/empty", Some("")),
            ("/a", None),
            ("/no", None),
        ] {
            assert_eq!(keys.value(key), Ok(want), "{key}");
            assert_eq!(keys.exists(key), want.is_some(), "{key}");
        }
        assert_eq!(keys.get("/no"), Err(KeyError::Missing("/no".into())));
        assert_eq!(keys.value("/bin"), Err(KeyError::NotText("/bin".into())));
        assert!(keys.exists("/bin"), "it is there, whatever it holds");
    }

    #[test]
    fn patterns() {
        // The value of /bin is not text, so it is left out of these.
        let texts = sample(&["/a", "/a-b", "/empty", "/top"], "/");
        for (pattern, want) in [
            ("/a/*", vec!["/a/x", "/a/y", "/a/z"]),
            ("/a/[x-y]", vec!["/a/x", "/a/y"]),
            ("/*/x", vec!["/a-b/x", "/a/x"]),
            ("/a*/x", vec!["/a-b/x", "/a/x"]),
            ("/a/x", vec!["/a/x"]),
            ("/*", vec!["/empty", "/top"]),
            ("/nope/*", vec![]),
        ] {
            let pairs = texts.matching(pattern).unwrap();
            let names: Vec<_> = pairs.iter().map(|pair| pair.key.as_str()).collect();
            assert_eq!(names, want, "{pattern}");
        }
        let keys = sample(&["/"], "/");
        assert_eq!(keys.matching("/*"), Err(KeyError::NotText("/bin".into())));
        assert!(matches!(keys.matching("/["), Err(KeyError::Pattern(_))));
    }

    #[test]
    fn lists() {
        let keys = sample(&["/"], "/");
        for (path, all, dirs) in [
            ("/a", vec!["d", "x", "y", "z"], vec!["d"]),
            ("/a/", vec!["d", "x", "y", "z"], vec!["d"]),
            ("/a/x", vec!["x"], vec![]),
            ("/nope", vec![], vec![]),
            (
                "/",
                vec!["a", "a-b", "bin", "empty", "mark", "top"],
                vec!["a", "a-b"],
            ),
            (
                "",
                vec!["a", "a-b", "bin", "empty", "mark", "top"],
                vec!["a", "a-b"],
            ),
        ] {
            assert_eq!(keys.list(path).unwrap(), all, "ls {path}");
            assert_eq!(keys.list_dirs(path).unwrap(), dirs, "lsdir {path}");
        }
        assert!(keys.list("/a/../b").is_err());
    }

    #[test]
    fn keys_that_are_not_written_as_paths() {
        let entries: [(&str, &[u8]); 8] = [
            ("/s/web//a/ip", b"1"),
            ("/s/web/b/ip", b"2"),
            ("/s/web/b//ip", b"not seen"),
            ("/s/web/c/", b""),
            ("/s/web/d/", b""),
            ("/s/web/d/ip", b"3"),
            ("/s/web/./e/../f", b"4"),
            ("/s/other", b""),
        ];
        for (scope, root, at) in [
            ("/s", "/s", "/web"),
            ("/", "/", "/s/web"),
            ("/s/web", "/", "/s/web"),
        ] {
            let keys = keys(&entries, &[scope], root);
            let value = |name: &str| keys.value(&format!("{at}/{name}")).unwrap();
            // A directory that has nothing but its marker is empty; a key lists itself.
            assert_eq!(keys.list(&format!("{at}/c")).unwrap(), [""; 0]);
            assert_eq!(keys.list(&format!("{at}/f")).unwrap(), ["f"]);
            assert_eq!(keys.list_dirs(at).unwrap(), ["a", "b", "d"]);
            assert_eq!(keys.list(at).unwrap(), ["a", "b", "c", "d", "f"]);
            assert_eq!(
                ["a/ip", "b/ip", "c", "d", "d/ip", "f"].map(value),
                [
                    Some("1"),
                    Some("2"),
                    Some(""),
                    Some(""),
                    Some("3"),
                    Some("4")
                ]
            );
            let found = keys.matching(&format!("{at}/*/ip")).unwrap();
            let found: Vec<_> = found.iter().map(|pair| pair.value.as_str()).collect();
            assert_eq!(found, ["1", "2", "3"]);
        }
    }

    #[test]
    fn the_marker_of_a_directory_is_not_below_it() {
        for (entries, all) in [
            (&[("/s/web/", "")][..], &[][..]),
            (&[("/s//web/", "")], &[]),
            (&[("/s/web/", ""), ("/s/web/a/ip", "1")], &["a"]),
            (&[("/s/web/", ""), ("/s/web/web/", "")], &["web"]),
            // These are keys.
            (&[("/s/web", "")], &["web"]),
            (&[("/s//web", "")], &["web"]),
            (&[("/s/web/", "1")], &["web"]),
            (&[("/s/web/", ""), ("/s/web", "")], &["web"]),
        ] {
            let bytes = entries.iter().map(|(key, value)| (*key, value.as_bytes()));
            let entries: Vec<_> = bytes.collect();
            for (root, at) in [("/", "/s/web"), ("/s", "/web")] {
                let keys = keys(&entries, &["/s"], root);
                assert_eq!(keys.list(at).unwrap(), all, "ls {at} of {entries:?}");
                assert!(!keys.list_dirs(at).unwrap().contains(&"web".to_owned()));
            }
        }
    }

    #[test]
    fn only_what_is_listed_is_there() {
        let keys = sample(&["/a", "/top"], "/");
        assert!(keys.exists("/a/x") && keys.exists("/top"));
        assert!(!keys.exists("/a-b/x") && !keys.exists("/empty"));
        assert_eq!(keys.list("/").unwrap(), ["a", "top"]);
        assert_eq!(keys.matching("/*/x").unwrap().len(), 1);
    }

    #[test]
    fn a_root_is_left_out() {
        let keys = sample(&["/a"], "/a");
        assert_eq!(keys.value("/x"), Ok(Some("2")));
        assert!(!keys.exists("/a/x"));
        assert_eq!(keys.list("/").unwrap(), ["d", "x", "y", "z"]);
        let found = keys.matching("/*").unwrap();
        assert_eq!(found[0].key, "/x");
    }
}
