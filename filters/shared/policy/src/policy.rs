//! The contract between a policy and the runtime that drives it.

use mesh_filters_config::ConfigErrors;

use crate::headers::Headers;
use crate::time::UnixTime;
use crate::verdict::Verdict;

/// A filter's policy: its configuration, checked and compiled.
pub trait Policy: Sized + 'static {
    /// What one request needs.
    type Stream: Stream;

    /// The filter's name in log lines, as in `jwt-auth`.
    const NAME: &'static str;

    /// Compiles a configuration: JSON text or a serialized
    /// `google.protobuf.Struct`.
    ///
    /// # Errors
    /// Every mistake found. The proxy then refuses the configuration and keeps
    /// the one it had.
    fn configure(config: &[u8]) -> Result<Configured<Self>, ConfigErrors>;

    /// The names of the counters that reasons point to, in
    /// [`crate::CounterId`]'s order. Asked for once, after configuring: to
    /// define a metric takes a lock that all workers share.
    fn counters(&self) -> Vec<String>;

    /// What becomes of a request when the host itself fails the policy.
    fn failure_mode(&self) -> FailureMode;

    /// Returns the state for one request.
    fn stream(&self) -> Self::Stream;
}

/// A policy that may be used, and what an operator should know about it.
#[derive(Debug)]
pub struct Configured<P> {
    /// The policy.
    pub policy: P,
    /// What was left out or looks wrong but can be lived with, each with its
    /// path. Never holds a secret.
    pub warnings: Vec<String>,
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
    fn on_request_headers(&mut self, request: &mut Headers, env: &Env) -> Verdict;
}

/// What surrounds a decision.
#[derive(Debug, Clone, Copy)]
pub struct Env {
    /// The time, read once a callback.
    pub now: UnixTime,
}
