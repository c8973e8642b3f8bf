//! One size: starts, changes one by one, and many changes at once.

use std::path::Path;
use std::time::{Duration, Instant};

use etcd_client::Client;
use serde::Serialize;

use crate::floor::Floor;
use crate::harness::Process;
use crate::harness::etcd::Etcd;
use crate::numbers::Spread;
use crate::process::{anonymous, processor_time, resident};
use crate::variant::{Renderer, Variant};

/// The pause between two changes, so that nothing of one is still under way at the next.
const PAUSE: Duration = Duration::from_millis(30);

/// How much is measured of a size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How often each renderer is started.
    pub(crate) starts: usize,
    /// How many single changes each renderer gets.
    pub(crate) changes: usize,
    /// How many changes each renderer gets at 500 a second.
    pub(crate) churn: usize,
}

/// The figures of a size.
#[derive(Debug, Serialize)]
pub(crate) struct Size {
    pub(crate) instances: usize,
    /// How many single changes each renderer got.
    pub(crate) changes: usize,
    pub(crate) floor: FloorFigures,
    pub(crate) renderers: Vec<Figures>,
}

/// What no program can do without, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct FloorFigures {
    /// From the put's sending to the event of a bare watch.
    pub(crate) event_ms: Spread,
    /// A write, fsync, rename, and fsync of the directory.
    pub(crate) write_ms: Spread,
}

/// The figures of a renderer.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// Which one: `tera`, `go` or `peer`.
    pub(crate) name: &'static str,
    /// From the start of the program to its first file.
    pub(crate) start_ms: Spread,
    /// From the put's confirmation to the swapped file.
    pub(crate) change_ms: Spread,
    /// From the put's sending to the swapped file, as a ratio to the floor's event and write in the same round.
    pub(crate) to_floor: Spread,
    /// The other program's time from the put's confirmation, as a ratio to this one's in the same round.
    pub(crate) times_as_fast: Option<Spread>,
    /// The processor time of a single change.
    pub(crate) processor_ms: f64,
    /// Resident memory after the first file.
    pub(crate) idle_mb: f64,
    /// Resident memory after all single changes.
    pub(crate) busy_mb: f64,
    /// The part of it that is in no file.
    pub(crate) anonymous_mb: f64,
    /// The processor time of all changes at 500 a second.
    pub(crate) churn_s: f64,
    /// From the confirmation of the last of them to the file that has it.
    pub(crate) churn_tail_ms: f64,
}

/// The times of a renderer's single changes, by round, in milliseconds.
#[derive(Default)]
struct Times {
    since_sent: Vec<f64>,
    since_confirmed: Vec<f64>,
}

/// A renderer that runs.
struct Running<'a> {
    variant: &'a Variant,
    process: Process,
    idle_mb: f64,
    times: Times,
}

