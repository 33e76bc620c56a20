//! The other side of token verification: an issuer that mints any token.
//!
//! It signs with the primitives and puts the pieces together by hand, because a
//! test needs tokens that no JWT library would issue, and because a second
//! implementation is what makes the agreement of the two worth something.

mod keys;
mod serve;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub use keys::hmac;
pub use serve::{IssuerServer, KEYS_PATH, METADATA_PATH, serve, serve_on};

/// The `iss` of the tokens.
pub const ISSUER: &str = "https://idp.example.com/";
/// The `aud` of the tokens.
pub const AUDIENCE: &str = "orders-api";

/// Every algorithm that [`Issuer::signature`] knows, with a key that fits it.
pub const ALGORITHMS: [(&str, &str); 12] = [
    ("RS256", "rsa-2048"),
    ("RS384", "rsa-2048"),
    ("RS512", "rsa-2048"),
    ("PS256", "rsa-2048"),
    ("PS384", "rsa-2048"),
    ("PS512", "rsa-2048"),
    ("ES256", "p-256"),
    ("ES384", "p-384"),
    ("EdDSA", "ed25519"),
    ("HS256", "oct-512"),
    ("HS384", "oct-512"),
    ("HS512", "oct-512"),
];

/// The keys of `keys/issuer.private.jwks.json`: `rsa-2048`, `p-256`, `p-384`,
/// `ed25519` and `oct-512`.
#[derive(Clone, Debug)]
pub struct Issuer {
    keys: Vec<Value>,
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

impl Issuer {
    /// Loads the keys.
    ///
    /// # Panics
    /// If the file of keys is not a JWKS.
    pub fn new() -> Self {
        let file = include_str!("../../keys/issuer.private.jwks.json");
        let jwks: Value = serde_json::from_str(file).expect("the keys are JSON");
        let keys = jwks["keys"].as_array().expect("a list of keys").clone();
        Self { keys }
    }

    /// The public JWKS: the asymmetric keys, without their private parts.
    pub fn jwks(&self) -> Value {
        let public: Vec<_> = self.keys.iter().filter_map(keys::public).collect();
        json!({ "keys": public })
    }

    /// A JWKS of these keys alone, in this order, without their private parts.
    ///
    /// # Panics
    /// If there is none of one of the ids, or it has no public half.
    pub fn jwks_of(&self, kids: &[&str]) -> Value {
        let public: Vec<_> = kids.iter().map(|kid| self.public_jwk(kid)).collect();
        json!({ "keys": public })
    }

    /// A JWKS of these keys alone, in this order, with their private parts, for
    /// an issuer of another make.
    ///
    /// # Panics
    /// If there is none of one of the ids.
    pub fn private_jwks_of(&self, kids: &[&str]) -> Value {
        let keys: Vec<_> = kids.iter().map(|kid| self.key(kid)).collect();
        json!({ "keys": keys })
    }

    /// One key of the public JWKS.
    ///
    /// # Panics
    /// If there is none of this id.
    pub fn public_jwk(&self, kid: &str) -> Value {
        keys::public(self.key(kid)).unwrap_or_else(|| panic!("{kid} has no public half"))
    }

    /// The secret of `oct-512`, for verifiers of HMACs.
    pub fn secret(&self) -> Vec<u8> {
        keys::secret(self.key("oct-512"))
    }

    /// The public RSA key as PEM, which a confused verifier takes for the
    /// secret of an HMAC.
    pub fn rsa_public_pem(&self) -> String {
        keys::rsa_public_pem(self.key("rsa-2048"))
    }

    /// A token with the header `{"alg", "typ", "kid"}`, to which `header_extra`
    /// adds; a member that is already there is replaced, and `null` removes it.
    /// The signature is made with `alg`, whatever the header says in the end.
    /// `none` leaves the signature empty.
    ///
    /// # Panics
    /// If the key cannot sign with this algorithm.
    pub fn sign(&self, kid: &str, alg: &str, header_extra: &Value, claims: &Value) -> String {
        let mut header = json!({"alg": alg, "typ": "JWT", "kid": kid});
        merge(&mut header, header_extra);
        compact(header.to_string(), claims.to_string(), |message| self.signature(kid, alg, message))
    }

    /// The bytes of a signature, as a JWS wants them.
    ///
    /// # Panics
    /// If the key cannot sign with this algorithm.
    pub fn signature(&self, kid: &str, alg: &str, message: &[u8]) -> Vec<u8> {
        if alg == "none" {
            return Vec::new();
        }
        keys::sign(self.key(kid), alg, message)
            .unwrap_or_else(|error| panic!("{kid} with {alg}: {error:#}"))
    }

    /// Claims that are in order for an hour.
    pub fn claims(&self, sub: &str) -> Value {
        let now = now();
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": sub, "iat": now, "exp": now + 3600,
        })
    }

    /// A token that is in order, signed with RS256.
    pub fn good(&self, sub: &str) -> String {
        self.sign("rsa-2048", "RS256", &json!({}), &self.claims(sub))
    }

    fn key(&self, kid: &str) -> &Value {
        let found = self.keys.iter().find(|key| key["kid"] == kid);
        found.unwrap_or_else(|| panic!("the issuer has no key {kid:?}"))
    }
}

/// A JWS in the compact form from any header and payload, JSON or not.
pub fn compact(
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let header = URL_SAFE_NO_PAD.encode(header);
    let payload = URL_SAFE_NO_PAD.encode(payload);
    let message = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// The time in seconds since 1970, as claims count it.
///
/// # Panics
/// If the clock is before 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "the issuer stands for another machine, which has a clock"
)]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.expect("a clock after 1970").as_secs();
    i64::try_from(seconds).expect("a clock before the end of time")
}

fn merge(target: &mut Value, extra: &Value) {
    let members = target.as_object_mut().expect("a header is an object");
    for (name, value) in extra.as_object().into_iter().flatten() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}
