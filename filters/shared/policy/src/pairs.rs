//! The `name=value` pairs that requests carry: cookies and query parameters.

use crate::headers::Headers;

/// `name=value` pairs of every cookie header, without the spaces around them
/// (RFC 6265 section 4.2.1).
pub fn cookies(request: &Headers) -> impl Iterator<Item = &[u8]> {
    request
        .values("cookie")
        .flat_map(|value| value.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// `name=value` pairs of a request target's query, as they stand there.
pub fn query(target: &[u8]) -> impl Iterator<Item = &[u8]> {
    let query = target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty())
}

/// The value of a pair of that name, byte for byte; `None` if it has another name, or
/// no `=`.
pub fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}
