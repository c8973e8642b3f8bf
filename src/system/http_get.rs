//! One request to a server of this host, and its answer: the whole of it, or line by line as it comes. Adapter.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, DATE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::model::listen_address::ListenAddress;

/// The most bytes that are read of an answer.
const BODY: usize = 1 << 20;
/// The most bytes that are read of an answer with another status than 200.
const REASON: usize = 4 << 10;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum GetError {
    /// Nobody listens there.
    #[error("nobody answers at {0}")]
    Connect(ListenAddress, #[source] io::Error),
    /// The answer is not HTTP.
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
    /// The answer is too long.
    #[error("the answer of {0} is longer than {1} bytes")]
    TooLong(ListenAddress, usize),
    /// It answers with another status than 200.
    #[error("{address} answers with status {status}: {reason}")]
    Status {
        /// Who was asked.
        address: ListenAddress,
        /// What it answers.
        status: u16,
        /// The beginning of what it says, on one line.
        reason: String,
    },
}

/// An answer whose status is 200.
#[derive(Debug)]
pub struct Answer {
    /// When it was written, as its `Date` header says.
    pub date: Option<String>,
    /// Its text.
    pub body: String,
}

/// How much an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long it may take; for an answer line by line, how long its beginning may take.
    pub time: Duration,
    /// How many bytes it may have, or each of its lines.
    pub bytes: usize,
}

/// Asks for a path; the status and the text of the answer, which is cut after 1 MiB.
pub async fn get(
    address: &ListenAddress,
    path: &str,
    limit: Duration,
) -> Result<(u16, String), GetError> {
    let asked = async {
        let mut answer = ask(address, path).await?;
        let status = answer.response.status().as_u16();
        let (body, _) = answer.read(BODY).await?;
        Ok((status, body))
    };
    within(address, limit, asked).await
}

/// Asks for a path; the whole answer, which has to be a good one.
pub async fn fetch(
    address: &ListenAddress,
    path: &str,
    bounds: Bounds,
) -> Result<Answer, GetError> {
    let asked = async {
        let mut answer = ask(address, path).await?.good().await?;
        let date = answer.response.headers().get(DATE);
        let date = date.and_then(|date| Some(date.to_str().ok()?.to_owned()));
        match answer.read(bounds.bytes).await? {
            (body, true) => Ok(Answer { date, body }),
            (_, false) => Err(GetError::TooLong(address.clone(), bounds.bytes)),
        }
    };
    within(address, bounds.time, asked).await
}

/// Asks for a path, and hands on the answer line by line until its end, or until nobody receives any more.
pub async fn follow_lines(
    address: &ListenAddress,
    path: &str,
    bounds: Bounds,
    to: &mpsc::Sender<String>,
) -> Result<(), GetError> {
    let asked = async { ask(address, path).await?.good().await };
    let mut answer = within(address, bounds.time, asked).await?;
    let mut text = Vec::new();
    while let Some(data) = answer.next().await? {
        text.extend_from_slice(&data);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if to.send(line).await.is_err() {
                return Ok(());
            }
        }
        if text.len() > bounds.bytes {
            return Err(GetError::TooLong(address.clone(), bounds.bytes));
        }
    }
    Ok(())
}

async fn within<T>(
    address: &ListenAddress,
    limit: Duration,
    asked: impl Future<Output = Result<T, GetError>>,
) -> Result<T, GetError> {
    let late = |_| GetError::Late {
        address: address.clone(),
        limit,
    };
    tokio::time::timeout(limit, asked).await.map_err(late)?
}

/// An answer that has begun, and what drives its connection.
struct Begun<'a> {
    address: &'a ListenAddress,
    response: Response<Incoming>,
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
}

async fn ask<'a>(address: &'a ListenAddress, path: &str) -> Result<Begun<'a>, GetError> {
    let refused = |error| GetError::Connect(address.clone(), error);
    match address {
        ListenAddress::Tcp(at) => {
            let stream = TcpStream::connect(at).await.map_err(refused)?;
            send(stream, address, &at.to_string(), path).await
        }
        ListenAddress::Unix(at) => {
            let stream = UnixStream::connect(at).await.map_err(refused)?;
            send(stream, address, "localhost", path).await
        }
    }
}

