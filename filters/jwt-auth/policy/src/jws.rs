//! A compact JWS, taken apart (RFC 7515 section 3.1) and not yet believed.

use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::algorithm::Algorithm;
use crate::reason::Reason;

/// The longest token that is read. Envoy takes 60 KiB of request headers unless
/// told otherwise.
pub(crate) const MAX_TOKEN_BYTES: usize = 64 << 10;

/// The longest JOSE header that is read, in base64url. jwt-simple has the same
/// bound, and both implementations of the cryptography must agree.
const MAX_HEADER_BYTES: usize = 8192;

/// A token whose parts have been decoded.
pub(crate) struct Jws<'a> {
    /// The token as it came; its bytes are all ASCII.
    pub compact: &'a str,
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    /// In lower case. A token that names no type is a `JWT`.
    typ: String,
    /// The payload, decoded.
    pub payload: Vec<u8>,
    /// The signature, decoded.
    pub signature: Vec<u8>,
    /// How many bytes of `compact` are signed.
    pub signed: usize,
}

/// The JOSE header. Text where the RFCs say text, so that both implementations
/// of the cryptography read the same.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    cty: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
    #[serde(default)]
    jwk: Option<IgnoredAny>,
    #[serde(default)]
    jku: Option<IgnoredAny>,
    #[serde(default)]
    x5u: Option<IgnoredAny>,
    #[serde(default, rename = "x5c")]
    _x5c: Option<Vec<String>>,
    #[serde(default, rename = "x5t")]
    _x5t: Option<String>,
    #[serde(default, rename = "x5t#S256")]
    _x5t_s256: Option<String>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// - [`Reason::Malformed`] if it is no compact JWS, is over
    ///   [`MAX_TOKEN_BYTES`], or has a header that this verifier must not follow:
    ///   `crit`, of which it understands nothing (RFC 7515 section 4.1.11), and
    ///   `jwk`, `jku` and `x5u`, by which a token would bring its own key
    ///   (RFC 8725 section 3.10);
    /// - [`Reason::Algorithm`] if `alg` is `none` or unknown.
    pub fn parse(token: &'a [u8]) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN_BYTES || !token.is_ascii() {
            return Err(Reason::Malformed);
        }
        let compact = std::str::from_utf8(token).map_err(|_| Reason::Malformed)?;
        let mut parts = compact.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Reason::Malformed);
        };
        if header.len() > MAX_HEADER_BYTES {
            return Err(Reason::Malformed);
        }
        let signed = header.len() + 1 + payload.len();
        // RFC 7515 section 5.2: UTF-8 throughout. serde_json does not look at members
        // that are skipped.
        let header = String::from_utf8(decode(header)?).map_err(|_| Reason::Malformed)?;
        let header: Header = serde_json::from_str(&header).map_err(|_| Reason::Malformed)?;
        let algorithm = Algorithm::from_name(&header.alg).ok_or(Reason::Algorithm)?;
        if header.crit.is_some()
            || header.jwk.is_some()
            || header.jku.is_some()
            || header.x5u.is_some()
            || header.cty.is_some_and(|cty| cty.eq_ignore_ascii_case("JWT"))
        {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            compact,
            algorithm,
            kid: header.kid,
            typ: header.typ.map_or_else(|| "jwt".into(), |typ| typ.to_ascii_lowercase()),
            payload: decode(payload)?,
            signature: decode(signature)?,
            signed,
        })
    }

    /// The kind of token, in lower case and without `application/` (RFC 7515
    /// section 4.1.9).
    pub fn typ(&self) -> &str {
        self.typ.strip_prefix("application/").unwrap_or(&self.typ)
    }

    /// The bytes that are signed: header, dot and payload, as they came.
    pub fn signing_input(&self) -> &[u8] {
        self.compact.as_bytes().get(..self.signed).unwrap_or_default()
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    Base64UrlSafeNoPadding::decode_to_vec(part, None).map_err(|_| Reason::Malformed)
}
