//! Medians, spreads and ratios of what was measured. Pure.

use serde::Serialize;

/// The middle of some values, and between which two a half of them lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// A quarter of the values is below it.
    pub(crate) low: f64,
    /// The middle value.
    pub(crate) median: f64,
    /// A quarter of the values is above it.
    pub(crate) high: f64,
    /// A hundredth of the values is above it.
    pub(crate) p99: f64,
}

impl Spread {
    /// The spread of these values; `None` without values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        Some(Self {
            low: rank(25)?,
            median: rank(50)?,
            high: rank(75)?,
            p99: rank(99)?,
        })
    }

    /// The spread of the ratios of two series, each of the same round: what slows a machine down for a while slows both.
    pub(crate) fn of_ratios(values: &[f64], to: &[f64]) -> Option<Self> {
        let pairs = values.iter().zip(to).filter(|(_, to)| **to > 0.0);
        Self::of(&pairs.map(|(value, to)| value / to).collect::<Vec<_>>())
    }
}

/// Formats a number with three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0..0.995 => format!("{value:.2}"),
        0.995..9.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
