//! Measures the time from a change in etcd to the running HAProxy that has it. For comparison it measures what no program can
//! do without: a raw watch of etcd and one command on HAProxy's socket. It also measures the last part alone: from two texts
//! to the changed server.
//!
//! `cargo bench --bench runtime [-- SIZES]`. Milliseconds vary between machines and over time, so compare the ratios.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use sidekick::proxy::haproxy::change::ServerChange;
use sidekick::proxy::haproxy::diff::{Change, diff};
use sidekick::proxy::haproxy::runtime::{REST, Runtime};

#[path = "../tests/it/harness/mod.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod harness;

use harness::etcd::Etcd;
use harness::{Process, free_port, sidekick, temp_dir, tool, wait_for};

/// Changes per size.
const ROUNDS: usize = 100;
/// The pause between two changes, so that nothing of one is still under way at the next.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a socket may take.
const LIMIT: Duration = Duration::from_secs(30);

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![10, 1_000, 10_000]
    } else {
        sizes
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    print(
        "one changed weight; p50 / p99 in ms. bare: one `set server … weight` on HAProxy's socket, connection included.",
    );
    print(
        "compare: two texts to the change. change: the same, and HAProxy has made it. etcd: from the start of a put to",
    );
    print(
        "HAProxy having it, by a running `sidekick watch`; put: the put alone. add: a server more, and removed again.",
    );
    print(
        "servers   bare           compare        change         change/bare   add/bare   put           etcd           etcd/(put+bare)",
    );
    for size in sizes {
        runtime.block_on(measure(size));
    }
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn print(line: &str) {
    println!("{line}");
}

/// The configuration with all servers; the one in the middle has another weight in each round.
fn text(dir: &Path, port: u16, size: usize, weight: usize, more: bool) -> String {
    let mut text = format!(
        "global\n    stats socket {}/stats.sock level admin\ndefaults\n    mode http\n    timeout connect 2s\n    timeout client 9s\n    \
         timeout server 9s\nfrontend f\n    bind 127.0.0.1:{port}\n    default_backend app\nbackend app",
        dir.display()
    );
    for n in 0..size {
        let weight = if n == size / 2 { weight } else { 100 };
        let _ = write!(
            text,
            "\n    server i{n:05} 127.1.{}.{}:8080 weight {weight}",
            n / 250,
            n % 250 + 1
        );
    }
    if more {
        text.push_str("\n    server more 127.2.0.1:8080 weight 1");
    }
    text + "\n"
}

async fn measure(size: usize) {
    let dir = temp_dir();
    let port = free_port();
    let config = dir.path().join("haproxy.cfg");
    let socket = dir.path().join("stats.sock");
    let first = text(dir.path(), port, size, 100, false);
    std::fs::write(&config, &first).expect("a file");
    let mut haproxy = std::process::Command::new(tool("haproxy"));
    let proxy = Process::start(
        haproxy.arg("-db").arg("-f").arg(&config),
        &dir.path().join("proxy"),
    );
    wait_for("HAProxy", || UnixStream::connect(&socket).ok());
    let middle = format!("app/i{:05}", size / 2);
    let runtime = Runtime::new([socket.as_path().into()], LIMIT, REST);
    let mut live = first;
    let (mut bare, mut compared, mut changed, mut added) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let weight = round % 99 + 1;
        let start = Instant::now();
        ask(
            &socket,
            &format!("set server {middle} weight {}\n", weight + 100),
        );
        bare.push(start.elapsed());
        let new = text(dir.path(), port, size, weight, false);
        let start = Instant::now();
        let ops = changes(&live, &new);
        compared.push(start.elapsed());
        runtime.apply(&ops).await.expect("a change");
        changed.push(start.elapsed());
        let more = text(dir.path(), port, size, weight, true);
        let start = Instant::now();
        runtime
            .apply(&changes(&new, &more))
            .await
            .expect("a server more");
        added.push(start.elapsed());
        runtime
            .apply(&changes(&more, &new))
            .await
            .expect("a server less");
        live = new;
    }
    drop(proxy);
    let (put, all) = through_etcd(size).await;
    let ratio = |a: &[Duration], b: Duration| median(a).as_secs_f64() / b.as_secs_f64();
    print(&format!(
        "{size:>7}   {:<14} {:<14} {:<14} {:<13.1} {:<10.1} {:<13} {:<14} {:.1}",
        figures(&bare),
        figures(&compared),
        figures(&changed),
        ratio(&changed, median(&bare)),
        ratio(&added, median(&bare)),
        figures(&put),
        figures(&all),
        ratio(&all, median(&put) + median(&bare)),
    ));
}