async fn send<'a, S>(
    stream: S,
    address: &'a ListenAddress,
    host: &str,
    path: &str,
) -> Result<Begun<'a>, GetError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let bad = |error| GetError::Answer(address.clone(), error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(bad)?;
    let mut request = Request::new(String::new());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
    if let Ok(host) = host.parse() {
        headers.insert(HOST, host);
    }
    // What is wrong with the connection shows in the answer.
    let mut connection: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {
        let _ = connection.await;
        pending::<()>().await;
    });
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(bad)?,
        () = &mut connection => unreachable!("it is pending for ever"),
    };
    Ok(Begun {
        address,
        response,
        connection,
    })
}

impl Begun<'_> {
    /// Only an answer with status 200 goes on.
    async fn good(mut self) -> Result<Self, GetError> {
        let status = self.response.status().as_u16();
        if status == 200 {
            return Ok(self);
        }
        let (reason, _) = self.read(REASON).await?;
        Err(GetError::Status {
            address: self.address.clone(),
            status,
            reason: reason.trim().escape_debug().to_string(),
        })
    }

    /// The next part of the body.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, GetError> {
        let body = self.response.body_mut();
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = tokio::select! {
            frame = frame => frame,
            () = &mut self.connection => None,
        };
        match frame {
            None => Ok(None),
            Some(Ok(frame)) => Ok(Some(
                frame.data_ref().map_or(Vec::new(), |data| data.to_vec()),
            )),
            Some(Err(error)) => Err(GetError::Answer(self.address.clone(), error)),
        }
    }

    /// As much of the body as may be taken, and whether that is all of it.
    async fn read(&mut self, most: usize) -> Result<(String, bool), GetError> {
        let mut read = Vec::new();
        while let Some(data) = self.next().await? {
            read.extend_from_slice(&data);
            if read.len() > most {
                read.truncate(most);
                return Ok((String::from_utf8_lossy(&read).into_owned(), false));
            }
        }
        Ok((String::from_utf8_lossy(&read).into_owned(), true))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A server that answers the first request with this, and keeps the connection open if it is asked to.
    async fn serve(listener: UnixListener, answer: String, stays: bool) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
        if stays {
            pending::<()>().await;
        }
    }

    fn answer(status: &str, body: &str) -> String {
        let date = "Date: Fri, 27 Nov 2026 02:01:08 GMT\r\nConnection: close\r\n";
        format!("HTTP/1.1 {status}\r\n{date}\r\n{body}")
    }

    #[tokio::test]
    async fn an_answer_is_whole_in_time_and_good_or_an_error() {
        for (text, stays, wanted) in [
            (answer("200 OK", "12345"), false, "Ok"),
            (answer("200 OK", "123456"), false, "TooLong"),
            (answer("404 Not Found", "no\nsuch"), false, "Status"),
            (answer("200 OK", "123"), true, "Late"),
            (String::new(), true, "Late"),
            ("nonsense\r\n\r\n".to_owned(), false, "Answer"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let at = ListenAddress::Unix(dir.path().join("s"));
            let listener = UnixListener::bind(dir.path().join("s")).unwrap();
            let bounds = Bounds {
                time: SECOND / 5,
                bytes: 5,
            };
            let got = tokio::select! {
                got = fetch(&at, "/", bounds) => got,
                () = async { serve(listener, text, stays).await; pending().await } => unreachable!(),
            };
            let told = format!("{got:?}");
            let kind = told.split(['(', ' ']).next().unwrap_or_default();
            match &got {
                Ok(good) => {
                    assert_eq!(good.body, "12345");
                    assert!(good.date.as_ref().unwrap().starts_with("Fri, 27"));
                    assert_eq!(wanted, "Ok");
                }
                Err(_) => assert!(told.contains(wanted) && kind == "Err", "{told}"),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_as_they_are_sent_and_have_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let at = ListenAddress::Unix(dir.path().join("s"));
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let (to, mut lines) = mpsc::channel(8);
        let bounds = Bounds {
            time: SECOND,
            bytes: 16,
        };
        let text = answer("200 OK", &format!("one\ntwo\n{}", "x".repeat(17)));
        let (end, ()) = tokio::join!(
            follow_lines(&at, "/", bounds, &to),
            serve(listener, text, false)
        );
        assert!(matches!(end, Err(GetError::TooLong(_, 16))), "{end:?}");
        drop(to);
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(line);
        }
        assert_eq!(all, ["one", "two"]);
    }
}
