//! A TCP packet, as far as it matters for counting requests. Pure.

use std::net::Ipv4Addr;

/// The parts of a TCP packet that matter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The destination address.
    pub(crate) to: Ipv4Addr,
    /// The destination port.
    pub(crate) port: u16,
    /// The source port.
    pub(crate) from_port: u16,
    /// The sequence number.
    pub(crate) sequence: u32,
    /// Whether it opens a connection or has data; an acknowledgement or the end of a connection does neither.
    pub(crate) asks: bool,
}

impl Packet {
    /// Reads a packet that begins with its IP header, and may be cut off. `None` if it is not TCP over IPv4.
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
