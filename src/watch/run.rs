//! The loop of `sidekick watch`: waits for the store, finished publishes, signals and deadlines, and performs what the
//! schedules say. Shell.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use similar::TextDiff;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::load::Loaded;
use super::publish::{Difference, PublishError, Published, publish};
use super::render::View;
use super::schedule::{Action, Input, Schedule};
use super::world::WORLD;
use crate::config::{Pass, Sources, Target};
use crate::model::catalog::{Catalog, Changes};
use crate::model::facts::Signal;
use crate::model::report::{chain, code};
use crate::model::update::{Prefix, Update};
use crate::store::{Followed, Store, follow};
use crate::system::notify;
use crate::system::signals::Signals;

/// How long a stop waits for a publish that is under way, so that no reload gets lost between swap and exit.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// What is to be kept, and how.
#[derive(Debug)]
pub struct Plan {
    /// The targets.
    pub targets: Vec<Loaded>,
    /// Where instances live in the store.
    pub prefix: Prefix,
    /// How to go about it.
    pub pass: Pass,
    /// What templates see of the environment.
    pub env: BTreeMap<String, String>,
}

/// Keeps the targets until a signal, or publishes them once; returns the exit status.
pub async fn run(plan: Plan, store: Arc<dyn Store>, mut signals: Signals) -> u8 {
    let mut shell = Shell::new(plan, &store);
    loop {
        if let Some(status) = shell.status() {
            return status;
        }
        match shell.next(&mut signals).await {
            Event::Followed(scope, followed) => shell.followed(scope, followed),
            Event::Done(done) => shell.done(&done),
            Event::Signal(signal) => shell.signal(signal),
            Event::Deadline => shell.deadline_passed(),
        }
    }
}

/// What the loop waits for.
enum Event {
    Followed(usize, Followed),
    Done(Done),
    Signal(Signal),
    Deadline,
}

/// A publish that has ended.
struct Done {
    target: usize,
    result: Result<Published, PublishError>,
    took: Duration,
}

/// One target and where it stands.
struct Kept {
    loaded: Arc<Loaded>,
    /// What it follows, as paths.
    paths: Vec<Prefix>,
    schedule: Schedule,
    /// The program has not been told of the live file yet.
    owed: bool,
    /// How the last publish ended.
    last: Option<Ended>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Good,
    Pending,
    Failed,
}

struct Shell {
    targets: Vec<Kept>,
    catalog: Arc<Catalog>,
    pass: Pass,
    env: Arc<BTreeMap<String, String>>,
    /// The paths that are followed, and whether their first snapshot is here.
    scopes: Vec<(Prefix, bool)>,
    updates: mpsc::Receiver<(usize, Followed)>,
    publishes: JoinSet<Done>,
    _followers: JoinSet<()>,
    started: Instant,
    /// When every file is compared with what it should be, whatever happened.
    compare_at: Instant,
    /// Told to stop: when to give up waiting for a publish that is under way.
    stop_at: Option<Instant>,
    ready: bool,
}

impl Shell {
    fn new(plan: Plan, store: &Arc<dyn Store>) -> Self {
        let now = Instant::now();
        let targets: Vec<Kept> = plan
            .targets
            .into_iter()
            .map(|loaded| Kept::new(loaded, &plan.prefix))
            .collect();
        let paths = targets.iter().flat_map(|kept| kept.paths.clone());
        let scopes = Prefix::widest(paths.collect());
        let (to, updates) = mpsc::channel(64);
        let mut followers = JoinSet::new();
        for (scope, prefix) in scopes.iter().cloned().enumerate() {
            followers.spawn(follow_scope(Arc::clone(store), scope, prefix, to.clone()));
        }
        Self {
            targets,
            catalog: Arc::new(Catalog::new(plan.prefix)),
            compare_at: now + plan.pass.interval,
            pass: plan.pass,
            env: Arc::new(plan.env),
            scopes: scopes.into_iter().map(|prefix| (prefix, false)).collect(),
            updates,
            publishes: JoinSet::new(),
            _followers: followers,
            started: now,
            stop_at: None,
            ready: false,
        }
    }

