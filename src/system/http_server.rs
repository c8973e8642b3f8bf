//! A small HTTP server, which knows nothing of what it serves. Adapter.
//!
//! It answers GET and HEAD over HTTP/1.1, at an address or a socket of the file system. Nobody who connects can make it
//! hold more than a bounded number of connections, read a head without end, or wait for ever: see [`Limits`].
//!
//! [`Server::bind`] claims the address, so that a mistake is told before anything else begins; [`Server::serve`] answers
//! until it is told to stop, and [`Server::serve_in_thread`] does so in a thread of its own, which answers also while the
//! caller's loop does not.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::{debug, warn};

mod answer;
mod host;
mod listener;
mod stalled;

pub use self::answer::{Answer, Asked, BODY_BACKLOG};
use self::host::Hosts;
pub use self::listener::ListenError;
use self::listener::{Listener, Peer};
use self::stalled::Stalled;
use crate::model::listen_address::ListenAddress;

/// What answers a request. It is called in the thread of the server and does not wait: what takes time is a stream
/// ([`Answer::stream`]).
pub type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

/// What a server allows those who connect.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many connections are held at a time. One more takes the place of the oldest that has asked nothing yet; if all
    /// have asked, it gets 503 and is closed.
    pub connections: usize,
    /// The size of the head of a request, in bytes; 8192 at least.
    pub head: usize,
    /// How many headers a request may have.
    pub headers: usize,
    /// How long a connection may take to send the head of a request, counted from its start or from the end of the
    /// answer before: the limit of slow clients, and of idle ones.
    pub head_time: Duration,
    /// How long a client may take nothing of an answer that is there for it.
    pub stalled_time: Duration,
    /// How long answers may go on when the server ends.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head: 8 << 10,
            headers: 64,
            head_time: Duration::from_secs(10),
            stalled_time: Duration::from_secs(20),
            grace: Duration::from_secs(1),
        }
    }
}

/// A server that listens already, and answers nobody yet: who connects waits.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    hosts: Hosts,
    limits: Limits,
}

impl Server {
    /// Claims an address. `names` are host names under which people ask for it, besides those that are always right:
    /// addresses, `localhost`, names without a dot, and the name of this host.
    pub fn bind(
        address: &ListenAddress,
        names: Vec<String>,
        limits: Limits,
    ) -> Result<Self, ListenError> {
        Ok(Self {
            listener: Listener::bind(address)?,
            hosts: Hosts::new(names, nix::unistd::gethostname().ok()),
            limits,
        })
    }

    /// Where it listens; the port is the one that was found free if none was named.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        self.listener.address()
    }

    /// Answers until `stop` is done, and for a short while what has been asked until then. Dropping the future ends
    /// everything at once.
    pub async fn serve(
        self,
        handler: Arc<Handler>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let listener = self.listener.listen()?;
        let site = Arc::new(Site {
            handler,
            hosts: self.hosts,
            limits: self.limits,
        });
        let (ending, end) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut silent = SilentConnections::default();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                peer = listener.accept() => match peer {
                    Ok(peer) => {
                        // Those that have ended take no place.
                        while connections.try_join_next().is_some() {}
                        if connections.len() >= site.limits.connections {
                            if !silent.close_oldest() {
                                peer.refuse();
                                continue;
                            }
                            // The one that is closed, or another that has ended.
                            let _ = connections.join_next().await;
                        }
                        let (site, end, has_asked) = (Arc::clone(&site), end.clone(), Arc::default());
                        let asks = Arc::clone(&has_asked);
                        let task = match peer {
                            Peer::Tcp(stream) => {
                                connections.spawn(answer_all(stream, true, asks, site, end))
                            }
                            Peer::Unix(stream) => {
                                connections.spawn(answer_all(stream, false, asks, site, end))
                            }
                        };
                        silent.push(has_asked, task);
                    }
                    Err(error) => {
                        warn!(%error, "{} takes no connection: {error}", listener.address());
                        // It is mostly that there are too many open files, which does not change at once.
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
            }
        }
        let _ = ending.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(site.limits.grace, all).await;
        Ok(())
    }

    /// Answers in a thread of its own until the [`Serving`] is dropped.
    pub fn serve_in_thread(self, name: &str, handler: Arc<Handler>) -> io::Result<Serving> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let address = self.address().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            let stopped = async {
                let _ = stopped.await;
            };
            if let Err(error) = runtime.block_on(self.serve(handler, stopped)) {
                warn!(%error, "HTTP requests are not answered: {error}");
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(serve)?;
        Ok(Serving {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// A server in a thread of its own. Dropping it ends the server, gracefully, and waits for its end.
#[derive(Debug)]
pub struct Serving {
    address: ListenAddress,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has said so on stderr.
            let _ = thread.join();
        }
    }
}

/// What all connections share.
struct Site {
    handler: Arc<Handler>,
    hosts: Hosts,
    limits: Limits,
}

impl Site {
    /// `is_tcp`: a page of the web can make a browser ask here, so it matters by which name.
    fn answer(&self, asked: &Asked, is_tcp: bool) -> Answer {
        if !asked.is_read() {
            return Answer::text(405, "only GET and HEAD are answered\n")
                .header("allow", "GET, HEAD");
        }
        if is_tcp && !self.hosts.are_right(asked.authority()) {
            return Answer::text(
                421,
                "the name in the Host header is not one of this server\n",
            );
        }
        (self.handler)(asked)
    }
}

/// The connections that have asked nothing yet, the oldest first. Clients that only connect could otherwise keep out those
/// who ask.
#[derive(Default)]
struct SilentConnections(VecDeque<(Arc<AtomicBool>, AbortHandle)>);

impl SilentConnections {
    fn push(&mut self, has_asked: Arc<AtomicBool>, task: AbortHandle) {
        self.forget_others();
        self.0.push_back((has_asked, task));
    }

    /// Whether there was one to close.
    fn close_oldest(&mut self) -> bool {
        self.forget_others();
        let oldest = self.0.pop_front();
        oldest.is_some_and(|(_, task)| {
            task.abort();
            true
        })
    }

    /// Forgets those that have asked or have ended.
    fn forget_others(&mut self) {
        let is_silent = |(has_asked, task): &(Arc<AtomicBool>, AbortHandle)| {
            !has_asked.load(Ordering::Relaxed) && !task.is_finished()
        };
        self.0.retain(is_silent);
    }
}

/// Answers what comes over a connection, until its end; `has_asked` becomes true with the first request.
async fn answer_all<S>(
    stream: S,
    is_tcp: bool,
    has_asked: Arc<AtomicBool>,
    site: Arc<Site>,
    mut end: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = site.limits.clone();
    let service = service_fn(|request| {
        has_asked.store(true, Ordering::Relaxed);
        let answer = site.answer(&Asked::new(request), is_tcp);
        ready(Ok::<_, Infallible>(answer.into_response()))
    });
    let stream = TokioIo::new(Stalled::new(stream, limits.stalled_time));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head)
        .max_headers(limits.headers)
        .serve_connection(stream, service);
    let ending = async move {
        let _ = end.wait_for(|ends| *ends).await;
    };
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = ending => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection has ended: {error}");
    }
}

#[cfg(test)]
mod tests;
