//! Rate limits: how much each client may do.
//!
//! A request goes through these steps, each in a module of its own:
//!
//! 1. [`limit`] says which limits are about it, and what they ask;
//! 2. [`key`] says who it comes from;
//! 3. [`gcra`] says whether a key may spend more, from one number;
//! 4. [`table`] keeps that number for each key, shared by all workers;
//! 5. [`inflight`] counts what is under way, for limits of that;
//! 6. [`headers`] tells the client what it has left.

mod config;
mod headers;
mod key;
mod limit;
mod policy;

pub mod gcra;
pub mod inflight;
pub mod table;

pub use config::Config;
pub use policy::{RateLimit, RateLimitStream};
