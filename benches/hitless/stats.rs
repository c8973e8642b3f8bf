//! Statistics of samples: percentiles, kinds of failures, a time line. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::sample::{Failure, Sample};

/// The width of a slot of a time line.
pub(crate) const SLOT: Duration = Duration::from_millis(100);

/// The smallest value that `percent` of all values do not exceed (nearest rank); `None` without values.
pub(crate) fn percentile(values: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The response times of the answered requests.
pub(crate) fn times<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Vec<Duration> {
    let answered = samples
        .into_iter()
        .filter(|sample| sample.failure().is_none());
    answered.map(Sample::took).collect()
}

/// The samples that were due from `from` until before `to`.
pub(crate) fn due(samples: &[Sample], from: Instant, to: Instant) -> impl Iterator<Item = &Sample> {
    samples
        .iter()
        .filter(move |sample| from <= sample.due && sample.due < to)
}

/// The numbers of failed requests, by kind.
pub(crate) fn failures<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
) -> BTreeMap<Failure, usize> {
    let mut kinds = BTreeMap::new();
    for failure in samples.into_iter().filter_map(Sample::failure) {
        *kinds.entry(failure).or_default() += 1;
    }
    kinds
}

/// A piece of a time line.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Requests that were due in it.
    pub(crate) requests: usize,
    /// The requests of them that failed.
    pub(crate) failed: usize,
    /// The 95th percentile of the response times of the answered ones.
    pub(crate) p95: Option<Duration>,
    /// The longest response time of the answered ones.
    pub(crate) worst: Option<Duration>,
}

/// The time line of these samples, in slots after `start`.
pub(crate) fn time_line(samples: &[Sample], start: Instant) -> Vec<Slot> {
    let index = |sample: &Sample| {
        let since = sample.due.saturating_duration_since(start);
        usize::try_from(since.as_millis() / SLOT.as_millis()).unwrap_or(usize::MAX)
    };
    let slots = samples.iter().map(index).max().map_or(0, |last| last + 1);
    let mut parts: Vec<Vec<&Sample>> = vec![Vec::new(); slots];
    for sample in samples {
        parts[index(sample)].push(sample);
    }
    parts
        .into_iter()
        .map(|part| {
            let times = times(part.iter().copied());
            Slot {
                requests: part.len(),
                failed: part.len() - times.len(),
                p95: percentile(&times, 95),
                worst: times.iter().max().copied(),
            }
        })
        .collect()
}
