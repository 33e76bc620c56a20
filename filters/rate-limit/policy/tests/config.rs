//! What an operator is told about a configuration of rate-limit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{FailureMode, Policy};
use rate_limit_policy::RateLimit;
use serde_json::{Value, json};

fn errors(config: &Value) -> Vec<String> {
    match RateLimit::configure(config.to_string().as_bytes(), &FakeHost::default()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// A configuration without a mistake, with every kind of part.
fn good() -> Value {
    json!({
        "limits": [{
            "name": "per-client",
            "match": {"path": {"prefix": "/api"}},
            "key": [{"client_ip": {}}, {"header": "x-tenant"}],
            "rate": {"requests": 100, "per": "1m", "burst": 20},
            "cost": {"request_header": "x-cost", "max": 10},
            "charge_response": {"header": "x-used", "max": 100},
        }],
        "overrides": [{
            "limit": "per-client",
            "key": ["10.1.2.3", "partner"],
            "rates": [{"requests": 10, "per": "1s"}],
        }],
    })
}

#[test]
fn a_good_config_is_taken() {
    assert_eq!(errors(&good()), [""; 0]);
    let least = json!({"limits": [{"name": "all", "rate": {"requests": 1, "per": "1ms"}}]});
    assert_eq!(errors(&least), [""; 0]);
}

/// One mistake each: where, what stands there (`null` for nothing), and all of what is
/// told.
fn mistakes() -> Vec<(&'static str, Value, &'static str)> {
    let rate = json!({"requests": 1, "per": "1s"});
    let per = "limits[0].rate.per: must be a time in which that many requests can come one by \
               one, from \"1ms\" on, and in which a burst is over within a hundred years";
    let part = "limits[0].key[0]: must have exactly one of client_ip, header, cookie, query, claim";
    let either = "limits[0]: must have exactly one of \"rate\", \"rates\", \"concurrency\"";
    vec![
        ("/limits", json!(null), "limits: is missing"),
        ("/limits", json!([]), "limits: must not be empty"),
        ("/limits/0/name", json!(null), "limits[0].name: is missing"),
        (
            "/limits/0/name",
            json!("per client"),
            "limits[0].name: must be 1 to 64 letters, digits, \"_\" or \"-\"",
        ),
        (
            "/limits/0/rate/requests",
            json!(0),
            "limits[0].rate.requests: must be a whole number from 1 to 1000000000",
        ),
        (
            "/limits/0/rate/burst",
            json!(0),
            "limits[0].rate.burst: must be a whole number from 1 to 1000000000",
        ),
        (
            "/limits/0/rate/per",
            json!(60),
            "limits[0].rate.per: must be a duration such as \"500ms\", \"30s\", \"10m\", \"24h\" \
             or \"30d\", not a number",
        ),
        ("/limits/0/rate/per", json!("0s"), per),
        // A thousand million times a millisecond is a thousand a nanosecond.
        ("/limits/0/rate", json!({"requests": 1_000_000_000, "per": "1ms"}), per),
        ("/limits/0/rate", json!({"requests": 1, "per": "30d", "burst": 1_000_000_000}), per),
        ("/limits/0/rate", json!(null), either),
        ("/limits/0/rates", json!([rate]), either),
        ("/limits/0/rates", json!([]), "limits[0].rates: must not be empty"),
        (
            "/overrides/0/rate",
            json!(rate),
            "overrides[0]: must have exactly one of \"rate\", \"rates\", \"concurrency\"",
        ),
        (
            "/overrides/0/rates",
            json!(null),
            "overrides[0]: must have exactly one of \"rate\", \"rates\", \"concurrency\"",
        ),
        (
            "/overrides/0/rates",
            json!(vec![rate.clone(); 9]),
            "overrides[0].rates: at most 8 are kept",
        ),
        ("/limits/0/key/0", json!({}), part),
        ("/limits/0/key/0", json!({"header": "a", "cookie": "b"}), part),
        (
            "/limits/0/key/0",
            json!({"ip": {}}),
            "limits[0].key[0].ip: unknown field; known here: client_ip, header, cookie, query, claim",
        ),
        (
            "/limits/0/key/0",
            json!({"header": "a b"}),
            "limits[0].key[0].header: must be a header name such as \"x-user-id\"",
        ),
        (
            "/limits/0/key/0",
            json!({"claim": "a..b"}),
            "limits[0].key[0].claim: must be a claim such as \"sub\" or \"realm_access.roles\"",
        ),
        (
            "/limits/0/key/0/client_ip/trusted_hops",
            json!(17),
            "limits[0].key[0].client_ip.trusted_hops: must be a whole number from 0 to 16",
        ),
        (
            "/limits/0/key/0/client_ip/ipv4_prefix",
            json!(33),
            "limits[0].key[0].client_ip.ipv4_prefix: must be a whole number from 0 to 32",
        ),
        (
            "/limits/0/missing_key",
            json!("ignore"),
            "limits[0].missing_key: must be one of \"deny\", \"skip\", \"share\"",
        ),
        (
            "/limits/0/scope",
            json!("global"),
            "limits[0].scope: must be one of \"host\", \"worker\"",
        ),
        ("/headers", json!("x"), "headers: must be one of \"ietf\", \"legacy\", \"none\""),
        ("/capacity", json!(1023), "capacity: must be a whole number from 1024 to 1048576"),
        ("/capacity", json!(1_048_577), "capacity: must be a whole number from 1024 to 1048576"),
        ("/reply", json!({"status": 399}), "reply.status: must be a whole number from 400 to 599"),
        ("/reply", json!({"status": 600}), "reply.status: must be a whole number from 400 to 599"),
        (
            "/reply",
            json!({"content_type": "text/plain\r\nx-a: b"}),
            "reply.content_type: must be a media type such as \"application/json\"",
        ),
        ("/limits/0/cost/max", json!(null), "limits[0].cost.max: is missing"),
        (
            "/limits/0/cost/default",
            json!(0),
            "limits[0].cost.default: must be a whole number from 1 to 1000000",
        ),
        (
            "/limits/0/charge_response/header",
            json!(null),
            "limits[0].charge_response.header: is missing",
        ),
        ("/limits/0/shadow", json!("yes"), "limits[0].shadow: must be true or false, not a string"),
        (
            "/colour",
            json!("red"),
            "colour: unknown field; known here: limits, overrides, headers, reply, capacity",
        ),
        (
            "/overrides/0/limit",
            json!("per-user"),
            "overrides[0].limit: there is no limit \"per-user\"; known: per-client",
        ),
        (
            "/overrides/0/key",
            json!(["10.1.2.3"]),
            "overrides[0].key: must have 2 values, one for each part of the limit's key",
        ),
        (
            "/overrides/0/key/0",
            json!("partner.example.com"),
            "overrides[0].key[0]: must be an address such as \"10.1.2.3\"",
        ),
        ("/overrides/0/key/1", json!(""), "overrides[0].key[1]: must not be empty"),
    ]
}

#[test]
fn a_mistake_is_told_with_its_path_and_what_would_be_right() {
    for (path, value, told) in mistakes() {
        let mut config = good();
        let (parent, field) = path.rsplit_once('/').unwrap();
        match config.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[field.parse::<usize>().unwrap()] = value,
            Value::Object(fields) if value.is_null() => drop(fields.remove(field)),
            object => object[field] = value,
        }
        assert_eq!(errors(&config), [told], "{path}");
    }
}

#[test]
fn what_stands_there_twice_is_told() {
    let mut config = good();
    let limit = config["limits"][0].clone();
    config["limits"].as_array_mut().unwrap().push(limit);
    assert_eq!(errors(&config), ["limits[1].name: there is another limit \"per-client\""]);

    // Two addresses of one network are one client.
    let mut config = good();
    config["limits"][0]["key"][0]["client_ip"]["ipv4_prefix"] = json!(24);
    let mut again = config["overrides"][0].clone();
    again["key"][0] = json!("10.1.2.77");
    config["overrides"].as_array_mut().unwrap().push(again);
    assert_eq!(errors(&config), ["overrides[1].key: there is another override of this key"]);
}

#[test]
fn an_override_of_a_limit_with_another_number_of_parts_is_told() {
    let mut config = good();
    config["limits"][0]["key"] = json!([{"header": "x-tenant"}]);
    let told = "overrides[0].key: must have one value, for the one part of the limit's key";
    assert_eq!(errors(&config), [told]);
    config["limits"][0]["key"] = json!([]);
    let told = "overrides[0].key: the limit has no key, so there is one client, whose rate is the \
                limit's";
    assert_eq!(errors(&config), [told]);
}

#[test]
fn every_mistake_is_told_at_once() {
    let mut config = good();
    config["limits"][0]["key"] = json!([{}, {"header": "a", "query": "b"}]);
    config["limits"][0]["rate"]["per"] = json!("0s");
    config["overrides"][0]["limit"] = json!("per-user");
    let other = json!({"limit": "per-client", "key": ["a"]});
    config["overrides"].as_array_mut().unwrap().push(other);
    config["reply"] = json!({"content_type": "a\nb"});
    let found = errors(&config);
    let expected = [
        "limits[0].rate.per: must be a time in which",
        "limits[0].key[0]: must have exactly one of",
        "limits[0].key[1]: must have exactly one of",
        "overrides[0].limit: there is no limit \"per-user\"",
        // Its key is not judged by a limit whose own is wrong.
        "overrides[1]: must have exactly one of \"rate\", \"rates\", \"concurrency\"",
        "reply.content_type: must be a media type",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{expected:?} in {found:?}");
    }
}

#[test]
fn every_mistake_in_the_fields_themselves_is_told_at_once() {
    let mut config = good();
    config["limits"][0]["rate"] = json!({"requests": 0, "per": 1, "burst": 0});
    config["limits"][0]["scope"] = json!("global");
    config["headers"] = json!("x");
    config["colour"] = json!("red");
    let found = errors(&config);
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn a_proxy_that_fails_lets_requests_pass() {
    let host = FakeHost::default();
    let configured = RateLimit::configure(good().to_string().as_bytes(), &host).unwrap();
    assert_eq!(configured.policy.failure_mode(), FailureMode::Open);
    assert!(configured.warnings.is_empty() && configured.notes.is_empty());
}
