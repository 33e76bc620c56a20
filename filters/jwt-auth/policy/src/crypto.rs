//! Signatures, checked by the host where it can and in the module elsewhere.
//!
//! A key is bound to its algorithm when it is read, so a token can choose neither
//! hash nor padding (RFC 8725 section 3.1). Claims are no matter here:
//! [`crate::claims`] checks them.

use ed25519_dalek::VerifyingKey as Ed25519Key;
use hmac::{Hmac, Mac};
use mesh_filters_policy::Host;
use p256::ecdsa::VerifyingKey as P256Key;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::pkcs8::EncodePublicKey as _;
use p384::ecdsa::VerifyingKey as P384Key;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pkcs8::{AssociatedOid, EncodePublicKey as _};
use rsa::pss::Pss;
use rsa::{BigUint, RsaPublicKey};
use sha2::digest::DynDigest;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::algorithm::Algorithm;
use crate::native::{NativeAlgorithms, NativeKey, SignatureEncoding};

/// What a signature is checked of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// The JWS Signing Input (RFC 7515 section 2).
    pub signing_input: &'a [u8],
    /// The JWS Signature, decoded.
    pub signature: &'a [u8],
}

/// A key, bound to one algorithm.
pub(crate) struct Verifier {
    rust: RustKey,
    native: Option<NativeKey>,
}

/// A key, bound to one algorithm, for the code in the module.
enum RustKey {
    Rsa(Box<RsaPublicKey>, RsaCheck),
    P256(P256Key),
    P384(P384Key),
    Ed25519(Ed25519Key),
    Hs256(Hmac<Sha256>),
    Hs384(Hmac<Sha384>),
    Hs512(Hmac<Sha512>),
}

/// A check with one padding and one hash.
type RsaCheck = fn(&RsaPublicKey, Signed<'_>) -> bool;

impl Algorithm {
    /// How many bytes the algorithm's hash has.
    pub(crate) fn hash_bytes(self) -> usize {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 | Self::Hs256 => 32,
            Self::Rs384 | Self::Ps384 | Self::Es384 | Self::Hs384 => 48,
            Self::Rs512 | Self::Ps512 | Self::EdDsa | Self::Hs512 => 64,
        }
    }
}

impl Verifier {
    /// An RSA key of that modulus and exponent, or `None` if it is none.
    pub fn rsa(
        algorithm: Algorithm,
        (n, e, bits): (&[u8], &[u8], usize),
        native: &NativeAlgorithms,
    ) -> Option<Self> {
        let check: RsaCheck = match algorithm {
            Algorithm::Rs256 => rsassa_pkcs1_v1_5::<Sha256>,
            Algorithm::Rs384 => rsassa_pkcs1_v1_5::<Sha384>,
            Algorithm::Rs512 => rsassa_pkcs1_v1_5::<Sha512>,
            Algorithm::Ps256 => rsassa_pss::<Sha256>,
            Algorithm::Ps384 => rsassa_pss::<Sha384>,
            Algorithm::Ps512 => rsassa_pss::<Sha512>,
            _ => return None,
        };
        let (modulus, exponent) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
        let key = RsaPublicKey::new_with_max_size(modulus, exponent, bits).ok()?;
        let native =
            native_key(algorithm, native, || Some(key.to_public_key_der().ok()?.into_vec()));
        Some(Self { rust: RustKey::Rsa(Box::new(key), check), native })
    }

    /// The point with those coordinates, or `None` if it is not on the curve.
    pub fn ec(algorithm: Algorithm, x: &[u8], y: &[u8], native: &NativeAlgorithms) -> Option<Self> {
        // SEC 1 section 2.3.3: an uncompressed point.
        let point = [&[4], x, y].concat();
        let (rust, native) = match algorithm {
            Algorithm::Es256 if x.len() == 32 && y.len() == 32 => {
                let key = P256Key::from_sec1_bytes(&point).ok()?;
                let der = || Some(key.to_public_key_der().ok()?.into_vec());
                let native = native_key(algorithm, native, der);
                (RustKey::P256(key), native)
            }
            Algorithm::Es384 if x.len() == 48 && y.len() == 48 => {
                let key = P384Key::from_sec1_bytes(&point).ok()?;
                let der = || Some(key.to_public_key_der().ok()?.into_vec());
                let native = native_key(algorithm, native, der);
                (RustKey::P384(key), native)
            }
            _ => return None,
        };
        Some(Self { rust, native })
    }

