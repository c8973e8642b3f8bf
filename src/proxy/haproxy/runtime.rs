//! The servers of running `HAProxies`, changed over their stats sockets. Adapter.
//!
//! Several sockets are several `HAProxies` with one file. Each is changed at the same time as the others and has its own
//! deadline, so that one that hangs holds nobody up. Whatever is in doubt is for a reload to settle, never for a guess.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::change::Op;
use super::commands;
use super::commands::Ghosts;
use super::error::Doubt;
use super::reconcile::converge;
use super::reply::Reply;
use super::server::Id;
use super::show_servers;
use super::show_servers::Process;
use super::socket::{Address, Cli, Command, Word};

/// How long a ghost had better be out of service before it is deleted.
pub const REST: Duration = Duration::from_secs(30);

/// The first version in which servers come and go.
const DYNAMIC: (u32, u32) = (2, 5);

/// With more backends than this, all servers are asked for at once.
const FEW: usize = 8;

/// What a look at an HAProxy found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Changes that were made to have what the file says.
    pub changed: usize,
    /// Servers that nothing used any more and that were deleted.
    pub deleted: usize,
}

/// The `HAProxies` of one file.
#[derive(Debug, Clone)]
pub struct Runtime {
    members: Vec<Arc<Mutex<Member>>>,
    /// Changes that were made and not been counted by [`Runtime::take_changes`].
    changes: Arc<AtomicU64>,
}

/// One of them.
#[derive(Debug)]
struct Member {
    cli: Cli,
    /// The process that was seen last.
    process: Option<Process>,
    /// It is another one than before, and nobody has looked yet whether it has the servers of its file.
    is_new: bool,
    ghosts: Ghosts,
    /// How long a ghost is out of service before it is deleted.
    rest: Duration,
}

impl Runtime {
    /// Those behind these sockets. Nothing is opened yet; each connection may take as long as `deadline`, and a server
    /// that is removed is deleted when it has been out of service for as long as `rest`.
    pub fn new(
        addresses: impl IntoIterator<Item = Address>,
        deadline: Duration,
        rest: Duration,
    ) -> Self {
        let member = |address| Member {
            cli: Cli::new(address, deadline),
            process: None,
            is_new: false,
            ghosts: Ghosts::new(),
            rest,
        };
        let members = addresses
            .into_iter()
            .map(|address| Arc::new(Mutex::new(member(address))));
        Self {
            members: members.collect(),
            changes: Arc::default(),
        }
    }

    /// Makes the changes. With any doubt, what was made is not certain.
    pub async fn apply(&self, ops: &[Op]) -> Result<(), Vec<Doubt>> {
        let (ops, count): (Arc<[Op]>, _) = (ops.into(), ops.len());
        let apply = |member: Arc<Mutex<Member>>| {
            let ops = Arc::clone(&ops);
            async move { member.lock().await.apply(&ops).await }
        };
        self.each(apply).await?;
        self.count_changes(count * self.members.len());
        Ok(())
    }

