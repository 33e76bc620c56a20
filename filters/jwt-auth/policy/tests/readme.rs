//! What the READMEs say is so: their configurations are accepted, and their
//! tables name every field and every reason, and none that is not there.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cases::jwt_auth;
use jwt_auth_policy::{Config, JwtAuth};
use mesh_filters_policy::{NoHost, Policy};
use schemars::schema_for;
use serde_json::Value;

const PROJECT: &str = include_str!("../../../../README.md");
const FILTER: &str = include_str!("../../README.md");

/// The content of every fenced block of this language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        if info == language {
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

/// Every configuration in a document, whatever it stands in: a block of its own,
/// an Envoy bootstrap, a manifest, a text within one of these.
fn configs(document: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for block in [blocks(document, "yaml"), blocks(document, "json")].concat() {
        let value = serde_norway::from_str(&block).unwrap_or_else(|error| {
            panic!("{error}:\n{block}");
        });
        find_configs(&value, &mut found);
    }
    found
}

fn find_configs(value: &Value, found: &mut Vec<Value>) {
    match value {
        // What has a type is Envoy's own.
        Value::Object(fields)
            if fields.contains_key("providers") && !fields.contains_key("@type") =>
        {
            found.push(value.clone());
        }
        Value::Object(fields) => fields.values().for_each(|it| find_configs(it, found)),
        Value::Array(items) => items.iter().for_each(|it| find_configs(it, found)),
        Value::String(text) if text.starts_with('{') => {
            find_configs(&serde_json::from_str(text).unwrap(), found);
        }
        _ => {}
    }
}

/// Rows of a table by their first cell.
type Rows = BTreeMap<String, Vec<String>>;

/// The rows of the table that follows a line.
fn rows_below<'a>(line: &str, lines: &mut impl Iterator<Item = &'a str>) -> Rows {
    let table = lines.skip_while(|line| line.is_empty()).take_while(|line| line.starts_with('|'));
    let mut rows = Rows::new();
    for row in table.skip(2) {
        let cells = row.trim_start_matches("| ").trim_end_matches(" |").split(" | ");
        let mut cells: Vec<_> = cells.map(|cell| cell.trim().to_owned()).collect();
        let name = cells.remove(0).trim_matches('`').to_owned();
        assert!(rows.insert(name, cells).is_none(), "below {line:?}, twice: {row}");
    }
    assert!(!rows.is_empty(), "a table should follow {line:?}");
    rows
}

/// Every table of fields, by the paths to the objects that have them. A line
/// above the table names these: "Fields of `rules[]` and `rules[].require`:".
fn tables() -> BTreeMap<String, Rows> {
    let mut tables: BTreeMap<String, Rows> = BTreeMap::new();
    let mut lines = FILTER.lines();
    while let Some(line) = lines.next() {
        let Some(objects) = line.strip_prefix("Fields of ") else { continue };
        let objects = objects.split(". ").next().unwrap_or_default();
        let paths: Vec<_> = objects.split('`').skip(1).step_by(2).collect();
        let rows = rows_below(line, &mut lines);
        // What no path names is the configuration itself.
        for path in if paths.is_empty() { vec![""] } else { paths } {
            tables.entry(path.into()).or_default().extend(rows.clone());
        }
    }
    tables
}

/// The table of reasons.
fn reasons() -> Rows {
    let mut lines = FILTER.lines();
    let line = lines.find(|line| *line == "## Reasons").expect("a chapter");
    let mut lines = lines.skip_while(|line| !line.starts_with('|'));
    rows_below(line, &mut lines)
}

/// What a table should say of a field.
#[derive(Debug, PartialEq)]
enum Presence {
    Required,
    Optional,
    Default(Value),
}

/// The fields of every object of the configuration, by the path to it.
fn objects() -> BTreeMap<String, BTreeMap<String, Presence>> {
    let schema = schema_for!(Config).to_value();
    let mut objects = BTreeMap::new();
    add_objects(&schema, &schema, "", &mut objects);
    objects
}

fn add_objects(
    root: &Value,
    schema: &Value,
    path: &str,
    objects: &mut BTreeMap<String, BTreeMap<String, Presence>>,
) {
    if let Some(name) = schema["$ref"].as_str() {
        // A duration is a text, whatever schemars makes of it; and what is in a
        // key set is not ours to describe.
        if !name.ends_with("/Duration") && !name.ends_with("/JsonWebKeySet") {
            let target = root.pointer(name.trim_start_matches('#')).unwrap();
            add_objects(root, target, path, objects);
        }
    }
    if schema["items"].is_object() {
        add_objects(root, &schema["items"], &format!("{path}[]"), objects);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let required = schema["required"].as_array().into_iter().flatten().any(|it| it == name);
        let presence = match &field["default"] {
            _ if required => Presence::Required,
            Value::Null => Presence::Optional,
            default => Presence::Default(default.clone()),
        };
        objects.entry(path.into()).or_default().insert(name.clone(), presence);
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        add_objects(root, field, &path, objects);
    }
}

