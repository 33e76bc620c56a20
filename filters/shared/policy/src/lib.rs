//! The vocabulary that every filter's policy is written in.
//!
//! A policy decides; it knows no proxy. It sees a request as [`Headers`], the
//! time as a [`UnixTime`] that is handed in, and answers with a [`Verdict`].
//! `filters/shared/runtime` is the only crate that turns these into host calls,
//! so a policy is tested, fuzzed and run under Node as it is.

mod callout;
mod headers;
mod host;
mod path;
mod policy;
mod time;
mod verdict;

pub mod claims;
pub mod matcher;
pub mod pairs;
pub mod remote;
#[cfg(feature = "testing")]
pub mod testing;

pub use callout::{CalloutError, CalloutId, HttpRequest, HttpResponse, Work};
pub use headers::{Edit, Headers, MalformedHeaders, is_field_value, is_spelling_of};
pub use host::{Host, HostRefused, LogLevel, NoHost, NotShared, Shared, SignatureCheck, Version};
pub use path::{AmbiguousPath, RequestPath};
pub use policy::{Configured, Env, FailureMode, Policy, Stream};
pub use time::{Monotonic, UnixTime};
pub use verdict::{CounterId, LocalReply, Reason, Verdict};
