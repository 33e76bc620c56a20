//! The contract between a policy and the runtime that drives it.

use mesh_filters_config::ConfigErrors;

use crate::callout::{CalloutError, CalloutId, HttpResponse, Work};
use crate::headers::Headers;
use crate::host::Host;
use crate::time::UnixTime;
use crate::verdict::Verdict;

/// A filter's policy: its configuration, checked and compiled.
///
/// Each worker of a proxy has its own, in a VM of its own.
pub trait Policy: Sized + 'static {
    /// What one request needs.
    type Stream: Stream;

    /// The filter's name in log lines, as in `jwt-auth`.
    const NAME: &'static str;

    /// Compiles a configuration: JSON text or a serialized
    /// `google.protobuf.Struct`. `host` is asked what it can do; counters are not
    /// defined yet.
    ///
    /// # Errors
    /// Every mistake found. The proxy then refuses the configuration and keeps
    /// the one it had.
    fn configure(config: &[u8], host: &dyn Host) -> Result<Configured<Self>, ConfigErrors>;

    /// The names of the counters that reasons point to, in
    /// [`crate::CounterId`]'s order. Asked for once, after configuring: to
    /// define a metric takes a lock that all workers share.
    fn counters(&self) -> Vec<String>;

    /// What becomes of a request when the host itself fails the policy.
    fn failure_mode(&self) -> FailureMode;

    /// Returns the state for one request.
    fn stream(&self) -> Self::Stream;

    /// Does what is due, first soon after configuring, then when the last
    /// [`Work::next_tick`] says, and often while a request waits.
    fn on_tick(&self, _env: &Env<'_>) -> Work {
        Work::default()
    }

    /// Takes the answer to a request that [`Work::callouts`] asked for. Each gets
    /// exactly one.
    fn on_callout(
        &self,
        _id: CalloutId,
        _answer: Result<HttpResponse, CalloutError>,
        _env: &Env<'_>,
    ) -> Work {
        Work::default()
    }
}

/// A policy that may be used, and what an operator should know about it.
#[derive(Debug)]
pub struct Configured<P> {
    /// The policy.
    pub policy: P,
    /// What was left out or looks wrong but can be lived with, each with its
    /// path. Never holds a secret.
    pub warnings: Vec<String>,
    /// What was found out about the host, for the log.
    pub notes: Vec<String>,
}

/// What becomes of a request that a filter could not judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureMode {
    /// It goes on, unjudged.
    Open,
    /// It is answered with 503.
    Closed,
}

/// One request's passage through a policy.
pub trait Stream {
    /// Judges a request by its headers, and may edit them.
    ///
    /// After [`Verdict::Wait`] it is asked again, with the headers as they were
    /// before any edit, until it decides.
    fn on_request_headers(&mut self, request: &mut Headers, env: &Env<'_>) -> Verdict;

    /// Whether this stream wants [`Stream::on_response_headers`]. Asked once the
    /// response has begun: to hand over headers that nobody reads costs as much as
    /// the rest of a small filter.
    fn wants_response_headers(&self) -> bool {
        false
    }

    /// Sees the headers of the response, and may edit them. A reply of the policy's
    /// own does not come back here.
    fn on_response_headers(&mut self, _response: &mut Headers, _env: &Env<'_>) {}

    /// Whether this stream wants [`Stream::on_end`].
    fn wants_end(&self) -> bool {
        false
    }

    /// Sees the end of the request, when all is known about it; what that is, the
    /// properties of the host tell (`response.code`, `response.flags`, ...).
    fn on_end(&mut self, _env: &Env<'_>) {}
}

/// What surrounds a decision.
#[derive(Debug, Clone, Copy)]
pub struct Env<'a> {
    /// The time, read once a callback.
    pub now: UnixTime,
    /// Whether a verdict may be to wait. It may not once the request has waited for
    /// as long as it said, or where too many others wait.
    pub may_wait: bool,
    /// What the proxy can do.
    pub host: &'a dyn Host,
}
