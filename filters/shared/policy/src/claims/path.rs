//! Which claim is meant.

use mesh_filters_config::{Decode, Errors, Node, NonEmpty};
use serde_json::{Map, Value};

/// Names of nested claims, outermost first. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// The value that the path leads to.
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.get(name))
    }

    /// The path that is written in one of two ways; notes it in `errors` if it is
    /// written in both or in none.
    pub fn compile(
        selector: Option<&ClaimSelector>,
        path: Option<&NonEmpty<Vec<NonEmpty<String>>>>,
        at: &str,
        errors: &Errors,
    ) -> Option<Self> {
        match (selector, path) {
            (Some(selector), None) => Some(Self(selector.0.clone())),
            (None, Some(path)) => Some(Self(path.iter().map(|name| name.to_string()).collect())),
            _ => {
                errors.add_about_fields(at, "must have either \"claim\" or \"claim_path\"");
                None
            }
        }
    }
}

/// Names of nested claims, as one text with dots between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimSelector(Vec<String>);

impl Decode for ClaimSelector {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let names: Vec<String> = node.string()?.split('.').map(Into::into).collect();
        if names.iter().any(String::is_empty) {
            return node.refuse("must be a claim such as \"sub\" or \"realm_access.roles\"");
        }
        Some(Self(names))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ClaimSelector {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimSelector".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": r"^[^.]+(\.[^.]+)*$"})
    }
}
