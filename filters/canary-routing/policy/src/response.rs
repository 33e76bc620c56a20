//! What a response is told.

use std::collections::BTreeSet;

use mesh_filters_policy::Headers;

const VARY: &str = "vary";

/// Has caches keep the responses apart that depend on these request headers
/// (RFC 9110 section 12.5.5). What the upstream says stays; `*` says it all.
pub(crate) fn vary(response: &mut Headers, names: &BTreeSet<String>) {
    let present: Vec<&[u8]> = response
        .values(VARY)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .collect();
    if present.contains(&b"*".as_slice()) {
        return;
    }
    let is_missing = |name: &&String| {
        !present.iter().any(|present| present.eq_ignore_ascii_case(name.as_bytes()))
    };
    let missing: Vec<&[u8]> = names.iter().filter(is_missing).map(String::as_bytes).collect();
    if missing.is_empty() {
        return;
    }
    let merged = [present, missing].concat().join(b", ".as_slice());
    response.set(VARY, merged);
}
