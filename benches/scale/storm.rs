//! Many clients that lose etcd at the same moment, and connect again when it is back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidekick::model::prefix::Prefix;
use sidekick::model::store_url::EtcdOptions;
use sidekick::store::etcd::EtcdStore;
use sidekick::store::{Followed, Store, follow};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::Figures;
use crate::etcd::Counters;
use crate::harness::etcd::Etcd;

/// How long etcd is away.
const AWAY: Duration = Duration::from_secs(5);
/// The width of a slot of the histogram.
const SLOT: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(120);

/// Follows one prefix with so many clients, each with a connection of its own, and stops etcd for a while.
pub(crate) async fn measure(clients: usize) -> Figures {
    let local = tokio::task::LocalSet::new();
    local.run_until(storm(clients)).await
}

async fn storm(clients: usize) -> Figures {
    let mut etcd = Etcd::start_new();
    etcd.put_instance("web", "a", "10.0.0.1", 80);
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let gate = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let options = EtcdOptions {
        endpoints: vec![gate.local_addr().expect("its address").to_string()],
        ..etcd.options()
    };
    tokio::task::spawn_local(forward(gate, etcd.endpoint(), accepted.clone()));
    let (to, mut from) = mpsc::channel(64);
    let prefix: Prefix = Prefix::parse("/services").expect("a prefix");
    for _ in 0..clients {
        let store = EtcdStore::new(options.clone()).expect("a store");
        let store: Arc<dyn Store> = Arc::new(store);
        let (sender, mut events) = mpsc::channel(16);
        tokio::task::spawn_local(follow(store, prefix.clone(), sender));
        let to = to.clone();
        tokio::task::spawn_local(async move {
            while let Some(event) = events.recv().await {
                if to.send(event).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(to);
    count(&mut from, clients, |event| {
        matches!(event, Followed::Update(_))
    })
    .await;
    etcd.stop();
    // The clients notice while it is away.
    count(&mut from, clients, |event| {
        matches!(event, Followed::Outage(_))
    })
    .await;
    tokio::time::sleep(AWAY).await;
    accepted.lock().expect("the times").clear();
    etcd.start();
    let back = Instant::now();
    let before = Counters::read(&etcd);
    let restored = count(&mut from, clients, |event| {
        matches!(event, Followed::Restored(_))
    })
    .await;
    let work = Counters::read(&etcd).since(before);
    let times = accepted.lock().expect("the times").clone();
    let histogram = histogram(&times, back);
    let after = |share: usize| {
        let index = (restored.len() * share / 100).min(restored.len() - 1);
        Value::from(ms(back, restored[index]))
    };
    vec![
        ("clients", Value::from(clients)),
        ("a half of them followed again after, ms", after(50)),
        ("nine of ten followed again after, ms", after(90)),
        ("all followed again after, ms", after(100)),
        (
            "connections a client, from then on",
            crate::figure(to_f64(times.len()) / to_f64(clients)),
        ),
        (
            "most connections within 250 ms",
            Value::from(histogram.iter().max().copied().unwrap_or_default()),
        ),
        ("connections in each 250 ms", Value::from(histogram)),
        ("requests at etcd until then", crate::figure(work.requests)),
        (
            "processor of etcd until then, s",
            crate::figure(work.processor),
        ),
    ]
}

/// Waits for so many events of a kind, and says when each came.
async fn count(
    from: &mut mpsc::Receiver<Followed>,
    want: usize,
    is_wanted: impl Fn(&Followed) -> bool,
) -> Vec<Instant> {
    let mut times = Vec::new();
    let all = async {
        while times.len() < want {
            let event = from.recv().await.expect("an event");
            if is_wanted(&event) {
                times.push(Instant::now());
            }
        }
    };
    tokio::time::timeout(LIMIT, all)
        .await
        .expect("all clients in time");
    times
}

/// Passes connections on to etcd, and notes when each was made; refuses them while etcd is away.
async fn forward(gate: TcpListener, to: String, accepted: Arc<Mutex<Vec<Instant>>>) {
    loop {
        let Ok((mut client, _)) = gate.accept().await else {
            continue;
        };
        let (to, accepted) = (to.clone(), accepted.clone());
        tokio::task::spawn_local(async move {
            let Ok(mut server) = TcpStream::connect(&to).await else {
                return;
            };
            accepted.lock().expect("the times").push(Instant::now());
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// How many of these times lie in each slot after `start`.
fn histogram(times: &[Instant], start: Instant) -> Vec<usize> {
    let mut slots = Vec::new();
    for time in times {
        let since = time.saturating_duration_since(start).as_millis() / SLOT.as_millis();
        let slot = usize::try_from(since).unwrap_or(usize::MAX);
        if slots.len() <= slot {
            slots.resize(slot + 1, 0);
        }
        slots[slot] += 1;
    }
    slots
}

fn ms(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
