//! `sidekick export`: what the store has, as a fixture for `sidekick render`. Shell.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::ManageError;
use crate::model::prefix::Prefix;
use crate::store::Store;

/// The keys below a path with their values, as an object in JSON or in YAML.
pub async fn export(
    path: &Prefix,
    is_yaml: bool,
    store: Arc<dyn Store>,
) -> Result<String, ManageError> {
    let snapshot = store.snapshot(path).await.map_err(ManageError::Store)?;
    let mut all = BTreeMap::new();
    let mut binary = Vec::new();
    for (key, value) in &snapshot.entries {
        match std::str::from_utf8(value) {
            Ok(text) => drop(all.insert(key.to_string(), text.to_owned())),
            Err(_) => binary.push(key.to_string()),
        }
    }
    if binary.is_empty() {
        Ok(if is_yaml { yaml(&all) } else { json(&all) })
    } else {
        Err(ManageError::Binary(binary))
    }
}

fn json(all: &BTreeMap<String, String>) -> String {
    // All of it are strings.
    serde_json::to_string_pretty(all).unwrap_or_default() + "\n"
}

/// A string of JSON is one of YAML, too.
fn yaml(all: &BTreeMap<String, String>) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let mut text = String::new();
    for (key, value) in all {
        let _ = writeln!(text, "{}: {}", quoted(key), quoted(value));
    }
    if all.is_empty() {
        text.push_str("{}\n");
    }
    text
}
