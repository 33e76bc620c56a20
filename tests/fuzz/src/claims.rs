//! The bytes as the parts of a token that somebody with the key has signed: the
//! JOSE header up to the first line break, and the payload behind it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{Edit, Headers, NoHost, is_field_value};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::Seed;
use crate::gate::{self, ISSUER, NOW, TOKENS, judge, key, passes};

const CLOCK_SKEW: u64 = 60;

fn config() -> Value {
    json!({
        "providers": [{
            "name": "corp", "issuer": ISSUER, "algorithms": ["HS256"],
            "jwks": {"inline": {"keys": [key("oct-512")]}},
            "clock_skew": format!("{CLOCK_SKEW}s"),
            "max_lifetime": "36500d",
            "claims_to_headers": [
                {"claim": "sub", "header": "x-user-id"},
                {"claim": "groups", "header": "x-groups"},
                {"claim": "realm_access.roles", "header": "x-roles"},
            ],
            "payload_header": "x-payload",
        }],
        "rules": [
            {"match": {"path": {"prefix": "/admin"}}, "require": {
                "provider": "corp", "scopes": ["admin"],
                "claims": [{"claim": "email_verified", "equals": true}],
            }},
            {"match": {}, "require": {"provider": "corp"}},
        ],
        "deny": {"sub": ["mallory"]},
        "cache": {"entries": 0},
    })
}

thread_local! {
    static POLICY: JwtAuth = gate::policy(&config());
    static SECRET: Vec<u8> =
        BASE64_URL_SAFE_NO_PAD.decode(key("oct-512")["k"].as_str().unwrap()).unwrap();
}

fn sign(header: &[u8], payload: &[u8]) -> String {
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let signed = format!("{}.{}", encode(header), encode(payload));
    let mut mac = SECRET.with(|secret| Hmac::<Sha256>::new_from_slice(secret)).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", encode(&mac.finalize().into_bytes()))
}

/// A signed token that passes says what the provider asks for, and the headers that
/// are made of it are headers.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (header, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let token = sign(header, payload);
    for path in ["/", "/admin"] {
        let request: Headers =
            [(":path", path.into()), ("authorization", format!("Bearer {token}"))]
                .into_iter()
                .collect();
        let (verdict, edits) = POLICY.with(|policy| judge(policy, request, &NoHost));
        if passes(&verdict) {
            check(header, payload, path);
        }
        for edit in &edits {
            if let Edit::Set(name, value) = edit {
                assert!(is_field_value(value), "{name} is no field value");
            }
        }
    }
}

fn check(header: &[u8], payload: &[u8], path: &str) {
    // RFC 7515 section 5.2: it must be UTF-8.
    let header = std::str::from_utf8(header).expect("a JOSE header");
    // Half a surrogate pair is JSON by its grammar, and harmless where nobody reads it,
    // but no `Value`.
    if let Ok(header) = serde_json::from_str::<Value>(header) {
        assert_eq!(header["alg"], "HS256");
        for name in ["crit", "jwk", "jku", "x5u"] {
            assert!(header[name].is_null(), "{name} was followed or ignored");
        }
    }
    let payload: Value = serde_json::from_slice(payload).expect("claims");
    assert_eq!(payload["iss"], ISSUER);
    assert_ne!(payload["sub"], "mallory");
    #[expect(clippy::cast_precision_loss, reason = "a second of our time is exact")]
    let earliest = (NOW - CLOCK_SKEW) as f64;
    assert!(payload["exp"].as_f64().expect("exp") > earliest, "it has expired");
    if path == "/admin" {
        assert_eq!(payload["email_verified"], true);
        let admin = |name: &str| payload[name].to_string().contains("admin");
        assert!(admin("scope") || admin("scp"), "it lacks the scope");
    }
}

/// The header and payload of every kind of token, as if all were signed by one key.
pub fn seeds() -> Vec<Seed> {
    let line = |part: &Value, alg: bool| {
        let mut part = part.clone();
        if alg && part["alg"] == "ES256" {
            part["alg"] = json!("HS256");
        }
        part.to_string()
    };
    let mut seeds: Vec<Seed> = TOKENS
        .iter()
        .filter(|(_, it)| it["key"] == "p-256" && it.get("then").is_none())
        .map(|(name, it)| {
            let text = format!("{}\n{}", line(&it["header"], true), line(&it["claims"], false));
            (name.clone(), text.into_bytes())
        })
        .collect();
    let all_claims = json!({
        "iss": ISSUER, "sub": "alice", "exp": 1_900_000_000.5, "nbf": 1, "iat": 1_767_225_600,
        "aud": ["orders-api"], "jti": "1", "scope": "read admin", "email_verified": true,
        "groups": ["dev", 1, true], "realm_access": {"roles": ["a"]},
    });
    let header = json!({"alg": "HS256", "typ": "application/at+jwt", "x5c": [], "cty": "a"});
    seeds.push(("everything".into(), format!("{header}\n{all_claims}").into_bytes()));
    seeds
}
