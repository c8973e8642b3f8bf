//! The load: requests on a fixed schedule, to the proxies in turn, whatever becomes of those before. Shell.
//!
//! An open loop: nobody waits for an answer before the next request is sent, so that a stall is not hidden by requests
//! that were never made. Connections are kept and used in turn; two requests of eleven are alone on a new one.

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
/// Requests under way at a time.
const MOST: usize = 2000;
/// Connections to each proxy that are kept at least, so that each is idle for a while between two requests: a client that
/// sends on a connection at the moment when a reload closes it is what this is about.
const KEPT: usize = 20;
/// Of so many requests in turn (an odd number: there are two proxies),
const TURN: u64 = 11;
/// so many have a connection of their own.
const ALONE: u64 = 2;

/// A running load, which ends when it is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// When it began.
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
    /// Begins to send so many requests a second to these ports of 127.0.0.1.
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

    /// When an instance first answered a request that ended after a moment.
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

    /// Sends no more, waits for what is under way; all samples by when they were due.
    pub(crate) fn finish(mut self) -> Vec<Sample> {
        self.end();
        let mut samples = std::mem::take(&mut *self.shared.samples());
        samples.sort_by_key(|sample| sample.due);
        samples
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said why it panicked.
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
        let overload = open.len() >= MOST;
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

    /// The one of the kept connections that was idle longest and, as far as can be seen, is not closed by the other side.
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

    /// Sends a request; the answer, and whether it had to be sent twice.
    async fn request(&self, number: u64) -> (Outcome, bool) {
        let alone = number % TURN < ALONE;
        let path = format!("/{number}");
        let mut raced = false;
        let asking = async {
            if let Some(stream) = (!alone).then(|| self.kept()).flatten() {
                let mut begun = false;
                match self.exchange(stream, &path, alone, &mut begun).await {
                    // Closed while the request was written, before any answer: nobody knows whether it was seen.
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

    /// One request and its answer on a connection, which is kept if both sides want to. `begun`: some of the answer came.
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

/// What counts of the head of an answer.
struct Head {
    status: u16,
    length: usize,
    /// Whether the connection ends with it.
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
