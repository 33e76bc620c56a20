//! Requests and what becomes of them, as data.
//!
//! One table serves three runs: the policy on this machine, the policy as
//! WebAssembly under Node, and the built module in a real Envoy. A group is a
//! configuration with its cases; `${name}` in a header or path stands for the token of
//! that name in `tokens.json`, and `"${jwks}"` in a configuration for `jwks.json`.
//! Each character of a header stands for one byte, so that bytes that are no
//! UTF-8 can be written down.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

// Large, and of no use to what runs under Node.
#[cfg(not(target_family = "wasm"))]
pub mod wycheproof;

/// A configuration and the cases that it decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What the cases have in common.
    pub about: String,
    /// The filter's configuration.
    pub config: Value,
    /// Whether Envoy must leave the path as the client wrote it.
    #[serde(default)]
    pub raw_paths: bool,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One request and what becomes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What a user would say of it.
    pub name: String,
    /// The time in seconds since the epoch. A case with one cannot run in an
    /// Envoy, whose clock is the real one.
    pub now: Option<u64>,
    /// What the client sends.
    pub request: Request,
    /// What becomes of it.
    pub expect: Expect,
}

/// What a client sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The authority.
    #[serde(default = "shop")]
    pub host: String,
    /// The target, with its query.
    #[serde(default = "orders")]
    pub path: String,
    headers: Vec<(String, String)>,
}

fn get() -> String {
    "GET".into()
}

fn shop() -> String {
    "shop.example.com".into()
}

fn orders() -> String {
    "/orders".into()
}

impl Request {
    /// The request with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The headers, values as bytes.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.headers.iter().map(|(name, value)| (name.clone(), bytes(value))).collect()
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The status that the client sees; 200 comes from the upstream.
    pub status: u16,
    /// The label of the metric that goes up.
    pub reason: String,
    /// The `www-authenticate` header of the answer, if there is to be one.
    pub challenge: Option<String>,
    /// Headers that reach the upstream, `:path` among them; `None` for one that
    /// must not. Without
    /// it, nothing may reach the upstream.
    upstream: Option<BTreeMap<String, Option<String>>>,
}

impl Expect {
    /// The headers that must reach the upstream, or must not, if the request
    /// must reach it.
    pub fn upstream(&self) -> Option<BTreeMap<&str, Option<Vec<u8>>>> {
        let headers = self.upstream.as_ref()?;
        Some(
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref().map(bytes)))
                .collect(),
        )
    }
}

/// Each character is one byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).expect("a character of one byte")).collect()
}

/// Replaces each `${name}` by what it stands for.
fn fill_in(text: &str, text_of: &dyn Fn(&str) -> String) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.into();
    };
    let (name, after) = rest.split_once('}').expect("a closing brace");
    format!("{before}{}{}", text_of(name), fill_in(after, text_of))
}

pub mod canary_routing;

/// The cases of jwt-auth.
pub mod jwt_auth {
    use super::{BTreeMap, Group, Value, fill_in};

    const GROUPS: [(&str, &str); 6] = [
        ("readme", include_str!("../jwt-auth/readme.json")),
        ("algorithms", include_str!("../jwt-auth/algorithms.json")),
        ("certificate", include_str!("../jwt-auth/certificate.json")),
        ("paths", include_str!("../jwt-auth/paths.json")),
        ("rules", include_str!("../jwt-auth/rules.json")),
        ("sources", include_str!("../jwt-auth/sources.json")),
    ];

    /// The tokens by name, as `tests/cases/jwt-auth/tokens.json` describes them.
    pub fn tokens() -> BTreeMap<String, Value> {
        serde_json::from_str(include_str!("../jwt-auth/tokens.json")).unwrap()
    }

    /// The keys that the tokens are signed with, the shared secret included.
    pub fn jwks() -> Value {
        serde_json::from_str(include_str!("../jwt-auth/jwks.json")).unwrap()
    }

    /// Every group by its file's name, placeholders filled in.
    pub fn groups() -> Vec<(&'static str, Group)> {
        let (tokens, jwks) = (tokens(), jwks());
        GROUPS
            .iter()
            .map(|(name, text)| {
                let mut group: Group = serde_json::from_str(text).unwrap();
                fill(&mut group.config, &jwks);
                for case in &mut group.cases {
                    case.request.path = with_tokens(&case.request.path, &tokens);
                    for (_, value) in &mut case.request.headers {
                        *value = with_tokens(value, &tokens);
                    }
                    for value in case.expect.upstream.iter_mut().flat_map(BTreeMap::values_mut) {
                        *value = value.as_deref().map(|text| with_tokens(text, &tokens));
                    }
                }
                (*name, group)
            })
            .collect()
    }

    fn fill(config: &mut Value, jwks: &Value) {
        match config {
            Value::String(text) if text == "${jwks}" => *config = jwks.clone(),
            Value::Array(items) => items.iter_mut().for_each(|item| fill(item, jwks)),
            Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, jwks)),
            _ => {}
        }
    }

    fn with_tokens(text: &str, tokens: &BTreeMap<String, Value>) -> String {
        fill_in(text, &|name| {
            let token = tokens.get(name).unwrap_or_else(|| panic!("no token {name}"));
            token.get("token").and_then(Value::as_str).expect("a signed token").into()
        })
    }
}

/// Tokens and keys of the RFCs, and those by which verifiers have been fooled.
pub mod vectors {
    use super::{BTreeMap, Deserialize, Value};

    const TABLES: [&str; 2] = [
        include_str!("../jwt-auth/vectors/rfc.json"),
        include_str!("../jwt-auth/vectors/attacks.json"),
    ];

    /// Keys by name, and what is to become of tokens and of key sets.
    #[derive(Debug, Clone, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Table {
        /// What its entries have in common.
        pub about: String,
        /// The keys that tokens name.
        pub keys: BTreeMap<String, Value>,
        /// Tokens, and what is to become of them.
        pub tokens: Vec<Token>,
        /// Key sets, and which of their keys are of use.
        pub key_sets: Vec<KeySet>,
    }

    /// A token, and what a verifier with these keys must say of it.
    #[derive(Debug, Clone, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Token {
        /// Where it, or the rule that it breaks, comes from.
        pub source: String,
        /// What is peculiar about it.
        pub about: String,
        /// The names of the keys that the verifier has.
        pub keys: Vec<String>,
        /// The token.
        pub token: String,
        /// `ok`, or the reason for which it is refused.
        pub expect: String,
    }

    /// Keys, and why those are refused that are.
    #[derive(Debug, Clone, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct KeySet {
        /// Where it, or the rule that it breaks, comes from.
        pub source: String,
        /// What is peculiar about it.
        #[serde(default)]
        pub about: String,
        /// The keys.
        pub keys: Vec<Value>,
        /// For each key, a part of the reason for which it is left out, if it is.
        pub unusable: Vec<Option<String>>,
    }

    /// Every table.
    pub fn tables() -> Vec<Table> {
        TABLES.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    impl Table {
        /// The key set of the token's verifier.
        pub fn key_set_of(&self, token: &Token) -> Value {
            let keys: Vec<&Value> = token.keys.iter().map(|name| &self.keys[name]).collect();
            serde_json::json!({ "keys": keys })
        }
    }
}
