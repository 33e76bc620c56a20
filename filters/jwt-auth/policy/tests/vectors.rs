//! The vectors of the RFCs, and the attacks that verifiers fell for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use cases::vectors::{self, KeySet};
use jwt_auth_policy::{Algorithm, SignatureVerifier};
use mesh_filters_policy::NoHost;
use serde_json::{Value, json};

fn verifier(jwks: &Value) -> Result<SignatureVerifier, String> {
    SignatureVerifier::new(jwks, Algorithm::ALL, &NoHost)
}

#[test]
fn every_token_is_judged_as_its_source_says() {
    let mut wrong = Vec::new();
    let mut judged = 0;
    for table in vectors::tables() {
        for token in &table.tokens {
            let verifier = verifier(&table.key_set_of(token)).unwrap();
            let is = match verifier.verify(token.token.as_bytes(), &NoHost) {
                Ok(_) => "ok",
                Err(reason) => reason.label(),
            };
            if is != token.expect {
                wrong.push(format!(
                    "{}, {}: is {is}, should be {}",
                    token.source, token.about, token.expect
                ));
            }
            judged += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 240, "only {judged} tokens were read");
}

/// What is wrong with how the set was read: each key by itself, so that one that
/// is of use does not hide what is said of another.
fn mistakes(set: &KeySet) -> Vec<String> {
    assert_eq!(set.keys.len(), set.unusable.len(), "{}", set.source);
    let mut mistakes = Vec::new();
    for (key, why) in set.keys.iter().zip(&set.unusable) {
        let read = verifier(&json!({"keys": [key]}));
        let as_expected = match (&read, why) {
            (Ok(verifier), None) => verifier.unusable().is_empty(),
            (Err(problem), Some(why)) => problem.contains(why.as_str()),
            _ => false,
        };
        if !as_expected {
            let is = read.err().unwrap_or_else(|| "of use".into());
            mistakes.push(format!("{}, {}: is {is}, should be {why:?}", set.source, set.about));
        }
    }
    mistakes
}

#[test]
fn every_key_is_read_as_its_source_says() {
    let sets: Vec<_> = vectors::tables().into_iter().flat_map(|table| table.key_sets).collect();
    let wrong: Vec<_> = sets.iter().flat_map(mistakes).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sets.len() > 40, "only {} key sets were read", sets.len());
}

#[test]
fn the_payload_is_returned_as_it_was_signed() {
    let tables = vectors::tables();
    let token = tables[0].tokens.iter().find(|it| it.source == "RFC 8037 appendix A.4").unwrap();
    let verifier = verifier(&tables[0].key_set_of(token)).unwrap();
    let payload = verifier.verify(token.token.as_bytes(), &NoHost).unwrap();
    assert_eq!(payload, b"Example of Ed25519 signing");
}

#[test]
fn an_algorithm_that_is_not_listed_is_of_no_use() {
    let tables = vectors::tables();
    let token = tables[0].tokens.iter().find(|it| it.source == "RFC 7520 section 4.2").unwrap();
    let jwks = tables[0].key_set_of(token);
    let verifier = SignatureVerifier::new(&jwks, &[Algorithm::Rs256], &NoHost).unwrap();
    let refused = verifier.verify(token.token.as_bytes(), &NoHost).unwrap_err();
    assert_eq!(refused.label(), "algorithm");
}
