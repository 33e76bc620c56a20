//! The bytes as a token, in a header, in a cookie and in a query.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cases::jwt_auth;
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{Headers, NoHost};
use serde_json::{Value, json};

use crate::Seed;
use crate::gate::{self, ISSUER, TOKENS, bearer, judge, passes};

fn config(cached_tokens: usize) -> Value {
    json!({
        "providers": [{
            "name": "corp", "issuer": ISSUER,
            "algorithms": [
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512",
            ],
            "jwks": {"inline": jwt_auth::jwks()},
            "from": [
                {"header": "authorization", "prefix": "Bearer "},
                {"cookie": "session"},
                {"query": "access_token"},
            ],
            "claims_to_headers": [{"claim": "sub", "header": "x-user-id"}],
            "payload_header": "x-payload",
        }],
        "rules": [{"match": {}, "require": {"provider": "corp"}}],
        "cache": {"entries": cached_tokens},
    })
}

thread_local! {
    static WITH_CACHE: JwtAuth = gate::policy(&config(1_000));
    static WITHOUT_CACHE: JwtAuth = gate::policy(&config(0));
}

/// Tokens that somebody with a key has signed, and nobody has changed since.
static GENUINE: LazyLock<Vec<&[u8]>> = LazyLock::new(|| {
    let kids: Vec<Value> =
        jwt_auth::jwks()["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect();
    let tokens = TOKENS.values().filter(|it| kids.contains(&it["key"]) && it.get("then").is_none());
    tokens.map(|it| it["token"].as_str().unwrap().as_bytes()).collect()
});

/// Tokens that pass.
static GOOD: LazyLock<Vec<&[u8]>> = LazyLock::new(|| {
    let names = TOKENS.keys().filter(|name| name.starts_with("good-"));
    names.map(|name| gate::token(name).as_bytes()).collect()
});

/// A request with those bytes in one place.
type Place = fn(&[u8]) -> Headers;

fn in_cookie(data: &[u8]) -> Headers {
    let value = [b"session=", data].concat();
    [(":path", b"/".to_vec()), ("cookie", value)].into_iter().collect()
}

fn in_query(data: &[u8]) -> Headers {
    [(":path", [b"/?access_token=", data].concat())].into_iter().collect()
}

/// The part of `data` before the first `end`.
fn until(data: &[u8], end: u8) -> &[u8] {
    data.split(|byte| *byte == end).next().unwrap_or_default()
}

/// Only a genuine token passes, and it is judged the same however often it comes.
pub fn run(data: &[u8]) {
    let places: [(Place, &[u8]); 3] = [
        (|data| bearer(data), data.trim_ascii()),
        (in_cookie, until(data, b';').trim_ascii_end()),
        (in_query, until(data, b'&')),
    ];
    for (request, token) in places {
        let judged = WITH_CACHE.with(|policy| judge(policy, request(data), &NoHost));
        let again = WITH_CACHE.with(|policy| judge(policy, request(data), &NoHost));
        assert_eq!(judged, again, "judged again");
        let anew = WITHOUT_CACHE.with(|policy| judge(policy, request(data), &NoHost));
        assert_eq!(judged, anew, "judged without a cache");
        if passes(&judged.0) {
            assert!(GENUINE.contains(&token), "passes, and nobody signed it");
        } else {
            assert!(!GOOD.contains(&data), "is good and does not pass");
        }
    }
}

/// One token for each outcome of each kind of header and payload.
pub fn seeds() -> Vec<Seed> {
    let mut known = BTreeSet::new();
    let members = |part: &Value| -> Vec<String> {
        part.as_object().map(|it| it.keys().cloned().collect()).unwrap_or_default()
    };
    TOKENS
        .iter()
        .filter(|(name, it)| {
            let token = gate::token(name);
            let (verdict, _) = WITH_CACHE.with(|policy| judge(policy, bearer(token), &NoHost));
            let detail = verdict.reason().map(|reason| reason.detail);
            let header = (it["header"]["alg"].to_string(), members(&it["header"]));
            known.insert((header, members(&it["claims"]), detail))
        })
        .map(|(name, _)| (name.clone(), gate::token(name).into()))
        .collect()
}
