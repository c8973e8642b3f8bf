//! Following against a store that plays a script, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use super::*;
use crate::model::key::{Entries, Key};
use crate::model::lease_id::LeaseId;
use crate::model::publication::{Publication, Standing};
use crate::model::state_change::StateChange;
use crate::model::times::LeaseTime;
use crate::model::update::{Change, Snapshot};
use crate::store::BoxFuture;

/// What the store does next; when the script is over it says nothing more.
enum Step {
    List(Result<u64, StoreError>),
    /// What the watch yields, each after a delay; or why it does not open.
    Watch(Result<Vec<Said>, StoreError>),
}

/// What a watch says, and how long it takes to say it.
type Said = (Duration, Result<Update, StoreError>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    List,
    Watch(u64),
}

struct Script {
    steps: Mutex<VecDeque<Step>>,
    calls: Mutex<Vec<(Instant, Call)>>,
}

impl Script {
    fn next(&self, call: Call) -> Option<Step> {
        self.calls.lock().unwrap().push((Instant::now(), call));
        self.steps.lock().unwrap().pop_front()
    }

    fn calls(&self) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(_, call)| *call).collect()
    }

    fn times(&self) -> Vec<Instant> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(at, _)| *at).collect()
    }
}

impl Store for Script {
    fn snapshot<'a>(&'a self, _: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        Box::pin(async {
            match self.next(Call::List) {
                Some(Step::List(answer)) => answer.map(snapshot),
                Some(Step::Watch(_)) => panic!("it lists where it should watch"),
                None => std::future::pending().await,
            }
        })
    }

    fn watch<'a>(
        &'a self,
        _: &'a Prefix,
        after: Revision,
    ) -> BoxFuture<'a, Result<Box<dyn Watch>, StoreError>> {
        Box::pin(async move {
            match self.next(Call::Watch(after.0)) {
                Some(Step::Watch(answer)) => {
                    answer.map(|steps| Box::new(Played(steps.into())) as Box<dyn Watch>)
                }
                Some(Step::List(_)) => panic!("it watches where it should list"),
                None => std::future::pending().await,
            }
        })
    }

    fn verify<'a>(
        &'a self,
        _: LeaseId,
        _: &'a [Publication],
    ) -> BoxFuture<'a, Result<Vec<Standing>, StoreError>> {
        unreachable!("a follower announces nothing")
    }

    fn set_state<'a>(
        &'a self,
        _: &'a StateChange,
    ) -> BoxFuture<'a, Result<Option<Revision>, StoreError>> {
        unreachable!("a follower announces nothing")
    }

    fn lease_times<'a>(
        &'a self,
        _: &'a Prefix,
    ) -> BoxFuture<'a, Result<BTreeMap<Key, LeaseTime>, StoreError>> {
        unreachable!("a follower asks for no times")
    }

    fn grant(
        &self,
        _: Duration,
        _: Option<LeaseId>,
    ) -> BoxFuture<'_, Result<(LeaseId, Duration), StoreError>> {
        unreachable!("a follower needs no lease")
    }

    fn publish<'a>(
        &'a self,
        _: LeaseId,
        _: &'a Publication,
    ) -> BoxFuture<'a, Result<Revision, StoreError>> {
        unreachable!("a follower writes nothing")
    }

    fn keep_alive(&self, _: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        unreachable!("a follower needs no lease")
    }

    fn revoke(&self, _: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        unreachable!("a follower needs no lease")
    }
}

struct Played(VecDeque<Said>);

impl Watch for Played {
    fn next(&mut self) -> BoxFuture<'_, Result<Update, StoreError>> {
        Box::pin(async {
            let Some((delay, answer)) = self.0.pop_front() else {
                return std::future::pending().await;
            };
            tokio::time::sleep(delay).await;
            answer
        })
    }
}

fn snapshot(revision: u64) -> Snapshot {
    Snapshot {
        revision: Revision(revision),
        entries: Entries::new(),
    }
}

fn changed(revision: u64) -> Update {
    Update::Changed {
        revision: Revision(revision),
        changes: vec![Change::Delete(format!("/{revision}").into())],
    }
}

fn down() -> StoreError {
    StoreError::Unavailable {
        store: "the script".to_owned(),
        reason: "it says so".to_owned(),
        hint: None,
    }
}

fn compacted() -> StoreError {
    StoreError::HistoryLost {
        after: Revision(0),
        reason: "it says so".to_owned(),
    }
}

const NOW: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

