//! A compact JWS, taken apart (RFC 7515 section 3.1) and not yet believed.

use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use mesh_filters_config::json;
use serde::Deserialize;

use crate::algorithm::Algorithm;
use crate::crypto::Signed;
use crate::reason::Reason;

/// The longest token that is read. Envoy takes 60 KiB of request headers unless
/// told otherwise.
pub(crate) const MAX_TOKEN_BYTES: usize = 64 << 10;

/// The longest JOSE header that is read, in base64url. The longest that issuers
/// make hold a chain of certificates (`x5c`), of a few kilobytes.
const MAX_HEADER_BYTES: usize = 8192;

/// A token whose parts have been decoded.
pub(crate) struct Jws<'a> {
    /// The token as it came; its bytes are all ASCII.
    compact: &'a str,
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    /// In lower case. A token that names no type is a `JWT`.
    typ: String,
    /// The payload, decoded.
    pub payload: Vec<u8>,
    /// The signature, decoded.
    pub signature: Vec<u8>,
    /// How many bytes of `compact` are signed.
    signed_bytes: usize,
}

/// Members of a header that refuse the token, whatever their value: `crit`, of which
/// nothing is understood here (RFC 7515 section 4.1.11), and those by which a token
/// would bring its own key (RFC 8725 section 3.10).
const MISLEADING: [&str; 4] = ["crit", "jwk", "jku", "x5u"];

/// The JOSE header. Members that this verifier has no use for are checked all the
/// same: a header that is not what the RFCs say comes from no issuer.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    cty: Option<String>,
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
    ///   [`MAX_TOKEN_BYTES`], has a name twice in its header (RFC 7515 section 4),
    ///   or has a header that this verifier must not follow ([`MISLEADING`]);
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
        let signed_bytes = header.len() + 1 + payload.len();
        let header = json(&decode(header)?).map_err(|_| Reason::Malformed)?;
        // serde would take a list of the values in their order, too.
        let Some(members) = header.as_object() else {
            return Err(Reason::Malformed);
        };
        let misleads = MISLEADING.iter().any(|name| members.contains_key(*name));
        let header = Header::deserialize(header).map_err(|_| Reason::Malformed)?;
        let algorithm = Algorithm::from_name(&header.alg).ok_or(Reason::Algorithm)?;
        if misleads || header.cty.is_some_and(|cty| cty.eq_ignore_ascii_case("JWT")) {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            compact,
            algorithm,
            kid: header.kid,
            typ: header.typ.map_or_else(|| "jwt".into(), |typ| typ.to_ascii_lowercase()),
            payload: decode(payload)?,
            signature: decode(signature)?,
            signed_bytes,
        })
    }

    /// The kind of token, in lower case and without `application/` (RFC 7515
    /// section 4.1.9).
    pub fn typ(&self) -> &str {
        self.typ.strip_prefix("application/").unwrap_or(&self.typ)
    }

    /// What is signed, header, dot and payload as they came, and its signature.
    pub fn signed(&self) -> Signed<'_> {
        Signed {
            signing_input: self.compact.as_bytes().get(..self.signed_bytes).unwrap_or_default(),
            signature: &self.signature,
        }
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    Base64UrlSafeNoPadding::decode_to_vec(part, None).map_err(|_| Reason::Malformed)
}

#[cfg(test)]
mod tests {
    use ct_codecs::Encoder;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_misleading_member_refuses_whatever_its_value() {
        let parse = |header: &str| {
            let header = Base64UrlSafeNoPadding::encode_to_string(header).unwrap();
            Jws::parse(format!("{header}.e30.").as_bytes()).map(|_| ()).err()
        };
        assert_eq!(parse(r#"{"alg":"RS256"}"#), None);
        for name in ["crit", "jwk", "jku", "x5u"] {
            for value in ["null", "[]", "{}", "\"\"", "false"] {
                let header = format!(r#"{{"alg":"RS256","{name}":{value}}}"#);
                assert_eq!(parse(&header), Some(Reason::Malformed), "{header}");
            }
        }
    }
}
