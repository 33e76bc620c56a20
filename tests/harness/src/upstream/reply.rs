//! How an upstream answers.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
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
    reset: bool,
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
            reset: false,
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
        Self { reset: true, ..Self::status(500) }
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

    pub(super) async fn send(self) -> Result<http::Response<ReplyBody>> {
        tokio::time::sleep(self.delay).await;
        if self.reset {
            // hyper turns an error of the service into a reset.
            return Err(anyhow!("the script asked for a reset"));
        }
        let body = Full::new(self.body);
        let body = if self.trailers.is_empty() {
            body.boxed()
        } else {
            let trailers = headers::to_map(&self.trailers)?;
            body.with_trailers(async { Some(Ok(trailers)) }).boxed()
        };
        let mut response = http::Response::builder().status(self.status).body(body)?;
        *response.headers_mut() = headers::to_map(&self.headers)?;
        Ok(response)
    }
}
