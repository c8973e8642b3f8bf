//! The load: sends requests to the proxies in turn, on a fixed schedule. Shell.
//!
//! The load is an open loop: it sends each request when it is due, without waiting for earlier answers, so that a stall of a
//! proxy delays many requests instead of preventing them. It keeps connections and uses them in turn; two requests of eleven
//! have a new connection of their own.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::sample::{Failure, Outcome, Sample, judge};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most requests under way at a time.
const MAX_OPEN: usize = 2000;
/// The least number of kept connections to each proxy, so that each is idle for a while between two requests. The load has
/// to hit the moment when a client sends on an idle connection and a reload closes it.
const KEPT: usize = 20;
/// Of so many requests in turn, [`ALONE`] have a connection of their own. The number is odd, since there are two proxies.
const TURN: u64 = 11;
/// How many requests of a turn have a connection of their own.
const ALONE: u64 = 2;

/// A running load, which ends when it is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The start of the load.
    pub(crate) start: Instant,
}

struct Shared {
    samples: Mutex<Vec<Sample>>,
    stop: AtomicBool,
}

impl Shared {
    fn samples(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Starts to send `rate` requests a second to these ports of 127.0.0.1.
    pub(crate) fn start(ports: &[u16], rate: u32) -> Self {
        let shared = Arc::new(Shared {
            samples: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let fronts: Vec<Arc<Front>> = ports
            .iter()
            .map(|port| Arc::new(Front::new(*port)))
            .collect();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(send(&theirs, &fronts, rate));
        });
        Self {
            shared,
            thread: Some(thread),
            start: Instant::now(),
        }
    }

    /// The end of the first request after `since` that this instance has answered.
    pub(crate) fn first_answer(&self, instance: &str, since: Instant) -> Option<Instant> {
        let samples = self.shared.samples();
        let late = samples
            .iter()
            .rev()
            .take_while(|sample| sample.end >= since);
        late.filter(|sample| matches!(&sample.outcome, Outcome::Answered(by) if **by == *instance))
            .last()
            .map(|sample| sample.end)
    }

    /// Stops sending, waits for the open requests, and returns all samples by the time at which they were due.
    pub(crate) fn finish(mut self) -> Vec<Sample> {
        self.end();
        let mut samples = std::mem::take(&mut *self.shared.samples());
        samples.sort_by_key(|sample| sample.due);
        samples
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is on stderr already.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

async fn send(shared: &Arc<Shared>, fronts: &[Arc<Front>], rate: u32) {
    let start = Instant::now();
    let mut open = tokio::task::JoinSet::new();
    for number in 0_u32.. {
        let due = start + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due.into()).await;
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        while open.try_join_next().is_some() {}
        let front = Arc::clone(&fronts[number as usize % fronts.len()]);
        let shared = Arc::clone(shared);
        let overload = open.len() >= MAX_OPEN;
        open.spawn(async move {
            let sent = Instant::now();
            let (outcome, raced) = if overload {
                (Outcome::Failed(Failure::Overload), false)
            } else {
                front.request(u64::from(number)).await
            };
            shared.samples().push(Sample {
                due,
                sent,
                end: Instant::now(),
                outcome,
                raced,
            });
        });
    }
    while open.join_next().await.is_some() {}
}

/// A proxy, and the idle connections to it.
struct Front {
    port: u16,
    idle: Mutex<VecDeque<TcpStream>>,
}

impl Front {
    fn new(port: u16) -> Self {
        Self {
            port,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<TcpStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that has been idle longest and that the proxy has not closed, as far as the client can see.
    fn kept(&self) -> Option<TcpStream> {
        loop {
            let mut idle = self.idle();
            if idle.len() < KEPT {
                return None;
            }
            let stream = idle.pop_front()?;
            drop(idle);
            let seen = stream.try_read(&mut [0]);
            if matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                return Some(stream);
            }
        }
    }

    /// Sends a request. Returns the outcome, and whether the request had to be sent twice.
    async fn request(&self, number: u64) -> (Outcome, bool) {
        let alone = number % TURN < ALONE;
        let path = format!("/{number}");
        let mut raced = false;
        let asking = async {
            if let Some(stream) = (!alone).then(|| self.kept()).flatten() {
                let mut begun = false;
                match self.exchange(stream, &path, alone, &mut begun).await {
                    // The proxy closed the connection before any answer, so it is not known whether it saw the request.
                    Err(error) if !begun && Failure::of(&error) != Failure::TimedOut => {
                        raced = true;
                    }
                    ended => return ended,
                }
            }
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.set_nodelay(true)?;
            self.exchange(stream, &path, alone, &mut false).await
        };
        let ended = tokio::time::timeout(PATIENCE, asking).await;
        let ended = ended.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let outcome = ended.unwrap_or_else(|error| Outcome::Failed(Failure::of(&error)));
        (outcome, raced)
    }

    /// Sends one request on a connection and reads the answer. The connection is kept if both sides agree. `begun` is set
    /// once a part of the answer has come.
    async fn exchange(
        &self,
        mut stream: TcpStream,
        path: &str,
        alone: bool,
        begun: &mut bool,
    ) -> io::Result<Outcome> {
        let connection = if alone { "close" } else { "keep-alive" };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: {connection}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut got = Vec::with_capacity(2048);
        let head = loop {
            if let Some(at) = got.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut got).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            *begun = true;
        };
        let head = Head::parse(&got.drain(..head).collect::<Vec<u8>>())?;
        while got.len() < head.length {
            if stream.read_buf(&mut got).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !alone && !head.last && got.len() == head.length {
            self.idle().push_back(stream);
        }
        Ok(judge(head.status, &got, path))
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    length: usize,
    /// Whether the proxy closes the connection after this answer.
    last: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(key, value)| (key == name).then(|| value.trim()))
        };
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let length = field("content-length").and_then(|value| value.parse().ok());
        let (Some(status), Some(length)) = (status, length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        Ok(Self {
            status,
            length,
            last: field("connection").is_some_and(|value| value.contains("close")),
        })
    }
}
