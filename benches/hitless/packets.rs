//! The packets that this machine sends to a dead server: who still believes in it, and until when. Adapter.
//!
//! A proxy's own figures do not say it: they start from zero with each reload, and a request that was sent elsewhere
//! after a refusal counts for the other server. So it is read off the wire, as tcpdump does, which takes root.

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

/// What is written down of one address.
#[derive(Default)]
struct Seen {
    /// Port and sequence number: a packet that is sent again, because nobody confirmed it, is no new request.
    known: BTreeSet<(u16, u32)>,
    last: Option<Instant>,
}

type Book = Mutex<BTreeMap<Ipv4Addr, Seen>>;

/// Looks at all packets, until it is dropped.
pub(crate) struct Packets {
    book: Arc<Book>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Packets {
    /// Starts to look for what is sent to a port.
    pub(crate) fn watch(port: u16) -> nix::Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(50))?;
        setsockopt(&socket, RcvBuf, &(8 << 20))?;
        let book = Arc::new(Book::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, end) = (Arc::clone(&book), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                look(&socket, port, &theirs);
            }
        });
        Ok(Self {
            book,
            stop,
            thread: Some(thread),
        })
    }

    /// Begins to write down what is sent to these addresses.
    pub(crate) fn follow(&self, addresses: &[Ipv4Addr]) {
        let mut book = lock(&self.book);
        book.clear();
        book.extend(addresses.iter().map(|address| (*address, Seen::default())));
    }

    /// When the last attempt to reach any of them began that was not known before.
    pub(crate) fn last(&self) -> Option<Instant> {
        lock(&self.book).values().filter_map(|seen| seen.last).max()
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said why it panicked.
            let _ = thread.join();
        }
    }
}

fn lock(book: &Book) -> MutexGuard<'_, BTreeMap<Ipv4Addr, Seen>> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(socket: &OwnedFd, port: u16, book: &Book) {
    let mut buffer = [0; 128];
    // Longer packets are cut off; their length stands in their header.
    let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
        return;
    };
    let Some(packet) = Packet::parse(&buffer[..length]).filter(|packet| packet.port == port) else {
        return;
    };
    if let Some(seen) = lock(book).get_mut(&packet.to)
        && packet.asks
        && seen.known.insert((packet.from_port, packet.sequence))
    {
        seen.last = Some(Instant::now());
    }
}