    fn count_changes(&self, count: usize) {
        self.changes.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How many servers of all of them were changed, added or removed since this was asked last.
    #[must_use]
    pub fn take_changes(&self) -> u64 {
        self.changes.swap(0, Ordering::Relaxed)
    }

    /// Reads back what was changed, when the file says so too: a reload in between is noticed.
    pub async fn verify(&self, ops: &[Op]) -> Result<(), Vec<Doubt>> {
        let ops: Arc<[Op]> = ops.into();
        let verify = |member: Arc<Mutex<Member>>| {
            let ops = Arc::clone(&ops);
            async move { member.lock().await.verify(&ops).await }
        };
        self.each(verify).await.map(drop)
    }

    /// Looks whether HAProxy has the servers of its file, and sees to it. Ghosts that nothing uses are deleted.
    pub async fn look(&self, base: &str, live: &str) -> Result<Found, Vec<Doubt>> {
        let texts: Arc<(String, String)> = Arc::new((base.to_owned(), live.to_owned()));
        let look = |member: Arc<Mutex<Member>>| {
            let texts = Arc::clone(&texts);
            async move { member.lock().await.look(&texts.0, &texts.1).await }
        };
        let found = self.each(look).await?;
        let found = Found {
            changed: found.iter().map(|found| found.changed).sum(),
            deleted: found.iter().map(|found| found.deleted).sum(),
        };
        self.count_changes(found.changed + found.deleted);
        Ok(found)
    }

    /// Whether one of them is another process than before, and nobody has looked at it yet. Whoever does not answer has
    /// no news.
    pub async fn is_replaced(&self) -> bool {
        for member in &self.members {
            let mut member = member.lock().await;
            let answers = member.meet().await.is_ok();
            if answers && member.is_new {
                return true;
            }
        }
        false
    }

    /// What a variable of the environment is set to in those that answer.
    pub async fn variable(&self, name: &Word) -> Vec<(Address, Option<String>)> {
        let mut found = Vec::new();
        for member in &self.members {
            let cli = member.lock().await.cli.clone();
            let show = Command::new("show env").word(name);
            if let Ok(replies) = cli.batch(&[show]).await {
                let value = replies.iter().find_map(|reply| value_of(name, &reply.text));
                found.push((cli.address().clone(), value));
            }
        }
        found
    }

    async fn each<T, F>(&self, work: impl Fn(Arc<Mutex<Member>>) -> F) -> Result<Vec<T>, Vec<Doubt>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Doubt>> + Send + 'static,
    {
        // With one there is nobody to hold up.
        if let [member] = self.members.as_slice() {
            let done = work(Arc::clone(member)).await;
            return done.map(|done| vec![done]).map_err(|doubt| vec![doubt]);
        }
        let mut tasks: JoinSet<_> = self
            .members
            .iter()
            .map(|member| work(Arc::clone(member)))
            .collect();
        let (mut done, mut doubts) = (Vec::new(), Vec::new());
        while let Some(result) = tasks.join_next().await {
            match result {
                Ok(Ok(result)) => done.push(result),
                Ok(Err(doubt)) => doubts.push(doubt),
                Err(_) => doubts.push(Doubt::Task),
            }
        }
        if doubts.is_empty() {
            Ok(done)
        } else {
            Err(doubts)
        }
    }
}

/// The value in a line `NAME=VALUE`.
pub(super) fn value_of(name: &Word, line: &str) -> Option<String> {
    let value = line.trim_end().strip_prefix(name.as_str())?;
    value.strip_prefix('=').map(str::to_owned)
}

impl Member {
    async fn apply(&mut self, ops: &[Op]) -> Result<(), Doubt> {
        let process = match &self.process {
            // A process that was replaced in between has no ghosts.
            Some(process) if !commands::meets_ghosts(ops, &self.ghosts) => process.clone(),
            Some(_) | None => self.meet().await?,
        };
        let added = commands::added(ops, &self.ghosts).filter(|_| process.version < DYNAMIC);
        if let Some(id) = added.cloned() {
            let version = process.version;
            return Err(Doubt::TooOld { version, id });
        }
        let lines =
            commands::lines(ops, &self.ghosts).map_err(|haunted| Doubt::Haunted(haunted.0))?;
        // Servers that come and go were an experiment in their first version.
        let experiment = [Command::new("experimental-mode on")];
        let experiment = (process.version == DYNAMIC).then_some(&experiment[..]);
        let who = [Command::new("show info")];
        let lines = || {
            let lines = lines.iter().map(Vec::as_slice);
            experiment.into_iter().chain(lines).chain([&who[..]])
        };
        let replies = self.cli.lines(lines()).await?;
        for (command, reply) in lines().flatten().zip(&replies) {
            self.require(command, reply)?;
        }
        // A process that has taken the place of the one before has these ghosts, and no others.
        let last = replies.last().ok_or_else(|| self.unreadable(&who[0]))?;
        self.recognize(self.process_of(last)?);
        commands::haunt(&mut self.ghosts, ops);
        Ok(())
    }

    async fn verify(&mut self, ops: &[Op]) -> Result<(), Doubt> {
        let mut backends: Vec<_> = ops.iter().map(|op| &op.id.backend).collect();
        backends.sort();
        backends.dedup();
        let show = || Command::new("show servers state");
        let mut commands = vec![Command::new("show info")];
        if backends.len() > FEW {
            commands.push(show());
        } else {
            commands.extend(backends.into_iter().map(|backend| show().word(backend)));
        }
        let replies = self.cli.batch(&commands).await?;
        self.recognize(self.process_of(&replies[0])?);
        let mut seen = show_servers::Servers::new();
        for (command, reply) in commands.iter().zip(&replies).skip(1) {
            seen.extend(self.servers_of(command, reply)?);
        }
        self.compare(ops, &seen)?;
        // The process may have turned out to be a new one: then these are its ghosts, and no others.
        commands::haunt(&mut self.ghosts, ops);
        Ok(())
    }

