//! Renders and checks the targets of a configuration without a store: from a file with keys and values, a fixture. Shell.
//!
//! `what_if` adds instances to a fixture and removes them; `check` is `sidekick check`.
//!
//! Rule: this room runs no command and changes no file.

mod check;
mod what_if;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

pub use self::check::{Findings, check};
pub use self::what_if::{Change, WhatIfError};

use super::conf::load::{Configuration, Loaded, format_hint};
use super::publish::{Difference, print_diff};
use super::render::{RenderError, stamp};
use super::target::state::{TargetState, paths};
use crate::model::catalog::Catalog;
use crate::model::fixture::{self, Fault};
use crate::model::instance::ServiceName;
use crate::model::key::Entries;
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::model::report::{chain, code};
use crate::model::update::{Snapshot, Update};
use crate::system::{file, output};

/// Why a fixture cannot be used.
#[derive(Debug, Error)]
pub enum FixtureError {
    /// The file cannot be read.
    #[error("{} cannot be read", name(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is no valid fixture.
    #[error("{} cannot be used", name(path))]
    Fault {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Fault,
    },
}

/// A fixture in a sentence.
fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "the fixture on standard input".to_owned()
    } else {
        format!("the fixture {}", path.display())
    }
}

/// Reads the keys and values of a fixture; `-` is standard input. A fixture is an object in JSON or YAML whose names are paths,
/// nested or not, or what `etcdctl get -w json` prints.
pub fn read_fixture(path: &Path) -> Result<Entries, FixtureError> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|source| FixtureError::Read {
        path: path.to_owned(),
        source,
    })?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let format = fixture::find_format(extension, &text);
    fixture::parse(&text, format).map_err(|source| FixtureError::Fault {
        path: path.to_owned(),
        source,
    })
}

/// Makes changes to a fixture, in their order.
pub fn change_fixture(
    mut entries: Entries,
    prefix: &Prefix,
    changes: &[Change],
) -> Result<Entries, WhatIfError> {
    for change in changes {
        change.apply(&mut entries, prefix)?;
    }
    Ok(entries)
}

/// Those of the changed services that none of the targets follows: no difference shows what becomes of them.
#[must_use]
pub fn unfollowed<'c>(
    targets: &Configuration,
    prefix: &Prefix,
    changes: &'c [Change],
) -> BTreeSet<&'c ServiceName> {
    let targets = targets.good.iter();
    let followed: Vec<Prefix> = targets.flat_map(|one| paths(one, prefix)).collect();
    let is_followed = |service: &ServiceName| {
        let path = prefix.join(service.as_str());
        let mut followed = followed.iter();
        // A target may follow keys above or below the service.
        followed.any(|one| one.covers(path.as_str()) || path.covers(one.as_str()))
    };
    let services = changes.iter().map(Change::service);
    services.filter(|service| !is_followed(service)).collect()
}

/// What to print of a rendered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The whole text.
    Text,
    /// The difference from the live file.
    Diff,
}

/// Renders the targets from a fixture and prints them. Returns the exit status: 0, [`code::FAILED`] if a target failed, or
/// [`code::PENDING`] if [`Show::Diff`] was asked for and a file differs.
///
/// # Errors
/// Standard output cannot be written.
pub fn render(
    targets: Configuration,
    entries: Entries,
    prefix: &Prefix,
    env: BTreeMap<String, String>,
    show: Show,
) -> io::Result<u8> {
    let mut catalog = Catalog::new(prefix.clone());
    let snapshot = Snapshot {
        entries,
        ..Snapshot::default()
    };
    let changes = catalog.apply(&Prefix::root(), Update::Reset(snapshot));
    for (dir, error) in &changes.skipped {
        let (service, instance) = keyspace::service_and_id(dir);
        tracing::warn!(service, instance, %error, "{dir} is skipped: {error}");
    }
    let (catalog, env) = (Arc::new(catalog), Arc::new(env));
    let Configuration {
        good: targets, bad, ..
    } = targets;
    let mut status = 0;
    for one in bad {
        for problem in &one.problems {
            tracing::error!(
                target = one.name,
                error = %problem,
                "{}: {problem}{}",
                one.name,
                format_hint(problem)
            );
        }
        status = code::FAILED;
    }
    let many = targets.iter().map(|loaded| loaded.target.outputs.len());
    let many = many.sum::<usize>() > 1;
    for loaded in targets {
        let state = TargetState::new(loaded, prefix, "");
        let Loaded {
            target, templates, ..
        } = &*state.loaded;
        let views = state.views(&catalog, &env);
        let pairs = templates.iter().zip(&views);
        let disputes = pairs
            .clone()
            .flat_map(|(template, view)| template.disputes(view));
        for dispute in disputes.collect::<BTreeSet<String>>() {
            tracing::warn!(target = target.name, "{}: {dispute}", target.name);
        }
        let texts = pairs.map(|(template, view)| template.render(view));
        let mut texts: Vec<Result<String, RenderError>> = texts.collect();
        stamp(texts.iter_mut().flatten());
        for (output, text) in target.outputs.iter().zip(texts) {
            let shown = match text {
                Ok(text) if show == Show::Diff => match difference(&output.dest, text) {
                    Ok(Some(difference)) => {
                        print_diff(&output.dest, &difference)?;
                        Ok(true)
                    }
                    Ok(None) => Ok(false),
                    Err(error) => Err(error),
                },
                Ok(text) => {
                    print_text(many.then_some(&*output.dest), &text)?;
                    Ok(false)
                }
                Err(error) => Err(chain(&error)),
            };
            match shown {
                Ok(differs) if differs && status == 0 => status = code::PENDING,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(target = target.name, %error, "{}: {error}", target.name);
                    status = code::FAILED;
                }
            }
        }
    }
    Ok(status)
}

fn print_text(dest: Option<&Path>, text: &str) -> io::Result<()> {
    let head = dest.map(|dest| format!("==> {} <==\n", dest.display()));
    output::print_foreign(&format!("{}{text}", head.unwrap_or_default()))
}

/// The live file and the new text, if they differ.
fn difference(dest: &Path, after: String) -> Result<Option<Difference>, String> {
    let look =
        file::read(dest).map_err(|error| format!("cannot read {}: {error}", dest.display()))?;
    let before = look.map(|look| look.content).unwrap_or_default();
    let differs = before != after.as_bytes();
    Ok(differs.then_some(Difference { before, after }))
}
