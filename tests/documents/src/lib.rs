//! What the tests of the filters' documents have in common: the JSON Schema of a
//! configuration is current, a README's tables, configurations and links are right, and
//! what is in manifests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

pub mod manifests;
pub mod readme;
pub mod schema;
