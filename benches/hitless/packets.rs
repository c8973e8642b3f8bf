//! Captures the packets that this host sends to a dead server: they show until when a proxy tries to reach it. Adapter.
//!
//! A proxy's own figures do not show it: they start from zero with each reload, and a request that is sent to another server
//! after a refusal counts for the other one. So the packets are captured as tcpdump does, which needs root.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::packet::Packet;

/// The packets to one address.
#[derive(Default)]
struct Seen {
    /// Source ports and sequence numbers, by which a packet that is sent again is not counted as a new request.
    known: BTreeSet<(u16, u32)>,
    last: Option<Instant>,
}

type Log = Mutex<BTreeMap<Ipv4Addr, Seen>>;

/// Captures packets until it is dropped.
pub(crate) struct Packets {
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Packets {
    /// Starts to capture packets to a port.
    pub(crate) fn watch(port: u16) -> nix::Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(50))?;
        setsockopt(&socket, RcvBuf, &(8 << 20))?;
        let log = Arc::new(Log::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, end) = (Arc::clone(&log), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                capture_one(&socket, port, &theirs);
            }
        });
        Ok(Self {
            log,
            stop,
            thread: Some(thread),
        })
    }

    /// Starts a new log for these addresses.
    pub(crate) fn follow(&self, addresses: &[Ipv4Addr]) {
        let mut log = lock(&self.log);
        log.clear();
        log.extend(addresses.iter().map(|address| (*address, Seen::default())));
    }

    /// The time of the last new attempt to reach any of the addresses.
    pub(crate) fn last(&self) -> Option<Instant> {
        lock(&self.log).values().filter_map(|seen| seen.last).max()
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is on stderr already.
            let _ = thread.join();
        }
    }
}

fn lock(log: &Log) -> MutexGuard<'_, BTreeMap<Ipv4Addr, Seen>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn capture_one(socket: &OwnedFd, port: u16, log: &Log) {
    // Longer packets are cut off; their header has their length.
    let mut buffer = [0; 128];
    let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
        return;
    };
    let Some(packet) = Packet::parse(&buffer[..length]).filter(|packet| packet.port == port) else {
        return;
    };
    if let Some(seen) = lock(log).get_mut(&packet.to)
        && packet.asks
        && seen.known.insert((packet.from_port, packet.sequence))
    {
        seen.last = Some(Instant::now());
    }
}
