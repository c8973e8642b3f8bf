//! A request over a connection of its own, and whether its answer is right. Adapter.
//!
//! Redirects are answers like any other, and no more of a body is read than it takes to find the expected text.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;

use super::{ProbeError, address_to_check, connect};
use crate::model::check::HttpCheck;

/// As much of a body as is looked at.
const BODY: usize = 64 << 10;

/// Sends the request and checks the answer. The caller sets the time limit.
pub(super) async fn run_check(check: &HttpCheck, announced: SocketAddr) -> Result<(), ProbeError> {
    let request = request(check, announced).map_err(ProbeError::Request)?;
    let stream = TokioIo::new(connect(&check.at, announced).await?);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(ProbeError::Answer)?;
    let answer = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(ProbeError::Answer)?;
        let status = response.status().as_u16();
        if !check.status.contains(&status) {
            return Err(ProbeError::Status(status));
        }
        match &check.body {
            Some(text) => find(text.as_bytes(), response.into_body()).await,
            None => Ok(()),
        }
    };
    // What is wrong with the connection shows in the answer.
    let connection = async {
        let _ = connection.await;
        pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = connection => match never {},
    }
}

fn request(
    check: &HttpCheck,
    announced: SocketAddr,
) -> Result<Request<String>, hyper::http::Error> {
    let (host, port) = address_to_check(&check.at, announced);
    let host = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let agent = concat!("sidekick/", env!("CARGO_PKG_VERSION"));
    let own = [(HOST.as_str(), &*host), (USER_AGENT.as_str(), agent)];
    let theirs = check.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let is_theirs = |name: &str| {
        check
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    let request = Request::get(&check.path).header(CONNECTION, "close");
    let request = own
        .into_iter()
        .filter(|(name, _)| !is_theirs(name))
        .chain(theirs)
        .fold(request, |request, (name, value)| {
            request.header(name, value)
        });
    request.body(String::new())
}

/// Reads until the text is there.
async fn find(text: &[u8], mut body: Incoming) -> Result<(), ProbeError> {
    let mut read = Vec::new();
    loop {
        if read.windows(text.len()).any(|window| window == text) {
            return Ok(());
        }
        if read.len() >= BODY {
            return Err(ProbeError::Body(BODY));
        }
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        match frame {
            None => return Err(ProbeError::Body(read.len())),
            Some(Err(error)) => return Err(ProbeError::Answer(error)),
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                read.extend_from_slice(&data[..data.len().min(BODY - read.len())]);
            }
        }
    }
}
