//! Conditions on the path, which is matched decoded and in its one reading.

use mesh_filters_config::{Decode, Node};
use regex_lite::Regex;

use super::value::CompiledRegex;
use crate::path::RequestPath;

/// A condition on the path.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// The path is this.
    Exact(LiteralPath),
    /// It begins with these whole segments: `/public` matches `/public` and
    /// `/public/a`, not `/publicity`, as in Gateway API's `PathPrefix`.
    Prefix(LiteralPath),
    /// The expression is found in it. A path that is no UTF-8 never matches.
    Regex(Regex),
}

impl PathMatch {
    pub(super) fn matches(&self, path: &RequestPath<'_>) -> bool {
        match self {
            Self::Exact(exact) => path.as_bytes() == exact.0,
            Self::Prefix(prefix) => {
                let prefix = prefix.0.strip_suffix(b"/").unwrap_or(&prefix.0);
                path.as_bytes()
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
            Self::Regex(regex) => {
                std::str::from_utf8(path.as_bytes()).is_ok_and(|path| regex.is_match(path))
            }
        }
    }
}

impl Decode for PathMatch {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let found = [
            object.optional("exact").map(Self::Exact),
            object.optional("prefix").map(Self::Prefix),
            object.optional("regex").map(|CompiledRegex(regex)| Self::Regex(regex)),
        ];
        object.finish();
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(operator), None) => Some(operator),
            _ => node.refuse_fields("must have exactly one of exact, prefix, regex"),
        }
    }
}

/// A path as a rule writes it: decoded, beginning with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiteralPath(Vec<u8>);

impl Decode for LiteralPath {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let text = node.string()?;
        // A path that no request can have would be a rule that never applies.
        match RequestPath::parse(text.as_bytes()) {
            Ok(path) if text.starts_with('/') && path.as_bytes() == text.as_bytes() => {
                Some(Self(text.into()))
            }
            _ => node.refuse(
                "must be a path such as \"/public\": decoded, with a leading \"/\" and without \
                 \"?\", \"#\", \"%\", \";\", \"//\" or dot segments",
            ),
        }
    }
}
