//! Project Wycheproof's vectors, checked by the code of the module.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::collections::BTreeMap;

use cases::wycheproof::{self, KeyTests};
use jwt_auth_policy::{Algorithm, SignatureVerifier};
use mesh_filters_policy::NoHost;
use serde_json::json;

/// The signatures about which the verifier is wrong. A key that it refuses has
/// made none.
fn mistakes(group: &KeyTests) -> Vec<String> {
    let algorithm = Algorithm::from_name(group.algorithm).unwrap();
    let jwks = json!({"keys": [group.jwk]});
    let verifier = SignatureVerifier::new(&jwks, &[algorithm], &NoHost);
    let accepts = |message: &[u8], signature: &[u8]| match &verifier {
        Ok(it) => it.verify_bytes(algorithm, message, signature, &NoHost).is_ok(),
        Err(_) => false,
    };
    group
        .tests
        .iter()
        .filter(|test| accepts(&test.message, &test.signature) != test.valid)
        .map(|test| format!("{} {}, which is {}", group.name, test.name, test.valid))
        .collect()
}

#[test]
fn every_signature_is_told_right() {
    let groups = wycheproof::all();
    let wrong: Vec<_> = groups.iter().flat_map(mistakes).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Good and bad ones of each algorithm, so that none was left out.
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for group in &groups {
        let (good, bad) = counts.entry(group.algorithm).or_default();
        *good += group.tests.iter().filter(|test| test.valid).count();
        *bad += group.tests.iter().filter(|test| !test.valid).count();
    }
    for algorithm in Algorithm::ALL {
        let (good, bad) = counts[algorithm.name()];
        assert!(good >= 20 && bad >= 40, "{}: {good} good, {bad} bad", algorithm.name());
    }
}
