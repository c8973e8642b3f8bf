//! Any sequence of publications, revocations and edits by hand leads to what a simple model says.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::time::Duration;

use proptest::prelude::*;

use super::{Bench, readable};
use crate::model::key::Entries;
use crate::model::prefix::Prefix;
use crate::model::publication::{Claim, Publication};
use crate::model::state_change::STATE;
use crate::model::update::Revision;
use crate::store::Store;
use crate::store::directory::cache::Recheck;
use crate::store::directory::scan::Scanner;

#[derive(Debug, Clone)]
enum Deed {
    Publish {
        lease: usize,
        dir: usize,
        fields: Vec<(usize, u8)>,
    },
    Revoke {
        lease: usize,
    },
    Set {
        dir: usize,
        field: usize,
        value: u8,
    },
    Delete {
        dir: usize,
        field: usize,
    },
}

const DIRS: [&str; 3] = ["/services/web/a", "/services/web/b", "/services/db"];
const FIELDS: [&str; 4] = ["ip", "port", "state", "settings/zone"];

fn deed() -> impl Strategy<Value = Deed> {
    let fields = proptest::collection::vec((0..FIELDS.len(), any::<u8>()), 0..4);
    prop_oneof![
        4 => (0..2usize, 0..DIRS.len(), fields).prop_map(|(lease, dir, fields)| Deed::Publish { lease, dir, fields }),
        1 => (0..2usize).prop_map(|lease| Deed::Revoke { lease }),
        3 => (0..DIRS.len(), 0..FIELDS.len(), any::<u8>())
            .prop_map(|(dir, field, value)| Deed::Set { dir, field, value }),
        1 => (0..DIRS.len(), 0..FIELDS.len()).prop_map(|(dir, field)| Deed::Delete { dir, field }),
    ]
}

/// A model of what a store holds: keys, their leases and values. A published field that somebody has deleted by hand has no
/// value.
#[derive(Default)]
struct Model(BTreeMap<String, (Option<usize>, Option<String>)>);

impl Model {
    fn publish(&mut self, lease: usize, publication: &Publication) {
        let dir = &publication.dir;
        let state = publication.key(STATE);
        let is_withdrawal = publication.fields.is_empty();
        // A state on the same lease stays.
        let stays = |key: &str, (on, value): &(Option<usize>, Option<String>)| {
            !is_withdrawal && key == state && *on == Some(lease) && value.is_some()
        };
        self.0
            .retain(|key, entry| entry.0.is_none() || !dir.covers(key) || stays(key, entry));
        for (field, value) in &publication.fields {
            let value = String::from_utf8(value.clone()).unwrap();
            self.0
                .insert(publication.key(field), (Some(lease), Some(value)));
        }
    }

    fn set(&mut self, key: String, value: String) {
        // An edit of a published field lasts as long as the publication.
        self.0.entry(key).or_insert((None, None)).1 = Some(value);
    }

    fn delete(&mut self, key: &str) {
        if let Some((_, value)) = self.0.get_mut(key) {
            *value = None;
        }
        self.0
            .retain(|_, (lease, value)| lease.is_some() || value.is_some());
    }

    fn readable(&self) -> BTreeMap<String, String> {
        let pairs = self.0.iter();
        pairs
            .filter_map(|(key, (_, value))| Some((key.clone(), value.clone()?)))
            .collect()
    }
}

async fn compare_with_model(deeds: Vec<Deed>) {
    let bench = Bench::new();
    let mut model = Model::default();
    let mut leases = [bench.grant().await, bench.grant().await];
    let all = Prefix::parse("/").unwrap();
    let mut scanner = Scanner::new(bench.layout().clone(), bench.store.clock.clone());
    let mut watch = bench.store.watch(&all, Revision(0)).await.unwrap();
    for deed in deeds {
        let mut dirty = HashSet::new();
        match &deed {
            Deed::Publish { lease, dir, fields } => {
                let fields = fields.iter();
                let publication = Publication {
                    dir: Prefix::parse(DIRS[*dir]).unwrap(),
                    fields: fields
                        .map(|(f, v)| (FIELDS[*f].to_owned(), v.to_string().into_bytes()))
                        .collect(),
                    state: None,
                    claim: Claim::default(),
                    predecessors: std::collections::BTreeSet::new(),
                };
                bench
                    .store
                    .publish(leases[*lease], &publication)
                    .await
                    .unwrap();
                model.publish(*lease, &publication);
            }
            Deed::Revoke { lease } => {
                bench.store.revoke(leases[*lease]).await.unwrap();
                leases[*lease] = bench.grant().await;
                model.0.retain(|_, (owner, _)| *owner != Some(*lease));
            }
            Deed::Set { dir, field, value } => {
                let key = format!("{}/{}", DIRS[*dir], FIELDS[*field]);
                bench.set(&key, &format!("{value}\n"));
                let parent = bench.layout().path_of(&key).parent().unwrap().to_owned();
                dirty.insert(parent.canonicalize().unwrap());
                dirty.insert(bench.layout().path_of(DIRS[*dir]).canonicalize().unwrap());
                model.set(key, value.to_string());
            }
            Deed::Delete { dir, field } => {
                let key = format!("{}/{}", DIRS[*dir], FIELDS[*field]);
                let file = bench.layout().path_of(&key);
                if fs::remove_file(&file).is_ok() {
                    dirty.insert(file.parent().unwrap().canonicalize().unwrap());
                }
                model.delete(&key);
            }
        }
        assert_eq!(bench.keys().await, model.readable(), "after {deed:?}");
        let cached = scanner
            .scan(&all, &Recheck::Only(dirty), &mut |_, _| {})
            .unwrap();
        assert_eq!(
            readable(&cached.entries()),
            model.readable(),
            "cached, after {deed:?}"
        );
    }
    let mut tree = crate::model::key_tree::Tree::default();
    while tree
        .under(&all)
        .map(|(k, v)| (k.to_key(), v.into()))
        .collect::<Entries>()
        != bench.store.snapshot(&all).await.unwrap().entries
    {
        let update = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
        match update.expect("the watch comes to the end").unwrap() {
            crate::model::update::Update::Reset(snapshot) => {
                drop(tree.reset(&all, snapshot.entries));
            }
            crate::model::update::Update::Changed { changes, .. } => drop(tree.apply(changes)),
        }
    }
    // All of it goes, and nothing of the store's own stays.
    for lease in leases {
        bench.store.revoke(lease).await.unwrap();
    }
    assert_eq!(bench.leases(), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_deeds_leads_to_what_the_model_says(deeds in proptest::collection::vec(deed(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare_with_model(deeds));
    }
}
