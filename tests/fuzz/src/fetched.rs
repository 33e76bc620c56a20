//! The bytes as other documents that are fetched: an issuer's metadata, which say
//! where its keys are, and a list of tokens that are refused.

use cases::jwt_auth;
use mesh_filters_policy::testing::FakeHost;
use serde_json::{Value, json};

use crate::Seed;
use crate::gate::{self, ISSUER, bearer, judge, passes, serve};

fn config(jwks: &Value, deny: &Value) -> Value {
    json!({
        "providers": [{"name": "corp", "issuer": ISSUER, "jwks": jwks}],
        "rules": [{"match": {}, "require": {"provider": "corp"}}],
        "deny": deny,
    })
}

/// Metadata lead to no other server, and nothing passes without an answer that was
/// understood.
pub fn run(data: &[u8]) {
    let document: Value = serde_json::from_slice(data).unwrap_or_default();

    let metadata = "/metadata";
    let discovery = json!({"discovery": {
        "cluster": "idp", "uri": format!("https://idp.example.com{metadata}"),
    }});
    if passes_with(&config(&discovery, &json!({})), |path| {
        // Metadata may also name their own address.
        if path == metadata { data.to_vec() } else { jwt_auth::jwks().to_string().into_bytes() }
    }) {
        assert_eq!(document["issuer"], ISSUER);
    }

    let inline = json!({"inline": jwt_auth::jwks()});
    let list = json!({"cluster": "idp", "uri": "https://idp.example.com/denied"});
    if passes_with(&config(&inline, &list), |_| data.to_vec()) {
        let denied = document["sub"].as_array().is_some_and(|list| list.contains(&json!("alice")));
        assert!(!denied, "passes, and the list has its sub");
    }
}

fn passes_with(config: &Value, answer: impl Fn(&str) -> Vec<u8>) -> bool {
    let host = FakeHost::default();
    let policy = gate::policy_on(config, &host);
    let request = || bearer(gate::token("good-eddsa"));
    assert!(!passes(&judge(&policy, request(), &host).0), "passes before there is an answer");
    serve(&policy, &host, answer);
    passes(&judge(&policy, request(), &host).0)
}

/// Good documents, and some that are not.
pub fn seeds() -> Vec<Seed> {
    let metadata = |issuer: &str, uri: &str| json!({"issuer": issuer, "jwks_uri": uri});
    let seeds = [
        ("metadata", metadata(ISSUER, "https://idp.example.com/keys")),
        ("metadata-of-another", metadata("https://evil.example.com/", "https://idp.example.com/")),
        ("keys-elsewhere", metadata(ISSUER, "https://evil.example.com/keys")),
        ("keys-in-clear", metadata(ISSUER, "http://idp.example.com/keys")),
        ("keys-with-port", metadata(ISSUER, "https://idp.example.com:443/keys?a=b")),
        ("keys-of-a-user", metadata(ISSUER, "https://idp.example.com@evil.example.com/keys")),
        ("keys-here", metadata(ISSUER, "https://idp.example.com/metadata")),
        ("no-keys", json!({"issuer": ISSUER})),
        ("denied", json!({"sub": ["alice"], "jti": ["8f14e45f"]})),
        ("denied-others", json!({"sub": ["mallory"]})),
        ("denied-by-number", json!({"sub": [5]})),
        ("denied-none", json!({})),
        ("list", json!([])),
    ];
    seeds.into_iter().map(|(name, it)| (name.into(), it.to_string().into_bytes())).collect()
}