    /// An Ed25519 key, or `None` if the bytes are none, or one of the few for
    /// which everybody can sign.
    pub fn ed25519(x: &[u8]) -> Option<Self> {
        let key = Ed25519Key::from_bytes(x.try_into().ok()?).ok()?;
        (!key.is_weak()).then_some(Self { rust: RustKey::Ed25519(key), native: None })
    }

    /// A shared secret.
    pub fn hmac(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let rust = match algorithm {
            Algorithm::Hs256 => RustKey::Hs256(Hmac::new_from_slice(secret).ok()?),
            Algorithm::Hs384 => RustKey::Hs384(Hmac::new_from_slice(secret).ok()?),
            Algorithm::Hs512 => RustKey::Hs512(Hmac::new_from_slice(secret).ok()?),
            _ => return None,
        };
        Some(Self { rust, native: None })
    }

    /// Whether this key made the signature. What the host cannot tell is checked
    /// in the module.
    pub fn verify(&self, signed: Signed<'_>, host: &dyn Host) -> bool {
        self.verify_natively(signed, host).unwrap_or_else(|| self.rust.verify(signed))
    }

    /// The same, by the host only; `None` if it cannot tell.
    pub fn verify_natively(&self, signed: Signed<'_>, host: &dyn Host) -> Option<bool> {
        self.native.as_ref()?.verify(signed, host)
    }
}

/// The key as the host takes it, if it knows the algorithm.
fn native_key(
    algorithm: Algorithm,
    native: &NativeAlgorithms,
    public_key: impl FnOnce() -> Option<Vec<u8>>,
) -> Option<NativeKey> {
    let (hash, encoding) = match algorithm {
        Algorithm::Rs256 => ("sha256", SignatureEncoding::AsIs),
        Algorithm::Rs384 => ("sha384", SignatureEncoding::AsIs),
        Algorithm::Rs512 => ("sha512", SignatureEncoding::AsIs),
        Algorithm::Es256 => ("sha256", SignatureEncoding::P256),
        Algorithm::Es384 => ("sha384", SignatureEncoding::P384),
        _ => return None,
    };
    native.contains(algorithm).then_some(())?;
    Some(NativeKey { hash, public_key: public_key()?, encoding })
}

impl RustKey {
    /// Whether this key made the signature.
    fn verify(&self, signed: Signed<'_>) -> bool {
        let Signed { signing_input, signature } = signed;
        match self {
            Self::Rsa(key, check) => check(key, signed),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature).is_ok_and(|it| {
                key.verify_prehash(Sha256::digest(signing_input).as_slice(), &it).is_ok()
            }),
            Self::P384(key) => p384::ecdsa::Signature::from_slice(signature).is_ok_and(|it| {
                key.verify_prehash(Sha384::digest(signing_input).as_slice(), &it).is_ok()
            }),
            // Strict: RFC 8032 section 5.1.7 leaves two equations to choose from, and
            // only the other one lets points of small order make a difference.
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|it| key.verify_strict(signing_input, &it).is_ok()),
            Self::Hs256(key) => is_tag_of(key, signed),
            Self::Hs384(key) => is_tag_of(key, signed),
            Self::Hs512(key) => is_tag_of(key, signed),
        }
    }
}

/// RFC 8017 section 8.2.2.
fn rsassa_pkcs1_v1_5<D: Digest + AssociatedOid>(key: &RsaPublicKey, signed: Signed<'_>) -> bool {
    let hash = D::digest(signed.signing_input);
    key.verify(Pkcs1v15Sign::new::<D>(), &hash, signed.signature).is_ok()
}

/// RFC 8017 section 8.1.2, with a salt as long as the hash (RFC 7518 section 3.5).
fn rsassa_pss<D: Digest + DynDigest + Send + Sync + 'static>(
    key: &RsaPublicKey,
    signed: Signed<'_>,
) -> bool {
    let hash = D::digest(signed.signing_input);
    let salt_bytes = <D as Digest>::output_size();
    key.verify(Pss::new_with_salt::<D>(salt_bytes), &hash, signed.signature).is_ok()
}

/// RFC 2104. Takes as long for a wrong tag as for the right one.
fn is_tag_of<M: Mac + Clone>(key: &M, signed: Signed<'_>) -> bool {
    key.clone().chain_update(signed.signing_input).verify_slice(signed.signature).is_ok()
}
