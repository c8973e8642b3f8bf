//! What a shell may complete: services and instances of the store, targets of conf.d. Shell.

use std::path::Path;
use std::time::Duration;

use super::{Surroundings, open};
use crate::cli::{ColorWhen, Noun, OutputArgs, StoreArgs, Typed};
use crate::config::{self, StorePlace};
use crate::model::catalog::Catalog;
use crate::model::update::Update;

/// How long somebody who types waits for the store.
const PATIENCE: Duration = Duration::from_millis(300);

/// All values of a kind, sorted. Nothing is there where it cannot be had in time: a completion has no place for an error.
#[must_use]
pub fn list_values(noun: Noun, typed: &Typed) -> Vec<String> {
    let here = Surroundings::read(OutputArgs {
        color: ColorWhen::Never,
        quiet: 0,
        verbose: 0,
    });
    match noun {
        Noun::Target => targets(&config::conf_dir(typed.conf_dir.as_deref(), &here.host)),
        Noun::Service | Noun::Instance => {
            let place = here.choose_store(typed.store.as_ref().unwrap_or(&StoreArgs::default()));
            let catalog = place.ok().and_then(|place| read_in_time(&place));
            names(noun, typed, &catalog.unwrap_or_default())
        }
    }
}

fn targets(conf_dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(conf_dir.join("conf.d"));
    let names = files.into_iter().flatten().filter_map(|file| {
        let path = file.ok()?.path();
        let stem = path.file_stem()?.to_str()?.to_owned();
        let is_config = path.extension().is_some_and(|kind| kind == "toml");
        (is_config && !stem.starts_with('.')).then_some(stem)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn names(noun: Noun, typed: &Typed, catalog: &[(String, Vec<String>)]) -> Vec<String> {
    let is_meant = |name: &str| typed.service.as_deref() == Some(name);
    match noun {
        Noun::Instance => {
            let meant = catalog.iter().find(|(name, _)| is_meant(name));
            meant.map(|(_, ids)| ids.clone()).unwrap_or_default()
        }
        Noun::Service | Noun::Target => catalog.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// Each service with the ids of its instances.
fn read_in_time(place: &StorePlace) -> Option<Vec<(String, Vec<String>)>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let read = async {
        let store = open(place).ok()?;
        store.snapshot(&place.prefix).await.ok()
    };
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, read).await });
    runtime.shutdown_background();
    let mut catalog = Catalog::new(place.prefix.clone());
    catalog.apply(&place.prefix, Update::Reset(answer.ok()??));
    let services = catalog.services().iter();
    let ids = services.map(|(name, instances)| {
        let ids = instances.keys().map(ToString::to_string);
        (name.as_str().to_owned(), ids.collect())
    });
    Some(ids.collect())
}
