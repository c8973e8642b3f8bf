//! The signals sent to this process, as one stream. Adapter.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::model::facts::Signal;

/// Signals nobody else is to get: they tell of an error in this very process (ILL TRAP ABRT BUS FPE SEGV SYS), cannot
/// be caught (KILL STOP), or concern our own children and pipes (CHLD PIPE) and our own place at the terminal (TTIN TTOU).
const OWN: [i32; 13] = [4, 5, 6, 7, 8, 9, 11, 13, 17, 19, 21, 22, 31];
/// The real-time signals after this one are not passed on yet.
const LAST: i32 = 31;

/// The stream; dropping it stops listening.
#[derive(Debug)]
pub struct Signals {
    from: mpsc::Receiver<Signal>,
    _listeners: JoinSet<()>,
}

impl Signals {
    /// Listens for every signal that can be passed on to a child.
    pub fn forwardable() -> io::Result<Self> {
        Self::listen((1..=LAST).filter(|number| !OWN.contains(number)))
    }

    /// Listens for what concerns a daemon: HUP, INT and TERM.
    pub fn daemon() -> io::Result<Self> {
        Self::listen([Signal::HUP, Signal::INT, Signal::TERM].map(|Signal(number)| number))
    }

    fn listen(numbers: impl IntoIterator<Item = i32>) -> io::Result<Self> {
        let (to, from) = mpsc::channel(16);
        let mut listeners = JoinSet::new();
        for number in numbers {
            let stream = signal(SignalKind::from_raw(number))?;
            listeners.spawn(pass_on(stream, Signal(number), to.clone()));
        }
        Ok(Self {
            from,
            _listeners: listeners,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        match self.from.recv().await {
            Some(signal) => signal,
            // The listeners live as long as `self` does.
            None => std::future::pending().await,
        }
    }
}

async fn pass_on(mut stream: Stream, signal: Signal, to: mpsc::Sender<Signal>) {
    while stream.recv().await.is_some() {
        if to.send(signal).await.is_err() {
            return;
        }
    }
}
