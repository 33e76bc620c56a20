//! Which requests a rule is about.
//!
//! | part | is matched against | a missing one |
//! |---|---|---|
//! | `path` | the path, decoded, without its query ([`RequestPath`]) | matches nothing |
//! | `methods` | the method, in any of its listed spellings | matches nothing |
//! | `host` | the authority in lower case, without port and trailing dot | matches nothing |
//! | `headers` | each value of the header; one that fits is enough | matches `present: false` only |
//!
//! All parts that are written must match; `{}` matches every request.

mod path;
#[cfg(feature = "schema")]
mod schema;
mod value;

use std::borrow::Cow;

use mesh_filters_config::{Decode, HeaderField, Node, NonEmpty, object};

use crate::headers::Headers;
use crate::path::RequestPath;

pub use path::{LiteralPath, PathMatch};
pub use value::ValueMatch;

object! {
    /// Which requests a rule is about. All parts must match; `{}` matches every
    /// request.
    pub struct RequestMatch {
        /// By the path, decoded, without its query.
        optional path: PathMatch,
        /// By the method: one of these.
        optional methods: NonEmpty<Vec<Method>>,
        /// By the host, in lower case and without its port.
        optional host: HostMatch,
        /// By headers; all of these must match.
        default headers: Vec<HeaderMatch> = [],
    }
}

impl RequestMatch {
    /// Whether this request is one that the rule is about. `path` is its path,
    /// which the caller has read already.
    pub fn matches(&self, request: &Headers, path: &RequestPath<'_>) -> bool {
        self.path.as_ref().is_none_or(|it| it.matches(path))
            && self.methods.as_ref().is_none_or(|it| {
                let method = request.first(":method");
                it.iter().any(|listed| method == Some(listed.0.as_bytes()))
            })
            && self.host.as_ref().is_none_or(|it| it.matches(request))
            && self.headers.iter().all(|it| it.matches(request))
    }
}

/// A request method. Methods are case-sensitive (RFC 9110 section 9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method(String);

impl Decode for Method {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let text = node.string()?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            return node.refuse("must be a method such as \"GET\", in upper case");
        }
        Some(Self(text.into()))
    }
}

/// A condition on the host.
#[derive(Debug, Clone)]
pub struct HostMatch(ValueMatch);

impl HostMatch {
    fn matches(&self, request: &Headers) -> bool {
        let host = request.first(":authority").map(host_of);
        self.0.matches_any(host.as_deref().into_iter())
    }
}

impl Decode for HostMatch {
    fn decode(node: &Node<'_>) -> Option<Self> {
        ValueMatch::decode(node).map(|it| Self(it.in_lower_case()))
    }
}

/// The host of an authority (RFC 3986 section 3.2): lower case, without user,
/// port and the trailing dot of a fully qualified name.
fn host_of(authority: &[u8]) -> Cow<'_, [u8]> {
    let after_user = authority.rsplit(|byte| *byte == b'@').next().unwrap_or(authority);
    // An IPv6 address stands in brackets and has colons of its own.
    let end_of_address = after_user.iter().position(|byte| *byte == b']').unwrap_or(0);
    let port = after_user.iter().skip(end_of_address).position(|byte| *byte == b':');
    let host = match port {
        Some(colon) => after_user.get(..end_of_address + colon).unwrap_or(after_user),
        None => after_user,
    };
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// A condition on a header.
#[derive(Debug, Clone)]
pub struct HeaderMatch {
    name: HeaderField,
    value: ValueMatch,
}

impl HeaderMatch {
    fn matches(&self, request: &Headers) -> bool {
        self.value.matches_any(request.values(self.name.as_str()))
    }
}

impl Decode for HeaderMatch {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let name = object.required("name");
        let value = ValueMatch::take(&mut object, node);
        object.finish();
        Some(Self { name: name?, value: value? })
    }
}
