//! A request, and what is answered to it. Adapter.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;

/// How many pieces of a stream wait for a slow reader: a handler whose `try_send` fails ends such a stream.
pub const BODY_BACKLOG: usize = 16;

/// A request. Whatever body it has is not read.
#[derive(Debug)]
pub struct Asked {
    head: Parts,
}

impl Asked {
    pub(super) fn new(request: Request<Incoming>) -> Self {
        Self {
            head: request.into_parts().0,
        }
    }

    /// The path, as it was sent: percent signs are not decoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// What stands after the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.head.uri.query()
    }

    /// A header, if it is there once at least and is text; names are in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// Whether nothing but the head of the answer is wanted: a handler need not begin a stream then.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    pub(super) fn is_read(&self) -> bool {
        [Method::GET, Method::HEAD].contains(&self.head.method)
    }

    /// By which name the server is asked: what an absolute URI says counts more than the header. None if it is not said,
    /// or said twice.
    pub(super) fn authority(&self) -> Option<&str> {
        if let Some(authority) = self.head.uri.authority() {
            return Some(authority.as_str());
        }
        let mut hosts = self.head.headers.get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            _ => None,
        }
    }
}

/// What is answered. Nothing is cached, and no browser guesses another type.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Payload,
}

impl Answer {
    /// An answer of one piece.
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self::of(
            status,
            content_type,
            Payload::Whole(Some(body.into().into())),
        )
    }

    /// An answer in plain text.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into())
    }

    /// An answer that goes on for as long as the sender is there, such as server-sent events. Each piece is sent at once;
    /// the sender is closed when the client goes, or takes nothing for too long. Whoever streams sends something
    /// now and then, also when nothing happens: that shows which clients are gone.
    #[must_use]
    pub fn stream(content_type: &'static str) -> (Self, mpsc::Sender<Vec<u8>>) {
        let (sender, pieces) = mpsc::channel(BODY_BACKLOG);
        (Self::of(200, content_type, Payload::Stream(pieces)), sender)
    }

    /// Adds a header; the name is in lower case. A value that no header can have is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The body, if it is of one piece.
    #[cfg(test)]
    pub(crate) fn whole_text(&self) -> String {
        match &self.body {
            Payload::Whole(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Payload::Whole(None) | Payload::Stream(_) => String::new(),
        }
    }

    fn of(status: u16, content_type: &'static str, body: Payload) -> Self {
        let headers = [
            (CONTENT_TYPE, content_type),
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name, HeaderValue::from_static(value)))
                .collect(),
            body,
        }
    }

    /// Of two headers of one name, the later one counts.
    pub(super) fn into_response(self) -> Response<Payload> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Payload {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<Vec<u8>>),
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Stream(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(Bytes::from)),
        };
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
