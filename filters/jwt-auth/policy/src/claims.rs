//! The payload of a token (RFC 7519 section 4).

use std::time::Duration;

use mesh_filters_config::{Decode, Node};
use mesh_filters_policy::{UnixTime, is_field_value};
use serde_json::{Map, Value};

use crate::reason::Reason;

/// The claims of a token, with the registered ones checked for their type.
#[derive(Debug)]
pub(crate) struct Claims {
    all: Map<String, Value>,
    expires: Option<UnixTime>,
    not_before: Option<UnixTime>,
}

impl Claims {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`Reason::Malformed`] if it is no JSON object or a registered claim has
    /// another type than RFC 7519 section 4.1 gives it.
    pub fn parse(payload: &[u8]) -> Result<Self, Reason> {
        let all: Map<String, Value> =
            serde_json::from_slice(payload).map_err(|_| Reason::Malformed)?;
        for name in ["iss", "sub", "jti", "nonce"] {
            if all.get(name).is_some_and(|value| !value.is_string()) {
                return Err(Reason::Malformed);
            }
        }
        if all.get("aud").is_some_and(|aud| !is_string_or_strings(aud)) {
            return Err(Reason::Malformed);
        }
        numeric_date(&all, "iat")?;
        Ok(Self {
            expires: numeric_date(&all, "exp")?,
            not_before: numeric_date(&all, "nbf")?,
            all,
        })
    }

    /// The `iss` claim.
    pub fn issuer(&self) -> Option<&str> {
        self.all.get("iss").and_then(Value::as_str)
    }

    /// Whether `aud` holds one of `accepted`.
    pub fn is_for_one_of<'a>(&self, mut accepted: impl Iterator<Item = &'a str>) -> bool {
        accepted.any(|audience| match self.all.get("aud") {
            Some(Value::String(aud)) => aud == audience,
            Some(Value::Array(list)) => list.iter().any(|aud| aud.as_str() == Some(audience)),
            _ => false,
        })
    }

    /// Checks `exp` and `nbf`. A token is good until just before `exp` plus the
    /// skew, and from `nbf` less the skew on.
    ///
    /// # Errors
    /// [`Reason::Expired`], [`Reason::NotYetValid`], or [`Reason::Claims`] if
    /// there is no `exp`: a token that never ends cannot be taken back.
    pub fn check_time(&self, now: UnixTime, skew: Duration) -> Result<(), Reason> {
        let expires = self.expires.ok_or(Reason::Claims)?;
        if now >= expires.later(skew) {
            return Err(Reason::Expired);
        }
        if self.not_before.is_some_and(|not_before| now < not_before.earlier(skew)) {
            return Err(Reason::NotYetValid);
        }
        Ok(())
    }

    /// The value of a claim as a header has it: text as it is, numbers and
    /// booleans as JSON writes them, lists of these with commas between.
    /// `None` if the claim is missing, null or an object.
    ///
    /// # Errors
    /// [`Reason::Claims`] if the value would mean something else in a header: a
    /// line break would start another header, and a comma inside a list's item
    /// another item.
    pub fn header_value(&self, path: &ClaimPath) -> Result<Option<Vec<u8>>, Reason> {
        let text = match path.find(&self.all) {
            Some(Value::Array(items)) => {
                let texts: Option<Vec<_>> = items.iter().map(scalar).collect();
                let texts = texts.ok_or(Reason::Claims)?;
                if texts.iter().any(|text| text.contains(',')) {
                    return Err(Reason::Claims);
                }
                Some(texts.join(","))
            }
            Some(value) => scalar(value),
            None => None,
        };
        match text {
            Some(text) if !is_field_value(text.as_bytes()) => Err(Reason::Claims),
            text => Ok(text.map(String::into_bytes)),
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_string_or_strings(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().all(Value::is_string),
        _ => false,
    }
}

/// Seconds since the epoch, with or without a fraction (RFC 7519 section 2).
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<UnixTime>, Reason> {
    const NANOS_PER_SECOND: f64 = 1e9;
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    if let Some(seconds) = value.as_u64() {
        return Ok(Some(UnixTime::from_secs(seconds)));
    }
    match value.as_f64() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative; what is too large becomes the last moment"
        )]
        Some(seconds) if seconds >= 0.0 => {
            Ok(Some(UnixTime::from_nanos((seconds * NANOS_PER_SECOND) as u64)))
        }
        _ => Err(Reason::Malformed),
    }
}

/// Names of nested claims, outermost first. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.get(name))
    }
}

impl Decode for ClaimPath {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let names: Vec<String> = node.string()?.split('.').map(Into::into).collect();
        if names.iter().any(String::is_empty) {
            return node.refuse("must be a claim such as \"sub\" or \"realm_access.roles\"");
        }
        Some(Self(names))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ClaimPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": r"^[^.]+(\.[^.]+)*$"})
    }
}
