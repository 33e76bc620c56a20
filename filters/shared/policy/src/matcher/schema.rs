//! JSON Schema of the conditions that are decoded by hand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{HeaderMatch, HostMatch, Method, PathMatch, ValueMatch};

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
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
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
