//! The web server of the scenes: answers within a few milliseconds, and stops cleanly. Shell.
//!
//! At SIGTERM it closes the listener and idle connections, after it has answered all requests that have begun to arrive.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::sample::body;

/// The least duration of an answer; a hash of the request adds up to [`SPREAD`] milliseconds.
const WORK: Duration = Duration::from_millis(2);
const SPREAD: u64 = 7;

/// The arguments of the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// The name that its answers give.
    #[arg(long)]
    id: String,
    /// The address at which it listens.
    #[arg(long)]
    ip: Ipv4Addr,
    /// The port for requests.
    #[arg(long)]
    port: u16,
    /// The port for health checks, so that packets of requests and of checks can be told apart.
    #[arg(long)]
    health: u16,
    /// Milliseconds until it listens.
    #[arg(long)]
    boot: u64,
    /// The file for its process id.
    #[arg(long)]
    pid: PathBuf,
}

/// Serves until SIGTERM.
pub(crate) fn run(serve: &Serve) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let served = runtime.expect("a runtime").block_on(listen(serve));
    served.unwrap_or_else(|error| panic!("serve on {}:{}: {error}", serve.ip, serve.port));
}

async fn listen(serve: &Serve) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::time::sleep(Duration::from_millis(serve.boot)).await;
    let requests = TcpListener::bind((serve.ip, serve.port)).await?;
    let checks = TcpListener::bind((serve.ip, serve.health)).await?;
    fs::write(&serve.pid, std::process::id().to_string())?;
    let (stop, stopping) = watch::channel(false);
    let mut open = JoinSet::new();
    loop {
        let (stream, work) = tokio::select! {
            taken = requests.accept() => (taken?.0, true),
            taken = checks.accept() => (taken?.0, false),
            _ = term.recv() => break,
        };
        open.spawn(converse(stream, serve.id.clone(), work, stopping.clone()));
        while open.try_join_next().is_some() {}
    }
    drop((requests, checks));
    // This fails if no connection is open.
    let _ = stop.send(true);
    while open.join_next().await.is_some() {}
    Ok(())
}

/// Serves one connection, request by request. An error means that the client is gone, and is ignored.
async fn converse(
    mut stream: TcpStream,
    id: String,
    work: bool,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut got = Vec::new();
    loop {
        let Some(head) = head(&mut stream, &mut got, &mut stopping).await? else {
            return Ok(());
        };
        let path = head.split(' ').nth(1).unwrap_or_default();
        if work {
            let hash = path.bytes().fold(7_u64, |sum, byte| {
                sum.wrapping_mul(31).wrapping_add(u64::from(byte))
            });
            tokio::time::sleep(WORK + Duration::from_millis(hash % SPREAD)).await;
        }
        let body = body(&id, path);
        let asked = head.to_ascii_lowercase().contains("connection: close");
        let last = asked || *stopping.borrow();
        let connection = if last { "close" } else { "keep-alive" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        if last {
            return stream.shutdown().await;
        }
    }
}

/// Reads the next request, which has no body. `None` if the connection ends, or is idle when the server stops.
async fn head(
    stream: &mut TcpStream,
    got: &mut Vec<u8>,
    stopping: &mut watch::Receiver<bool>,
) -> io::Result<Option<String>> {
    loop {
        if let Some(at) = got.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = got.split_off(at + 4);
            let head = std::mem::replace(got, rest);
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        tokio::select! {
            // A request that has arrived takes precedence over the stop.
            biased;
            read = stream.read_buf(got) => if read? == 0 { return Ok(None) },
            _ = stopping.wait_for(|stop| *stop), if got.is_empty() => return Ok(None),
        }
    }
}
