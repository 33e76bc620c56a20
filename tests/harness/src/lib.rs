//! What an end-to-end test needs around the filters: a real Envoy, an upstream
//! that records what reached it, clients that can misbehave, and token issuers.
//!
//! Tests see only what a user sees: the `.wasm` file, an Envoy bootstrap, bytes
//! on a socket, stats and logs. Nothing here knows the code of a filter, so a
//! mistake there cannot hide behind the same mistake here.
//!
//! Ports are chosen by the kernel and read back, and every wait is a poll with a
//! deadline ([`wait::until`]), so tests run side by side and never sleep for luck.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "runs in tests only, where stopping with a message is the right answer"
)]

pub mod bootstrap;
pub mod client;
pub mod envoy;
pub mod headers;
pub mod issuer;
pub mod openid_provider;
mod process;
pub mod tls;
pub mod trial;
pub mod upstream;
pub mod wait;

use std::path::{Path, PathBuf};

/// The root of the repository.
///
/// # Panics
/// If the crate was moved up.
pub fn repo_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies two levels below the root")
        .to_path_buf()
}
