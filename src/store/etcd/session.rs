//! The way to the cluster: one client to one member at a time, kept until it fails, then the next. Adapter.
//!
//! etcd-client spreads requests over all endpoints that it gets and goes on picking dead ones, so we give it one only.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, GetOptions, GetResponse};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::credentials::Credentials;
use super::discovery::{Discovery, LastLookup};
use super::error::{Failure, Kind};
use crate::model::store_url::{EtcdOptions, TlsFiles};
use crate::store::StoreError;

/// How long a verb may take over all members.
const OVERALL: Duration = Duration::from_secs(5);
/// How long one answer may take.
pub(super) const ANSWER: Duration = Duration::from_millis(2_500);
/// How long it may take to connect, log in or open a stream.
pub(super) const OPEN: Duration = Duration::from_secs(2);
/// HTTP/2 pings while streams are open. etcd allows one per 5 s, and none on an idle connection.
const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// The pause before asking a cluster again that has no leader.
const ELECTION_PAUSE: Duration = Duration::from_millis(250);

/// The largest message to take; a page of large values is larger than the 4 MiB that gRPC takes by default.
pub(super) const MESSAGE: usize = 64 << 20;

/// The members of the cluster, and the connection to one of them.
pub(super) struct Session {
    members: std::sync::Mutex<Arc<Members>>,
    /// Finds the members, if they are not given.
    discovery: Option<Discovery>,
    state: Mutex<State>,
}

/// How to reach the members of the cluster.
pub(super) struct Members {
    pub(super) options: EtcdOptions,
    /// `host:port` of each, in the order in which they are tried.
    endpoints: Vec<String>,
}

struct State {
    current: usize,
    client: Option<Client>,
    generation: u64,
    /// What the client was built with.
    credentials: Option<Credentials>,
    /// The last password that the cluster accepted.
    accepted: Option<String>,
    /// What the DNS said last.
    looked_up: LastLookup,
}

/// A client, and to which member.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) endpoint: String,
    /// Tells the clients of a session apart, so that a late failure does not end a newer one.
    pub(super) generation: u64,
}

/// A failure, and where.
pub(super) struct At {
    pub(super) failure: Failure,
    pub(super) store: String,
}

impl At {
    /// The same, naming the place in the store that the verb was about.
    pub(super) fn about(self, place: &str) -> Self {
        Self {
            failure: self.failure.about(place),
            ..self
        }
    }

    /// The error of a verb for which nothing special helps.
    pub(super) fn into_error(self) -> StoreError {
        self.failure.into_error(self.store)
    }
}

impl Session {
    /// A session that connects when it is first used.
    pub(super) fn new(options: EtcdOptions) -> Self {
        let mut endpoints = options.endpoints.clone();
        // A fleet that is restarted spreads over the members.
        fastrand::shuffle(&mut endpoints);
        Self::with(Members { options, endpoints }, None)
    }

    /// The same, of members that are found when it connects.
    pub(super) fn discovering(options: EtcdOptions, discovery: Discovery) -> Self {
        let endpoints = Vec::new();
        Self::with(Members { options, endpoints }, Some(discovery))
    }

    fn with(members: Members, discovery: Option<Discovery>) -> Self {
        let state = State {
            current: 0,
            client: None,
            generation: 0,
            credentials: None,
            accepted: None,
            looked_up: LastLookup::default(),
        };
        Self {
            members: std::sync::Mutex::new(Arc::new(members)),
            discovery,
            state: Mutex::new(state),
        }
    }

