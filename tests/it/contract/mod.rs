//! The contract of a store, as one suite that runs against every implementation.
//!
//! A [`Bench`] makes stores to test. What only some stores can undergo (a compaction, a stopped process) is a trait of its
//! own, and a bench that lacks it gets none of those tests. [`contract!`] turns the cases into tests:
//!
//! ```ignore
//! mod dir {
//!     contract!(DirBench: read, edits, core, follow, stop, rebuild);
//! }
//! ```
//!
//! Stores that are only read get `read`, whose keys each store has from the start in its own way, and `edits` and
//! `edits_stop` if a hand can change them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sidekick::model::key::Entries;
use sidekick::model::lease_id::LeaseId;
use sidekick::model::prefix::Prefix;
use sidekick::model::publication::{Claim, Publication, Standing};
use sidekick::model::update::{Revision, Update};
use sidekick::store::{Followed, Store, StoreError, Watch, follow};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::harness::PATIENCE;

pub(crate) mod core;
pub(crate) mod edits;
pub(crate) mod faults;
mod fencing;
pub(crate) mod following;
pub(crate) mod leases;
pub(crate) mod read;
pub(crate) mod set_state;

mod dir;
mod env;
mod etcd;
mod file;

/// The shortest TTL that a store has to honour.
pub(crate) const SHORT: Duration = Duration::from_secs(2);
/// A TTL that no test outlives.
pub(crate) const LONG: Duration = Duration::from_secs(5 * 60);

/// Makes a store to read. Dropping it ends the store.
pub(crate) trait Reads: Sized {
    /// A store that has exactly these keys.
    async fn holding(keys: &[(&str, &str)]) -> Self;
    /// A client of the store; a further one with each call.
    fn reader(&self) -> Arc<dyn Store>;
}

impl<B: Bench> Reads for B {
    async fn holding(keys: &[(&str, &str)]) -> Self {
        let bench = B::start().await;
        for (key, value) in keys {
            bench.set(key, value.as_bytes()).await;
        }
        bench
    }

    fn reader(&self) -> Arc<dyn Store> {
        self.store()
    }
}

/// Makes a store to test. Dropping the bench ends the store.
pub(crate) trait Bench: Sized {
    /// A new, empty store that answers.
    async fn start() -> Self;
    /// A client of the store; a further one with each call.
    fn store(&self) -> Arc<dyn Store>;
    /// Sets a key as a person would, without a lease.
    async fn set(&self, key: &str, value: &[u8]);
    /// Deletes a key as a person would.
    async fn delete(&self, key: &str);
}

/// What is there of one publication on this lease.
pub(crate) async fn verify(
    store: &Arc<dyn Store>,
    lease: LeaseId,
    publication: &Publication,
) -> Result<Standing, StoreError> {
    let found = store.verify(lease, std::slice::from_ref(publication)).await;
    found.map(|mut found| found.remove(0))
}

/// A store that can be away and come back with what it had.
pub(crate) trait Stop: Bench {
    /// Until [`Stop::restart`], nobody answers.
    async fn stop(&mut self);
    /// It answers again, at the same place.
    async fn restart(&mut self);
}

/// A store that can fall silent with its connections open.
pub(crate) trait Pause: Bench {
    /// It neither answers nor closes anything.
    async fn pause(&mut self);
    /// It goes on.
    async fn resume(&mut self);
}

/// A store that keeps a history and can forget it.
pub(crate) trait Compact: Bench {
    /// Forgets everything before now.
    async fn compact(&mut self);
}

/// A store that can be wiped and made anew at the same place.
pub(crate) trait Rebuild: Bench {
    /// A new and empty store is there, which knows neither leases nor revisions of the old one.
    async fn rebuild(&mut self);
}

