//! Conditions on cookies and query parameters.

use mesh_filters_config::{Decode, Node, NonEmpty};

use super::value::ValueMatch;
use super::view::RequestView;
use crate::pairs::{self, form_decode};

/// Cookies and parameters beyond the first of these are not looked at. Browsers send
/// fewer than 200 cookies to a site.
pub const MAX_PAIRS: usize = 512;

/// A condition on a cookie. Its value is taken as it stands.
#[derive(Debug, Clone)]
pub struct CookieMatch(Named);

impl CookieMatch {
    /// Whether a cookie of the request fits.
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        let Self(Named { name, value }) = self;
        let cookies = pairs::cookies(request.headers).take(MAX_PAIRS);
        value.matches_any(cookies.filter_map(|pair| pairs::value_of(pair, name)))
    }
}

impl Decode for CookieMatch {
    fn decode(node: &Node<'_>) -> Option<Self> {
        Named::decode(node).map(Self)
    }
}

/// A condition on a query parameter. Names and values are compared decoded.
#[derive(Debug, Clone)]
pub struct QueryMatch(Named);

impl QueryMatch {
    /// Whether a parameter of the request fits.
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        let Self(Named { name, value }) = self;
        let target = request.headers.first(":path").unwrap_or_default();
        let target = target.split(|byte| *byte == b'#').next().unwrap_or_default();
        let values: Vec<_> = pairs::query(target)
            .take(MAX_PAIRS)
            .filter_map(|pair| {
                let mut parts = pair.splitn(2, |byte| *byte == b'=');
                let is_ours = form_decode(parts.next().unwrap_or_default()) == name.as_slice();
                is_ours.then(|| form_decode(parts.next().unwrap_or_default()))
            })
            .collect();
        value.matches_any(values.iter().map(AsRef::as_ref))
    }
}

impl Decode for QueryMatch {
    fn decode(node: &Node<'_>) -> Option<Self> {
        Named::decode(node).map(Self)
    }
}

/// A name, and a condition on its values.
#[derive(Debug, Clone)]
struct Named {
    name: Vec<u8>,
    value: ValueMatch,
}

impl Decode for Named {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let name = object.required::<NonEmpty<String>>("name");
        let value = ValueMatch::take(&mut object, node);
        object.finish();
        Some(Self { name: name?.as_bytes().to_vec(), value: value? })
    }
}
