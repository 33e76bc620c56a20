//! Drives a policy inside a proxy-wasm host.
//!
//! This is the only crate that knows the host. It hands the policy a view of
//! the headers and the time, applies its edits, sends its replies and counts
//! its reasons; and it decides, in one place, what a failing host call means.

mod background;
mod filter;
mod foreign;
mod host;
mod proxy;
mod root;
mod stream;
mod waiting;

pub use root::start;
