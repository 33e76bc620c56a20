//! `config.schema.json` is what the config types say, and agrees with the filter.
//!
//! After a change of the configuration, `UPDATE=1` writes the file anew:
//!
//! ```text
//! UPDATE=1 cargo test -p rate-limit-policy --all-features --test schema
//! ```
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::path::{Path, PathBuf};

use documents::readme::configs;
use documents::schema::{self, Alternatives};
use jsonschema::Validator;
use mesh_filters_policy::Policy;
use mesh_filters_policy::testing::FakeHost;
use rate_limit_policy::{Config, RateLimit};
use serde_json::{Value, json};

const ALTERNATIVES: Alternatives<'_> = &[
    ("LimitConfig", &["rate", "rates", "concurrency"]),
    ("OverrideConfig", &["rate", "rates", "concurrency"]),
    ("KeyPartConfig", &["client_ip", "header", "cookie", "query", "claim"]),
];

fn generated() -> Value {
    schema::generated::<Config>("rate-limit", ALTERNATIVES)
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&generated()).expect("a schema")
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.schema.json")
}

fn shown() -> Vec<Value> {
    configs(include_str!("../../README.md"), "limits")
}

/// One with every kind of object.
fn full() -> Value {
    let rate = json!({"requests": 10, "per": "1s"});
    json!({
        "limits": [{
            "name": "per-client",
            "match": {"path": {"prefix": "/api"}, "headers": [{"name": "x-a", "present": true}]},
            "key": [{"client_ip": {"trusted_hops": 1}}, {"header": "x-tenant"}],
            "missing_key": "deny",
            "rate": rate,
            "scope": "worker",
            "cost": {"request_header": "x-cost", "default": 2, "max": 10},
            "charge_response": {"header": "x-used", "max": 100},
            "shadow": true,
        }],
        "overrides": [{"limit": "per-client", "key": ["10.1.2.3", "partner"], "rates": [rate]}],
        "headers": "legacy",
        "reply": {"status": 503, "body": "", "content_type": "text/plain"},
        "capacity": 1024,
    })
}

fn is_accepted(config: &Value) -> bool {
    RateLimit::configure(config.to_string().as_bytes(), &FakeHost::default()).is_ok()
}

#[test]
fn the_file_is_current() {
    schema::assert_is_current("rate-limit", &path(), &generated());
}

#[test]
fn the_schema_is_one() {
    jsonschema::draft202012::meta::validate(&generated()).unwrap();
}

#[test]
fn a_field_may_be_called_default() {
    let cost = &generated()["$defs"]["CostConfig"]["properties"];
    assert_eq!(cost["default"]["default"], json!(1));
    assert_eq!(cost["default"]["minimum"], json!(1));
}

#[test]
fn every_config_of_the_readme_fits() {
    let validator = validator();
    for config in shown().into_iter().chain([full()]) {
        let mistakes: Vec<_> = validator
            .iter_errors(&config)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(mistakes.is_empty() && is_accepted(&config), "{mistakes:#?}");
    }
}

/// Paths to every object of a config.
fn objects(config: &Value, path: &str, found: &mut Vec<String>) {
    match config {
        Value::Object(fields) => {
            found.push(path.into());
            for (name, value) in fields {
                objects(value, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                objects(value, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn an_unknown_field_is_refused_wherever_it_stands() {
    let (validator, config) = (validator(), full());
    let mut paths = Vec::new();
    objects(&config, "", &mut paths);
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let mut config = config.clone();
        config.pointer_mut(&path).unwrap()["colour"] = json!("red");
        assert!(!validator.is_valid(&config), "the schema takes {path}/colour");
        assert!(!is_accepted(&config), "the filter takes {path}/colour");
    }
}

#[test]
fn a_wrong_value_is_refused_by_both() {
    let validator = validator();
    let rate = json!({"requests": 10, "per": "1s"});
    for (path, value) in [
        ("/limits", json!([])),
        ("/limits", json!({})),
        ("/limits/0", json!({"name": "a"})),
        ("/limits/0", json!({"name": "a", "rate": rate, "rates": [rate]})),
        ("/limits/0", json!({"rate": rate})),
        ("/limits/0/name", json!("a b")),
        ("/limits/0/key", json!({})),
        ("/limits/0/key/0", json!({})),
        ("/limits/0/key/0", json!({"header": "a", "query": "b"})),
        ("/limits/0/key/0", json!({"header": ""})),
        ("/limits/0/key/0", json!({"cookie": ""})),
        ("/limits/0/key/0/client_ip/trusted_hops", json!(17)),
        ("/limits/0/missing_key", json!("ignore")),
        ("/limits/0/rate", json!({"requests": 0, "per": "1s"})),
        ("/limits/0/rate", json!({"requests": 1})),
        ("/limits/0/rate", json!({"requests": 1, "per": 1})),
        ("/limits/0/rate", json!({"requests": 1, "per": "1 s"})),
        ("/limits/0/scope", json!("global")),
        ("/limits/0/cost/default", json!(0)),
        ("/limits/0/cost/default", json!("1")),
        ("/limits/0/cost", json!({"request_header": "a"})),
        ("/limits/0/charge_response", json!({"header": "a"})),
        ("/limits/0/shadow", json!("yes")),
        ("/overrides/0/key", json!([])),
        ("/overrides/0", json!({"limit": "per-client", "key": ["10.1.2.3", "a"]})),
        ("/headers", json!("IETF")),
        ("/reply/status", json!(200)),
        ("/reply/content_type", json!("")),
        ("/capacity", json!(10)),
    ] {
        let mut config = full();
        *config.pointer_mut(path).unwrap() = value.clone();
        assert!(!validator.is_valid(&config), "the schema takes {value} at {path}");
        assert!(!is_accepted(&config), "the filter takes {value} at {path}");
    }
}
