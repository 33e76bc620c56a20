//! The bytes as a key set: what a key server answers, and in the configuration.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cases::jwt_auth;
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{Host, NoHost, Policy};
use serde_json::{Value, json};

use crate::Seed;
use crate::gate::{self, ISSUER, bearer, judge, key, passes, serve};

/// A token for each kind of key, with the key and the member that holds what only
/// that key has.
const TOKENS: [(&str, &str, &str); 5] = [
    ("good-rs256", "rsa-2048", "n"),
    ("good-es256", "p-256", "x"),
    ("good-es384", "p-384", "x"),
    ("good-eddsa", "ed25519", "x"),
    ("good-hs256", "oct-512", "k"),
];

fn config(jwks: &Value) -> Value {
    json!({
        "providers": [{
            "name": "corp", "issuer": ISSUER,
            "algorithms": ["RS256", "ES256", "ES384", "EdDSA", "HS256"],
            "jwks": jwks,
        }],
        "rules": [{"match": {}, "require": {"provider": "corp"}}],
        "cache": {"entries": 0},
    })
}

/// A token passes only if its key is in the set.
pub fn run(data: &[u8]) {
    let document = serde_json::from_slice(data).unwrap_or(Value::Null);
    let host = FakeHost::default();
    let remote = json!({"remote": {"cluster": "idp", "uri": "https://idp.example.com/keys"}});
    let policy = gate::policy_on(&config(&remote), &host);
    serve(&policy, &host, |_| data.to_vec());
    check(&policy, &host, &document);

    // As text, so that the configuration holds the very bytes.
    let inline = config(&json!({"inline": "JWKS"})).to_string();
    let (before, after) = inline.split_once("\"JWKS\"").unwrap();
    let inline = [before.as_bytes(), data, after.as_bytes()].concat();
    if document.is_object()
        && let Ok(configured) = JwtAuth::configure(&inline, &NoHost)
    {
        check(&configured.policy, &NoHost, &document);
    }
}

fn check(policy: &JwtAuth, host: &dyn Host, document: &Value) {
    for (token, kid, member) in TOKENS {
        let (verdict, _) = judge(policy, bearer(gate::token(token)), host);
        if passes(&verdict) {
            let wanted = number(key(kid)[member].as_str().unwrap()).unwrap();
            assert!(holds(document, &wanted), "{token} passes without its key");
        }
    }
}

/// The bytes without zeros ahead, which make no other modulus.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

fn holds(document: &Value, wanted: &[u8]) -> bool {
    match document {
        Value::String(text) => number(text).as_deref() == Some(wanted),
        Value::Array(items) => items.iter().any(|it| holds(it, wanted)),
        Value::Object(fields) => fields.values().any(|it| holds(it, wanted)),
        _ => false,
    }
}

/// Every key alone and all together, and what is wrong with keys.
pub fn seeds() -> Vec<Seed> {
    let with = |kid: &str, member: &str, value: Value| {
        let mut key = key(kid);
        key[member] = value;
        key
    };
    let mut seeds: Vec<(&str, Value)> = TOKENS.iter().map(|(_, kid, _)| (*kid, key(kid))).collect();
    seeds.extend([
        ("alg", with("p-256", "alg", json!("ES256"))),
        ("alg-of-another-type", with("p-256", "alg", json!("RS256"))),
        ("key-ops", with("ed25519", "key_ops", json!(["verify"]))),
        ("key-ops-to-sign", with("ed25519", "key_ops", json!(["sign"]))),
        ("use-enc", with("ed25519", "use", json!("enc"))),
        ("private", with("ed25519", "d", json!("AA"))),
        ("no-kid", with("ed25519", "kid", Value::Null)),
        ("curve", with("p-256", "crv", json!("secp256k1"))),
        ("not-on-the-curve", with("p-256", "y", key("p-256")["x"].clone())),
        ("short", with("p-256", "y", json!("AA"))),
        ("type", with("p-256", "kty", json!("AKP"))),
        ("rsa-small", with("rsa-2048", "n", key("p-384")["x"].clone())),
        ("rsa-exponent", with("rsa-2048", "e", json!("Aw"))),
        ("rsa-even", with("rsa-2048", "n", json!("AAAA".repeat(86)))),
        ("secret-short", with("oct-512", "k", json!("AAAA"))),
        ("not-a-key", json!(5)),
    ]);
    let mut files: Vec<Seed> = seeds
        .into_iter()
        .map(|(name, key)| (name.into(), json!({"keys": [key]}).to_string().into_bytes()))
        .collect();
    files.extend([
        ("all".into(), jwt_auth::jwks().to_string().into_bytes()),
        ("none".into(), b"{\"keys\":[]}".to_vec()),
        ("no-json".into(), b"<html>".to_vec()),
    ]);
    files
}
