//! Header lists that keep order, repetition and bytes that are not UTF-8.

use anyhow::{Context, Result};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Names and values as they were on the wire.
pub type Headers = Vec<(String, Vec<u8>)>;

/// The first value of `name`, bytes that are not UTF-8 replaced.
pub fn first(headers: &Headers, name: &str) -> Option<String> {
    all(headers, name).into_iter().next()
}

/// Every value of `name` in order, bytes that are not UTF-8 replaced.
pub fn all(headers: &Headers, name: &str) -> Vec<String> {
    headers
        .iter()
        .filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect()
}

pub(crate) fn from_map(map: &HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

pub(crate) fn to_map(headers: &Headers) -> Result<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).with_context(|| format!("header {name:?}"))?,
            HeaderValue::from_bytes(value).with_context(|| format!("value of {name:?}"))?,
        );
    }
    Ok(map)
}
