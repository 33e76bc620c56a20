//! Requests that a policy makes on its own behalf, through a cluster of the proxy.

use std::time::Duration;

use thiserror::Error;

/// A request to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The proxy's cluster.
    pub cluster: String,
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// `http` or `https`: what the server is told. Whether the connection is
    /// encrypted is up to the cluster.
    pub scheme: &'static str,
    /// The host, with its port if that is not the scheme's.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Other headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body; may be empty.
    pub body: Vec<u8>,
    /// When to give up.
    pub timeout: Duration,
    /// A longer answer is none.
    pub max_response_bytes: usize,
}

/// The answer to an [`HttpRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CalloutError {
    /// The proxy does not know the cluster, or refused the request.
    #[error("Envoy refused the call; is there a cluster of that name?")]
    Refused,
    /// The upstream reset it, or none is healthy.
    #[error("there was no answer")]
    NoAnswer,
    /// It took too long.
    #[error("there was no answer in time")]
    Timeout,
    /// The answer is longer than [`HttpRequest::max_response_bytes`].
    #[error("the answer is too long")]
    TooLong,
}

/// Which of its requests a policy gets the answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalloutId(pub usize);

/// What a policy wants done between requests.
#[derive(Debug, Default)]
pub struct Work {
    /// Requests to make. Their answers come to [`crate::Policy::on_callout`].
    pub callouts: Vec<(CalloutId, HttpRequest)>,
    /// Whether requests that wait should be judged anew now.
    pub resume: bool,
    /// When to ask again; `None`: never, unless a request waits.
    pub next_tick: Option<Duration>,
}

impl Work {
    /// Both of two pieces of work.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.callouts.extend(other.callouts);
        self.resume |= other.resume;
        self.next_tick = match (self.next_tick, other.next_tick) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self
    }
}
