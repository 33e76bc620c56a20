//! Keys, from a JSON Web Key Set (RFC 7517).

use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use mesh_filters_policy::VerifySignature;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use thiserror::Error;

use crate::algorithm::Algorithm;
use crate::crypto::{Signed, Verifier};
use crate::jws::Jws;
use crate::native::NativeAlgorithms;
use crate::reason::Reason;

/// More keys than any issuer publishes. A token without a `kid` is tried with
/// each of them.
const MAX_KEYS: usize = 100;

/// Smaller ones can be broken (RFC 7518 section 3.3); larger ones cost a worker
/// tens of milliseconds a token.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The exponent that every issuer uses. A large one makes verifying slow, and a
/// small one has made implementations forgeable.
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// Why a key cannot be used. Never holds the key.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum UnusableKey {
    #[error("is no JSON Web Key: needs \"kty\", and text where RFC 7517 says text")]
    NotAKey,
    #[error("has \"use\": \"{0}\"; only \"sig\" verifies signatures")]
    Use(String),
    #[error("has \"key_ops\" without \"verify\"")]
    KeyOps,
    #[error("holds a private key (\"d\"): whoever reads it can sign tokens")]
    Private,
    #[error("has \"kty\": \"{0}\"; known are RSA, EC, OKP and oct")]
    Type(String),
    #[error("has \"crv\": \"{0}\"; known are P-256 and P-384 for EC, Ed25519 for OKP")]
    Curve(String),
    #[error("lacks \"{0}\", or it is not base64url without padding")]
    Member(&'static str),
    #[error("is an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaSize(usize),
    #[error("is an RSA key with another public exponent than 65537")]
    RsaExponent,
    #[error("is no point on its curve, or no valid modulus")]
    Invalid,
    #[error("has \"alg\": \"{0}\", which is no signature algorithm known here")]
    Algorithm(String),
    #[error("is of no use to the algorithms of this provider ({0})")]
    NotListed(String),
    #[error(
        "is a secret of {0} bytes; HMAC needs at least as many as its hash has (RFC 7518 section 3.2)"
    )]
    ShortSecret(usize),
}

/// A key, with the algorithms that it may be used with.
pub(crate) struct Key {
    kid: Option<String>,
    verifiers: Vec<(Algorithm, Verifier)>,
}

/// The keys of a provider. Never empty.
pub(crate) struct KeySet(Vec<Key>);

/// A key set that was read.
pub(crate) struct ReadKeySet {
    pub keys: KeySet,
    /// What was left out: the index of the key, its `kid`, and why.
    pub unusable: Vec<String>,
}

impl KeySet {
    /// Reads a key set for a provider that accepts `algorithms`.
    ///
    /// # Errors
    /// A sentence an operator can act on, if there is no usable key in it.
    pub fn read(
        jwks: &Value,
        algorithms: &[Algorithm],
        native: &NativeAlgorithms,
    ) -> Result<ReadKeySet, String> {
        let Some(Value::Array(items)) = jwks.get("keys") else {
            return Err("must have a list \"keys\" (RFC 7517 section 5.1)".into());
        };
        if items.len() > MAX_KEYS {
            return Err(format!("has {} keys; at most {MAX_KEYS} are read", items.len()));
        }
        let mut keys = Vec::new();
        let mut unusable = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match Key::read(item, algorithms, native) {
                Ok(key) => keys.push(key),
                Err(problem) => {
                    let kid = item.get("kid").and_then(Value::as_str);
                    let kid = kid.map(|kid| format!(" (kid {kid:?})")).unwrap_or_default();
                    unusable.push(format!("keys[{index}]{kid} {problem}"));
                }
            }
        }
        if keys.is_empty() {
            let mut problem = "has no usable key".to_owned();
            if !unusable.is_empty() {
                problem.push_str(": ");
                problem.push_str(&unusable.join("; "));
            }
            return Err(problem);
        }
        Ok(ReadKeySet { keys: Self(keys), unusable })
    }

    /// Checks the signature of a token with the keys that may have made it: those
    /// of its `kid`, and those without one.
    ///
    /// # Errors
    /// [`Reason::Kid`] if there is no such key, [`Reason::Algorithm`] if none of
    /// them is for the token's algorithm, [`Reason::Signature`] if none made it.
    pub fn verify(&self, token: &Jws<'_>, host: &dyn VerifySignature) -> Result<(), Reason> {
        self.verify_signed(token.kid.as_deref(), token.algorithm, token.signed(), host)
    }

    /// The same for any bytes, whether or not they are part of a token.
    ///
    /// # Errors
    /// Those of [`Self::verify`].
    pub fn verify_signed(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        signed: Signed<'_>,
        host: &dyn VerifySignature,
    ) -> Result<(), Reason> {
        let mut refused = Reason::Kid;
        for key in self.0.iter().filter(|key| key.may_be(kid)) {
            let Some(verifier) = key.verifier(algorithm) else {
                if refused == Reason::Kid {
                    refused = Reason::Algorithm;
                }
                continue;
            };
            if verifier.verify(signed, host) {
                return Ok(());
            }
            refused = Reason::Signature;
        }
        Err(refused)
    }

    /// The verifier of a set that has one key for one algorithm.
    pub fn only_verifier(&self) -> Option<&Verifier> {
        let (_, verifier) = self.0.first()?.verifiers.first()?;
        Some(verifier)
    }
}

