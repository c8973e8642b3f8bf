//! Follows the containers of a Docker Engine: performs what the machine says, and hands on what comes of it. Shell.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::debug;

use super::machine::{Action, Input, List, Machine};
use super::{answer, client};
use crate::model::container::{Container, ContainerId};
use crate::model::listen_address::ListenAddress;

/// As many lines of events wait at most; the engine waits for us then.
const LINES: usize = 256;

/// What a follower tells.
#[derive(Debug)]
pub enum Update {
    /// These containers can serve now.
    Up(Vec<Arc<Container>>),
    /// The engine answers.
    Connected,
    /// It does not, for this reason.
    Lost(String),
    /// It has not for the grace: nobody counts as up any more.
    GaveUp,
}

/// Follows an engine; dropping it ends all of its jobs.
#[derive(Debug)]
pub struct Follower {
    engine: ListenAddress,
    machine: Machine,
    jobs: JoinSet<Done>,
    /// What each job is to answer, for one that breaks off.
    orders: HashMap<Id, Order>,
    stream: Option<AbortHandle>,
    events: Option<mpsc::Receiver<String>>,
    /// What is not handed on yet.
    updates: std::collections::VecDeque<Update>,
}

/// What a job is to answer.
#[derive(Debug)]
enum Order {
    List(u64),
    Events(u64),
    Inspection(ContainerId, u64),
}

/// What a job has answered.
#[derive(Debug)]
enum Done {
    List(Result<List, String>),
    Events(String),
    Inspection(Result<Option<Container>, String>),
}

impl Follower {
    /// Follows the engine at this socket; after `grace` without it, nobody counts as up.
    #[must_use]
    pub fn new(engine: ListenAddress, grace: Duration) -> Self {
        Self {
            machine: Machine::new(Instant::now(), grace, fastrand::u64(..)),
            engine,
            jobs: JoinSet::new(),
            orders: HashMap::new(),
            stream: None,
            events: None,
            updates: std::collections::VecDeque::new(),
        }
    }

    /// The next update. Whoever drops this future loses nothing.
    pub async fn next(&mut self) -> Update {
        loop {
            if let Some(update) = self.updates.pop_front() {
                return update;
            }
            let deadline = self.machine.deadline();
            let input = tokio::select! {
                Some(done) = self.jobs.join_next_with_id() => match done {
                    Ok((id, done)) => self.done(id, done),
                    Err(error) => self.broken_off(error.id()),
                },
                line = line(&mut self.events) => self.event(line.as_deref()),
                () = tokio::time::sleep_until(deadline.into()) => Some(Input::Tick),
            };
            let Some(input) = input else { continue };
            for action in self.machine.handle(Instant::now(), input) {
                self.perform(action);
            }
        }
    }

    fn done(&mut self, id: Id, done: Done) -> Option<Input> {
        match (self.orders.remove(&id)?, done) {
            (Order::List(order), Done::List(answer)) => Some(Input::Listed(order, answer)),
            (Order::Inspection(id, order), Done::Inspection(answer)) => {
                if let Err(why) = &answer {
                    debug!("cannot inspect container {}: {why}", id.short());
                }
                Some(Input::Inspected(id, order, answer))
            }
            (Order::Events(order), Done::Events(why)) => Some(Input::Ended(order, why)),
            (_, _) => None,
        }
    }

    /// A job that panics, or is not needed any more, has said nothing.
    fn broken_off(&mut self, id: Id) -> Option<Input> {
        let why = || "the task that asked it broke off".to_owned();
        Some(match self.orders.remove(&id)? {
            Order::List(order) => Input::Listed(order, Err(why())),
            Order::Events(order) => Input::Ended(order, why()),
            Order::Inspection(id, order) => Input::Inspected(id, order, Err(why())),
        })
    }

    fn event(&mut self, line: Option<&str>) -> Option<Input> {
        let Some(line) = line else {
            // Its job says why it ended.
            self.events = None;
            return None;
        };
        answer::event(line).map(Input::Event)
    }

    fn perform(&mut self, action: Action) {
        let engine = self.engine.clone();
        match action {
            Action::List(order) => {
                let job = async { Done::List(client::list(engine).await) };
                let id = self.jobs.spawn(job).id();
                self.orders.insert(id, Order::List(order));
            }
            Action::Inspect(container, order) => {
                let asked = container.clone();
                let job = async { Done::Inspection(client::inspect(engine, asked).await) };
                let id = self.jobs.spawn(job).id();
                self.orders.insert(id, Order::Inspection(container, order));
            }
            Action::Open(order, since) => {
                self.close();
                let (to, events) = mpsc::channel(LINES);
                self.events = Some(events);
                let job =
                    async move { Done::Events(client::follow_events(engine, since, to).await) };
                let handle = self.jobs.spawn(job);
                self.orders.insert(handle.id(), Order::Events(order));
                self.stream = Some(handle);
            }
            Action::Close => self.close(),
            Action::Show(containers) => self.updates.push_back(Update::Up(containers)),
            Action::Connected => self.updates.push_back(Update::Connected),
            Action::Lost(why) => self.updates.push_back(Update::Lost(why)),
            Action::GaveUp => self.updates.push_back(Update::GaveUp),
        }
    }

    fn close(&mut self) {
        self.events = None;
        if let Some(stream) = self.stream.take() {
            self.orders.remove(&stream.id());
            stream.abort();
        }
    }
}

/// The next line of the stream; `None` at its end. Without a stream there is nothing to wait for.
async fn line(events: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}
