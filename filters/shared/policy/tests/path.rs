//! Paths that rules may see, and paths that are refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use mesh_filters_config::parse;
use mesh_filters_policy::matcher::RequestMatch;
use mesh_filters_policy::{AmbiguousPath, Headers, RequestPath};

fn read(target: &str) -> Result<String, AmbiguousPath> {
    RequestPath::parse(target.as_bytes())
        .map(|path| String::from_utf8(path.as_bytes().to_vec()).unwrap())
}

#[test]
fn a_path_is_decoded_once_and_loses_its_query() {
    let table = [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/a?b=/../c", "/a"),
        ("/a#b", "/a"),
        ("/%61dmin", "/admin"),
        ("/a%20b", "/a b"),
        ("/100%25", "/100%"),
        ("/%252e%252e", "/%2e%2e"),
        ("/..a", "/..a"),
        ("/a.b", "/a.b"),
        ("/...", "/..."),
        ("/caf%c3%a9", "/caf\u{e9}"),
        ("*", "*"),
    ];
    for (target, expected) in table {
        assert_eq!(read(target).as_deref(), Ok(expected), "{target}");
    }
}

#[test]
fn a_path_that_servers_read_differently_is_refused() {
    let table = [
        "",
        "a",
        "http://host/a",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
        "/./a",
        "/a/.",
        "/a/..",
        "/a/%2e",
        "//a",
        "/a//b",
        "/a?b=\u{1}",
        "/a#\r\n?b",
        "/a//",
        "/a%2fb",
        "/a%2Fb",
        "/a\\b",
        "/a%5cb",
        "/public/..;/admin",
        "/admin;x=1",
        "/admin%3b",
        "/a%00",
        "/a%0d%0ab",
        "/a\u{1}",
        "/a%",
        "/a%4",
        "/a%zz",
        "/a%+1",
    ];
    for target in table {
        assert_eq!(read(target), Err(AmbiguousPath), "{target}");
    }
}

fn matcher(config: &str) -> RequestMatch {
    parse(config.as_bytes()).unwrap()
}

#[test]
fn a_prefix_matches_whole_segments() {
    let table = [
        ("/public", "/public", true),
        ("/public", "/public/", true),
        ("/public", "/public/a", true),
        ("/public", "/publicity", false),
        ("/public", "/Public", false),
        ("/public", "/a/public", false),
        ("/public", "*", false),
        ("/public/", "/public", true),
        ("/public/", "/public/a", true),
        ("/public/", "/publicity", false),
        ("/", "/", true),
        ("/", "/a", true),
        ("/a b", "/a%20b/c", true),
    ];
    for (prefix, target, expected) in table {
        let matcher = matcher(&format!(r#"{{"path": {{"prefix": "{prefix}"}}}}"#));
        let path = RequestPath::parse(target.as_bytes()).unwrap();
        assert_eq!(matcher.matches(&Headers::default(), &path), expected, "{prefix} on {target}");
    }
}

#[test]
fn an_empty_match_matches_every_request() {
    for target in ["/", "/a", "*"] {
        assert!(
            matcher("{}")
                .matches(&Headers::default(), &RequestPath::parse(target.as_bytes()).unwrap())
        );
    }
}

#[test]
fn a_prefix_that_could_never_match_is_refused() {
    for prefix in ["", "public", "*", "/a?b", "/a%20b", "/a;b", "/../a", "//a", "/a#b"] {
        let config = format!(r#"{{"path": {{"prefix": "{prefix}"}}}}"#);
        let errors = parse::<RequestMatch>(config.as_bytes()).unwrap_err();
        let error = errors.iter().next().unwrap().to_string();
        assert!(error.starts_with("path.prefix: must be a path such as"), "{prefix}: {error}");
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use mesh_filters_policy::RequestPath;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_has_no_dot_or_empty_segment(target in "/[a./%2eEfF5cC;]{0,24}") {
            if let Ok(path) = RequestPath::parse(target.as_bytes()) {
                let text = String::from_utf8_lossy(path.as_bytes()).into_owned();
                prop_assert!(!text.contains("//"));
                prop_assert!(!text.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(target in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = RequestPath::parse(&target);
        }
    }
}
