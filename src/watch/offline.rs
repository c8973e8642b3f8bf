//! Rendering without a store: the targets of a configuration, from a file that stands for one. Shell.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use super::kept::{Kept, print};
use super::load::Loaded;
use super::publish::Difference;
use crate::model::catalog::Catalog;
use crate::model::report::{chain, code};
use crate::model::update::{Entries, Prefix, Snapshot, Update};
use crate::system::file;

/// Why a fixture cannot stand for a store.
#[derive(Debug, Error)]
pub enum FixtureError {
    /// It cannot be read.
    #[error("the fixture {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error("the fixture {} is not JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Something in it is no key or no value.
    #[error("the fixture {} has {what} at {key}; a value is a text, a number, true or false", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is there.
        what: &'static str,
    },
}

/// Reads keys and values: an object whose names are paths, nested or not.
pub fn fixture(path: &Path) -> Result<Entries, FixtureError> {
    let text = std::fs::read(path).map_err(|source| FixtureError::Read {
        path: path.to_owned(),
        source,
    })?;
    let value = serde_json::from_slice(&text).map_err(|source| FixtureError::Json {
        path: path.to_owned(),
        source,
    })?;
    let mut entries = Entries::new();
    flatten(String::new(), &value, &mut entries).map_err(|(key, what)| FixtureError::Value {
        path: path.to_owned(),
        key,
        what,
    })?;
    Ok(entries)
}

fn flatten(key: String, value: &Value, into: &mut Entries) -> Result<(), (String, &'static str)> {
    let text = match value {
        Value::Object(map) => {
            return map.iter().try_for_each(|(name, value)| {
                flatten(format!("{key}/{}", name.trim_matches('/')), value, into)
            });
        }
        Value::Array(_) => return Err((key, "a list")),
        Value::Null => return Err((key, "null")),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
    };
    into.insert(key.into(), text.into_bytes().into());
    Ok(())
}

/// What to do with what is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Print it.
    Text,
    /// Print how it differs from the live file.
    Diff,
}

/// Renders the targets from a fixture; the exit status is 2 if a diff was asked for and there is one.
pub fn render(
    targets: Vec<Loaded>,
    entries: Entries,
    prefix: &Prefix,
    env: BTreeMap<String, String>,
    show: Show,
) -> u8 {
    let mut catalog = Catalog::new(prefix.clone());
    let snapshot = Snapshot {
        entries,
        ..Snapshot::default()
    };
    let changes = catalog.apply(&Prefix::root(), Update::Reset(snapshot));
    for (dir, error) in &changes.skipped {
        tracing::warn!("{dir} is skipped: {error}");
    }
    let (catalog, env) = (Arc::new(catalog), Arc::new(env));
    let many = targets.iter().map(|loaded| loaded.target.outputs.len());
    let many = many.sum::<usize>() > 1;
    let mut status = 0;
    for loaded in targets {
        let kept = Kept::new(loaded, prefix);
        let Loaded {
            target, templates, ..
        } = &*kept.loaded;
        let views = kept.views(&catalog, &env);
        for ((output, template), view) in target.outputs.iter().zip(templates).zip(&views) {
            let shown = match template.render(view) {
                Ok(text) if show == Show::Diff => differs(&output.dest, text),
                Ok(text) => {
                    print_text(many.then_some(&*output.dest), &text);
                    Ok(false)
                }
                Err(error) => Err(chain(&error)),
            };
            match shown {
                Ok(differs) if differs && status == 0 => status = code::PENDING,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!("{}: {error}", target.name);
                    status = code::FAILED;
                }
            }
        }
    }
    status
}

fn print_text(dest: Option<&Path>, text: &str) {
    let head = dest.map(|dest| format!("==> {} <==\n", dest.display()));
    // Nobody reads it: nothing is lost.
    let _ = write!(
        std::io::stdout().lock(),
        "{}{text}",
        head.unwrap_or_default()
    );
}

/// Prints how a text differs from the live file, if it does.
fn differs(dest: &Path, after: String) -> Result<bool, String> {
    let look =
        file::look(dest).map_err(|error| format!("cannot read {}: {error}", dest.display()))?;
    let before = look.map(|look| look.content).unwrap_or_default();
    let differs = before != after.as_bytes();
    if differs {
        print(dest, &Difference { before, after });
    }
    Ok(differs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, FixtureError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let entries = fixture(file.path())?;
        let pair = |(key, value): (&Arc<str>, &Arc<[u8]>)| {
            format!("{key}={}", String::from_utf8_lossy(value))
        };
        Ok(entries.iter().map(pair).collect())
    }

    #[test]
    fn flat_and_nested_keys() {
        let want = ["/services/web/a/ip=10.0.0.1", "/services/web/a/port=80"];
        for text in [
            r#"{"/services/web/a/ip": "10.0.0.1", "/services/web/a/port": 80}"#,
            r#"{"services": {"web": {"a": {"ip": "10.0.0.1", "port": "80"}}}}"#,
            r#"{"/services/web/": {"a/ip": "10.0.0.1", "a": {"port": 80}}}"#,
        ] {
            assert_eq!(read(text).unwrap(), want, "{text}");
        }
        for text in ["", "[1]", r#"{"a": null}"#, r#"{"a": [1]}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