    async fn next(&mut self, signals: &mut Signals) -> Event {
        let deadline = self.deadline();
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((scope, followed)) = self.updates.recv() => Event::Followed(scope, followed),
            Some(Ok(done)) = self.publishes.join_next() => Event::Done(done),
            signal = signals.next() => Event::Signal(signal),
            () = due => Event::Deadline,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.stop_at.is_some() {
            return self.stop_at;
        }
        let schedules = self
            .targets
            .iter()
            .filter_map(|kept| kept.schedule.deadline());
        let wait = self
            .pass
            .timeout
            .filter(|_| !self.complete())
            .map(|limit| self.started + limit);
        schedules.chain(wait).chain([self.compare_at]).min()
    }

    /// Whether the store has said everything once.
    fn complete(&self) -> bool {
        self.scopes.iter().all(|(_, seen)| *seen)
    }

    /// The exit status, once there is nothing left to do.
    fn status(&self) -> Option<u8> {
        if let Some(at) = self.stop_at {
            let over = self.publishes.is_empty() || Instant::now() >= at;
            return over.then_some(0);
        }
        if !self.pass.once {
            return None;
        }
        if !self.complete() {
            let waited = self
                .pass
                .timeout
                .is_some_and(|limit| self.started.elapsed() >= limit);
            return waited.then(|| {
                error!("the store did not answer within --timeout; nothing was changed");
                code::UNAVAILABLE
            });
        }
        let ended: Option<Vec<Ended>> = self.targets.iter().map(|kept| kept.last).collect();
        let ended = ended?;
        Some(if ended.contains(&Ended::Failed) {
            code::FAILED
        } else if ended.contains(&Ended::Pending) {
            code::PENDING
        } else {
            0
        })
    }

    fn followed(&mut self, scope: usize, followed: Followed) {
        match followed {
            Followed::Outage(error) => {
                warn!("{error}; what is live stays as it is, trying again");
            }
            Followed::Restored => info!("the store answers again"),
            Followed::Update(update) => self.update(scope, update),
        }
    }

    fn update(&mut self, scope: usize, update: Update) {
        let was_complete = self.complete();
        let (prefix, seen) = &mut self.scopes[scope];
        *seen |= matches!(update, Update::Reset(_));
        let changes = Arc::make_mut(&mut self.catalog).apply(prefix, update);
        for (dir, error) in &changes.skipped {
            warn!("{dir} is skipped: {error}");
        }
        if !self.complete() {
            return;
        }
        if was_complete {
            self.changed(|kept| kept.concerns(&changes));
        } else {
            self.changed(|_| true);
        }
    }

    /// Tells the schedules of these targets that something has changed.
    fn changed(&mut self, concerned: impl Fn(&Kept) -> bool) {
        for target in 0..self.targets.len() {
            if concerned(&self.targets[target]) {
                self.advance(target, Input::Changed);
            }
        }
    }

    fn advance(&mut self, target: usize, input: Input) {
        if self.stop_at.is_some() {
            return;
        }
        match self.targets[target].schedule.handle(Instant::now(), input) {
            Some(Action::Publish) => self.publish(target),
            None => {}
        }
    }

    fn publish(&mut self, target: usize) {
        let kept = &self.targets[target];
        let view = kept.view(&self.catalog, &self.env);
        let (loaded, owed, noop) = (Arc::clone(&kept.loaded), kept.owed, self.pass.noop);
        self.publishes.spawn(async move {
            let start = Instant::now();
            let result = publish(loaded, view, owed, noop).await;
            Done {
                target,
                result,
                took: start.elapsed(),
            }
        });
    }

    fn done(&mut self, done: &Done) {
        let kept = &mut self.targets[done.target];
        let target = &kept.loaded.target;
        let reloads = target.reload.is_some();
        let reloaded = match &done.result {
            Ok(Published::Swapped(_)) => reloads,
            Ok(Published::Reloaded) | Err(PublishError::Reload { .. }) => true,
            Ok(Published::Same | Published::Pending(_)) | Err(_) => false,
        };
        let ended = match &done.result {
            Ok(Published::Pending(_)) => Ended::Pending,
            Ok(_) => Ended::Good,
            Err(_) => Ended::Failed,
        };
        tell(target, done);
        match &done.result {
            Err(PublishError::Reload { restored, .. }) => kept.owed = restored.owes_a_reload(),
            Ok(Published::Swapped(_) | Published::Reloaded) => kept.owed = false,
            Ok(Published::Same | Published::Pending(_)) | Err(_) => {}
        }
        if let Ok(Published::Swapped(difference) | Published::Pending(difference)) = &done.result
            && self.pass.diff
        {
            print(target, difference);
        }
        kept.last = Some(ended);
        let good = ended != Ended::Failed;
        self.advance(done.target, Input::Done { good, reloaded });
        self.tell_ready();
    }

