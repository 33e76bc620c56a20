//! What a README shows and says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

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

/// Every configuration in a document, whatever it stands in: a block of its own, an
/// Envoy bootstrap, a manifest, a text within one of these. One is known by a field
/// that it must have.
pub fn configs(document: &str, field: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for block in [blocks(document, "yaml"), blocks(document, "json")].concat() {
        let value = serde_norway::from_str(&block).unwrap_or_else(|error| {
            panic!("{error}:\n{block}");
        });
        find_configs(&value, field, &mut found);
    }
    found
}

fn find_configs(value: &Value, field: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.contains_key(field) => found.push(value.clone()),
        Value::Object(fields) => fields.values().for_each(|it| find_configs(it, field, found)),
        Value::Array(items) => items.iter().for_each(|it| find_configs(it, field, found)),
        Value::String(text) if text.starts_with('{') => {
            find_configs(&serde_json::from_str(text).unwrap(), field, found);
        }
        _ => {}
    }
}

/// Rows of a table by their first cell.
pub type Rows = BTreeMap<String, Vec<String>>;

/// The rows of the table that follows a line.
pub fn rows_below<'a>(line: &str, lines: &mut impl Iterator<Item = &'a str>) -> Rows {
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

/// The first table of a chapter.
pub fn rows_of_chapter(document: &str, heading: &str) -> Rows {
    let mut lines = document.lines();
    let line = lines.find(|line| *line == heading).expect("a chapter");
    let mut lines = lines.skip_while(|line| !line.starts_with('|'));
    rows_below(line, &mut lines)
}

/// Every table of fields, by the paths to the objects that have them. A line
/// above the table names these: "Fields of `rules[]` and `rules[].require`:".
fn tables(document: &str) -> BTreeMap<String, Rows> {
    let mut tables: BTreeMap<String, Rows> = BTreeMap::new();
    let mut lines = document.lines();
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

/// What a table should say of a field.
#[derive(Debug, PartialEq)]
enum Presence {
    Required,
    Optional,
    Default(Value),
}

/// The fields of each object, by the path to it.
type Objects = BTreeMap<String, BTreeMap<String, Presence>>;

/// Types that are described elsewhere than where they are used, by their name in the
/// schema: under a path of their own, or not at all.
pub type Elsewhere<'a> = &'a [(&'a str, Option<&'a str>)];

struct Walk<'a> {
    root: Value,
    elsewhere: Elsewhere<'a>,
    objects: Objects,
}

impl Walk<'_> {
    fn add(&mut self, schema: &Value, path: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            // A duration is a text, whatever schemars makes of it.
            if name != "Duration" && !self.elsewhere.iter().any(|(it, _)| *it == name) {
                let target = self.root["$defs"][name].clone();
                self.add(&target, path);
            }
        }
        if schema["items"].is_object() {
            self.add(&schema["items"], &format!("{path}[]"));
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let required = schema["required"].as_array().into_iter().flatten().any(|it| it == name);
            let presence = match &field["default"] {
                _ if required => Presence::Required,
                Value::Null => Presence::Optional,
                default => Presence::Default(default.clone()),
            };
            self.objects.entry(path.into()).or_default().insert(name.clone(), presence);
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.add(field, &path);
        }
    }
}

/// The fields of every object of the configuration.
fn objects<C: JsonSchema>(elsewhere: Elsewhere<'_>) -> Objects {
    let root = schema_for!(C).to_value();
    let mut walk = Walk { root: root.clone(), elsewhere, objects: Objects::new() };
    walk.add(&root, "");
    for (name, path) in elsewhere {
        if let Some(path) = path {
            walk.add(&root["$defs"][*name], path);
        }
    }
    walk.objects
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

/// Fails unless the tables of fields name every field of the configuration with its
/// default, and none that is not there.
pub fn assert_tables_name_every_field<C: JsonSchema>(document: &str, elsewhere: Elsewhere<'_>) {
    let (objects, tables) = (objects::<C>(elsewhere), tables(document));
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

/// The text of a heading, as the address of its chapter.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Fails unless every link of a document leads to a file, and a chapter, that is there.
/// `name` is its path below `root`.
pub fn assert_links_lead_somewhere(root: &Path, name: &str) {
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