    fn compare(&self, ops: &[Op], seen: &show_servers::Servers) -> Result<(), Doubt> {
        commands::compare(ops, seen).map_err(|differs| Doubt::Differs {
            address: self.cli.address().clone(),
            id: differs.id,
            what: differs.what,
        })
    }

    async fn look(&mut self, base: &str, live: &str) -> Result<Found, Doubt> {
        self.meet().await?;
        let show = Command::new("show servers state");
        let reply = self.one(&show).await?;
        let seen = self.servers_of(&show, &reply)?;
        self.ghosts.retain(|id, _| seen.contains_key(id));
        // Whatever comes of it: what cannot be set right here, a reload has to, and that is another process.
        let is_new = std::mem::take(&mut self.is_new);
        let ops = converge((base, live), &seen, &self.ghosts, is_new)?;
        if !ops.is_empty() {
            self.apply(&ops).await?;
            self.verify(&ops).await?;
        }
        let deleted = self.sweep(&seen).await?;
        Ok(Found {
            changed: ops.len(),
            deleted,
        })
    }

    /// Deletes ghosts that have rested and have no connection, in use or idle.
    async fn sweep(&mut self, seen: &show_servers::Servers) -> Result<usize, Doubt> {
        let rest = self.rest.as_secs();
        let rested = |id: &Id| seen.get(id).is_some_and(|s| s.disabled && s.since >= rest);
        let rested: Vec<Id> = self
            .ghosts
            .keys()
            .filter(|id| rested(id))
            .cloned()
            .collect();
        if rested.is_empty() {
            return Ok(0);
        }
        let show = Command::new("show servers conn");
        let reply = self.one(&show).await?;
        let unused = show_servers::unused(&reply.text).ok_or_else(|| self.unreadable(&show))?;
        let delete: Vec<_> = rested
            .into_iter()
            .filter(|id| unused.contains(&id.to_string()))
            .collect();
        let command = |id: &Id| Command::new("del server").word(&id.word());
        let commands: Vec<_> = delete.iter().map(command).collect();
        let replies = self.cli.batch(&commands).await?;
        let mut deleted = 0;
        for (id, reply) in delete.iter().zip(&replies) {
            // One that cannot be deleted yet, or never (it is referred to, or HAProxy is too old), stays a ghost.
            if reply.is_success() {
                self.ghosts.remove(id);
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Asks who is there.
    async fn meet(&mut self) -> Result<Process, Doubt> {
        let reply = self.one(&Command::new("show info")).await?;
        let process = self.process_of(&reply)?;
        self.recognize(process.clone());
        Ok(process)
    }

    /// Remembers the process. A new one has no ghosts.
    fn recognize(&mut self, process: Process) {
        let is_other = |before: &Process| !process.is_still(before);
        if self.process.as_ref().is_some_and(is_other) {
            self.ghosts.clear();
            self.is_new = true;
        }
        self.process = Some(process);
    }

    fn process_of(&self, reply: &Reply) -> Result<Process, Doubt> {
        let process = Process::read(&reply.text);
        let process = process.ok_or_else(|| self.unreadable(&Command::new("show info")))?;
        if process.stopping {
            return Err(Doubt::Stopping(self.cli.address().clone()));
        }
        Ok(process)
    }

    fn servers_of(&self, command: &Command, reply: &Reply) -> Result<show_servers::Servers, Doubt> {
        self.require(command, reply)?;
        show_servers::servers(&reply.text).ok_or_else(|| self.unreadable(command))
    }

    async fn one(&self, command: &Command) -> Result<Reply, Doubt> {
        let mut replies = self.cli.batch(std::slice::from_ref(command)).await?;
        replies.pop().ok_or_else(|| self.unreadable(command))
    }

    fn require(&self, command: &Command, reply: &Reply) -> Result<(), Doubt> {
        if reply.is_success() {
            return Ok(());
        }
        Err(Doubt::Refused {
            address: self.cli.address().clone(),
            command: command.to_string(),
            // The first line says it; after an unknown command there is a whole help text.
            reply: reply.text.lines().next().unwrap_or_default().to_owned(),
        })
    }

    fn unreadable(&self, command: &Command) -> Doubt {
        Doubt::Unreadable {
            address: self.cli.address().clone(),
            command: command.to_string(),
        }
    }
}
