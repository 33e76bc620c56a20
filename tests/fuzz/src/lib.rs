//! What must hold whatever bytes come: the bodies of the fuzz targets.
//!
//! Each module is one target. Its `run` takes any bytes and panics when something
//! is wrong, so it serves libFuzzer (`tests/fuzz/libfuzzer`) and an ordinary test
//! over the files in `tests/fuzz/corpus` alike. Its `seeds` are files of the corpus
//! that are made from the tables of cases.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

pub mod canary;
pub mod claims;
pub mod config;
pub mod fetched;
pub mod headers;
pub mod jwks;
pub mod token;

mod gate;
mod wire;

/// A file of a corpus: its name, and what is in it.
pub type Seed = (String, Vec<u8>);

/// A fuzz target.
pub struct Target {
    /// Its name, which is also that of its corpus and its binary.
    pub name: &'static str,
    /// Its body.
    pub run: fn(&[u8]),
    /// Files of its corpus.
    pub seeds: fn() -> Vec<Seed>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "token", run: token::run, seeds: token::seeds },
    Target { name: "claims", run: claims::run, seeds: claims::seeds },
    Target { name: "jwks", run: jwks::run, seeds: jwks::seeds },
    Target { name: "fetched", run: fetched::run, seeds: fetched::seeds },
    Target { name: "config", run: config::run, seeds: config::seeds },
    Target { name: "headers", run: headers::run, seeds: headers::seeds },
    Target { name: "canary", run: canary::run, seeds: canary::seeds },
];
