//! What one target may lose at once before its guard holds what was lost. Pure.

use std::net::IpAddr;
use std::time::Duration;

use super::address::Network;

/// The limits of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What to do about a service whose last instance was lost.
    pub on_empty: OnEmpty,
    /// A loss that leaves fewer than this is too much.
    pub min_instances: usize,
    /// The largest share that may be lost within `window`.
    pub max_drop: Percent,
    /// Losses that lie this close together count as one.
    pub window: Duration,
    /// How long the guard holds a loss that was too much.
    pub hold: Duration,
    /// The guard passes over instances with an address outside of these networks; an empty list admits every address.
    pub networks: Vec<Network>,
}

/// What to do about a service whose last instance was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEmpty {
    /// Keep what was lost until an instance returns.
    Hold,
    /// Render it empty.
    Render,
}

/// A share in percent, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl Percent {
    /// Everything.
    pub const ALL: Self = Self(100);

    /// Whether `part` of `whole` is a larger share.
    #[must_use]
    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        part.saturating_mul(100) > whole.saturating_mul(usize::from(self.0))
    }
}

impl Rules {
    /// The guard of a target that follows services, unless it is configured otherwise.
    #[must_use]
    pub fn of_services() -> Self {
        Self {
            on_empty: OnEmpty::Hold,
            max_drop: Percent(50),
            ..Self::none()
        }
    }

    /// No guard: the default of a target that follows raw keys, as in confd.
    #[must_use]
    pub fn none() -> Self {
        Self {
            on_empty: OnEmpty::Render,
            min_instances: 0,
            max_drop: Percent::ALL,
            window: Duration::from_secs(30),
            hold: Duration::from_secs(60),
            networks: Vec::new(),
        }
    }

    /// Whether there is anything to guard.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.on_empty == OnEmpty::Render
            && self.min_instances == 0
            && self.max_drop == Percent::ALL
            && self.networks.is_empty()
    }

    /// Whether an address may be served.
    #[must_use]
    pub fn admits(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(ip))
    }
}
