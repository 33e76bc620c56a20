//! What holds for every token and every key set.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::sync::LazyLock;

use cases::jwt_auth;
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{Env, Headers, NoHost, Policy, Stream, UnixTime, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

fn config(jwks: &Value, algorithm: &str) -> String {
    json!({
        "providers": [{
            "name": "corp", "issuer": "https://idp.example.com/", "algorithms": [algorithm],
            "jwks": {"inline": jwks},
        }],
        "rules": [{"match": {}, "require": {"provider": "corp"}}],
    })
    .to_string()
}

static JWKS: LazyLock<Value> = LazyLock::new(jwt_auth::jwks);
static TOKENS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let tokens = jwt_auth::tokens();
    let token = |name: &str| tokens[name]["token"].as_str().unwrap().as_bytes().to_vec();
    [("ES256", "good-es256"), ("EdDSA", "good-eddsa"), ("HS256", "good-hs256")]
        .map(|(algorithm, name)| (algorithm, token(name)))
        .into()
});

fn passes(policy: &JwtAuth, token: &[u8]) -> bool {
    let bearer = [b"Bearer ", token].concat();
    let mut request: Headers =
        [(":path", b"/".to_vec()), ("authorization", bearer)].into_iter().collect();
    let env = Env { now: UnixTime::from_secs(1_800_000_000), may_wait: false, host: &NoHost };
    matches!(policy.stream().on_request_headers(&mut request, &env), Verdict::Continue(_))
}

fn policy(algorithm: &str) -> JwtAuth {
    JwtAuth::configure(config(&JWKS, algorithm).as_bytes(), &NoHost).unwrap().policy
}

proptest! {
    #[test]
    fn a_token_with_one_byte_changed_never_passes(
        which in 0..3_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (algorithm, token) = &TOKENS[which];
        let policy = policy(algorithm);
        prop_assert!(passes(&policy, token));
        let mut changed = token.clone();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(!passes(&policy, &changed), "byte {at} became {byte:#x}");
    }

    #[test]
    fn a_token_that_is_cut_or_grown_never_passes(
        which in 0..3_usize,
        at in any::<prop::sample::Index>(),
        more in prop::collection::vec(b'!'..b'~', 1..8),
    ) {
        let (algorithm, token) = &TOKENS[which];
        let policy = policy(algorithm);
        prop_assert!(!passes(&policy, &token[..at.index(token.len())]));
        prop_assert!(!passes(&policy, &[token.as_slice(), &more].concat()));
    }

    #[test]
    fn no_bytes_for_a_token_make_it_panic_or_pass(token in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(!passes(&policy("ES256"), &token));
    }

    #[test]
    fn no_json_for_a_token_makes_it_panic_or_pass(header in ".{0,64}", payload in ".{0,64}") {
        use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
        let encode = |text: &str| Base64UrlSafeNoPadding::encode_to_string(text).unwrap();
        let header = format!("{{\"alg\":\"HS256\",\"kid\":{}}}", json!(header));
        let token = format!("{}.{}.AAAA", encode(&header), encode(&payload));
        prop_assert!(!passes(&policy("HS256"), token.as_bytes()));
    }

    #[test]
    fn no_member_of_a_key_makes_reading_it_panic(
        kty in "RSA|EC|OKP|oct",
        crv in "P-256|P-384|Ed25519",
        members in prop::collection::vec("[A-Za-z0-9_-]{0,90}", 6),
        algorithm in "RS256|ES256|ES384|EdDSA|HS256",
    ) {
        let mut key = json!({"kty": kty, "crv": crv});
        for (name, value) in ["n", "e", "x", "y", "k"].into_iter().zip(members) {
            key[name] = json!(value);
        }
        let _ = JwtAuth::configure(config(&json!({"keys": [key]}), &algorithm).as_bytes(), &NoHost);
    }
}
