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
    /// `google.protobuf.Struct`. `host` is asked what it can do.
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
    fn on_request_headers(&mut self, request: &mut Headers, env: &Env<'_>) -> Verdict;
}

/// What surrounds a decision.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The time, read once a callback.
    pub now: UnixTime,
    /// What the host can do.
    pub host: &'a dyn Host,
}

/// What a host can do faster than a module.
pub trait Host {
    /// Whether `signature` is that of the key over `message`; `None` if the host
    /// cannot tell.
    fn verify_signature(&self, check: &SignatureCheck<'_>) -> Option<bool>;
}

/// A signature for the host to check.
#[derive(Debug, Clone, Copy)]
pub struct SignatureCheck<'a> {
    /// The hash: `sha256`, `sha384` or `sha512`.
    pub hash: &'static str,
    /// The key as a DER-encoded `SubjectPublicKeyInfo` (RFC 5280 section 4.1).
    pub public_key: &'a [u8],
    /// RSASSA-PKCS1-v1_5, or ECDSA as a DER-encoded `ECDSA-Sig-Value` (RFC 3279
    /// section 2.2.3).
    pub signature: &'a [u8],
    /// What is signed.
    pub message: &'a [u8],
}

/// A host that can do nothing: everything is done in the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn verify_signature(&self, _: &SignatureCheck<'_>) -> Option<bool> {
        None
    }
}
