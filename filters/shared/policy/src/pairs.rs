//! The `name=value` pairs that requests carry: cookies and query parameters.

use std::borrow::Cow;

use percent_encoding::percent_decode;

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

/// The values of all query parameters of that name, both decoded as servers do.
pub fn form<'a>(target: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = Cow<'a, [u8]>> {
    let target = target.split(|byte| *byte == b'#').next().unwrap_or_default();
    query(target).filter_map(move |pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let is_it = form_decode(parts.next().unwrap_or_default()) == name;
        is_it.then(|| form_decode(parts.next().unwrap_or_default()))
    })
}

/// Decodes as HTML forms are: `+` is a space, and a `%` without two hex digits stands
/// for itself (WHATWG URL section 5.1).
pub(crate) fn form_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') {
        return percent_decode(text).into();
    }
    let spaced: Vec<u8> =
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect::<Vec<u8>>().into()
}

/// The value of a pair of that name, byte for byte; `None` if it has another name, or
/// no `=`.
pub fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}
