//! The JSON Schema of a configuration.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// An object, by its name in the schema, that must have exactly one of some fields,
/// which a filter checks once all of them are decoded and the config types therefore do
/// not say.
pub type Alternatives<'a> = &'a [(&'a str, &'a [&'a str])];

/// The schema of a filter's configuration.
pub fn generated<C: JsonSchema>(filter: &str, alternatives: Alternatives<'_>) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<C>();
    schema.insert("title".into(), filter.into());
    let mut schema = schema.to_value();
    // schemars has its own idea of a Duration, and it is not one that can be
    // written in a configuration.
    let duration = schema["$defs"].get_mut("Duration").expect("a field that is a duration");
    *duration = json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"});
    for (object, fields) in alternatives {
        let object = schema["$defs"].get_mut(object).expect("an object of the configuration");
        let alternatives: Vec<_> = fields.iter().map(|it| json!({"required": [it]})).collect();
        if object["allOf"].is_null() {
            object["allOf"] = json!([]);
        }
        object["allOf"].as_array_mut().unwrap().push(json!({"oneOf": alternatives}));
    }
    schema
}

/// Fails if the file is not what the config types say. With `UPDATE` in the
/// environment, writes it anew.
pub fn assert_is_current(filter: &str, file: &Path, generated: &Value) {
    let current = format!("{generated:#}\n");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, &current).unwrap();
    }
    let content = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        content == current,
        "filters/{filter}/config.schema.json is not what the config types say; run\n    \
         UPDATE=1 cargo test -p {filter}-policy --all-features --test schema"
    );
}