/// The members of a key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037
/// section 2). Others are ignored, as RFC 7517 asks.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    k: Option<String>,
    #[serde(default)]
    d: Option<IgnoredAny>,
}

impl Key {
    fn may_be(&self, kid: Option<&str>) -> bool {
        match (kid, &self.kid) {
            (Some(wanted), Some(kid)) => wanted == kid,
            _ => true,
        }
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&Verifier> {
        self.verifiers.iter().find(|(candidate, _)| *candidate == algorithm).map(|(_, key)| key)
    }

    /// Binds a key to the algorithms that it may be used with: those of its type
    /// and curve, narrowed to its own `alg`, narrowed to what the provider
    /// accepts (RFC 8725 section 3.1).
    fn read(
        item: &Value,
        accepted: &[Algorithm],
        native: &NativeAlgorithms,
    ) -> Result<Self, UnusableKey> {
        // serde would take a list of the values in their order, too.
        if !item.is_object() {
            return Err(UnusableKey::NotAKey);
        }
        let jwk = Jwk::deserialize(item).map_err(|_| UnusableKey::NotAKey)?;
        if let Some(usage) = jwk.usage.filter(|usage| usage != "sig") {
            return Err(UnusableKey::Use(usage));
        }
        if jwk.key_ops.is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err(UnusableKey::KeyOps);
        }
        if jwk.d.is_some() {
            return Err(UnusableKey::Private);
        }
        let of_type = algorithms_of(&jwk.kty, jwk.crv.as_deref())?;
        let own = match jwk.alg {
            Some(name) => match Algorithm::from_name(&name) {
                Some(algorithm) if of_type.contains(&algorithm) => Some(algorithm),
                _ => return Err(UnusableKey::Algorithm(name)),
            },
            None => None,
        };
        let usable: Vec<Algorithm> = of_type
            .iter()
            .copied()
            .filter(|algorithm| own.is_none_or(|own| own == *algorithm))
            .filter(|algorithm| accepted.contains(algorithm))
            .collect();
        if usable.is_empty() {
            let names: Vec<_> = accepted.iter().map(|algorithm| algorithm.name()).collect();
            return Err(UnusableKey::NotListed(names.join(", ")));
        }
        let verifiers = match jwk.kty.as_str() {
            "RSA" => {
                let (n, e) = (member("n", jwk.n)?, member("e", jwk.e)?);
                let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
                let bits = bits(n);
                if !RSA_BITS.contains(&bits) {
                    return Err(UnusableKey::RsaSize(bits));
                }
                if e != RSA_EXPONENT {
                    return Err(UnusableKey::RsaExponent);
                }
                each(&usable, |algorithm| Verifier::rsa(algorithm, (n, e, bits), native))?
            }
            "EC" => {
                let (x, y) = (member("x", jwk.x)?, member("y", jwk.y)?);
                each(&usable, |algorithm| Verifier::ec(algorithm, &x, &y, native))?
            }
            "OKP" => {
                let x = member("x", jwk.x)?;
                each(&usable, |_| Verifier::ed25519(&x))?
            }
            _ => {
                let secret = member("k", jwk.k)?;
                let long_enough: Vec<Algorithm> = usable
                    .into_iter()
                    .filter(|algorithm| secret.len() >= algorithm.hash_bytes())
                    .collect();
                if long_enough.is_empty() {
                    return Err(UnusableKey::ShortSecret(secret.len()));
                }
                each(&long_enough, |algorithm| Verifier::hmac(algorithm, &secret))?
            }
        };
        Ok(Self { kid: jwk.kid, verifiers })
    }
}

fn each(
    algorithms: &[Algorithm],
    verifier: impl Fn(Algorithm) -> Option<Verifier>,
) -> Result<Vec<(Algorithm, Verifier)>, UnusableKey> {
    algorithms
        .iter()
        .map(|algorithm| {
            verifier(*algorithm).map(|verifier| (*algorithm, verifier)).ok_or(UnusableKey::Invalid)
        })
        .collect()
}

fn algorithms_of(kty: &str, crv: Option<&str>) -> Result<&'static [Algorithm], UnusableKey> {
    use Algorithm::{
        EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512,
    };
    match (kty, crv) {
        ("RSA", _) => Ok(&[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512]),
        ("EC", Some("P-256")) => Ok(&[Es256]),
        ("EC", Some("P-384")) => Ok(&[Es384]),
        ("OKP", Some("Ed25519")) => Ok(&[EdDsa]),
        ("oct", _) => Ok(&[Hs256, Hs384, Hs512]),
        ("EC" | "OKP", Some(crv)) => Err(UnusableKey::Curve(crv.into())),
        ("EC" | "OKP", None) => Err(UnusableKey::Member("crv")),
        _ => Err(UnusableKey::Type(kty.into())),
    }
}

fn member(name: &'static str, value: Option<String>) -> Result<Vec<u8>, UnusableKey> {
    let text = value.filter(|text| !text.is_empty()).ok_or(UnusableKey::Member(name))?;
    Base64UrlSafeNoPadding::decode_to_vec(text, None).map_err(|_| UnusableKey::Member(name))
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The bits of a number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    match number.first() {
        Some(first) => number.len() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}
