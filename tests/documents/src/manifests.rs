//! Kubernetes manifests.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// Every resource in the `.yaml` files of a folder.
pub fn resources(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files.iter().filter(|it| it.extension().is_some_and(|it| it == "yaml")) {
        let text = fs::read_to_string(file).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            let value = Value::deserialize(document);
            found.push(value.unwrap_or_else(|error| panic!("{}: {error}", file.display())));
        }
    }
    found
}
