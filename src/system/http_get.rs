//! One request to a server of this host, and its whole answer. Adapter.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::model::listen_address::ListenAddress;

/// As much of an answer as is taken.
const BODY: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum GetError {
    /// Nobody listens there.
    #[error("nobody answers at {0}")]
    Connect(ListenAddress, #[source] io::Error),
    /// Somebody does, and not as HTTP has it.
    #[error("{0} gives no answer that can be read")]
    Answer(ListenAddress, #[source] hyper::Error),
    /// It takes too long.
    #[error("{address} does not answer within {} ms", limit.as_millis())]
    Late {
        /// Who was asked.
        address: ListenAddress,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Asks for a path; the status and the text of the answer.
pub async fn get(
    address: &ListenAddress,
    path: &str,
    limit: Duration,
) -> Result<(u16, String), GetError> {
    let asked = async {
        let refused = |error| GetError::Connect(address.clone(), error);
        match address {
            ListenAddress::Tcp(at) => {
                let stream = TcpStream::connect(at).await.map_err(refused)?;
                ask(stream, &at.to_string(), path).await
            }
            ListenAddress::Unix(at) => {
                let stream = UnixStream::connect(at).await.map_err(refused)?;
                ask(stream, "localhost", path).await
            }
        }
        .map_err(|error| GetError::Answer(address.clone(), error))
    };
    let late = |_| GetError::Late {
        address: address.clone(),
        limit,
    };
    tokio::time::timeout(limit, asked).await.map_err(late)?
}

async fn ask<S>(stream: S, host: &str, path: &str) -> Result<(u16, String), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(String::new());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
    if let Ok(host) = host.parse() {
        headers.insert(HOST, host);
    }
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, read(response.into_body()).await?))
    };
    // What is wrong with the connection shows in the answer.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = connection => match never {},
    }
}

async fn read(mut body: Incoming) -> Result<String, hyper::Error> {
    let mut read = Vec::new();
    while read.len() < BODY {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => break,
            Some(frame) => {
                let frame = frame?;
                let data = frame.data_ref().map_or(&[][..], |data| data);
                read.extend_from_slice(&data[..data.len().min(BODY - read.len())]);
            }
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}