/// The default that a cell names: JSON, or a text without its quotes.
fn default(cell: &str) -> Presence {
    let text = cell.trim_matches('`');
    match text {
        "required" => Presence::Required,
        "" | "–" => Presence::Optional,
        _ => Presence::Default(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
    }
}

#[test]
fn every_config_is_accepted() {
    for (name, document) in [("README.md", PROJECT), ("filters/jwt-auth/README.md", FILTER)] {
        let configs = configs(document);
        assert!(!configs.is_empty(), "{name} shows no configuration");
        for config in configs {
            match JwtAuth::configure(config.to_string().as_bytes(), &NoHost) {
                Ok(configured) => assert!(configured.warnings.is_empty(), "{name}: {config:#}"),
                Err(errors) => panic!("{name}: {errors}\n{config:#}"),
            }
        }
    }
}

/// The table of cases runs the README's configuration in a real Envoy.
#[test]
fn the_first_config_is_the_one_of_the_cases() {
    let groups = jwt_auth::groups();
    let (_, tested) = groups.iter().find(|(name, _)| *name == "readme").unwrap();
    let configs = configs(PROJECT);
    assert!(configs.len() >= 2, "as YAML and as JSON");
    for mut config in configs {
        let keys = "/providers/0/jwks/inline";
        let shown = config.pointer_mut(keys).unwrap();
        let tested_keys = tested.config.pointer(keys).unwrap();
        for key in shown["keys"].as_array().unwrap() {
            assert!(tested_keys["keys"].as_array().unwrap().contains(key), "{key}");
        }
        *shown = tested_keys.clone();
        assert_eq!(config, tested.config);
    }
}

/// The text of a heading, as the address of its chapter.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "filters/jwt-auth/README.md"] {
        let document = std::fs::read_to_string(root.join(name)).unwrap();
        for link in document.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, chapter) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root.join(name),
                path => root.join(name).parent().unwrap().join(path),
            };
            assert!(target.exists(), "{name}: {link}");
            let chapters = |text: &str| {
                let headings = text.lines().filter(|line| line.starts_with('#'));
                headings.map(|line| anchor(line.trim_start_matches(['#', ' ']))).collect::<Vec<_>>()
            };
            let found = chapter.is_empty()
                || chapters(&std::fs::read_to_string(target).unwrap()).contains(&chapter.into());
            assert!(found, "{name}: {link}");
        }
    }
}

#[test]
fn every_field_has_its_row_and_every_row_its_field() {
    let (objects, tables) = (objects(), tables());
    for (path, fields) in &objects {
        let rows = tables.get(path).unwrap_or_else(|| panic!("no table of the fields of {path:?}"));
        let (in_rows, in_schema) = (rows.keys().collect(), fields.keys().collect());
        let (in_rows, in_schema): (BTreeSet<_>, BTreeSet<_>) = (in_rows, in_schema);
        assert_eq!(in_rows, in_schema, "rows and fields of {path:?}");
        for (field, presence) in fields {
            assert_eq!(default(&rows[field][1]), *presence, "the default of {path}.{field}");
        }
    }
    let strays: Vec<_> = tables.keys().filter(|path| !objects.contains_key(*path)).collect();
    assert!(strays.is_empty(), "tables of the fields of what is not there: {strays:?}");
}

#[test]
fn every_reason_has_its_row_and_every_row_its_reason() {
    let config = configs(PROJECT).remove(0).to_string();
    let counters = JwtAuth::configure(config.as_bytes(), &NoHost).unwrap().policy.counters();
    let counted: BTreeSet<_> =
        counters.iter().filter_map(|counter| counter.rsplit('.').next()).collect();
    let rows = reasons();
    let told: BTreeSet<_> = rows.keys().map(String::as_str).collect();
    assert_eq!(told, counted, "reasons in the rows and in the counters");
}

#[test]
fn a_case_is_answered_as_the_row_of_its_reason_says() {
    let rows = reasons();
    for (name, group) in jwt_auth::groups() {
        for case in &group.cases {
            let row = &rows[&case.expect.reason];
            let status = match case.expect.status {
                200 => "passes".into(),
                status => status.to_string(),
            };
            assert_eq!(row[0], status, "the status of {name}: {}", case.name);
            let challenge = match case.expect.challenge.as_deref().map(|it| it.split_once("error="))
            {
                None => "–".into(),
                Some(None) => "without error".into(),
                Some(Some((_, error))) => format!("`{}`", error.trim_matches('"')),
            };
            assert_eq!(row[1], challenge, "the challenge of {name}: {}", case.name);
        }
    }
}
