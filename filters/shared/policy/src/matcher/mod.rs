//! Which requests a rule is about.
//!
//! There are two ways to say so, which share their parts. [`RequestMatch`] is a flat
//! list of parts that must all match. [`Condition`] is a tree of `all`, `any` and
//! `not` over the same parts and more.
//!
//! # Parts
//!
//! | part | is matched against | a missing one | several |
//! |---|---|---|---|
//! | `path` | the path, decoded, without its query ([`RequestPath`]) | one that can be read in more than one way fits nothing | – |
//! | `methods`, `method` | the method, to the letter | fits nothing | – |
//! | `host` | the authority in lower case, without port and trailing dot | fits `present: false` only | – |
//! | `headers`, `header` | the value as it stands | fits `present: false` only | one that fits is enough |
//! | `cookie` | the value as it stands | fits `present: false` only | one that fits is enough |
//! | `query` | the value, decoded as a form's | fits `present: false` only | one that fits is enough |
//! | `user_agent` | the `user-agent` header | fits `present: false` only | one that fits is enough |
//! | `client_ip` | Envoy's `source.address`, or an entry of `x-forwarded-for` | is in no network | the one that `trusted_hops` counts to |
//! | `claim` | the claims that an earlier filter verified ([`crate::claims`]) | fits `present: false` only | a token that fits is enough |
//!
//! # Operators
//!
//! | operator | fits a value that is there | fits a missing one |
//! |---|---|---|
//! | `exact` | that is this | no, not even `""` |
//! | `prefix`, `suffix`, `contains` | that begins with it, ends with it, has it inside | no |
//! | `regex` | in which it is found; never one that is no UTF-8 | no, not even `.*` |
//! | `in` | that is one of these | no |
//! | `present: true` | every one, also an empty one | no |
//! | `present: false` | none | yes |
//!
//! `not` turns the whole answer round, so `not: {header: {name: x, exact: a}}` also
//! fits a request without `x`, and one with an `a` among other values does not fit.
//!
//! A pair of a query without `=` has an empty value. In names and values `+` is a
//! space, `%20` one too, and a `%` without two hex digits stands for itself (WHATWG URL
//! section 5.1). Of cookies and of parameters the first [`MAX_PAIRS`] are looked at.
//!
//! All parts of a [`RequestMatch`] that are written must match; `{}` matches every
//! request, of either kind.

mod client_ip;
mod condition;
mod named;
mod path;
#[cfg(feature = "schema")]
mod schema;
mod value;
mod view;

use std::borrow::Cow;

use mesh_filters_config::{Decode, HeaderField, Node, NonEmpty, object};

use crate::headers::Headers;
use crate::path::RequestPath;

pub use client_ip::{ClientIpMatch, Network};
pub use condition::Condition;
pub use named::{CookieMatch, MAX_PAIRS, QueryMatch};
pub use path::{LiteralPath, PathMatch};
pub use value::ValueMatch;
pub use view::RequestView;

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
            && self.matches_apart_from_path(request)
    }

    /// The same for a request whose path can be read in more than one way: whether there
    /// is a path that it would match with.
    pub fn matches_apart_from_path(&self, request: &Headers) -> bool {
        self.methods.as_ref().is_none_or(|it| {
            let method = request.first(":method");
            it.iter().any(|listed| method == Some(listed.0.as_bytes()))
        }) && self.host.as_ref().is_none_or(|it| it.matches(request))
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

/// A condition on the method: it is one of these.
#[derive(Debug, Clone)]
pub struct MethodMatch(Vec<Method>);

impl MethodMatch {
    fn matches(&self, request: &Headers) -> bool {
        let method = request.first(":method");
        self.0.iter().any(|listed| method == Some(listed.0.as_bytes()))
    }
}

impl Decode for MethodMatch {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let exact = object.optional("exact");
        let list = object.optional("in").map(|list: NonEmpty<Vec<Method>>| list.to_vec());
        object.finish();
        match (exact, list) {
            (Some(method), None) => Some(Self(vec![method])),
            (None, Some(list)) => Some(Self(list)),
            _ => node.refuse_fields("must have exactly one of exact, in"),
        }
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
    /// The header's name, in lower case.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

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
