//! Which requests a condition is about.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use mesh_filters_config::parse;
use mesh_filters_policy::matcher::RequestMatch;
use mesh_filters_policy::{Headers, RequestPath};

fn matches(condition: &str, request: &[(&str, &[u8])]) -> bool {
    let matcher: RequestMatch = parse(condition.as_bytes()).unwrap();
    let headers: Headers = request.iter().copied().collect();
    let path = headers.first(":path").unwrap_or(b"/").to_vec();
    matcher.matches(&headers, &RequestPath::parse(&path).unwrap())
}

#[test]
fn a_header_is_matched_by_each_operator() {
    let table: [(&str, &[&[u8]], bool); 21] = [
        (r#""exact": "a""#, &[b"a"], true),
        (r#""exact": "a""#, &[b"A"], false),
        (r#""exact": """#, &[b""], true),
        (r#""exact": """#, &[], false),
        (r#""prefix": "ab""#, &[b"abc"], true),
        (r#""prefix": "ab""#, &[b"cab"], false),
        (r#""suffix": "ab""#, &[b"cab"], true),
        (r#""suffix": "ab""#, &[b"abc"], false),
        (r#""contains": "b""#, &[b"abc"], true),
        (r#""contains": "abcd""#, &[b"abc"], false),
        (r#""regex": "^a+$""#, &[b"aaa"], true),
        (r#""regex": "^a+$""#, &[b"aab"], false),
        (r#""regex": "a""#, &[b"xax"], true),
        (r#""regex": ".*""#, &[b"\xff"], false),
        (r#""in": ["a", "b"]"#, &[b"b"], true),
        (r#""in": ["a", "b"]"#, &[b"a,b"], false),
        (r#""present": true"#, &[b""], true),
        (r#""present": true"#, &[], false),
        (r#""present": false"#, &[], true),
        (r#""present": false"#, &[b"a"], false),
        // One value that fits is enough.
        (r#""exact": "a""#, &[b"b", b"a"], true),
    ];
    for (operator, values, expected) in table {
        let condition = format!(r#"{{"headers": [{{"name": "X-A", {operator}}}]}}"#);
        let request: Vec<_> = values.iter().map(|value| ("x-a", *value)).collect();
        assert_eq!(matches(&condition, &request), expected, "{operator} on {values:?}");
    }
}

#[test]
fn the_host_is_compared_without_case_port_and_trailing_dot() {
    let table: [(&str, &[u8], bool); 14] = [
        (r#""exact": "shop.example.com""#, b"shop.example.com", true),
        (r#""exact": "shop.example.com""#, b"SHOP.example.com:443", true),
        (r#""exact": "Shop.Example.com""#, b"shop.example.com", true),
        (r#""exact": "shop.example.com""#, b"shop.example.com.", true),
        (r#""exact": "shop.example.com""#, b"shop.example.com.:80", true),
        (r#""exact": "shop.example.com""#, b"user@shop.example.com", true),
        (r#""exact": "shop.example.com""#, b"shop.example.com@evil.example", false),
        (r#""exact": "shop.example.com""#, b"shop.example.com.evil.example", false),
        (r#""suffix": ".example.com""#, b"shop.example.com:8443", true),
        (r#""suffix": ".example.com""#, b"example.com", false),
        (r#""exact": "[::1]""#, b"[::1]:80", true),
        (r#""exact": "[::1]""#, b"[::1]", true),
        (r#""in": ["A.example", "b.example"]"#, b"a.example", true),
        (r#""exact": "a""#, b"\xff", false),
    ];
    for (operator, authority, expected) in table {
        let condition = format!(r#"{{"host": {{{operator}}}}}"#);
        let found = matches(&condition, &[(":authority", authority)]);
        assert_eq!(found, expected, "{operator} on {:?}", String::from_utf8_lossy(authority));
    }
    assert!(!matches(r#"{"host": {"suffix": "a"}}"#, &[]), "no host");
}

#[test]
fn methods_are_matched_to_the_letter() {
    let condition = r#"{"methods": ["POST", "DELETE"]}"#;
    assert!(matches(condition, &[(":method", b"DELETE")]));
    assert!(!matches(condition, &[(":method", b"GET")]));
    assert!(!matches(condition, &[(":method", b"post")]));
    assert!(!matches(condition, &[]));
}

#[test]
fn paths_are_matched_decoded() {
    let table = [
        (r#""exact": "/a b""#, "/a%20b?c", true),
        (r#""exact": "/a""#, "/a/", false),
        (r#""regex": "^/teams/[^/]+$""#, "/teams/%61", true),
        (r#""regex": "^/teams/[^/]+$""#, "/teams/a/b", false),
        (r#""regex": "^/a$""#, "/a?/b", true),
        (r#""regex": "^/.*$""#, "/%ff", false),
    ];
    for (operator, path, expected) in table {
        let condition = format!(r#"{{"path": {{{operator}}}}}"#);
        let found = matches(&condition, &[(":path", path.as_bytes())]);
        assert_eq!(found, expected, "{operator} on {path}");
    }
}

#[test]
fn every_part_must_match() {
    let condition = r#"{
        "path": {"prefix": "/a"}, "methods": ["GET"], "host": {"exact": "h"},
        "headers": [{"name": "x-a", "exact": "1"}, {"name": "x-b", "present": false}]
    }"#;
    let fits: [(&str, &[u8]); 4] =
        [(":path", b"/a"), (":method", b"GET"), (":authority", b"h"), ("x-a", b"1")];
    assert!(matches(condition, &fits));
    for left_out in 1..fits.len() {
        let mut request = fits.to_vec();
        request.remove(left_out);
        assert!(!matches(condition, &request), "without {}", fits[left_out].0);
    }
    let mut request = fits.to_vec();
    request.push(("x-b", b""));
    assert!(!matches(condition, &request), "with x-b");
}