fn changes(live: &str, new: &str) -> Vec<ServerChange> {
    match diff("", live, new) {
        Change::Runtime(ops) => ops,
        other => panic!("{other:?}"),
    }
}

/// Connects, sends a command and returns the answer.
fn ask(socket: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("connect");
    stream.write_all(command.as_bytes()).expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Measures the puts alone, and the times until HAProxy has their values.
async fn through_etcd(size: usize) -> (Vec<Duration>, Vec<Duration>) {
    let etcd = Etcd::start_new();
    let mut client = etcd_client::Client::connect([etcd.endpoint()], None)
        .await
        .expect("a client");
    for n in 0..size {
        let at = format!("/services/web/i{n:05}");
        let puts = [
            ("ip", format!("127.1.{}.{}", n / 250, n % 250 + 1)),
            ("port", "8080".to_owned()),
            ("weight", "100".to_owned()),
        ];
        let puts =
            puts.map(|(name, value)| etcd_client::TxnOp::put(format!("{at}/{name}"), value, None));
        client
            .txn(etcd_client::Txn::new().and_then(puts))
            .await
            .expect("fill the store");
    }
    let dir = temp_dir();
    let socket = dir.path().join("stats.sock");
    configure(dir.path(), &socket);
    let keep = |args: &[&str]| {
        let mut command = sidekick();
        command
            .args([
                "watch",
                "--store",
                &format!("etcd://{}", etcd.endpoint()),
                "--conf-dir",
            ])
            .arg(dir.path())
            .args(args);
        Process::start(&mut command, &dir.path().join("log"))
    };
    keep(&["--once"]).wait();
    let mut haproxy = std::process::Command::new(tool("haproxy"));
    let _proxy = Process::start(
        haproxy
            .arg("-db")
            .arg("-f")
            .arg(dir.path().join("haproxy.cfg")),
        &dir.path().join("proxy"),
    );
    wait_for("HAProxy", || UnixStream::connect(&socket).ok());
    let watch = keep(&[]);
    let middle = format!("i{:05}", size / 2);
    let weight = |want: usize| {
        let said = ask(&socket, &format!("get weight app/{middle}\n"));
        said.starts_with(&format!("{want} ")).then_some(())
    };
    let (mut puts, mut all) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let want = round % 99 + 1;
        let start = Instant::now();
        client
            .put(
                format!("/services/web/{middle}/weight"),
                want.to_string(),
                None,
            )
            .await
            .expect("put");
        puts.push(start.elapsed());
        while weight(want).is_none() {
            assert!(start.elapsed() < LIMIT, "{}", watch.output());
            std::thread::sleep(Duration::from_micros(200));
        }
        all.push(start.elapsed());
        // Sidekick still swaps the file, and the next change has to wait for that.
        wait_for("the file", || {
            let file = std::fs::read_to_string(dir.path().join("haproxy.cfg")).ok()?;
            file.contains(&format!(" weight {want}\n")).then_some(())
        });
        tokio::time::sleep(PAUSE).await;
    }
    (puts, all)
}

fn configure(dir: &Path, socket: &Path) {
    for name in ["conf.d", "templates"] {
        std::fs::create_dir(dir.join(name)).expect("a directory");
    }
    let template = text(dir, free_port(), 0, 0, false).trim_end().to_owned()
        + "{% for i in services.web %}\n    server {{ i.id }} {{ i.addr }} weight {{ i.weight }}{% endfor %}\n";
    std::fs::write(dir.join("templates/a.tera"), template).expect("a template");
    let target = format!(
        "[template]\nsrc = 'a.tera'\ndest = '{}/haproxy.cfg'\nservices = ['web']\n[template.haproxy]\nsocket = '{}'\n",
        dir.display(),
        socket.display()
    );
    std::fs::write(dir.join("conf.d/a.toml"), target).expect("a target");
}

fn sorted(times: &[Duration]) -> Vec<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times
}

fn median(times: &[Duration]) -> Duration {
    sorted(times)[times.len() / 2]
}

fn figures(times: &[Duration]) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let p99 = sorted(times)[times.len() * 99 / 100];
    format!("{:.2} / {:.2}", ms(median(times)), ms(p99))
}