/// Makes a test of each case of the named groups, against the bench.
macro_rules! contract {
    ($bench:ty: $($group:ident),+ $(,)?) => { $($crate::contract::contract!(@$group $bench);)+ };
    (@read $bench:ty) => {
        $crate::contract::contract!(@seeded $bench, read:
            everything_below_a_path_is_listed,
            values_are_texts_of_any_kind,
            a_watch_leads_from_any_revision_to_the_present,
            all_clients_see_the_same,
            a_reader_follows_from_the_start,
            keys_of_hands_hang_on_no_lease,
        );
    };
    (@edits $bench:ty) => {
        $crate::contract::contract!(@tests $bench, edits:
            keys_come_change_and_go,
            an_edit_elsewhere_is_not_seen,
            no_edit_is_lost_between_list_and_watch,
            revisions_rise_with_edits,
            a_reader_follows_every_edit,
        );
    };
    (@edits_stop $bench:ty) => {
        $crate::contract::contract!(@tests $bench, edits: a_reader_outlives_a_stop);
    };
    (@core $bench:ty) => {
        $crate::contract::contract!(@tests $bench, core:
            an_instance_is_seen_whole_or_not_at_all,
            a_publication_is_never_split,
            fewer_fields_remove_the_others,
            only_what_has_changed_is_an_event,
            no_fields_withdraw,
            the_published_field_wins,
            hand_set_keys_stay,
            hand_set_keys_outlive_the_lease,
            hand_set_keys_come_and_go,
            two_writers_in_parallel,
            nothing_is_lost_between_list_and_watch,
            prefixes_end_at_path_boundaries,
            a_prefix_may_be_a_key_or_a_part_of_an_instance,
            values_are_bytes,
            fifty_thousand_keys,
            revisions_rise,
        );
        $crate::contract::contract!(@tests $bench, leases:
            an_expired_lease_takes_all_its_keys_at_once,
            a_revoked_lease_takes_all_its_keys_at_once,
            keep_alive_outlives_the_ttl,
            a_dead_lease_is_lost,
            an_unknown_lease_is_lost,
            the_new_owner_outlives_a_revoked_old_one,
            the_new_owner_outlives_an_expired_old_one,
            ttls_are_never_shortened,
            the_time_left_of_leases_is_told,
        );
        $crate::contract::contract!(@tests $bench, set_state:
            a_mark_is_a_later_change_and_goes_with_its_lease,
            what_does_not_stand_is_not_marked,
            an_owner_leaves_a_state_alone,
            a_hand_changes_any_state,
            a_state_outlives_a_publication_on_its_lease,
        );
        $crate::contract::contract!(@tests $bench, fencing:
            the_same_endpoint_takes_over_at_once,
            another_endpoint_is_a_conflict_until_its_owner_is_gone,
            a_take_over_takes_over_and_the_old_owner_sees_it,
            what_hands_delete_does_not_stand,
            what_stands_of_several_is_one_question,
            what_is_taken_back_is_our_own,
            a_lease_of_a_wanted_id_is_joined_and_lives_as_long_as_one_renews_it,
        );
    };
    (@follow $bench:ty) => {
        $crate::contract::contract!(@tests $bench, following: a_follower_ends_with_the_state_of_the_store);
    };
    (@stop $bench:ty) => {
        $crate::contract::contract!(@tests $bench, faults: a_stopped_store_is_unavailable_in_time);
    };
    (@follow_stop $bench:ty) => {
        $crate::contract::contract!(@tests $bench, following:
            a_follower_survives_a_stop,
            a_follower_starts_before_the_store,
        );
    };
    (@rebuild $bench:ty) => {
        $crate::contract::contract!(@tests $bench, faults: a_rebuilt_store_knows_no_lease);
    };
    (@follow_rebuild $bench:ty) => {
        $crate::contract::contract!(@tests $bench, following:
            a_follower_survives_a_rebuild,
            a_follower_notices_a_rebuild_to_nothing,
        );
    };
    (@pause $bench:ty) => {
        $crate::contract::contract!(@tests $bench, faults: a_paused_store_is_unavailable_in_time);
    };
    (@follow_pause $bench:ty) => {
        $crate::contract::contract!(@tests $bench, following: a_follower_survives_a_pause);
    };
    (@compact $bench:ty) => {
        $crate::contract::contract!(@tests $bench, faults: a_watch_from_lost_history_says_so_or_resets);
    };
    (@follow_compact $bench:ty) => {
        $crate::contract::contract!(@tests $bench, following: a_follower_survives_a_compaction);
    };
    (@seeded $bench:ty, $module:ident: $($case:ident),+ $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            $crate::contract::$module::$case::<$bench>().await;
        }
    )+ };
    (@tests $bench:ty, $module:ident: $($case:ident),+ $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            $crate::contract::$module::$case(<$bench as $crate::contract::Bench>::start().await).await;
        }
    )+ };
}
pub(crate) use contract;

pub(crate) fn prefix(path: &str) -> Prefix {
    Prefix::parse(path).expect("a test names a path")
}

pub(crate) fn publication(dir: &str, fields: &[(&str, &str)]) -> Publication {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    Publication {
        dir: prefix(dir),
        fields,
        state: None,
        claim: Claim::default(),
        predecessors: std::collections::BTreeSet::new(),
    }
}

pub(crate) fn withdrawal(dir: &str) -> Publication {
    publication(dir, &[])
}

/// Keys and values that a test can write down.
pub(crate) type Readable = BTreeMap<String, String>;

pub(crate) fn readable(entries: &Entries) -> Readable {
    entries
        .iter()
        .map(|(key, value)| (key.to_string(), String::from_utf8_lossy(value).into_owned()))
        .collect()
}