    /// The members that the next connection leads to.
    pub(super) fn members(&self) -> Arc<Members> {
        let members = self.members.lock();
        Arc::clone(&members.unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds the members anew, if the DNS names them.
    async fn find_members(&self, state: &mut State) -> Result<(), (String, Failure)> {
        let Some(discovery) = &self.discovery else {
            return Ok(());
        };
        let found = discovery.find(&mut state.looked_up).await;
        let domain = || discovery.domain.domain.clone();
        let found = found.map_err(|why| (domain(), Failure::of_lookup(why)))?;
        if let Some(found) = found {
            state.current = 0;
            let endpoints = found.endpoints(fastrand::f64);
            self.take_members(&domain(), endpoints, found.has_tls);
        }
        Ok(())
    }

    fn take_members(&self, domain: &str, endpoints: Vec<String>, has_tls: bool) {
        let before = self.members();
        let names = endpoints.join(", ");
        if before.endpoints.is_empty() {
            tracing::debug!("the members of {domain} are {names}");
        } else {
            tracing::info!("the DNS names other members of {domain}: {names}");
        }
        let mut options = before.options.clone();
        options.tls = options.tls.or_else(|| has_tls.then(TlsFiles::default));
        let members = Arc::new(Members { options, endpoints });
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Does `ask` at one member after the other until one answers. It may be done more than once, so it must be
    /// harmless to repeat.
    pub(super) async fn call<T, F, Fut>(&self, limit: Duration, ask: F) -> Result<T, At>
    where
        F: Fn(Connection) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        // One answer that takes long leaves time for another member.
        let overall = OVERALL.max(limit + ANSWER);
        let deadline = Instant::now() + overall;
        let mut tries = 0;
        let mut seen: Vec<(String, Failure)> = Vec::new();
        loop {
            let limit = limit.min(deadline.saturating_duration_since(Instant::now()));
            let tried = timeout_at(deadline, self.once(limit, &ask)).await;
            let Ok(tried) = tried else {
                let endpoint = self.endpoint().await;
                remember(&mut seen, endpoint, Failure::silence(overall));
                return Err(summary(seen));
            };
            let (endpoint, failure) = match tried {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let kind = failure.kind;
            tracing::debug!(
                error = failure.reason,
                "{endpoint} has not done a request: {}",
                failure.reason
            );
            match kind {
                Kind::Member | Kind::Login => tries += 1,
                Kind::Leaderless => tokio::time::sleep(ELECTION_PAUSE).await,
                // Somebody has replaced a file, so the next try may be made as another user.
                Kind::Denied | Kind::Refused if self.files_have_changed().await => tries += 1,
                Kind::LeaseUnknown
                | Kind::History
                | Kind::TooLarge
                | Kind::Denied
                | Kind::Conflict
                | Kind::Refused => {
                    let store = name(&endpoint);
                    return Err(At { failure, store });
                }
            }
            remember(&mut seen, endpoint, failure);
            if tries > self.members().endpoints.len() || Instant::now() >= deadline {
                return Err(summary(seen));
            }
        }
    }

    async fn once<T, F, Fut>(&self, limit: Duration, ask: &F) -> Result<T, (String, Failure)>
    where
        F: Fn(Connection) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let connection = self.connection().await?;
        let (endpoint, generation) = (connection.endpoint.clone(), connection.generation);
        // Boxed, since a client is large and lives in every future that holds one.
        let failure = match timeout(limit, Box::pin(ask(connection))).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::silence(limit),
        };
        self.retire(generation, failure.kind).await;
        Err((endpoint, failure))
    }

    /// The client to the current member; built if there is none.
    async fn connection(&self) -> Result<Connection, (String, Failure)> {
        let mut state = self.state.lock().await;
        if state.client.is_none() {
            self.find_members(&mut state).await?;
        }
        let members = self.members();
        let endpoint = members.endpoints[state.current].clone();
        let client = match &state.client {
            Some(client) => client.clone(),
            None => match Box::pin(members.connect(&endpoint, state.accepted.clone())).await {
                Ok((client, credentials, accepted)) => {
                    state.credentials = Some(credentials);
                    state.accepted = accepted;
                    state.client.insert(client).clone()
                }
                Err(failure) => {
                    state.move_on(failure.kind, members.endpoints.len());
                    return Err((endpoint, failure));
                }
            },
        };
        let generation = state.generation;
        Ok(Connection {
            client,
            endpoint,
            generation,
        })
    }

    /// Whether the files hold something else than the client was built with; then it is dropped, and the next one is
    /// built with what they hold now.
    async fn files_have_changed(&self) -> bool {
        let mut state = self.state.lock().await;
        let changed = match (&state.client, Credentials::read(&self.members().options)) {
            (Some(_), Ok(now)) => state.credentials.as_ref() != Some(&now),
            (None, _) | (_, Err(_)) => false,
        };
        if changed {
            state.drop_client();
        }
        changed
    }

    /// Drops a client that failed, unless that was done already, and goes to the next member if that may help.
    pub(super) async fn retire(&self, generation: u64, kind: Kind) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.move_on(kind, self.members().endpoints.len());
        }
    }

    /// One range request.
    pub(super) async fn get(
        &self,
        connection: &Connection,
        key: Vec<u8>,
        options: GetOptions,
    ) -> Result<GetResponse, Failure> {
        let kv = connection.client.kv_client();
        let mut kv = kv.max_decoding_message_size(MESSAGE);
        let got = kv.get(key, Some(options)).await;
        got.map_err(|error| self.explain(&error))
    }

    /// A failure with what is known of this session.
    pub(super) fn explain(&self, error: &Error) -> Failure {
        Failure::from_client(error, &self.members().options)
    }

    /// The member that is tried, or the domain as long as none is known.
    async fn endpoint(&self) -> String {
        let current = self.state.lock().await.current;
        let endpoint = self.members().endpoints.get(current).cloned();
        let domain = self.discovery.as_ref().map(|one| one.domain.domain.clone());
        endpoint.or(domain).unwrap_or_default()
    }
}

