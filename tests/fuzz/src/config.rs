//! The bytes as a configuration of each filter: as they are, and, if they are JSON, as the
//! serialized `google.protobuf.Struct` that says the same.

use canary_routing_policy::CanaryRouting;
use cases::{canary_routing, jwt_auth};
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{Headers, Policy};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Value, json};

use crate::Seed;
use crate::canary;
use crate::gate::{ISSUER, env, judge, key};

/// How deep a value is nested for both forms to be read. Each has a bound of its
/// own, and a `Struct` takes more levels than JSON.
const DEEP: usize = 25;

/// Nothing panics, each mistake is told, and both forms are read alike.
pub fn run(data: &[u8]) {
    both_forms::<JwtAuth>(data);
    both_forms::<CanaryRouting>(data);
}

fn both_forms<P: Policy>(data: &[u8]) {
    let accepted = configure::<P>(data);
    if let Ok(Value::Object(fields)) = serde_json::from_slice(data)
        && depth(&Value::Object(fields.clone())) <= DEEP
    {
        // Not the other way round: a Struct cannot tell 1.0, which is refused where
        // JSON has it for a whole number, from 1.
        let as_struct = configure::<P>(&message(fields).encode_to_vec());
        assert!(as_struct || !accepted, "accepted as JSON and not as a Struct");
    }
}

fn configure<P: Policy>(config: &[u8]) -> bool {
    let host = canary::host();
    match P::configure(config, &host) {
        Ok(configured) => {
            let policy = configured.policy;
            let counters = policy.counters();
            let mut unique = counters.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(counters.len(), unique.len(), "two counters of one name");
            assert!(configured.warnings.iter().all(|warning| !warning.is_empty()));
            let _ = policy.on_tick(&env(&host));
            let request: Headers =
                [(":method", "GET"), (":path", "/a?b=c"), (":authority", "shop.example.com")]
                    .into_iter()
                    .collect();
            let (verdict, _) = judge(&policy, request, &host);
            let counter = verdict.reason().expect("it may not wait").counter.0;
            assert!(counter < counters.len(), "a reason without a counter");
            true
        }
        Err(errors) => {
            assert!(errors.iter().next().is_some(), "refused, and no mistake is told");
            for error in errors.iter() {
                let about_all = error.problem.contains("the configuration")
                    || error.problem.starts_with("must be");
                assert!(!error.problem.is_empty(), "{:?}: what is wrong?", error.path);
                assert!(!error.path.is_empty() || about_all, "where? {}", error.problem);
            }
            false
        }
    }
}

fn depth(value: &Value) -> usize {
    let inside = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => None,
    };
    1 + inside.unwrap_or_default()
}

fn message(fields: serde_json::Map<String, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, wrapped(value))).collect() }
}

fn wrapped(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().expect("a double")),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(wrapped).collect() })
        }
        Value::Object(fields) => Kind::StructValue(message(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// The configurations of the cases, with a short key set, and every field that
/// these do not have.
pub fn seeds() -> Vec<Seed> {
    let mut configs: Vec<(String, Value)> =
        jwt_auth::groups().into_iter().map(|(name, group)| (name.into(), group.config)).collect();
    for (_, config) in &mut configs {
        for provider in config["providers"].as_array_mut().unwrap() {
            provider["jwks"] = json!({"inline": {"keys": [key("ed25519")]}});
        }
    }
    configs.extend(
        canary_routing::groups()
            .into_iter()
            .map(|(name, group)| (format!("canary-{name}"), group.config)),
    );
    configs.push(("canary".into(), canary::config()));
    configs.extend(fetching().map(|(name, config)| (name.to_owned(), config)));
    let mut seeds = Vec::new();
    for (name, config) in configs {
        let Value::Object(fields) = config.clone() else { continue };
        seeds.push((format!("{name}.json"), config.to_string().into_bytes()));
        seeds.push((format!("{name}.struct"), message(fields).encode_to_vec()));
    }
    seeds.push(("empty".into(), Vec::new()));
    seeds.push(("twice.json".into(), b"{\"rules\":[],\"rules\":[]}".to_vec()));
    seeds.push(("a-list.json".into(), b"[]".to_vec()));
    seeds
}

fn fetching() -> impl Iterator<Item = (&'static str, Value)> {
    let config = |jwks: Value, rest: Value| {
        let mut config = json!({
            "providers": [{"name": "corp", "issuer": ISSUER, "jwks": jwks}],
            "rules": [{"match": {}, "require": {"provider": "corp"}}],
        });
        config.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        config
    };
    let remote = json!({"remote": {
        "cluster": "idp", "uri": "https://idp.example.com/keys", "timeout": "2s",
        "refresh": "10m", "max_stale": "24h", "max_bytes": "256KiB",
    }});
    let discovery = json!({"discovery": {
        "cluster": "idp", "uri": "https://idp.example.com/a", "jwks_cluster": "keys",
    }});
    let deny =
        json!({"deny": {"cluster": "idp", "uri": "https://idp.example.com/b", "jti": ["a"]}});
    let cache = json!({
        "cache": {"entries": 10, "max_token_bytes": "1KiB"}, "failure_mode": "open",
        "filter_state": false, "bypass_cors_preflight": true,
    });
    let mistakes = json!({"cache": {"entries": -1}, "failure_mode": "ajar", "denied": {}});
    [
        ("remote", config(remote, deny)),
        ("discovery", config(discovery.clone(), cache)),
        ("mistakes", config(discovery, mistakes)),
    ]
    .into_iter()
}
