//! `config.schema.json` is what the config types say, and agrees with the filter.
//!
//! After a change of the configuration, `UPDATE=1` writes the file anew:
//!
//! ```text
//! UPDATE=1 cargo test -p jwt-auth-policy --all-features --test schema
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

use cases::jwt_auth;
use documents::schema::{self, Alternatives};
use jsonschema::Validator;
use jwt_auth_policy::{Config, JwtAuth};
use mesh_filters_policy::{NoHost, Policy};
use serde_json::{Value, json};

/// Objects that must have exactly one of some fields, which the filter checks once
/// all of them are decoded and the config types therefore do not say.
const ALTERNATIVES: Alternatives<'_> = &[
    ("JwksConfig", &["inline", "remote", "discovery"]),
    ("SourceConfig", &["header", "cookie", "query"]),
    ("ClaimToHeaderConfig", &["claim", "claim_path"]),
    ("RuleConfig", &["allow", "require"]),
    ("RequireConfig", &["provider", "all", "any"]),
    ("ClaimMatch", &["claim", "claim_path"]),
    ("ClaimMatch", &["equals", "contains", "in", "present"]),
];

fn generated() -> Value {
    schema::generated::<Config>("jwt-auth", ALTERNATIVES)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.schema.json")
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&generated()).expect("a schema")
}

fn readme() -> Value {
    let (_, group) = jwt_auth::groups().into_iter().find(|(name, _)| *name == "readme").unwrap();
    group.config
}

fn is_accepted(config: &Value) -> bool {
    JwtAuth::configure(config.to_string().as_bytes(), &NoHost).is_ok()
}

#[test]
fn the_file_is_current() {
    schema::assert_is_current("jwt-auth", &path(), &generated());
}

#[test]
fn the_schema_is_one() {
    jsonschema::draft202012::meta::validate(&generated()).unwrap();
}

#[test]
fn every_config_of_the_cases_fits() {
    let validator = validator();
    for (name, group) in jwt_auth::groups() {
        let mistakes: Vec<_> = validator
            .iter_errors(&group.config)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(mistakes.is_empty(), "{name}: {mistakes:#?}");
    }
}

/// Paths to every object of a config whose fields are ours: all but key sets.
fn objects(config: &Value, path: &str, found: &mut Vec<String>) {
    match config {
        Value::Object(fields) => {
            found.push(path.into());
            for (name, value) in fields.iter().filter(|(name, _)| *name != "inline") {
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
    let validator = validator();
    let config = readme();
    let mut paths = Vec::new();
    objects(&config, "", &mut paths);
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        let mut config = config.clone();
        config.pointer_mut(&path).unwrap()["colour"] = json!("red");
        assert!(!validator.is_valid(&config), "the schema takes {path}/colour");
        assert!(!is_accepted(&config), "the filter takes {path}/colour");
    }
}

#[test]
fn a_wrong_value_is_refused() {
    let validator = validator();
    let table = [
        ("/providers", json!([])),
        ("/providers", json!({})),
        ("/providers/0/name", json!("a b")),
        ("/providers/0/name", json!("")),
        ("/providers/0/issuer", json!("")),
        ("/providers/0/issuer", json!(["https://idp.example.com/"])),
        ("/providers/0/audiences", json!([])),
        ("/providers/0/audiences", json!("orders-api")),
        ("/providers/0/algorithms", json!(["none"])),
        ("/providers/0/algorithms", json!([])),
        ("/providers/0/jwks", json!({})),
        ("/providers/0/jwks/inline", json!({})),
        ("/providers/0/jwks/inline", json!([])),
        ("/providers/0/clock_skew", json!(30)),
        ("/providers/0/clock_skew", json!("30")),
        ("/providers/0/clock_skew", json!("30 s")),
        ("/providers/0/clock_skew", json!({"secs": 30, "nanos": 0})),
        ("/providers/0/claims_to_headers/0/claim", json!("a..b")),
        ("/providers/0/claims_to_headers/0/header", json!("a b")),
        ("/rules", json!([])),
        ("/rules/0/match/path/prefix", json!("public")),
        ("/rules/0/allow", json!("everybody")),
        ("/rules/1/require", json!("corp")),
    ];
    for (path, value) in table {
        let mut config = readme();
        *config.pointer_mut(path).unwrap() = value.clone();
        assert!(!validator.is_valid(&config), "the schema takes {value} at {path}");
        assert!(!is_accepted(&config), "the filter takes {value} at {path}");
    }
}

#[test]
fn alternatives_exclude_each_other() {
    let validator = validator();
    let provider = json!("corp");
    let token = json!([{"provider": "corp"}]);
    let list = json!(["a"]);
    let claims = |condition: Value| json!({"provider": "corp", "claims": [condition]});
    // Each is one alternative, then none, then two.
    let table = [
        (
            "/providers/0/from",
            json!([{"cookie": "t"}]),
            vec![json!([{}]), json!([{"cookie": "t", "query": "t"}])],
        ),
        (
            "/providers/0/claims_to_headers/0",
            json!({"claim_path": list, "header": "x-a"}),
            vec![
                json!({"header": "x-a"}),
                json!({"claim": "a", "claim_path": list, "header": "x-a"}),
            ],
        ),
        (
            "/rules/1",
            json!({"match": {}, "allow": "anonymous"}),
            vec![
                json!({"match": {}}),
                json!({"match": {}, "allow": "anonymous", "require": {"provider": "corp"}}),
            ],
        ),
        (
            "/rules/1/require",
            json!({"any": token}),
            vec![
                json!({}),
                json!({"provider": provider, "all": token}),
                json!({"all": token, "any": token}),
            ],
        ),
        (
            "/rules/1/require",
            claims(json!({"claim": "a", "equals": 1})),
            vec![
                claims(json!({"claim": "a"})),
                claims(json!({"equals": 1})),
                claims(json!({"claim": "a", "claim_path": list, "equals": 1})),
                claims(json!({"claim": "a", "equals": 1, "in": [1]})),
            ],
        ),
    ];
    for (path, good, bad) in table {
        let with = |value: &Value| {
            let mut config = readme();
            let (parent, field) = path.rsplit_once('/').unwrap();
            match config.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[field.parse::<usize>().unwrap()] = value.clone(),
                object => object[field] = value.clone(),
            }
            config
        };
        assert!(validator.is_valid(&with(&good)), "the schema refuses {good} at {path}");
        assert!(is_accepted(&with(&good)), "the filter refuses {good} at {path}");
        for bad in bad {
            assert!(!validator.is_valid(&with(&bad)), "the schema takes {bad} at {path}");
            assert!(!is_accepted(&with(&bad)), "the filter takes {bad} at {path}");
        }
    }
}
