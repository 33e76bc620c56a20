//! What an operator is told about a configuration.
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

use std::time::Duration;

use mesh_filters_config::{HeaderName, Identifier, MAX_CONFIG_BYTES, NonEmpty, object, parse};
use prost::Message;
use prost_types::{ListValue, Struct, Value, value::Kind};

object! {
    /// A part.
    pub struct Part {
        /// Its name.
        required name: Identifier,
        /// The header it sets.
        optional header: HeaderName,
    }
}

object! {
    /// The whole.
    pub struct Whole {
        /// How long it waits.
        default timeout: Duration = "2s",
        /// Its parts.
        required parts: NonEmpty<Vec<Part>>,
    }
}

fn errors(config: &str) -> Vec<String> {
    match parse::<Whole>(config.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_good_configuration_gives_its_values_and_defaults() {
    let whole: Whole =
        parse(br#"{"parts": [{"name": "a", "header": "X-A"}, {"name": "b"}]}"#).unwrap();
    assert_eq!(whole.timeout, Duration::from_secs(2));
    assert_eq!(whole.parts[0].header.as_ref().map(HeaderName::as_str), Some("x-a"));
    assert_eq!(whole.parts[1].header, None);
}

#[test]
fn every_mistake_is_told_with_its_path() {
    let config = r#"{
        "timeout": "2 seconds",
        "tiemout": "2s",
        "parts": [
            {"name": "a b"},
            {"header": 5},
            {"name": "c", "header": "content-length", "colour": "red"}
        ]
    }"#;
    assert_eq!(
        errors(config),
        [
            r#"timeout: must be a duration such as "500ms", "30s", "10m", "24h" or "30d""#,
            r#"parts[0].name: must be 1 to 64 letters, digits, "_" or "-""#,
            "parts[1].name: is missing",
            "parts[1].header: must be a string, not a number",
            r#"parts[2].header: must not be "content-length": a filter may not write it"#,
            "parts[2].colour: unknown field; known here: name, header",
            "tiemout: unknown field; known here: timeout, parts",
        ]
    );
}

#[test]
fn what_is_no_configuration_is_refused_in_one_sentence() {
    let table = [
        ("", "parts: is missing"),
        (" \n\t ", "parts: is missing"),
        ("[]", "must be an object, not a list"),
        ("null", "must be an object, not null"),
        ("{}", "parts: is missing"),
        (r#"{"parts": []}"#, "parts: must not be empty"),
    ];
    for (config, expected) in table {
        assert_eq!(errors(config), [expected], "{config:?}");
    }
    for config in ["{", "providers: []", "{\"parts\": [],\"parts\": []}", "\u{1}\u{2}"] {
        let found = errors(config);
        assert_eq!(found.len(), 1, "{config:?}");
        assert!(found[0].starts_with("the configuration is neither JSON text nor"), "{found:?}");
    }
    assert!(errors(r#"{"parts": [], "parts": []}"#)[0].contains("\"parts\" stands there twice"));
}

#[test]
fn a_configuration_over_the_cap_is_not_read() {
    let config = format!("{{\"timeout\": \"{}\"}}", " ".repeat(MAX_CONFIG_BYTES));
    assert!(errors(&config)[0].contains("at most 1048576 are read"));
}

#[test]
fn nesting_without_end_is_an_error_and_no_crash() {
    let deep = 100_000;
    let config = format!("{{\"parts\": {}{}}}", "[".repeat(deep), "]".repeat(deep));
    assert_eq!(errors(&config).len(), 1);
}

#[test]
fn durations_have_one_number_and_one_unit() {
    let good = [
        ("0s", 0),
        ("500ms", 500),
        ("30s", 30_000),
        ("10m", 600_000),
        ("24h", 86_400_000),
        ("30d", 2_592_000_000),
    ];
    for (text, millis) in good {
        let config = format!(r#"{{"timeout": "{text}", "parts": [{{"name": "a"}}]}}"#);
        let whole: Whole = parse(config.as_bytes()).unwrap();
        assert_eq!(whole.timeout, Duration::from_millis(millis), "{text}");
    }
    for text in ["", "5", "s", "-5s", "1.5s", "5 s", "5S", "1h30m", "99999999999999999999d"] {
        let config = format!(r#"{{"timeout": "{text}", "parts": [{{"name": "a"}}]}}"#);
        assert!(errors(&config)[0].starts_with("timeout: must be a duration"), "{text}");
    }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn message(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.into(), value)).collect() }
}

fn parts(parts: Vec<Struct>) -> Value {
    let values =
        parts.into_iter().map(|part| Value { kind: Some(Kind::StructValue(part)) }).collect();
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

#[test]
fn a_protobuf_struct_reads_like_json_text() {
    let config =
        message([("timeout", text("5s")), ("parts", parts(vec![message([("name", text("a"))])]))]);
    let whole: Whole = parse(&config.encode_to_vec()).unwrap();
    assert_eq!(whole.timeout, Duration::from_secs(5));
    assert_eq!(whole.parts[0].name.as_str(), "a");
}

#[test]
fn a_protobuf_struct_gets_the_same_errors() {
    let number = Value { kind: Some(Kind::NumberValue(5.0)) };
    let config = message([("timeout", number), ("parts", parts(vec![message([])]))]);
    let errors = parse::<Whole>(&config.encode_to_vec()).unwrap_err();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(errors[0].ends_with("not a number"), "{errors:?}");
    assert_eq!(errors[1], "parts[0].name: is missing");
}

#[test]
fn json_text_may_start_with_the_byte_that_starts_a_struct() {
    assert!(parse::<Whole>(b"\n{\"parts\": [{\"name\": \"a\"}]}").is_ok());
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use super::Whole;
    use mesh_filters_config::parse;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _: Result<Whole, _> = parse(&bytes);
        }

        #[test]
        fn no_struct_like_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let mut message = vec![0x0a];
            message.extend(bytes);
            let _: Result<Whole, _> = parse(&message);
        }
    }
}

mesh_filters_config::object! {
    /// Numbers with decimals.
    pub struct Decimals {
        /// A share.
        required share: mesh_filters_config::Percentage,
        /// A factor.
        required factor: mesh_filters_config::Ratio,
    }
}

/// Envoy makes a text of a decimal in a YAML file.
#[test]
fn a_decimal_may_be_a_text() {
    for (share, factor, expected) in [
        ("0.5", "1.25", Some((500, 1_250))),
        ("\"0.5\"", "\"1.25\"", Some((500, 1_250))),
        ("\"99.995\"", "\"2.0\"", Some((99_995, 2_000))),
        ("\"0.0005\"", "2", None),
        ("\"100.001\"", "2", None),
        ("\"5\"", "2", None),
        ("\"-0.5\"", "2", None),
        ("\".5\"", "2", None),
        ("\"1e1\"", "2", None),
        ("\"0.5 \"", "2", None),
        ("5", "\"0.5\"", None),
    ] {
        let text = format!("{{\"share\": {share}, \"factor\": {factor}}}");
        let decoded = mesh_filters_config::parse::<Decimals>(text.as_bytes()).ok();
        let decoded = decoded.map(|it| (it.share.thousandths(), it.factor.thousandths()));
        assert_eq!(decoded, expected, "{text}");
    }
}
