//! What etcd says of itself, and instances that are written into it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use etcd_client::{Client, Compare, Txn, TxnOp};

use crate::harness::etcd::Etcd;

/// Counters of etcd at some time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    /// Requests that it has answered, streams not counted.
    pub(crate) requests: f64,
    /// Bytes that it has sent to clients.
    pub(crate) sent: f64,
    /// Events that it has sent to watches.
    pub(crate) events: f64,
    /// Changes of keys.
    pub(crate) writes: f64,
    /// Processor time, in seconds.
    pub(crate) processor: f64,
}

impl Counters {
    /// Reads them from `/metrics`.
    pub(crate) fn read(etcd: &Etcd) -> Self {
        let text = metrics(etcd);
        let sum = |name: &str, with: &str| -> f64 {
            text.lines()
                .filter(|line| line.starts_with(name) && line.contains(with))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum()
        };
        Self {
            requests: sum("grpc_server_handled_total", "grpc_type=\"unary\""),
            sent: sum("etcd_network_client_grpc_sent_bytes_total", ""),
            events: sum("etcd_debugging_mvcc_events_total", ""),
            writes: sum("etcd_mvcc_put_total", "") + sum("etcd_debugging_mvcc_put_total", ""),
            processor: sum("process_cpu_seconds_total", ""),
        }
    }

    /// What has been added since an earlier time.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            sent: self.sent - earlier.sent,
            events: self.events - earlier.events,
            writes: self.writes - earlier.writes,
            processor: self.processor - earlier.processor,
        }
    }
}

fn metrics(etcd: &Etcd) -> String {
    let mut stream = TcpStream::connect(etcd.endpoint()).expect("etcd");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a limit");
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the metrics");
    text
}

/// Writes instances of the service `web`, each with two keys.
pub(crate) async fn fill(client: &mut Client, size: usize) {
    for from in (0..size).step_by(60) {
        let ops = (from..size.min(from + 60)).flat_map(|n| {
            let ip = format!("10.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250 + 1);
            [("ip", ip), ("port", "8080".to_owned())].map(|(field, value)| {
                TxnOp::put(format!("/services/web/i{n:06}/{field}"), value, None)
            })
        });
        let txn = Txn::new()
            .when(Vec::<Compare>::new())
            .and_then(ops.collect::<Vec<_>>());
        client.txn(txn).await.expect("fill the store");
    }
}

/// The directory of a `watch` with one target that lists the servers of `web`.
pub(crate) fn write_target(dir: &std::path::Path) -> std::path::PathBuf {
    for name in ["conf.d", "templates"] {
        fs::create_dir_all(dir.join(name)).expect("a directory");
    }
    let template = "{% for i in services.web %}server {{ i.id }} {{ i.addr }} weight {{ i.weight | default(value=100) }}\n{% endfor %}";
    fs::write(dir.join("templates/out.tera"), template).expect("a template");
    let dest = dir.join("haproxy.cfg");
    let target = format!(
        "[template]\nsrc = 'out.tera'\ndest = '{}'\nservices = ['web']\n",
        dest.display()
    );
    fs::write(dir.join("conf.d/out.toml"), target).expect("a target");
    dest
}