impl Members {
    /// Builds a client, and says with what, and with which password. All files are read each time, so that a renewed
    /// certificate or password is used.
    async fn connect(
        &self,
        endpoint: &str,
        accepted: Option<String>,
    ) -> Result<(Client, Credentials, Option<String>), Failure> {
        let credentials = Credentials::read(&self.options)?;
        let options = connect_options(&credentials);
        let new = credentials.password.clone();
        match self.log_in(endpoint, &options, new.as_deref()).await {
            Ok(client) => Ok((client, credentials, new)),
            // Where somebody has changed the file and not yet the user in etcd, the previous password is still right.
            Err(failure)
                if failure.is_wrong_password() && accepted.is_some() && accepted != new =>
            {
                let again = self.log_in(endpoint, &options, accepted.as_deref());
                let client = again.await.map_err(|_| failure)?;
                Ok((client, credentials, accepted))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn log_in(
        &self,
        endpoint: &str,
        options: &ConnectOptions,
        password: Option<&str>,
    ) -> Result<Client, Failure> {
        let connect = |options| async {
            match timeout(OPEN, Client::connect([self.url(endpoint)], Some(options))).await {
                Ok(connected) => {
                    connected.map_err(|error| Failure::from_client(&error, &self.options))
                }
                Err(_) => Err(Failure::silence(OPEN)),
            }
        };
        let user = self.options.auth.as_ref().map(|(user, _)| user);
        let Some((user, password)) = user.zip(password) else {
            return connect(options.clone()).await;
        };
        match connect(options.clone().with_user(user, password)).await {
            // As with etcdctl, a user may be configured before the cluster has authentication switched on.
            Err(failure) if failure.reason.contains("authentication is not enabled") => {
                connect(options.clone()).await
            }
            other => other,
        }
    }

    fn url(&self, endpoint: &str) -> String {
        let scheme = if self.options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{endpoint}")
    }
}

impl State {
    fn move_on(&mut self, kind: Kind, members: usize) {
        match kind {
            Kind::Member | Kind::Leaderless => {
                self.drop_client();
                self.current = (self.current + 1) % members;
            }
            Kind::Login => self.drop_client(),
            // The member answered, so there is no reason to go to another one.
            Kind::LeaseUnknown | Kind::History | Kind::TooLarge | Kind::Denied => {}
            Kind::Conflict | Kind::Refused => {}
        }
    }

    fn drop_client(&mut self) {
        self.client = None;
        self.generation += 1;
    }
}

/// How a member is called in errors.
pub(super) fn name(endpoint: &str) -> String {
    format!("etcd at {endpoint}")
}

/// Keeps the last failure of each member.
fn remember(seen: &mut Vec<(String, Failure)>, endpoint: String, failure: Failure) {
    seen.retain(|(earlier, _)| *earlier != endpoint);
    seen.push((endpoint, failure));
}

/// One failure that names those of all members.
fn summary(mut seen: Vec<(String, Failure)>) -> At {
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let endpoints: Vec<&str> = seen.iter().map(|(endpoint, _)| endpoint.as_str()).collect();
    let store = name(&endpoints.join(", "));
    let mut reasons: BTreeMap<(&str, Option<&str>), Vec<&str>> = BTreeMap::new();
    for (endpoint, failure) in &seen {
        let reason = (failure.reason.as_str(), failure.hint.as_deref());
        reasons.entry(reason).or_default().push(endpoint);
    }
    let failure = match reasons.first_key_value() {
        Some(((reason, hint), _)) if reasons.len() == 1 => Failure {
            hint: hint.map(str::to_owned),
            ..Failure::new(Kind::Member, *reason)
        },
        Some(_) | None => {
            let told = reasons.into_iter().map(|((reason, hint), at)| {
                let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                format!("{}: {reason}{hint}", at.join(", "))
            });
            Failure::new(Kind::Member, told.collect::<Vec<_>>().join("; "))
        }
    };
    At { failure, store }
}

fn connect_options(credentials: &Credentials) -> ConnectOptions {
    let connect = ConnectOptions::new()
        .with_connect_timeout(OPEN)
        .with_keep_alive(PING.0, PING.1)
        .with_keep_alive_while_idle(false)
        .with_require_leader(true);
    match credentials.tls() {
        Some(tls) => connect.with_tls(tls),
        None => connect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_every_member_once() {
        let mut seen = Vec::new();
        for (at, why) in [("b:1", "slow"), ("a:1", "refused"), ("b:1", "refused")] {
            remember(&mut seen, at.to_owned(), Failure::new(Kind::Member, why));
        }
        let at = summary(seen.clone());
        assert_eq!(
            (at.store.as_str(), at.failure.reason.as_str()),
            ("etcd at a:1, b:1", "refused")
        );
        remember(
            &mut seen,
            "b:1".to_owned(),
            Failure::new(Kind::Member, "slow"),
        );
        assert_eq!(summary(seen).failure.reason, "a:1: refused; b:1: slow");
    }
}
