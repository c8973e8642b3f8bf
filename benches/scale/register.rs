//! Many instances in one `register --config`.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions};
use serde_json::Value;

use crate::etcd::Counters;
use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick};
use crate::process::{processor_time, resident};
use crate::{Figures, disk, figure};

/// How long it is idle while it is measured.
const IDLE: Duration = Duration::from_secs(20);
/// How long all of them may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Announces so many instances.
pub(crate) async fn measure(instances: usize) -> Figures {
    let etcd = Etcd::start_new();
    let mut client = Client::connect([etcd.endpoint()], None)
        .await
        .expect("a client");
    let dir = disk();
    let mut services = String::new();
    for n in 0..instances {
        let _ = writeln!(
            services,
            "[[service]]\nname = 'web'\nid = 'i{n:05}'\nip = '10.1.{}.{}'\nport = 8080\n",
            n / 250,
            n % 250 + 1
        );
    }
    let config = dir.path().join("services.toml");
    fs::write(&config, services).expect("the services");
    let before = Counters::read(&etcd);
    let start = Instant::now();
    let mut command = sidekick();
    command.args(["register", "--store", &etcd.url(), "--config"]);
    let process = Process::start(command.arg(&config), &dir.path().join("log"));
    loop {
        let options = GetOptions::new().with_prefix().with_count_only();
        let answer = client.get("/services/web/", Some(options)).await;
        // Each has at least its address and its port.
        let keys = answer.expect("a count").count();
        if usize::try_from(keys).is_ok_and(|keys| keys >= 2 * instances) {
            break;
        }
        assert!(start.elapsed() < LIMIT, "{}", process.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = start.elapsed();
    let work = Counters::read(&etcd).since(before);
    let spent = processor_time(&process);
    // The first heartbeat and whatever else follows a start.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (idle, idle_processor) = (Counters::read(&etcd), processor_time(&process));
    tokio::time::sleep(IDLE).await;
    let idle = Counters::read(&etcd).since(idle);
    let idle_processor = processor_time(&process) - idle_processor;
    let seconds = IDLE.as_secs_f64();
    vec![
        ("instances", Value::from(instances)),
        ("all announced after, s", figure(took.as_secs_f64())),
        ("requests at etcd until then", figure(work.requests)),
        (
            "requests at etcd until then, each second",
            figure(work.requests / took.as_secs_f64()),
        ),
        ("processor time of register until then, s", figure(spent)),
        (
            "processor time of etcd until then, s",
            figure(work.processor),
        ),
        ("memory of register, MB", figure(resident(&process))),
        (
            "idle: processor of register, % of a core",
            figure(idle_processor / seconds * 100.0),
        ),
        (
            "idle: requests at etcd, each second",
            figure(idle.requests / seconds),
        ),
    ]
}
