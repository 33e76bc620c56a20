//! A host is asked to check signatures only if it knows right from wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::cell::Cell;
use std::rc::Rc;

use cases::jwt_auth;
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{Env, Headers, Host, NoHost, Policy, Stream, UnixTime, Verdict};
use serde_json::json;

/// Knows the right answers while it is asked what it can do, which it is about a
/// right and a wrong signature in turn; then answers `later`. Counts the questions.
fn turning(later: Option<bool>) -> (FakeHost, Rc<Cell<usize>>) {
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let host = FakeHost::that_verifies(move |check| {
        let asked = count.get();
        count.set(asked + 1);
        assert!(["sha256", "sha384", "sha512"].contains(&check.hash));
        // A SubjectPublicKeyInfo is an ASN.1 sequence.
        assert_eq!(check.public_key.first(), Some(&0x30));
        if asked < QUESTIONS { Some(asked.is_multiple_of(2)) } else { later }
    });
    (host, asked)
}

const QUESTIONS: usize = 10;

fn config() -> Vec<u8> {
    json!({
        "providers": [{
            "name": "corp", "issuer": "https://idp.example.com/",
            "jwks": {"inline": jwt_auth::jwks()},
        }],
        "rules": [{"match": {}, "require": {"provider": "corp"}}],
    })
    .to_string()
    .into_bytes()
}

fn passes(policy: &JwtAuth, token: &str, host: &dyn Host) -> bool {
    let token = jwt_auth::tokens()[token]["token"].as_str().unwrap().to_owned();
    let mut request: Headers =
        [(":path", "/".to_owned()), ("authorization", format!("Bearer {token}"))]
            .into_iter()
            .collect();
    let env = Env { now: UnixTime::from_secs(1_800_000_000), may_wait: false, host };
    matches!(policy.stream().on_request_headers(&mut request, &env), Verdict::Continue(_))
}

#[test]
fn a_host_that_says_the_same_to_all_is_not_believed() {
    for answer in [None, Some(true), Some(false)] {
        let host = FakeHost::that_verifies(move |_| answer);
        let configured = JwtAuth::configure(&config(), &host).unwrap();
        assert_eq!(
            configured.notes,
            ["the host has no verify_signature; signatures are checked in the module"]
        );
        for (token, good) in [("good-rs256", true), ("tampered-signature", false)] {
            assert_eq!(passes(&configured.policy, token, &host), good, "{token} by {answer:?}");
        }
    }
}

#[test]
fn a_host_that_knows_is_asked() {
    let (host, asked) = turning(Some(true));
    let configured = JwtAuth::configure(&config(), &host).unwrap();
    assert_eq!(
        configured.notes,
        ["the host checks RS256, RS384, RS512, ES256, ES384 signatures, the module the others"]
    );
    assert_eq!(asked.get(), QUESTIONS);
    // The host decides, even wrongly.
    assert!(passes(&configured.policy, "tampered-signature", &host));
    assert!(passes(&configured.policy, "tampered-es256", &host));
    // It is not asked about what it has no place for.
    assert!(!passes(&configured.policy, "tampered-eddsa", &host));
    assert!(!passes(&configured.policy, "tampered-ps256", &host));
}

#[test]
fn a_host_that_fails_later_is_replaced_by_the_module() {
    let (host, _) = turning(None);
    let policy = JwtAuth::configure(&config(), &host).unwrap().policy;
    for (token, good) in [
        ("good-rs256", true),
        ("good-es384", true),
        ("tampered-signature", false),
        ("tampered-es256", false),
    ] {
        assert_eq!(passes(&policy, token, &host), good, "{token}");
    }
}

#[test]
fn a_signature_of_the_wrong_length_never_reaches_the_host() {
    let (host, asked) = turning(Some(true));
    let policy = JwtAuth::configure(&config(), &host).unwrap().policy;
    let mut token = jwt_auth::tokens()["good-es256"]["token"].as_str().unwrap().to_owned();
    token.truncate(token.len() - 4);
    let mut request: Headers =
        [(":path", "/".to_owned()), ("authorization", format!("Bearer {token}"))]
            .into_iter()
            .collect();
    let env = Env { now: UnixTime::from_secs(1_800_000_000), may_wait: false, host: &host };
    let verdict = policy.stream().on_request_headers(&mut request, &env);
    assert!(matches!(verdict, Verdict::Reply(..)));
    assert_eq!(asked.get(), QUESTIONS);
}

#[test]
fn without_a_host_the_module_checks_everything() {
    let policy = JwtAuth::configure(&config(), &NoHost).unwrap().policy;
    assert!(passes(&policy, "good-rs256", &NoHost));
    assert!(!passes(&policy, "tampered-es256", &NoHost));
}