/// Measures all renderers with so many instances. Every round has one change for each of them, and one for the floor.
pub(crate) async fn measure(
    renderers: &[Renderer],
    size: usize,
    effort: Effort,
    root: &Path,
) -> Size {
    let etcd = Etcd::start_new();
    let mut client = Client::connect([etcd.endpoint()], None)
        .await
        .expect("a client");
    let variants: Vec<Variant> = renderers
        .iter()
        .map(|renderer| Variant::new(renderer.clone(), size, &etcd, root))
        .collect();
    for variant in &variants {
        variant.keys.fill(&mut client).await;
    }
    let starts = starts(&variants, effort.starts);
    let mut running: Vec<Running<'_>> = variants.iter().map(run).collect();
    let mut floor = Floor::new(&mut client, size, &variants[0].dest, root).await;
    let mut events = Vec::new();
    let mut writes = Vec::new();
    let before: Vec<f64> = running.iter().map(|r| processor_time(&r.process)).collect();
    for round in 0..effort.changes {
        for n in 0..running.len() {
            // Nobody is always the first after the floor.
            let n = (n + round) % variants.len();
            tokio::time::sleep(PAUSE).await;
            running[n].change(&mut client, round).await;
        }
        tokio::time::sleep(PAUSE).await;
        let took = floor.change(&mut client, round).await;
        events.push(ms(took.put.sent, took.seen));
        writes.push(took.write);
    }
    let spent: Vec<f64> = running
        .iter()
        .zip(before)
        .map(|(r, before)| processor_time(&r.process) - before)
        .collect();
    let busy: Vec<(f64, f64)> = running
        .iter()
        .map(|r| (resident(&r.process), anonymous(&r.process)))
        .collect();
    let floors: Vec<f64> = events.iter().zip(&writes).map(|(a, b)| a + b).collect();
    let peer = running
        .iter()
        .position(|r| r.variant.keys.name == "peer")
        .map(|n| running[n].times.since_confirmed.clone());
    let mut figures = Vec::new();
    for (n, one) in running.iter().enumerate() {
        let (churn_s, churn_tail_ms) = churn(one, &mut client, effort.churn).await;
        let times = &one.times;
        figures.push(Figures {
            name: one.variant.keys.name,
            start_ms: Spread::of(&starts[n]).expect("starts"),
            change_ms: Spread::of(&times.since_confirmed).expect("changes"),
            to_floor: Spread::of_ratios(&times.since_sent, &floors).expect("changes"),
            times_as_fast: peer
                .as_ref()
                .and_then(|peer| Spread::of_ratios(peer, &times.since_confirmed)),
            processor_ms: spent[n] * 1e3 / to_f64(effort.changes),
            idle_mb: one.idle_mb,
            busy_mb: busy[n].0,
            anonymous_mb: busy[n].1,
            churn_s,
            churn_tail_ms,
        });
    }
    Size {
        instances: size,
        changes: effort.changes,
        floor: FloorFigures {
            event_ms: Spread::of(&events).expect("changes"),
            write_ms: Spread::of(&writes).expect("changes"),
        },
        renderers: figures,
    }
}

/// Starts every renderer so many times, in turn, and measures the time to its first file in milliseconds.
fn starts(variants: &[Variant], times: usize) -> Vec<Vec<f64>> {
    let mut took = vec![Vec::new(); variants.len()];
    for _ in 0..times {
        for (variant, took) in variants.iter().zip(&mut took) {
            let start = Instant::now();
            let _process = variant.start();
            took.push(ms(start, variant.wait_swapped(0)));
        }
    }
    took
}

fn run(variant: &Variant) -> Running<'_> {
    let process = variant.start();
    variant.wait_swapped(0);
    // What a start leaves to be done is done before it counts as idle.
    std::thread::sleep(Duration::from_secs(1));
    Running {
        idle_mb: resident(&process),
        variant,
        process,
        times: Times::default(),
    }
}

impl Running<'_> {
    /// Makes one change, and waits for its file.
    async fn change(&mut self, client: &mut Client, round: usize) {
        let before = self.variant.inode();
        let put = self.variant.keys.put(client, round).await;
        let swapped = self.variant.wait_swapped(before);
        self.times.since_sent.push(ms(put.sent, swapped));
        self.times.since_confirmed.push(ms(put.confirmed, swapped));
    }
}

/// Makes many changes, 500 a second, and a last one that is found in the file. Says the processor time in seconds, and how
/// long the last one took in milliseconds.
async fn churn(one: &Running<'_>, client: &mut Client, changes: usize) -> (f64, f64) {
    const LAST: &str = "10.255.255.254";
    let before = processor_time(&one.process);
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    for round in 0..changes {
        pace.tick().await;
        one.variant.keys.put(client, round).await;
    }
    let put = one.variant.keys.mark(client, LAST).await;
    let last = one.variant.wait_text(LAST);
    (
        processor_time(&one.process) - before,
        ms(put.confirmed, last),
    )
}

/// The milliseconds between two times; 0 if the second is the earlier one.
fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
