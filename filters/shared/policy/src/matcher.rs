//! Which requests a rule is about. What was written ([`RequestMatchConfig`]) and
//! what is matched ([`RequestMatch`]) are different types: the second holds only
//! what was checked.

use mesh_filters_config::{Decode, Node, object};

use crate::path::RequestPath;

object! {
    /// Which requests a rule is about. All parts must match; `{}` matches every
    /// request.
    pub struct RequestMatchConfig {
        /// By the path, decoded, without its query.
        optional path: PathMatchConfig,
    }
}

object! {
    /// A condition on the path.
    pub struct PathMatchConfig {
        /// Whole segments from the start: `/public` matches `/public` and
        /// `/public/a`, not `/publicity`, as in Gateway API's `PathPrefix`.
        required prefix: PathPrefix,
    }
}

/// A prefix of whole path segments, without its trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefix(Vec<u8>);

impl Decode for PathPrefix {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let text = node.string()?;
        // A prefix that no request path can equal would be a rule that never
        // applies.
        match RequestPath::parse(text.as_bytes()) {
            Ok(path) if text.starts_with('/') && path.as_bytes() == text.as_bytes() => {
                Some(Self(text.strip_suffix('/').unwrap_or(text).into()))
            }
            _ => node.refuse(
                "must be a path such as \"/public\": decoded, with a leading \"/\" and without \
                 \"?\", \"#\", \"%\", \";\", \"//\" or dot segments",
            ),
        }
    }
}

impl PathPrefix {
    fn matches(&self, path: &RequestPath<'_>) -> bool {
        match path.as_bytes().strip_prefix(self.0.as_slice()) {
            Some(rest) => rest.is_empty() || rest.starts_with(b"/"),
            None => false,
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for PathPrefix {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathPrefix".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^/"})
    }
}

/// A compiled condition on a request.
#[derive(Debug, Clone, Default)]
pub struct RequestMatch {
    path: Option<PathPrefix>,
}

impl From<&RequestMatchConfig> for RequestMatch {
    fn from(config: &RequestMatchConfig) -> Self {
        Self { path: config.path.as_ref().map(|path| path.prefix.clone()) }
    }
}

impl RequestMatch {
    /// Whether a request with this path is one that the rule is about.
    pub fn matches(&self, path: &RequestPath<'_>) -> bool {
        self.path.as_ref().is_none_or(|prefix| prefix.matches(path))
    }
}
