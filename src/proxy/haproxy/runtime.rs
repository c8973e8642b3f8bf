//! Changes of the servers of running `HAProxies`, over their stats sockets. Adapter.
//!
//! Several sockets mean several `HAProxies` that read one file. All are changed at the same time, each with a deadline of
//! its own, so that one that hangs does not delay the others. If it is not certain which servers one of them has, the
//! answer is an error, and the caller asks for a reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::change::ServerChange;
use super::commands;
use super::commands::Retired;
use super::error::RuntimeError;
use super::reconcile::reconcile;
use super::reply::Reply;
use super::server::Id;
use super::show_servers;
use super::show_servers::Process;
use super::socket::{Address, Command, CommandSocket, Word};

/// How long a server rests out of service before it is deleted, by default.
pub const REST: Duration = Duration::from_secs(30);

/// The first version that can add and delete servers at run time.
const DYNAMIC: (u32, u32) = (2, 5);

/// With more changed backends than this, one command asks for the servers of all backends.
const FEW: usize = 8;

/// What [`Runtime::reconcile`] has done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled {
    /// How many changes were made, so that the servers agree with the file.
    pub changed: usize,
    /// How many retired servers were deleted, since no connection used them any more.
    pub deleted: usize,
}

/// The `HAProxies` of one file.
#[derive(Debug, Clone)]
pub struct Runtime {
    members: Vec<Arc<Mutex<Member>>>,
    /// Changes since the last call of [`Runtime::take_changes`].
    changes: Arc<AtomicU64>,
}

/// One HAProxy.
#[derive(Debug)]
struct Member {
    socket: CommandSocket,
    /// The process that answered last.
    process: Option<Process>,
    /// Whether the process has replaced another one, and its servers have not been compared with the file yet.
    is_new: bool,
    retired: Retired,
    /// How long a retired server is out of service before it is deleted.
    rest: Duration,
}

