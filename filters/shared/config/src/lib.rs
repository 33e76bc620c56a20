//! Strict decoding of a filter's configuration.
//!
//! An operator gets every mistake at once, each with the path to it:
//!
//! ```text
//! providers[0].clock_skew: must be a duration such as "500ms", "30s", "10m", "24h" or "30d"
//! rules[1].requires: unknown field; known here: match, allow, require
//! ```
//!
//! serde's derived decoders stop at the first mistake, which costs an operator
//! one rollout a mistake. So decoding walks a [`serde_json::Value`] with a
//! [`Node`], which knows its path and hands every mistake to one list; the
//! [`object!`] macro writes that walk, and the JSON Schema, from one
//! declaration.

mod error;
mod node;
mod number;
mod object;
mod scalar;
mod source;

pub use error::{ConfigError, ConfigErrors, Errors};
pub use node::{Decode, Node, Object};
pub use number::{Bounded, Moment, Percentage, Ratio};
pub use scalar::{ByteSize, HeaderField, HeaderName, HttpUri, Identifier, NonEmpty};
pub use source::{MAX_CONFIG_BYTES, compile, json, parse};

/// What the [`object!`] macro names from its caller's crate.
#[doc(hidden)]
pub mod export {
    #[cfg(feature = "schema")]
    pub use schemars;
    pub use serde_json;

    /// The key of a field, which is spelt `r#match` where it is a Rust keyword.
    pub fn key(field: &'static str) -> &'static str {
        field.strip_prefix("r#").unwrap_or(field)
    }
}
