//! JSON Schema of the conditions that are decoded by hand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{
    ClientIpMatch, Condition, CookieMatch, HeaderMatch, HostMatch, Method, MethodMatch, Network,
    PathMatch, QueryMatch, ValueMatch,
};
use crate::claims::ClaimCondition;

/// An object with `fixed` members and exactly one of `operators`.
fn one_of(fixed: &[(&str, Value)], operators: &[(&str, Value)]) -> Schema {
    let properties: Map<String, Value> =
        fixed.iter().chain(operators).map(|(name, it)| ((*name).into(), it.clone())).collect();
    let alternatives: Vec<Value> =
        operators.iter().map(|(name, _)| json!({"required": [name]})).collect();
    let required: Vec<&str> = fixed.iter().map(|(name, _)| *name).collect();
    json_schema!({
        "type": "object",
        "properties": properties,
        "required": required,
        "oneOf": alternatives,
        "additionalProperties": false,
    })
}

fn text() -> Value {
    json!({"type": "string", "minLength": 1})
}

fn operators() -> [(&'static str, Value); 7] {
    [
        ("exact", json!({"type": "string", "description": "The value is this."})),
        ("prefix", text()),
        ("suffix", text()),
        ("contains", text()),
        ("regex", json!({"type": "string", "format": "regex"})),
        ("in", json!({"type": "array", "items": {"type": "string"}, "minItems": 1})),
        ("present", json!({"type": "boolean"})),
    ]
}

macro_rules! schema {
    ($type:ty, $name:literal, $schema:expr) => {
        schema!($type, $name, _generator => $schema);
    };
    ($type:ty, $name:literal, $generator:ident => $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema!(Method, "Method", json_schema!({"type": "string", "pattern": "^[A-Z-]+$"}));
schema!(ValueMatch, "ValueMatch", one_of(&[], &operators()));
schema!(HostMatch, "HostMatch", one_of(&[], &operators()));
schema!(HeaderMatch, "HeaderMatch", one_of(&[("name", text())], &operators()));
schema!(PathMatch, "PathMatch", {
    let path = json!({"type": "string", "pattern": "^/"});
    one_of(
        &[],
        &[
            ("exact", path.clone()),
            ("prefix", path),
            ("regex", json!({"type": "string", "format": "regex"})),
        ],
    )
});
schema!(CookieMatch, "CookieMatch", one_of(&[("name", text())], &operators()));
schema!(QueryMatch, "QueryMatch", one_of(&[("name", text())], &operators()));
schema!(
    Network,
    "Network",
    json_schema!({"type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"})
);
schema!(MethodMatch, "MethodMatch", generator => {
    let method = generator.subschema_for::<Method>().to_value();
    let list = json!({"type": "array", "items": method, "minItems": 1});
    one_of(&[], &[("exact", method), ("in", list)])
});
schema!(Condition, "Condition", generator => {
    let condition = generator.subschema_for::<Condition>().to_value();
    let list = json!({"type": "array", "items": condition, "minItems": 1});
    let kinds = [
        ("all", list.clone()),
        ("any", list),
        ("not", condition),
        ("header", generator.subschema_for::<HeaderMatch>().to_value()),
        ("cookie", generator.subschema_for::<CookieMatch>().to_value()),
        ("query", generator.subschema_for::<QueryMatch>().to_value()),
        ("path", generator.subschema_for::<PathMatch>().to_value()),
        ("method", generator.subschema_for::<MethodMatch>().to_value()),
        ("host", generator.subschema_for::<HostMatch>().to_value()),
        ("user_agent", generator.subschema_for::<ValueMatch>().to_value()),
        ("client_ip", generator.subschema_for::<ClientIpMatch>().to_value()),
        ("claim", generator.subschema_for::<ClaimCondition>().to_value()),
    ];
    json_schema!({
        "type": "object",
        "description": "A condition on a request: {}, which every request meets, or exactly one of these.",
        "properties": kinds.into_iter().map(|(name, it)| (name.into(), it)).collect::<Map<_, _>>(),
        "maxProperties": 1,
        "additionalProperties": false,
    })
});
