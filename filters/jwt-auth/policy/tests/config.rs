//! What an operator is told about a configuration of jwt-auth.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use cases::jwt_auth;
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{FailureMode, NoHost, Policy};
use serde_json::{Value, json};

fn errors(config: &Value) -> Vec<String> {
    match JwtAuth::configure(config.to_string().as_bytes(), &NoHost) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn warnings(config: &Value) -> Vec<String> {
    match JwtAuth::configure(config.to_string().as_bytes(), &NoHost) {
        Ok(configured) => configured.warnings,
        Err(errors) => panic!("{errors}"),
    }
}

fn key(kid: &str) -> Value {
    let jwks = jwt_auth::jwks();
    jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap().clone()
}

fn key_with(kid: &str, member: &str, value: Value) -> Value {
    let mut key = key(kid);
    key[member] = value;
    key
}

/// The README's configuration with other keys.
fn with_keys(keys: &[Value]) -> Value {
    json!({
        "providers": [{
            "name": "corp",
            "issuer": "https://idp.example.com/",
            "algorithms": ["RS256", "ES256", "EdDSA"],
            "jwks": {"inline": {"keys": keys}},
        }],
        "rules": [{"match": {}, "require": {"provider": "corp"}}],
    })
}

#[test]
fn every_mistake_is_told_at_once_with_its_path() {
    let mut config = with_keys(&[key("rsa-2048")]);
    config["providers"][0]["clock_skew"] = json!(30);
    config["providers"][0]["audience"] = json!("orders-api");
    config["providers"][0]["claims_to_headers"] = json!([{"claim": "a..b", "header": "x-a"}]);
    config["rules"] = json!([
        {"match": {"path": {"prefix": "public"}}, "allow": "anonymous"},
        {"match": {}},
        {"match": {}, "allow": "everybody"},
        {"match": {}, "require": {"provider": "crop"}},
    ]);
    let found = errors(&config);
    let expected = [
        "providers[0].clock_skew: must be a duration such as",
        "providers[0].claims_to_headers[0].claim: must be a claim such as",
        "providers[0].audience: unknown field; known here: name, issuer, audiences, algorithms",
        "rules[0].match.path.prefix: must be a path such as \"/public\"",
        "rules[2].allow: must be \"anonymous\"",
        "rules[1]: must have either \"allow\" or \"require\"",
        "rules[3].require.provider: there is no provider \"crop\"; known: corp",
    ];
    for expected in expected {
        assert!(found.iter().any(|it| it.starts_with(expected)), "{expected:?} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn fields_that_do_not_go_together_are_told() {
    let mut config = with_keys(&[key("rsa-2048")]);
    config["cache"] = json!({"entries": 65537});
    config["providers"][0]["from"] = json!([{"cookie": "a", "header": "b"}, {"cookie": "a", "prefix": "b"}, {"header": "x-jwt"}]);
    config["providers"][0]["payload_header"] = json!("x-jwt");
    config["providers"][0]["token_types"] = json!(["JOSE"]);
    config["providers"][0]["claims_to_headers"] = json!([
        {"claim": "a", "claim_path": ["b"], "header": "x-a"},
        {"header": "x-a"},
    ]);
    config["rules"] = json!([
        {"match": {"path": {"prefix": "/a", "exact": "/b"}}, "allow": "anonymous"},
        {"match": {"path": {}, "methods": ["get"]}, "allow": "anonymous"},
        {"match": {"headers": [{"name": "a b", "exact": "a"}, {"name": "x-a"}]}, "allow": "anonymous"},
        {"match": {"host": {"regex": "("}}, "allow": "anonymous"},
        {"match": {"path": {"regex": "a{1000}{1000}"}}, "allow": "anonymous"},
        {"match": {}, "require": {}},
        {"match": {}, "require": {"provider": "corp", "any": [{"provider": "corp"}]}},
        {"match": {}, "require": {"any": [{"provider": "crop"}], "scopes": ["a"]}},
        {"match": {}, "require": {"provider": "corp", "claims": [
            {"claim": "a"}, {"claim": "a", "equals": [1]}, {"equals": 1},
            {"claim": "a", "equals": 1, "present": true},
        ]}},
    ]);
    let found = errors(&config);
    let expected = [
        "cache.entries: must be a whole number from 0 to 65536",
        "providers[0].from[0]: must have exactly one of header, cookie, query; a prefix goes",
        "providers[0].from[1]: must have exactly one of header, cookie, query; a prefix goes",
        "providers[0].from[2].header: \"x-jwt\" is set by this filter; read the token from another",
        "providers[0].token_types[0]: must be \"JWT\" or a type that ends in \"+jwt\"",
        "providers[0].claims_to_headers[0]: must have either \"claim\" or \"claim_path\"",
        "providers[0].claims_to_headers[1]: must have either \"claim\" or \"claim_path\"",
        "rules[0].match.path: must have exactly one of exact, prefix, regex",
        "rules[1].match.path: must have exactly one of exact, prefix, regex",
        "rules[1].match.methods[0]: must be a method such as \"GET\", in upper case",
        "rules[2].match.headers[0].name: must be a header name such as",
        "rules[2].match.headers[1]: must have exactly one of exact, prefix, suffix, contains",
        "rules[3].match.host.regex: is no regular expression that can be used",
        "rules[4].match.path.regex: is no regular expression that can be used",
        "rules[5].require: must have exactly one of provider, all, any",
        "rules[6].require: must have exactly one of provider, all, any",
        "rules[7].require.any[0].provider: there is no provider \"crop\"; known: corp",
        "rules[7].require: scopes and claims go with a provider",
        "rules[8].require.claims[0]: must have exactly one of equals, contains, in, present",
        "rules[8].require.claims[1].equals: must be a text, a number, true or false, not a list",
        "rules[8].require.claims[2]: must have either \"claim\" or \"claim_path\"",
        "rules[8].require.claims[3]: must have exactly one of equals, contains, in, present",
    ];
    for expected in expected {
        assert!(found.iter().any(|it| it.starts_with(expected)), "{expected:?} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(errors(&json!({})), ["providers: is missing", "rules: is missing"]);
    assert_eq!(
        errors(&json!({"providers": [], "rules": []})),
        ["providers: must not be empty", "rules: must not be empty"]
    );
}

#[test]
fn wrong_values_are_refused_where_they_stand() {
    let table = [
        ("name", json!("a b"), "providers[0].name: must be 1 to 64 letters"),
        ("issuer", json!(""), "providers[0].issuer: must not be empty"),
        ("audiences", json!([]), "providers[0].audiences: must not be empty"),
        ("audiences", json!("a"), "providers[0].audiences: must be a list, not a string"),
        ("algorithms", json!([]), "providers[0].algorithms: must not be empty"),
        ("algorithms", json!(["none"]), "providers[0].algorithms[0]: must be one of RS256,"),
        ("algorithms", json!(["rs256"]), "providers[0].algorithms[0]: must be one of RS256,"),
        (
            "jwks",
            json!({}),
            "providers[0].jwks: must have exactly one of inline, remote, discovery",
        ),
        ("jwks", json!({"inline": []}), "providers[0].jwks.inline: must be a JSON Web Key Set"),
        ("jwks", json!({"inline": {}}), "providers[0].jwks.inline: must have a list \"keys\""),
        ("jwks", json!({"inline": {"keys": []}}), "providers[0].jwks.inline: has no usable key"),
    ];
    for (field, value, expected) in table {
        let mut config = with_keys(&[key("rsa-2048")]);
        config["providers"][0][field] = value;
        let found = errors(&config);
        assert!(found.iter().any(|it| it.starts_with(expected)), "{expected:?} in {found:#?}");
    }
}

/// The README's configuration with its keys from there.
fn with_jwks(jwks: Value) -> Value {
    let mut config = with_keys(&[]);
    config["providers"][0]["jwks"] = jwks;
    config
}

fn remote_with(field: &str, value: Value) -> Value {
    let mut remote = json!({"cluster": "idp", "uri": "https://idp.example.com/keys"});
    remote[field] = value;
    remote
}

#[test]
fn keys_come_from_one_place() {
    let (inline, remote) = (json!({"keys": [key("p-256")]}), remote_with("timeout", json!("2s")));
    for jwks in [
        json!({"inline": inline, "remote": remote}),
        json!({"inline": inline, "discovery": remote}),
        json!({"remote": remote, "discovery": remote}),
        json!({"inline": inline, "remote": remote, "discovery": remote}),
    ] {
        assert_eq!(
            errors(&with_jwks(jwks)),
            ["providers[0].jwks: must have exactly one of inline, remote, discovery"]
        );
    }
    for jwks in [
        json!({"inline": inline}),
        json!({"remote": remote}),
        json!({"discovery": remote}),
        json!({"discovery": remote_with("jwks_cluster", json!("keys"))}),
    ] {
        assert_eq!(errors(&with_jwks(jwks)), [""; 0]);
    }
}

#[test]
fn how_keys_are_fetched_has_bounds() {
    let table = [
        ("cluster", json!(""), "must not be empty"),
        ("timeout", json!("9ms"), "must be between \"10ms\" and \"1m\""),
        ("timeout", json!("61s"), "must be between \"10ms\" and \"1m\""),
        ("timeout", json!(2), "must be a duration such as"),
        ("refresh", json!("999ms"), "must be \"1s\" or longer"),
        ("refresh", json!("0s"), "must be \"1s\" or longer"),
        ("max_stale", json!(-1), "must be a duration such as"),
        ("max_bytes", json!("0B"), "must be between \"1B\" and \"1MiB\""),
        ("max_bytes", json!("2MiB"), "must be between \"1B\" and \"1MiB\""),
        ("max_bytes", json!(65536), "must be a size such as"),
        ("interval", json!("1s"), "unknown field; known here: cluster, uri"),
    ];
    for (field, value, expected) in table {
        for place in ["remote", "discovery"] {
            let found = errors(&with_jwks(json!({ place: remote_with(field, value.clone()) })));
            let expected = format!("providers[0].jwks.{place}.{field}: {expected}");
            assert!(found.len() == 1 && found[0].starts_with(&expected), "{expected} in {found:?}");
        }
    }
    let table = [
        ("timeout", json!("10ms")),
        ("timeout", json!("1m")),
        ("refresh", json!("1s")),
        ("refresh", json!("30d")),
        ("max_stale", json!("0s")),
        ("max_bytes", json!("1B")),
        ("max_bytes", json!("1MiB")),
    ];
    for (field, value) in table {
        let found = errors(&with_jwks(json!({"remote": remote_with(field, value.clone())})));
        assert!(found.is_empty(), "{field}: {value}: {found:?}");
    }
    assert_eq!(
        errors(&with_jwks(json!({"remote": {}, "discovery": {}}))),
        [
            "providers[0].jwks.remote.cluster: is missing",
            "providers[0].jwks.remote.uri: is missing",
            "providers[0].jwks.discovery.cluster: is missing",
            "providers[0].jwks.discovery.uri: is missing",
        ]
    );
}

#[test]
fn an_address_is_absolute_and_without_credentials() {
    let bad = [
        json!(""),
        json!("/keys"),
        json!("idp.example.com/keys"),
        json!("//idp.example.com/keys"),
        json!("ftp://idp.example.com/keys"),
        json!("https:///keys"),
        json!("https://user@idp.example.com/keys"),
        json!("https://user:password@idp.example.com/keys"),
        json!("https://idp.example.com/keys#all"),
        json!("https://idp.example.com/a b"),
        json!("https://idp.example.com:99999/keys"),
        json!("https://idp.example.com:/keys"),
    ];
    for uri in bad {
        for place in ["remote", "discovery"] {
            let found = errors(&with_jwks(json!({ place: remote_with("uri", uri.clone()) })));
            let expected = format!("providers[0].jwks.{place}.uri: must be an address such as");
            assert!(found.len() == 1 && found[0].starts_with(&expected), "{uri}: {found:?}");
        }
    }
    for uri in [
        "https://idp.example.com",
        "http://idp.example.com/",
        "https://idp.example.com:8443/realms/a/keys?all=1",
        "https://192.0.2.1/keys",
        "https://[2001:db8::1]:8443/keys",
    ] {
        let found = errors(&with_jwks(json!({"remote": remote_with("uri", json!(uri))})));
        assert!(found.is_empty(), "{uri}: {found:?}");
    }
}

#[test]
fn a_deny_list_that_is_fetched_has_a_place_and_bounds() {
    let with_deny = |deny: Value| {
        let mut config = with_keys(&[key("p-256")]);
        config["deny"] = deny;
        errors(&config)
    };
    let uri = "https://idp.example.com/revoked";
    for deny in [json!({"cluster": "idp"}), json!({ "uri": uri })] {
        assert_eq!(with_deny(deny), ["deny: must have both \"cluster\" and \"uri\", or none"]);
    }
    assert_eq!(with_deny(json!({"cluster": "idp", "uri": uri, "refresh": "1s"})), [""; 0]);
    for (field, value, expected) in [
        ("uri", json!("/revoked"), "deny.uri: must be an address such as"),
        ("timeout", json!("2m"), "deny.timeout: must be between \"10ms\" and \"1m\""),
        ("refresh", json!("100ms"), "deny.refresh: must be \"1s\" or longer"),
        ("max_bytes", json!("2MiB"), "deny.max_bytes: must be between \"1B\" and \"1MiB\""),
        ("max_stale", json!("1h"), "deny.max_stale: unknown field; known here: jti, sub"),
    ] {
        let mut deny = json!({"cluster": "idp", "uri": uri});
        deny[field] = value;
        let found = with_deny(deny);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{expected} in {found:?}");
    }
}

#[test]
fn what_failing_means_is_open_or_closed() {
    for (field, value, expected) in [
        ("failure_mode", json!("Open"), "failure_mode: must be \"closed\" or \"open\""),
        ("failure_mode", json!(true), "failure_mode: must be a string, not"),
        ("filter_state", json!("yes"), "filter_state: must be"),
        ("cache", json!({"max_token_bytes": 8192}), "cache.max_token_bytes: must be a size"),
    ] {
        let mut config = with_keys(&[key("p-256")]);
        config[field] = value;
        let found = errors(&config);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{expected} in {found:?}");
    }
    for (value, mode) in [("open", FailureMode::Open), ("closed", FailureMode::Closed)] {
        let mut config = with_keys(&[key("p-256")]);
        config["failure_mode"] = json!(value);
        let configured = JwtAuth::configure(config.to_string().as_bytes(), &NoHost).unwrap();
        assert_eq!(configured.policy.failure_mode(), mode);
    }
}

#[test]
fn two_providers_of_one_name_are_refused() {
    let mut config = with_keys(&[key("rsa-2048")]);
    let provider = config["providers"][0].clone();
    config["providers"] = json!([provider, provider]);
    assert_eq!(errors(&config), ["providers[1].name: there is another provider \"corp\""]);
}

#[test]
fn an_unusable_key_among_good_ones_is_left_out_and_named() {
    let unusable = [
        (json!("text"), "keys[1] is no JSON Web Key"),
        (json!({"kid": "k"}), "keys[1] (kid \"k\") is no JSON Web Key"),
        (json!({"kty": "RSA", "n": 5}), "keys[1] is no JSON Web Key"),
        (json!({"kty": "DSA"}), "keys[1] has \"kty\": \"DSA\"; known are RSA, EC, OKP and oct"),
        (json!({"kty": "EC"}), "keys[1] lacks \"crv\""),
        (json!({"kty": "EC", "crv": "P-521"}), "keys[1] has \"crv\": \"P-521\""),
        (json!({"kty": "OKP", "crv": "X25519"}), "keys[1] has \"crv\": \"X25519\""),
        (key_with("rsa-2048", "use", json!("enc")), "has \"use\": \"enc\"; only \"sig\""),
        (key_with("rsa-2048", "key_ops", json!(["encrypt"])), "\"key_ops\" without \"verify\""),
        (key_with("rsa-2048", "d", json!("AQ")), "holds a private key (\"d\")"),
        (key_with("rsa-2048", "alg", json!("RSA-OAEP")), "has \"alg\": \"RSA-OAEP\""),
        (key_with("rsa-2048", "alg", json!("ES256")), "has \"alg\": \"ES256\""),
        (key_with("rsa-2048", "alg", json!("PS256")), "no use to the algorithms of this provider"),
        (key_with("rsa-2048", "n", json!("AQAB")), "is an RSA key of 17 bits; 2048 to 8192"),
        (key_with("rsa-2048", "n", json!("")), "lacks \"n\""),
        (key_with("rsa-2048", "n", json!("a b")), "lacks \"n\", or it is not base64url"),
        (key_with("rsa-2048", "e", json!("Aw")), "another public exponent than 65537"),
        (key_with("p-256", "x", json!("AQ")), "is no point on its curve"),
        (key_with("p-256", "y", key("p-256")["x"].clone()), "is no point on its curve"),
        (key_with("ed25519", "x", json!("AQ")), "is no point on its curve"),
        (key("p-384"), "no use to the algorithms of this provider (RS256, ES256, EdDSA)"),
        (key("oct-512"), "no use to the algorithms of this provider"),
    ];
    for (bad, expected) in unusable {
        let found = warnings(&with_keys(&[key("ed25519"), bad.clone()]));
        assert_eq!(found.len(), 1, "{bad}");
        assert!(found[0].starts_with("providers[0].jwks.inline.keys[1]"), "{found:?}");
        assert!(found[0].contains(expected), "{expected:?} in {found:?}");
        assert!(found[0].ends_with("; left out"), "{found:?}");

        let alone = errors(&with_keys(&[bad]));
        assert_eq!(alone.len(), 1);
        assert!(
            alone[0].starts_with("providers[0].jwks.inline: has no usable key: keys[0]"),
            "{alone:?}"
        );
    }
}

/// A modulus of that many bits: odd, and no more is asked of it.
fn modulus(bits: usize) -> String {
    use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
    let mut bytes = vec![0; bits.div_ceil(8)];
    bytes[0] = 1 << ((bits - 1) % 8);
    *bytes.last_mut().unwrap() |= 1;
    Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap()
}

#[test]
fn rsa_keys_have_2048_to_8192_bits() {
    let table =
        [(1024, false), (2047, false), (2048, true), (4096, true), (4097, true), (8192, true)];
    for (bits, usable) in table.into_iter().chain([(8193, false), (16384, false)]) {
        let found = errors(&with_keys(&[key_with("rsa-2048", "n", json!(modulus(bits)))]));
        assert_eq!(found.is_empty(), usable, "{bits}: {found:?}");
        if !usable {
            assert!(found[0].contains(&format!("is an RSA key of {bits} bits")), "{found:?}");
        }
    }
}

#[test]
fn a_secret_is_as_long_as_its_hash() {
    let secret = |bytes: usize| "A".repeat((bytes * 4).div_ceil(3));
    let config = |listed: &str, bytes| {
        let mut config = with_keys(&[json!({"kty": "oct", "k": secret(bytes)})]);
        config["providers"][0]["algorithms"] = json!([listed]);
        errors(&config)
    };
    for (listed, bytes) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        assert!(config(listed, bytes).is_empty(), "{listed} with {bytes} bytes");
        let found = config(listed, bytes - 1);
        assert!(found[0].contains("HMAC needs at least as many"), "{found:?}");
    }
}

#[test]
fn secrets_are_used_only_where_an_hmac_is_listed() {
    let mut config = with_keys(&[key("oct-512")]);
    config["providers"][0].as_object_mut().unwrap().remove("algorithms");
    assert!(errors(&config)[0].contains("no use to the algorithms of this provider"));
}

#[test]
fn more_keys_than_any_issuer_has_are_not_read() {
    let found = errors(&with_keys(&vec![key("ed25519"); 101]));
    assert_eq!(found, ["providers[0].jwks.inline: has 101 keys; at most 100 are read"]);
}

#[test]
fn no_message_repeats_a_key() {
    let secret = "c2VjcmV0LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bg";
    for kty in ["oct", "RSA", "EC", "OKP"] {
        let key = json!({
            "kty": kty, "crv": "P-256", "k": secret, "n": secret, "e": secret, "x": secret,
            "y": secret,
        });
        let found = errors(&with_keys(&[key]));
        assert!(!found.is_empty() && !found[0].contains(secret), "{found:?}");
    }
}

#[test]
fn counters_are_named_by_provider_and_reason() {
    let config = with_keys(&[key("rsa-2048")]).to_string();
    let counters = JwtAuth::configure(config.as_bytes(), &NoHost).unwrap().policy.counters();
    assert!(counters.contains(&"jwt_auth.requests.provider.corp.reason.expired".into()));
    assert!(counters.contains(&"jwt_auth.requests.reason.no_rule".into()));
    assert!(!counters.iter().any(|counter| counter.contains("fetches")));
}

#[test]
fn fetches_are_counted_where_there_are_any() {
    let mut config = with_jwks(json!({"remote": remote_with("timeout", json!("2s"))}));
    config["deny"] = json!({"cluster": "idp", "uri": "https://idp.example.com/revoked"});
    let config = config.to_string();
    let counters = JwtAuth::configure(config.as_bytes(), &NoHost).unwrap().policy.counters();
    let of_fetches: Vec<_> = counters.iter().filter(|it| it.contains("fetches")).collect();
    assert_eq!(
        of_fetches,
        [
            "jwt_auth.key_fetches.provider.corp.result.ok",
            "jwt_auth.key_fetches.provider.corp.result.failed",
            "jwt_auth.deny_list_fetches.result.ok",
            "jwt_auth.deny_list_fetches.result.failed",
        ]
    );
}
