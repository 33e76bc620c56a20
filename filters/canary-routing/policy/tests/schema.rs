//! `config.schema.json` is what the config types say, and agrees with the filter.
//!
//! After a change of the configuration, `UPDATE=1` writes the file anew:
//!
//! ```text
//! UPDATE=1 cargo test -p canary-routing-policy --all-features --test schema
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

use canary_routing_policy::{CanaryRouting, Config};
use cases::canary_routing;
use documents::readme::configs;
use documents::schema::{self, Alternatives};
use jsonschema::Validator;
use mesh_filters_policy::Policy;
use mesh_filters_policy::testing::FakeHost;
use serde_json::{Value, json};

const ALTERNATIVES: Alternatives<'_> = &[
    ("StickyKeyConfig", &["claim", "claim_path", "header", "cookie"]),
    ("CookieConfig", &["key", "key_env"]),
    ("OverrideConfig", &["key", "key_env"]),
    ("ClaimMatch", &["claim", "claim_path"]),
    ("ClaimMatch", &["equals", "contains", "in", "present"]),
];

fn generated() -> Value {
    schema::generated::<Config>("canary-routing", ALTERNATIVES)
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&generated()).expect("a schema")
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.schema.json")
}

/// The README's first configuration, which has every part.
fn readme() -> Value {
    configs(include_str!("../../README.md"), "experiments").remove(0)
}

fn is_accepted(config: &Value) -> bool {
    let host = FakeHost::default();
    for name in ["CANARY_COOKIE_KEY", "CANARY_OVERRIDE_KEY"] {
        host.environment.borrow_mut().insert(name.into(), "k".repeat(32));
    }
    CanaryRouting::configure(config.to_string().as_bytes(), &host).is_ok()
}

#[test]
fn the_file_is_current() {
    schema::assert_is_current("canary-routing", &path(), &generated());
}

#[test]
fn the_schema_is_one() {
    jsonschema::draft202012::meta::validate(&generated()).unwrap();
}

#[test]
fn every_config_of_the_cases_fits() {
    let validator = validator();
    let groups = canary_routing::groups().into_iter().map(|(_, group)| group.config);
    for config in groups.chain([readme()]) {
        let mistakes: Vec<_> = validator
            .iter_errors(&config)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(mistakes.is_empty(), "{mistakes:#?}");
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
    let (validator, config) = (validator(), readme());
    let mut paths = Vec::new();
    objects(&config, "", &mut paths);
    assert!(paths.len() > 30, "{paths:?}");
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
    assert!(validator.is_valid(&readme()) && is_accepted(&readme()));
    for (path, value) in [
        ("/route_header", json!("a b")),
        ("/experiments", json!({})),
        ("/experiments/0/name", json!("")),
        ("/experiments/0/match", json!({"all": []})),
        ("/experiments/0/match", json!({"path": {"exact": "/"}, "host": {"exact": "a"}})),
        ("/experiments/0/match", json!({"path": {}})),
        ("/experiments/0/assign/0/when", json!({"header": {"name": "a"}})),
        ("/experiments/0/assign/0/when", json!({"header": {"exact": "a"}})),
        ("/experiments/0/assign/0/when", json!({"claim": {"claim": "a"}})),
        ("/experiments/0/assign/0/when", json!({"method": {"exact": "get"}})),
        ("/experiments/0/assign/0/when", json!({"client_ip": {"in": ["all"]}})),
        ("/experiments/0/weights", json!([])),
        ("/experiments/0/weights/0/weight", json!(101)),
        ("/experiments/0/weights/0/weight", json!("1")),
        ("/experiments/0/sticky/by", json!([{}])),
        ("/experiments/0/sticky/by/0", json!({"claim": "a", "header": "b"})),
        ("/experiments/0/sticky/salt", json!("")),
        ("/experiments/0/sticky/cookie/name", json!("a;b")),
        ("/experiments/0/sticky/cookie/path", json!("a")),
        ("/experiments/0/sticky/cookie/same_site", json!("Lax")),
        ("/experiments/0/sticky/cookie/ttl", json!(30)),
        ("/experiments/0/ramp/steps", json!(0)),
        ("/experiments/0/ramp/start", json!(0)),
        ("/experiments/0/guard/max_latency_ratio", json!(0.9)),
        ("/experiments/0/guard/min_requests", json!(0)),
        ("/experiments/0/override", json!({"header": "a"})),
        (
            "/experiments/0/override",
            json!({"header": "a", "key": "k", "key_env": "CANARY_COOKIE_KEY"}),
        ),
        ("/experiments/0/enabled", json!("yes")),
    ] {
        let mut config = readme();
        *config.pointer_mut(path).unwrap() = value.clone();
        assert!(!validator.is_valid(&config), "the schema takes {value} at {path}");
        assert!(!is_accepted(&config), "the filter takes {value} at {path}");
    }
}
