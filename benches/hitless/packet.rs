//! A TCP packet, as far as it tells of requests. Pure.

use std::net::Ipv4Addr;

/// What counts of a TCP packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Whom it is for.
    pub(crate) to: Ipv4Addr,
    /// The port there.
    pub(crate) port: u16,
    /// The port here.
    pub(crate) from_port: u16,
    /// Which of the connection.
    pub(crate) sequence: u32,
    /// Whether it opens a connection or carries data; confirmations and farewells do neither.
    pub(crate) asks: bool,
}

impl Packet {
    /// Reads one that starts with its IP header, and may be cut off; nothing if it is no TCP over IPv4.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        const TCP: u8 = 6;
        const SYN: u8 = 2;
        let short = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let long = |at: usize| Some(u32::from(short(at)?) << 16 | u32::from(short(at + 2)?));
        let first = *bytes.first()?;
        if first >> 4 != 4 || *bytes.get(9)? != TCP {
            return None;
        }
        let head = usize::from(first & 15) * 4;
        let options = usize::from(*bytes.get(head + 12)? >> 4) * 4;
        let data = usize::from(short(2)?).saturating_sub(head + options);
        Some(Self {
            to: Ipv4Addr::from_bits(long(16)?),
            port: short(head + 2)?,
            from_port: short(head)?,
            sequence: long(head + 4)?,
            asks: *bytes.get(head + 13)? & SYN != 0 || data > 0,
        })
    }
}
