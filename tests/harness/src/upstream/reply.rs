//! How an upstream answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use serde_json::{Value, json};

use super::Recorded;
use crate::headers::{self, Headers};

pub(super) type ReplyBody = BoxBody<Bytes, Infallible>;

/// An answer, or the lack of one.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Headers,
    body: Bytes,
    trailers: Headers,
    delay: Duration,
    course: Course,
}

/// How far an answer gets.
#[derive(Clone, Copy, Debug)]
enum Course {
    Whole,
    Stalling,
    Repeating,
    Reset,
    Never,
}

impl Reply {
    /// An empty answer.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Headers::new(),
            body: Bytes::new(),
            trailers: Headers::new(),
            delay: Duration::ZERO,
            course: Course::Whole,
        }
    }

    /// A `200` with JSON.
    pub fn json(body: &Value) -> Self {
        Self::status(200).header("content-type", "application/json").body(body.to_string())
    }

    /// A `200` with the request as JSON: `method`, `path`, `headers` as a list
    /// of pairs, and `body`; bytes that are not UTF-8 are replaced.
    pub fn echo(request: &Recorded) -> Self {
        let pairs: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
            .collect();
        Self::json(&json!({
            "method": request.method,
            "path": request.path,
            "headers": pairs,
            "body": String::from_utf8_lossy(&request.body),
        }))
    }

    /// No answer: the stream is reset in HTTP/2, the connection closed in HTTP/1.1.
    pub fn reset() -> Self {
        Self { course: Course::Reset, ..Self::status(500) }
    }

    /// No answer, and no end of the wait for one.
    pub fn never() -> Self {
        Self { course: Course::Never, ..Self::status(500) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits before answering.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Stops after the body without ending it.
    #[must_use]
    pub fn stalling(mut self) -> Self {
        self.course = Course::Stalling;
        self
    }

    /// Sends the body over and over.
    #[must_use]
    pub fn repeating(mut self) -> Self {
        self.course = Course::Repeating;
        self
    }

    pub(super) async fn send(self) -> Result<http::Response<ReplyBody>> {
        tokio::time::sleep(self.delay).await;
        let body = match self.course {
            // hyper turns an error of the service into a reset.
            Course::Reset => return Err(anyhow!("the script asked for a reset")),
            Course::Never => std::future::pending().await,
            Course::Stalling => Endless { next: Some(self.body), again: false }.boxed(),
            Course::Repeating => Endless { next: Some(self.body), again: true }.boxed(),
            Course::Whole if self.trailers.is_empty() => Full::new(self.body).boxed(),
            Course::Whole => {
                let trailers = headers::to_map(&self.trailers)?;
                Full::new(self.body).with_trailers(async { Some(Ok(trailers)) }).boxed()
            }
        };
        let mut response = http::Response::builder().status(self.status).body(body)?;
        *response.headers_mut() = headers::to_map(&self.headers)?;
        Ok(response)
    }
}

/// A body that never ends: its one chunk, and then nothing or the same again.
struct Endless {
    next: Option<Bytes>,
    again: bool,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = if self.again { self.next.clone() } else { self.next.take() };
        // Nobody is woken: the connection ends by what its other side does.
        chunk.map_or(Poll::Pending, |chunk| Poll::Ready(Some(Ok(Frame::data(chunk)))))
    }
}