pub(crate) fn expected(pairs: &[(&str, &str)]) -> Readable {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Everything under a path, now.
pub(crate) async fn keys(store: &Arc<dyn Store>, path: &str) -> Readable {
    let snapshot = store
        .snapshot(&prefix(path))
        .await
        .expect("take a snapshot");
    readable(&snapshot.entries)
}

pub(crate) async fn grant(store: &Arc<dyn Store>, ttl: Duration) -> LeaseId {
    store.grant(ttl, None).await.expect("grant a lease").0
}

pub(crate) async fn publish(
    store: &Arc<dyn Store>,
    lease: LeaseId,
    dir: &str,
    fields: &[(&str, &str)],
) -> Revision {
    let publication = publication(dir, fields);
    store.publish(lease, &publication).await.expect("publish")
}

/// Folds updates into a state.
#[derive(Default)]
pub(crate) struct Fold {
    pub(crate) entries: Entries,
    pub(crate) updates: usize,
}

impl Fold {
    pub(crate) fn apply(&mut self, update: Update) {
        use sidekick::model::update::Change;
        self.updates += 1;
        match update {
            Update::Reset(snapshot) => self.entries = snapshot.entries,
            Update::Changed { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Put(key, value) => drop(self.entries.insert(key, value)),
                        Change::Delete(key) => drop(self.entries.remove(&key)),
                    }
                }
            }
        }
    }
}

/// A watch with the state that it has led to.
pub(crate) struct Watcher {
    watch: Box<dyn Watch>,
    pub(crate) fold: Fold,
    pub(crate) revision: Revision,
}

impl Watcher {
    /// Lists, then watches what comes after.
    pub(crate) async fn start(store: &Arc<dyn Store>, path: &str) -> Self {
        let prefix = prefix(path);
        let snapshot = store.snapshot(&prefix).await.expect("take a snapshot");
        let (after, mut fold) = (snapshot.revision, Fold::default());
        fold.apply(Update::Reset(snapshot));
        let watch = store.watch(&prefix, after).await.expect("watch");
        Self {
            watch,
            fold,
            revision: after,
        }
    }

    /// Waits for one update.
    pub(crate) async fn step(&mut self) -> &Entries {
        let update = timeout(PATIENCE, self.watch.next())
            .await
            .expect("waited in vain for an update")
            .expect("the watch goes on");
        let revision = update.revision();
        assert!(revision >= self.revision, "revisions never go back");
        self.revision = revision;
        self.fold.apply(update);
        &self.fold.entries
    }

    /// Waits until the state is as wanted; every state on the way is shown to `check`.
    pub(crate) async fn until(
        &mut self,
        mut done: impl FnMut(&Entries) -> bool,
        mut check: impl FnMut(&Entries),
    ) {
        while !done(&self.fold.entries) {
            check(self.step().await);
        }
    }

    /// Waits until exactly these keys are there.
    pub(crate) async fn until_is(&mut self, want: &Readable) {
        self.until(|entries| readable(entries) == *want, |_| {})
            .await;
    }
}

/// A running [`follow`] with the state that it has led to.
pub(crate) struct Follower {
    task: tokio::task::JoinHandle<()>,
    from: mpsc::Receiver<Followed>,
    pub(crate) fold: Fold,
    pub(crate) outages: usize,
    pub(crate) restored: usize,
}

impl Follower {
    pub(crate) fn start(store: Arc<dyn Store>, path: &str) -> Self {
        let (to, from) = mpsc::channel(16);
        let prefix = prefix(path);
        Self {
            task: tokio::spawn(async move { follow(store, prefix, to).await }),
            from,
            fold: Fold::default(),
            outages: 0,
            restored: 0,
        }
    }

    /// Waits until `done`, which sees the follower after each thing that it was told.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let told = async {
            while !done(self) {
                match self.from.recv().await {
                    Some(Followed::Update(update)) => self.fold.apply(update),
                    Some(Followed::Outage(_)) => self.outages += 1,
                    Some(Followed::Restored(_)) => self.restored += 1,
                    None => panic!("the follower ended while waiting for {what}"),
                }
            }
        };
        let told = timeout(PATIENCE, told).await;
        assert!(told.is_ok(), "the follower waited in vain for {what}");
    }

    pub(crate) async fn until_is(&mut self, want: &Readable) {
        let what = format!("{want:?}");
        self.until(&what, |f| {
            f.fold.updates > 0 && readable(&f.fold.entries) == *want
        })
        .await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Fails unless the lease was named lost.
#[track_caller]
pub(crate) fn assert_lost<T: std::fmt::Debug>(lease: LeaseId, answer: Result<T, StoreError>) {
    assert_eq!(
        answer.expect_err("the lease is dead"),
        StoreError::LeaseLost(lease)
    );
}
