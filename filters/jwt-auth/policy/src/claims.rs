//! The payload of a token (RFC 7519 section 4).

use std::time::Duration;

use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use mesh_filters_config::json;
use mesh_filters_policy::claims::ClaimPath;
use mesh_filters_policy::{UnixTime, is_field_value};
use serde_json::{Map, Value};

use crate::reason::Reason;

/// The claims of a token, with the registered ones checked for their type.
#[derive(Debug)]
pub(crate) struct Claims {
    /// The payload as it came.
    payload: Vec<u8>,
    all: Map<String, Value>,
    expires: Option<UnixTime>,
    not_before: Option<UnixTime>,
    issued: Option<UnixTime>,
}

/// How a provider limits the life of tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimits {
    pub clock_skew: Duration,
    pub require_expiration: bool,
    pub max_lifetime: Option<Duration>,
}

impl Claims {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`Reason::Malformed`] if it is no JSON object, has a name twice (RFC 7519
    /// section 4), or a registered claim has another type than RFC 7519 section 4.1
    /// gives it.
    pub fn parse(payload: Vec<u8>) -> Result<Self, Reason> {
        let Ok(Value::Object(all)) = json(&payload) else {
            return Err(Reason::Malformed);
        };
        for name in ["iss", "sub", "jti", "nonce"] {
            if all.get(name).is_some_and(|value| !value.is_string()) {
                return Err(Reason::Malformed);
            }
        }
        if all.get("aud").is_some_and(|aud| !is_string_or_strings(aud)) {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            issued: numeric_date(&all, "iat")?,
            expires: numeric_date(&all, "exp")?,
            not_before: numeric_date(&all, "nbf")?,
            all,
            payload,
        })
    }

    /// Whether `aud` holds one of `accepted`.
    pub fn is_for_one_of<'a>(&self, mut accepted: impl Iterator<Item = &'a str>) -> bool {
        accepted.any(|audience| match self.all.get("aud") {
            Some(Value::String(aud)) => aud == audience,
            Some(Value::Array(list)) => list.iter().any(|aud| aud.as_str() == Some(audience)),
            _ => false,
        })
    }

    /// Checks `exp`, `nbf` and `iat`. A token is good until just before `exp` plus
    /// the skew, and from `nbf` less the skew on.
    ///
    /// # Errors
    /// [`Reason::Expired`], [`Reason::NotYetValid`], or [`Reason::Lifetime`] if
    /// the token lives longer than is accepted, or does not say for how long.
    pub fn check_time(&self, now: UnixTime, limits: TimeLimits) -> Result<(), Reason> {
        let TimeLimits { clock_skew, require_expiration, max_lifetime } = limits;
        if self.expires.is_none() && (require_expiration || max_lifetime.is_some()) {
            return Err(Reason::Lifetime);
        }
        if self.expires.is_some_and(|expires| now >= expires.later(clock_skew)) {
            return Err(Reason::Expired);
        }
        if self.not_before.is_some_and(|not_before| now < not_before.earlier(clock_skew)) {
            return Err(Reason::NotYetValid);
        }
        if let (Some(max), Some(expires)) = (max_lifetime, self.expires) {
            let issued = self.issued.ok_or(Reason::Lifetime)?;
            // An `iat` in the future must not make a long life look short.
            let latest = issued.min(now.later(clock_skew)).later(max);
            if expires > latest {
                return Err(Reason::Lifetime);
            }
        }
        Ok(())
    }

    /// The payload as it came: a JSON object.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The SHA-256 of the certificate that the token is bound to: `x5t#S256` of `cnf`
    /// (RFC 8705 section 3.1). `None` if it is bound to none.
    pub fn certificate_thumbprint(&self) -> Option<Vec<u8>> {
        let thumbprint = self.all.get("cnf")?.get("x5t#S256")?.as_str()?;
        Base64UrlSafeNoPadding::decode_to_vec(thumbprint, None).ok()
    }

    /// Every claim.
    pub fn all(&self) -> &Map<String, Value> {
        &self.all
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Value::as_str)
    }

    /// Whether the token has a scope: in `scope`, a text with spaces between
    /// (RFC 8693 section 4.2), or in `scp`, the same or a list.
    pub fn has_scope(&self, scope: &str) -> bool {
        ["scope", "scp"].iter().any(|name| match self.all.get(*name) {
            Some(Value::String(scopes)) => scopes.split(' ').any(|it| it == scope),
            Some(Value::Array(scopes)) => scopes.iter().any(|it| it.as_str() == Some(scope)),
            _ => false,
        })
    }

    /// The value of a claim as a header has it: text as it is, numbers and
    /// booleans as JSON writes them, lists of these with commas between.
    /// `None` if the claim is missing, null or an object.
    ///
    /// # Errors
    /// [`Reason::Malformed`] if the value would mean something else in a header: a
    /// line break would start another header, and a comma inside a list's item
    /// another item.
    pub fn header_value(&self, path: &ClaimPath) -> Result<Option<Vec<u8>>, Reason> {
        let text = match path.find(&self.all) {
            Some(Value::Array(items)) => {
                let texts: Option<Vec<_>> = items.iter().map(scalar).collect();
                let texts = texts.ok_or(Reason::Malformed)?;
                if texts.iter().any(|text| text.contains(',')) {
                    return Err(Reason::Malformed);
                }
                Some(texts.join(","))
            }
            Some(value) => scalar(value),
            None => None,
        };
        match text {
            Some(text) if !is_field_value(text.as_bytes()) => Err(Reason::Malformed),
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
