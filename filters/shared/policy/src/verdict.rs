//! What a policy decided, and why.

use std::borrow::Cow;

use crate::time::Monotonic;

/// Which of the counters a policy declared ([`crate::Policy::counters`]), by
/// its place in that list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterId(pub usize);

/// Why a policy decided as it did. One reason gives the metric, the log line
/// and the response detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Envoy's response code detail, such as `jwt_auth{expired}`: what
    /// `%RESPONSE_CODE_DETAILS%` shows in an access log. Has no spaces.
    pub detail: &'static str,
    /// The counter that goes up.
    pub counter: CounterId,
}

/// A policy's decision on one request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Go on to the next policy, and to the upstream.
    Continue(Reason),
    /// Answer the client here.
    Reply(Reason, LocalReply),
    /// Hold the request and ask again: when [`crate::Work::resume`] says so, at the
    /// latest at this moment. No edit is made.
    Wait(Monotonic),
}

impl Verdict {
    /// Why it was decided so; `None` if nothing is decided yet.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Continue(reason) | Self::Reply(reason, _) => Some(*reason),
            Self::Wait(_) => None,
        }
    }
}

/// An answer that the proxy gives itself. For a gRPC request Envoy turns it
/// into a `grpc-status` (401 into `UNAUTHENTICATED`, 403 into `PERMISSION_DENIED`,
/// 429 and 503 into `UNAVAILABLE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status code.
    pub status: u16,
    /// Response headers, names in lower case.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Cow<'static, str>,
    /// The `grpc-status` of a gRPC request, where it is not what Envoy makes of the HTTP
    /// status.
    pub grpc_status: Option<u8>,
}