    fn tell_ready(&mut self) {
        let all_good = self
            .targets
            .iter()
            .all(|kept| kept.last == Some(Ended::Good));
        if all_good && !self.ready {
            self.ready = true;
            notify::ready(&format!("keeping {} files", self.targets.len()));
        }
    }

    fn signal(&mut self, signal: Signal) {
        if signal == Signal::HUP {
            info!("{signal}: comparing every file with what it should be");
            self.compare();
        } else {
            info!("{signal}: stopping");
            notify::stopping("stopping");
            let now = Instant::now();
            // Asked twice: somebody is in a hurry.
            self.stop_at = Some(self.stop_at.map_or(now + FINISH_WITHIN, |_| now));
        }
    }

    fn compare(&mut self) {
        self.compare_at = Instant::now() + self.pass.interval;
        if self.complete() {
            self.changed(|_| true);
        }
    }

    fn deadline_passed(&mut self) {
        if Instant::now() >= self.compare_at {
            self.compare();
        }
        for target in 0..self.targets.len() {
            self.advance(target, Input::Tick);
        }
    }
}

impl Kept {
    fn new(loaded: Loaded, prefix: &Prefix) -> Self {
        let paths = match &loaded.target.sources {
            Sources::Services(services) => services
                .iter()
                .map(|name| prefix.join(name.as_str()))
                .collect(),
            Sources::Keys(keys) => keys.clone(),
        };
        Self {
            schedule: Schedule::new(loaded.target.pace, fastrand::u64(..)),
            loaded: Arc::new(loaded),
            paths,
            owed: false,
            last: None,
        }
    }

    fn concerns(&self, changes: &Changes) -> bool {
        changes
            .keys
            .iter()
            .any(|key| self.paths.iter().any(|path| path.covers(key)))
    }

    fn view(&self, catalog: &Arc<Catalog>, env: &Arc<BTreeMap<String, String>>) -> View {
        let (services, keys) = match &self.loaded.target.sources {
            Sources::Services(services) => (services.clone(), Vec::new()),
            Sources::Keys(keys) => (Vec::new(), keys.clone()),
        };
        View {
            catalog: Arc::clone(catalog),
            services,
            keys,
            root: self.loaded.target.root.clone(),
            env: Arc::clone(env),
            world: WORLD,
        }
    }
}

async fn follow_scope(
    store: Arc<dyn Store>,
    scope: usize,
    prefix: Prefix,
    to: mpsc::Sender<(usize, Followed)>,
) {
    let (own, mut from) = mpsc::channel(16);
    let relay = async {
        while let Some(followed) = from.recv().await {
            if to.send((scope, followed)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(follow(store, prefix, own), relay);
}

fn tell(target: &Target, done: &Done) {
    let (name, dest, ms) = (&target.name, target.dest.display(), done.took.as_millis());
    match &done.result {
        Ok(Published::Same) => tracing::debug!("{name}: {dest} is right"),
        Ok(Published::Pending(_)) => info!("{name}: {dest} would change"),
        Ok(Published::Swapped(_)) => info!("{name}: {dest} has been updated in {ms} ms"),
        Ok(Published::Reloaded) => {
            info!("{name}: the reload that was owed has been made in {ms} ms");
        }
        Err(error) => {
            error!("{name}: {}; trying again", chain(error));
        }
    }
}

fn print(target: &Target, difference: &Difference) {
    let before = String::from_utf8_lossy(&difference.before);
    let name = target.dest.display().to_string();
    let diff = TextDiff::from_lines(before.as_ref(), difference.after.as_str());
    let text = diff
        .unified_diff()
        .header(&name, &format!("{name} (new)"))
        .to_string();
    // Nobody reads it any more: that is no reason to stop keeping files.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
