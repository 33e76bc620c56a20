//! The leaves of a configuration: checked where they are read.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use serde_json::Value;

use crate::node::{Decode, Node};

impl Decode for String {
    fn decode(node: &Node<'_>) -> Option<Self> {
        node.string().map(Into::into)
    }
}

impl Decode for bool {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match node.value() {
            Value::Bool(value) => Some(*value),
            _ => node.expected("true or false"),
        }
    }
}

const DURATION: &str = r#"a duration such as "500ms", "30s", "10m", "24h" or "30d""#;

impl Decode for Duration {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let Value::String(text) = node.value() else {
            return node.expected(DURATION);
        };
        parse_duration(text).or_else(|| node.refuse(format!("must be {DURATION}")))
    }
}

/// One whole number and one unit, as Go, Envoy's and Istio's users write it.
fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(millis_per_unit).map(Duration::from_millis)
}

/// The name of a header that a filter reads, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderField(String);

impl HeaderField {
    /// The name in lower case, as HTTP/2 and Envoy have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Decode for HeaderField {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let name = node.string()?.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token_char) {
            return node.refuse("must be a header name such as \"x-user-id\"");
        }
        Some(Self(name))
    }
}

/// A header that a filter sets: none that frames or routes the message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderName(HeaderField);

impl HeaderName {
    /// The name in lower case, as HTTP/2 and Envoy have it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Connection management (RFC 9110 section 7.6.1), framing and the request
/// target; a filter that wrote these would change which message this is.
const RESERVED_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "authorization",
];

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Decode for HeaderName {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let name = HeaderField::decode(node)?;
        if RESERVED_HEADERS.contains(&name.as_str()) {
            let name = name.as_str();
            return node.refuse(format!("must not be \"{name}\": a filter may not write it"));
        }
        Some(Self(name))
    }
}

/// The name that an operator gives to a part of the configuration. It becomes
/// part of metric names, so it holds letters, digits, `_` and `-` only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier(String);

const MAX_IDENTIFIER: usize = 64;

impl Identifier {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Decode for Identifier {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let name = node.string()?;
        let fits = (1..=MAX_IDENTIFIER).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if !fits {
            return node
                .refuse(format!("must be 1 to {MAX_IDENTIFIER} letters, digits, \"_\" or \"-\""));
        }
        Some(Self(name.into()))
    }
}

/// A list or text that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonEmpty<T>(T);

impl<T> Deref for NonEmpty<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Decode> Decode for NonEmpty<T> {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let empty = match node.value() {
            Value::Array(items) => items.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if empty {
            return node.refuse("must not be empty");
        }
        T::decode(node).map(Self)
    }
}

const BYTE_SIZE: &str = r#"a size such as "512B", "64KiB" or "1MiB""#;

/// A number of bytes, with its unit (IEC 80000-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

impl Decode for ByteSize {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let Value::String(text) = node.value() else {
            return node.expected(BYTE_SIZE);
        };
        parse_size(text).map(Self).or_else(|| node.refuse(format!("must be {BYTE_SIZE}")))
    }
}

fn parse_size(text: &str) -> Option<usize> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    let bytes_per_unit = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(bytes_per_unit)
}

/// The address of something that is fetched: an absolute `http` or `https` URI
/// without user and fragment (RFC 9110 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUri(Uri);

impl HttpUri {
    /// Reads an address; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        // The parser drops a fragment without a word.
        if text.contains('#') {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme()?;
        let host = uri.authority()?;
        let fits = (*scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
            && !host.host().is_empty()
            && !host.as_str().contains('@')
            // What follows the host is a port, though the parser takes any number.
            && (host.host() == host.as_str() || host.port().is_some());
        fits.then_some(Self(uri))
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.0.scheme() == Some(&Scheme::HTTP) { "http" } else { "https" }
    }

    /// The host, with the port if there is one.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// The path with the query. Begins with `/`.
    pub fn path_and_query(&self) -> &str {
        self.0.path_and_query().map_or("/", |path| path.as_str())
    }
}

impl fmt::Display for HttpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path_and_query())
    }
}

impl Decode for HttpUri {
    fn decode(node: &Node<'_>) -> Option<Self> {
        Self::parse(node.string()?).or_else(|| {
            node.refuse("must be an address such as \"https://idp.example.com/keys\", without user and \"#\"")
        })
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{ByteSize, HeaderField, HeaderName, HttpUri, Identifier, MAX_IDENTIFIER, NonEmpty};

    impl JsonSchema for ByteSize {
        fn schema_name() -> Cow<'static, str> {
            "ByteSize".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "pattern": "^[0-9]+(B|KiB|MiB)$"})
        }
    }

    impl JsonSchema for HttpUri {
        fn schema_name() -> Cow<'static, str> {
            "HttpUri".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+([/?][^#]*)?$"})
        }
    }

    impl JsonSchema for HeaderField {
        fn schema_name() -> Cow<'static, str> {
            "HeaderField".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"})
        }
    }

    impl JsonSchema for HeaderName {
        fn schema_name() -> Cow<'static, str> {
            "HeaderName".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            HeaderField::json_schema(generator)
        }
    }

    impl JsonSchema for Identifier {
        fn schema_name() -> Cow<'static, str> {
            "Identifier".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "pattern": format!("^[A-Za-z0-9_-]{{1,{MAX_IDENTIFIER}}}$")})
        }
    }

    impl<T: JsonSchema> JsonSchema for NonEmpty<T> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            format!("NonEmpty_{}", T::schema_name()).into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let mut schema = T::json_schema(generator);
            let is_list = schema.get("type").is_some_and(|kind| kind == "array");
            schema.insert(if is_list { "minItems" } else { "minLength" }.into(), 1.into());
            schema
        }
    }
}
