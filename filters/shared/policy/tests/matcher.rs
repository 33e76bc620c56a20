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
use mesh_filters_policy::matcher::{Condition, MAX_PAIRS, RequestMatch, RequestView};
use mesh_filters_policy::testing::FakeHost;
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

fn meets(condition: &str, request: &[(&str, &[u8])], host: &FakeHost) -> bool {
    let condition: Condition = parse(condition.as_bytes()).unwrap();
    let headers: Headers = request.iter().copied().collect();
    condition.matches(&RequestView::new(&headers, host))
}

#[test]
fn a_missing_value_meets_only_that_it_is_missing() {
    let host = FakeHost::default();
    for (kind, name) in [
        ("header", "\"name\": \"a\","),
        ("cookie", "\"name\": \"a\","),
        ("query", "\"name\": \"a\","),
        ("user_agent", ""),
        ("host", ""),
    ] {
        for (operator, expected) in [
            (r#""exact": """#, false),
            (r#""prefix": "a""#, false),
            (r#""suffix": "a""#, false),
            (r#""contains": "a""#, false),
            (r#""regex": ".*""#, false),
            (r#""in": [""]"#, false),
            (r#""present": true"#, false),
            (r#""present": false"#, true),
        ] {
            let condition = format!(r#"{{"{kind}": {{{name} {operator}}}}}"#);
            assert_eq!(meets(&condition, &[], &host), expected, "{condition}");
            let not = format!(r#"{{"not": {condition}}}"#);
            assert_eq!(meets(&not, &[], &host), !expected, "{not}");
        }
    }
    for condition in [
        r#"{"path": {"regex": ".*"}}"#,
        r#"{"method": {"exact": "GET"}}"#,
        r#"{"client_ip": {"in": ["0.0.0.0/0", "::/0"]}}"#,
        r#"{"claim": {"claim": "sub", "equals": "a"}}"#,
    ] {
        assert!(!meets(condition, &[], &host), "{condition}");
    }
    assert!(meets("{}", &[], &host));
    assert!(meets(r#"{"claim": {"claim": "sub", "present": false}}"#, &[], &host));
}

#[test]
fn only_the_first_pairs_are_looked_at() {
    let host = FakeHost::default();
    for (condition, name, separator) in [
        (r#"{"cookie": {"name": "a", "present": true}}"#, "cookie", ";"),
        (r#"{"query": {"name": "a", "present": true}}"#, ":path", "&"),
    ] {
        for (others, expected) in [(MAX_PAIRS - 1, true), (MAX_PAIRS, false)] {
            let pairs = format!("/?{}a=1", format!("b=1{separator}").repeat(others));
            let value = if name == "cookie" { pairs.trim_start_matches("/?") } else { &pairs };
            let found = meets(condition, &[(name, value.as_bytes())], &host);
            assert_eq!(found, expected, "{name} behind {others}");
        }
    }
}

#[test]
fn a_client_is_who_envoy_says_or_trusted_proxies_say() {
    let host = FakeHost::default();
    host.properties.borrow_mut().insert("source.address".into(), b"192.0.2.1:80".to_vec());
    let entries = b"203.0.113.1, 203.0.113.2,203.0.113.3".as_slice();
    for (hops, expected) in [
        (0, "192.0.2.1"),
        (1, "203.0.113.3"),
        (2, "203.0.113.2"),
        (3, "203.0.113.1"),
        (4, "192.0.2.1"),
    ] {
        let condition =
            format!(r#"{{"client_ip": {{"in": ["{expected}"], "trusted_hops": {hops}}}}}"#);
        assert!(meets(&condition, &[("x-forwarded-for", entries)], &host), "{condition}");
    }
}