impl Runtime {
    /// The `HAProxies` behind these sockets; no connection is opened yet. Each connection may take as long as `deadline`,
    /// and a server that is removed is deleted after it has been out of service for as long as `rest`.
    pub fn new(
        addresses: impl IntoIterator<Item = Address>,
        deadline: Duration,
        rest: Duration,
    ) -> Self {
        let member = |address| Member {
            socket: CommandSocket::new(address, deadline),
            process: None,
            is_new: false,
            retired: Retired::new(),
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

    /// Makes the changes in all of them. After an error it is not certain which changes were made.
    pub async fn apply(&self, ops: &[ServerChange]) -> Result<(), Vec<RuntimeError>> {
        let (ops, count): (Arc<[ServerChange]>, _) = (ops.into(), ops.len());
        let apply = |member: Arc<Mutex<Member>>| {
            let ops = Arc::clone(&ops);
            async move { member.lock().await.apply(&ops).await }
        };
        self.for_each_member(apply).await?;
        self.count_changes(count * self.members.len());
        Ok(())
    }

    fn count_changes(&self, count: usize) {
        self.changes.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How many servers were changed, added, removed or deleted since the last call, over all `HAProxies`.
    #[must_use]
    pub fn take_changes(&self) -> u64 {
        self.changes.swap(0, Ordering::Relaxed)
    }

    /// Reads back what was changed, after the file was swapped: this notices a reload in between.
    pub async fn verify(&self, ops: &[ServerChange]) -> Result<(), Vec<RuntimeError>> {
        let ops: Arc<[ServerChange]> = ops.into();
        let verify = |member: Arc<Mutex<Member>>| {
            let ops = Arc::clone(&ops);
            async move { member.lock().await.verify(&ops).await }
        };
        self.for_each_member(verify).await.map(drop)
    }

    /// Compares HAProxy's servers with those of its file, and changes those that differ. It also deletes retired servers
    /// that no connection uses.
    pub async fn reconcile(&self, base: &str, live: &str) -> Result<Reconciled, Vec<RuntimeError>> {
        let texts: Arc<(String, String)> = Arc::new((base.to_owned(), live.to_owned()));
        let reconcile = |member: Arc<Mutex<Member>>| {
            let texts = Arc::clone(&texts);
            async move { member.lock().await.reconcile(&texts.0, &texts.1).await }
        };
        let found = self.for_each_member(reconcile).await?;
        let found = Reconciled {
            changed: found.iter().map(|found| found.changed).sum(),
            deleted: found.iter().map(|found| found.deleted).sum(),
        };
        self.count_changes(found.changed + found.deleted);
        Ok(found)
    }

    /// Whether one of them is a new process whose servers have not been compared with the file yet. One that does not answer
    /// counts as not replaced.
    pub async fn is_replaced(&self) -> bool {
        for member in &self.members {
            let mut member = member.lock().await;
            let answers = member.identify_process().await.is_ok();
            if answers && member.is_new {
                return true;
            }
        }
        false
    }

    /// The value of an environment variable in each of those that answer.
    pub async fn variable(&self, name: &Word) -> Vec<(Address, Option<String>)> {
        let mut found = Vec::new();
        for member in &self.members {
            let socket = member.lock().await.socket.clone();
            let show = Command::new("show env").word(name);
            if let Ok(replies) = socket.send_batch(&[show]).await {
                let value = replies.iter().find_map(|reply| value_of(name, &reply.text));
                found.push((socket.address().clone(), value));
            }
        }
        found
    }

    async fn for_each_member<T, F>(
        &self,
        work: impl Fn(Arc<Mutex<Member>>) -> F,
    ) -> Result<Vec<T>, Vec<RuntimeError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RuntimeError>> + Send + 'static,
    {
        // One alone can delay no other, so it needs no task.
        if let [member] = self.members.as_slice() {
            let done = work(Arc::clone(member)).await;
            return done.map(|done| vec![done]).map_err(|error| vec![error]);
        }
        let mut tasks: JoinSet<_> = self
            .members
            .iter()
            .map(|member| work(Arc::clone(member)))
            .collect();
        let (mut done, mut errors) = (Vec::new(), Vec::new());
        while let Some(result) = tasks.join_next().await {
            match result {
                Ok(Ok(result)) => done.push(result),
                Ok(Err(error)) => errors.push(error),
                Err(_) => errors.push(RuntimeError::Task),
            }
        }
        if errors.is_empty() {
            Ok(done)
        } else {
            Err(errors)
        }
    }
}

/// The value in a line `NAME=VALUE`.
pub(super) fn value_of(name: &Word, line: &str) -> Option<String> {
    let value = line.trim_end().strip_prefix(name.as_str())?;
    value.strip_prefix('=').map(str::to_owned)
}

impl Member {
    async fn apply(&mut self, ops: &[ServerChange]) -> Result<(), RuntimeError> {
        let process = match &self.process {
            // The retired servers are needed, and a process that has been replaced has none.
            Some(process) if !commands::readds_retired(ops, &self.retired) => process.clone(),
            Some(_) | None => self.identify_process().await?,
        };
        let added = commands::first_added(ops, &self.retired).filter(|_| process.version < DYNAMIC);
        if let Some(id) = added.cloned() {
            let version = process.version;
            return Err(RuntimeError::TooOld { version, id });
        }
        let lines = commands::command_lines(ops, &self.retired)
            .map_err(|other| RuntimeError::RetiredDiffers(other.0))?;
        // The first version takes these commands in its experimental mode only.
        let experiment = [Command::new("experimental-mode on")];
        let experiment = (process.version == DYNAMIC).then_some(&experiment[..]);
        let who = [Command::new("show info")];
        let lines = || {
            let lines = lines.iter().map(Vec::as_slice);
            experiment.into_iter().chain(lines).chain([&who[..]])
        };
        let replies = self.socket.send_lines(lines()).await?;
        for (command, reply) in lines().flatten().zip(&replies) {
            self.require_success(command, reply)?;
        }
        // A process that has replaced the previous one has only these retired servers.
        let last = replies.last().ok_or_else(|| self.unreadable(&who[0]))?;
        self.remember_process(self.process_of(last)?);
        commands::update_retired(&mut self.retired, ops);
        Ok(())
    }

    async fn verify(&mut self, ops: &[ServerChange]) -> Result<(), RuntimeError> {
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
        let replies = self.socket.send_batch(&commands).await?;
        self.remember_process(self.process_of(&replies[0])?);
        let mut seen = show_servers::Servers::new();
        for (command, reply) in commands.iter().zip(&replies).skip(1) {
            seen.extend(self.servers_of(command, reply)?);
        }
        self.compare(ops, &seen)?;
        // If the process has turned out to be a new one, it has only these retired servers.
        commands::update_retired(&mut self.retired, ops);
        Ok(())
    }

    fn compare(
        &self,
        ops: &[ServerChange],
        seen: &show_servers::Servers,
    ) -> Result<(), RuntimeError> {
        commands::compare(ops, seen).map_err(|differs| RuntimeError::Differs {
            address: self.socket.address().clone(),
            id: differs.id,
            what: differs.what,
        })
    }

    async fn reconcile(&mut self, base: &str, live: &str) -> Result<Reconciled, RuntimeError> {
        self.identify_process().await?;
        let show = Command::new("show servers state");
        let reply = self.ask_one(&show).await?;
        let seen = self.servers_of(&show, &reply)?;
        self.retired.retain(|id, _| seen.contains_key(id));
        // Even if the comparison fails: a reload then follows, and that brings another process.
        let is_new = std::mem::take(&mut self.is_new);
        let ops = reconcile((base, live), &seen, &self.retired, is_new)?;
        if !ops.is_empty() {
            self.apply(&ops).await?;
            self.verify(&ops).await?;
        }
        let deleted = self.delete_rested(&seen).await?;
        Ok(Reconciled {
            changed: ops.len(),
            deleted,
        })
    }

    /// Deletes the retired servers that have rested and have no connection, neither in use nor idle.
    async fn delete_rested(&mut self, seen: &show_servers::Servers) -> Result<usize, RuntimeError> {
        let rest = self.rest.as_secs();
        let rested = |id: &Id| seen.get(id).is_some_and(|s| s.disabled && s.since >= rest);
        let rested: Vec<Id> = self
            .retired
            .keys()
            .filter(|id| rested(id))
            .cloned()
            .collect();
        if rested.is_empty() {
            return Ok(0);
        }
        let show = Command::new("show servers conn");
        let reply = self.ask_one(&show).await?;
        let unused =
            show_servers::parse_unused(&reply.text).ok_or_else(|| self.unreadable(&show))?;
        let delete: Vec<_> = rested
            .into_iter()
            .filter(|id| unused.contains(&id.to_string()))
            .collect();
        let command = |id: &Id| Command::new("del server").word(&id.word());
        let commands: Vec<_> = delete.iter().map(command).collect();
        let replies = self.socket.send_batch(&commands).await?;
        let mut deleted = 0;
        for (id, reply) in delete.iter().zip(&replies) {
            // A server that cannot be deleted yet, or never (a line refers to it, or HAProxy is too old), stays retired.
            if reply.is_success() {
                self.retired.remove(id);
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Asks which process answers.
    async fn identify_process(&mut self) -> Result<Process, RuntimeError> {
        let reply = self.ask_one(&Command::new("show info")).await?;
        let process = self.process_of(&reply)?;
        self.remember_process(process.clone());
        Ok(process)
    }

    /// Remembers the process that answered. A new one has no retired servers.
    fn remember_process(&mut self, process: Process) {
        let is_other = |before: &Process| !process.is_still(before);
        if self.process.as_ref().is_some_and(is_other) {
            self.retired.clear();
            self.is_new = true;
        }
        self.process = Some(process);
    }

    fn process_of(&self, reply: &Reply) -> Result<Process, RuntimeError> {
        let process = Process::parse(&reply.text);
        let process = process.ok_or_else(|| self.unreadable(&Command::new("show info")))?;
        if process.stopping {
            return Err(RuntimeError::Stopping(self.socket.address().clone()));
        }
        Ok(process)
    }

    fn servers_of(
        &self,
        command: &Command,
        reply: &Reply,
    ) -> Result<show_servers::Servers, RuntimeError> {
        self.require_success(command, reply)?;
        show_servers::parse_state(&reply.text).ok_or_else(|| self.unreadable(command))
    }

    async fn ask_one(&self, command: &Command) -> Result<Reply, RuntimeError> {
        let mut replies = self
            .socket
            .send_batch(std::slice::from_ref(command))
            .await?;
        replies.pop().ok_or_else(|| self.unreadable(command))
    }

    fn require_success(&self, command: &Command, reply: &Reply) -> Result<(), RuntimeError> {
        if reply.is_success() {
            return Ok(());
        }
        Err(RuntimeError::Refused {
            address: self.socket.address().clone(),
            command: command.to_string(),
            // The first line has the reason; after an unknown command HAProxy sends a whole help text.
            reply: reply.text.lines().next().unwrap_or_default().to_owned(),
        })
    }

    fn unreadable(&self, command: &Command) -> RuntimeError {
        RuntimeError::Unreadable {
            address: self.socket.address().clone(),
            command: command.to_string(),
        }
    }
}