/// Plays a script, and stops when nothing has been heard for `quiet`.
async fn play(steps: Vec<Step>, quiet: Duration) -> (Arc<Script>, Vec<String>) {
    let script = Arc::new(Script {
        steps: Mutex::new(steps.into()),
        calls: Mutex::default(),
    });
    let (to, mut from) = mpsc::channel(1);
    let store: Arc<dyn Store> = script.clone();
    let following = tokio::spawn(follow(store, Prefix::parse("/").unwrap(), to));
    let mut heard = Vec::new();
    while let Ok(Some(followed)) = tokio::time::timeout(quiet, from.recv()).await {
        heard.push(match followed {
            Followed::Update(Update::Reset(snapshot)) => format!("reset {}", snapshot.revision),
            Followed::Update(update) => format!("changed {}", update.revision()),
            Followed::Outage(StoreError::Unusable { reason, .. }) => format!("mistake {reason}"),
            Followed::Outage(_) => "outage".to_owned(),
            Followed::Restored(_) => "restored".to_owned(),
        });
    }
    drop(from);
    following.await.unwrap();
    (script, heard)
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_after_the_last_revision_that_was_told() {
    let (script, heard) = play(
        vec![
            Step::List(Ok(5)),
            Step::Watch(Ok(vec![
                (SECOND, Ok(changed(6))),
                (NOW, Ok(changed(9))),
                (NOW, Err(down())),
            ])),
            Step::Watch(Ok(vec![(NOW, Ok(changed(10)))])),
        ],
        60 * SECOND,
    )
    .await;
    assert_eq!(heard, ["reset 5", "changed 6", "changed 9", "changed 10"]);
    assert_eq!(script.calls(), [Call::List, Call::Watch(5), Call::Watch(9)]);
}

#[tokio::test(start_paused = true)]
async fn compaction_leads_to_a_new_list_and_is_no_outage() {
    let (script, heard) = play(
        vec![
            Step::List(Ok(5)),
            Step::Watch(Err(compacted())),
            Step::List(Ok(9)),
            Step::Watch(Ok(vec![(NOW, Err(compacted()))])),
            // A store that was rebuilt is at a lower revision.
            Step::List(Ok(2)),
            Step::Watch(Ok(vec![])),
        ],
        60 * SECOND,
    )
    .await;
    assert_eq!(heard, ["reset 5", "reset 9", "reset 2"]);
    assert_eq!(script.calls().last(), Some(&Call::Watch(2)));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_once_and_so_is_its_end() {
    let (_, heard) = play(
        vec![
            Step::List(Ok(5)),
            Step::Watch(Ok(vec![(SECOND, Err(down()))])),
            Step::Watch(Err(down())),
            Step::Watch(Err(down())),
            Step::Watch(Err(down())),
            Step::Watch(Ok(vec![(SECOND, Ok(changed(6)))])),
        ],
        60 * SECOND,
    )
    .await;
    assert_eq!(heard, ["reset 5", "outage", "restored", "changed 6"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_at_the_start_is_an_outage() {
    let (_, heard) = play(
        vec![
            Step::List(Err(down())),
            Step::List(Err(down())),
            Step::List(Err(down())),
            Step::List(Ok(5)),
            Step::Watch(Ok(vec![])),
        ],
        60 * SECOND,
    )
    .await;
    assert_eq!(heard, ["outage", "reset 5", "restored"]);
}

#[tokio::test(start_paused = true)]
async fn after_six_failed_resumes_everything_is_listed_again() {
    let mut steps = vec![Step::List(Ok(5)), Step::Watch(Ok(vec![(NOW, Err(down()))]))];
    steps.extend((1..RESUMES).map(|_| Step::Watch(Err(down()))));
    steps.extend([Step::List(Ok(7)), Step::Watch(Ok(vec![]))]);
    let (script, heard) = play(steps, 60 * SECOND).await;
    assert_eq!(heard, ["reset 5", "outage", "reset 7", "restored"]);
    assert_eq!(script.calls().last(), Some(&Call::Watch(7)));
}

#[tokio::test(start_paused = true)]
async fn delays_grow_and_start_small_again_after_a_healthy_watch() {
    let mut steps: Vec<Step> = (0..40).map(|_| Step::List(Err(down()))).collect();
    steps.extend([
        Step::List(Ok(5)),
        Step::Watch(Ok(vec![(HEALTHY, Err(down()))])),
        Step::Watch(Ok(vec![(HEALTHY / 2, Err(down()))])),
    ]);
    let (script, _) = play(steps, 400 * SECOND).await;
    let times = script.times();
    let delays: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
    // A timer is up to a millisecond late.
    let slack = Duration::from_millis(2);
    assert!(delays[..40].iter().all(|delay| *delay <= RETRY.1 + slack));
    assert!(delays[10..40].iter().any(|delay| *delay > SECOND));
    let after_healthy = delays[41].saturating_sub(HEALTHY);
    assert!(after_healthy <= RETRY.0 + slack, "{after_healthy:?}");
}

#[tokio::test(start_paused = true)]
async fn everything_is_listed_again_every_ten_minutes_or_so() {
    let (script, heard) = play(
        vec![
            Step::List(Ok(5)),
            Step::Watch(Ok(vec![(SECOND, Ok(changed(6)))])),
            Step::List(Ok(8)),
            Step::Watch(Ok(vec![])),
        ],
        800 * SECOND,
    )
    .await;
    assert_eq!(heard, ["reset 5", "changed 6", "reset 8"]);
    let times = script.times();
    let between = (times[2] - times[0]).as_secs();
    assert!((480..=721).contains(&between), "{between}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_begin_with_a_reset_of_its_own() {
    let reset = Update::Reset(snapshot(3));
    let (script, heard) = play(
        vec![
            Step::List(Ok(5)),
            Step::Watch(Ok(vec![(NOW, Ok(reset)), (NOW, Err(down()))])),
            Step::Watch(Ok(vec![])),
        ],
        60 * SECOND,
    )
    .await;
    assert_eq!(heard, ["reset 5", "reset 3"]);
    assert_eq!(script.calls().last(), Some(&Call::Watch(3)));
}

#[tokio::test(start_paused = true)]
async fn another_mistake_in_the_store_is_told_and_the_same_one_is_not() {
    let wrong = |reason: &str| {
        Step::List(Err(StoreError::Unusable {
            store: "the script".to_owned(),
            reason: reason.to_owned(),
        }))
    };
    let (_, heard) = play(
        vec![
            wrong("a"),
            wrong("a"),
            wrong("a"),
            wrong("b"),
            wrong("b"),
            Step::List(Err(down())),
            wrong("a"),
            Step::List(Ok(5)),
            Step::Watch(Ok(vec![])),
        ],
        60 * SECOND,
    )
    .await;
    let want = ["mistake a", "mistake b", "mistake a", "reset 5", "restored"];
    assert_eq!(heard, want);
}
