//! Conditions on one value: exactly one operator, compiled when configured.

use mesh_filters_config::{Decode, Node, NonEmpty, Object};
use regex_lite::{Regex, RegexBuilder};

/// The most that a compiled regular expression may take. Matching takes time
/// linear in the value whatever the expression (crate `regex-lite`).
const MAX_REGEX_BYTES: usize = 64 << 10;

/// The names of the operators, as configured.
pub(super) const OPERATORS: &str = "exact, prefix, suffix, contains, regex, in, present";

/// A condition on one value.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// The value is this.
    Exact(Vec<u8>),
    /// It begins with this.
    Prefix(Vec<u8>),
    /// It ends with this.
    Suffix(Vec<u8>),
    /// It holds this.
    Contains(Vec<u8>),
    /// The expression is found in it. A value that is no UTF-8 never matches.
    Regex(Regex),
    /// It is one of these.
    In(Vec<Vec<u8>>),
    /// Whether there is a value at all.
    Present(bool),
}

impl ValueMatch {
    /// Takes the operator out of an object that may have other fields too.
    pub(super) fn take(object: &mut Object<'_>, node: &Node<'_>) -> Option<Self> {
        let text = |text: NonEmpty<String>| text.as_bytes().to_vec();
        let found = [
            object.optional("exact").map(|exact: String| Self::Exact(exact.into_bytes())),
            object.optional("prefix").map(|it| Self::Prefix(text(it))),
            object.optional("suffix").map(|it| Self::Suffix(text(it))),
            object.optional("contains").map(|it| Self::Contains(text(it))),
            object.optional("regex").map(|CompiledRegex(regex)| Self::Regex(regex)),
            object.optional("in").map(|list: NonEmpty<Vec<String>>| {
                Self::In(list.iter().map(|it| it.as_bytes().to_vec()).collect())
            }),
            object.optional("present").map(Self::Present),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(operator), None) => Some(operator),
            _ => node.refuse_fields(format!("must have exactly one of {OPERATORS}")),
        }
    }

    /// Whether the condition holds for a header, cookie or the like that has these
    /// values: if any of them fits. One that is missing fits `present: false`
    /// only.
    pub fn matches_any<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
        match self {
            Self::Present(present) => values.next().is_some() == *present,
            _ => values.any(|value| self.matches(value)),
        }
    }

    /// Whether the condition holds for a value that is there.
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value == exact,
            Self::Prefix(prefix) => value.starts_with(prefix),
            Self::Suffix(suffix) => value.ends_with(suffix),
            Self::Contains(part) => value.windows(part.len()).any(|window| window == part),
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text)),
            Self::In(list) => list.iter().any(|item| item == value),
            Self::Present(present) => *present,
        }
    }

    /// The same condition on values in lower case.
    pub(super) fn in_lower_case(self) -> Self {
        match self {
            Self::Exact(text) => Self::Exact(text.to_ascii_lowercase()),
            Self::Prefix(text) => Self::Prefix(text.to_ascii_lowercase()),
            Self::Suffix(text) => Self::Suffix(text.to_ascii_lowercase()),
            Self::Contains(text) => Self::Contains(text.to_ascii_lowercase()),
            Self::In(list) => Self::In(list.iter().map(|text| text.to_ascii_lowercase()).collect()),
            other => other,
        }
    }
}

impl Decode for ValueMatch {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let operator = Self::take(&mut object, node);
        object.finish();
        operator
    }
}

/// A regular expression within its bounds.
pub(super) struct CompiledRegex(pub Regex);

impl Decode for CompiledRegex {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let text = node.string()?;
        match RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build() {
            Ok(regex) => Some(Self(regex)),
            Err(error) => {
                node.refuse(format!("is no regular expression that can be used: {error}"))
            }
        }
    }
}
