//! Signatures, checked by the host where it can and by jwt-simple elsewhere.
//!
//! jwt-simple checks a whole token, claims included. Claims are checked by
//! [`crate::claims`], with the time that the host hands in, so jwt-simple is
//! given options under which no claim can fail: a time of zero, at which nothing
//! has expired, and leave to accept what is not yet valid.

use jwt_simple::prelude::*;
use mesh_filters_policy::Host;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pkcs8::EncodePublicKey;
use rsa::pss::Pss;
use rsa::traits::SignatureScheme;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::algorithm::Algorithm;
use crate::jws::Jws;
use crate::native::{NativeAlgorithms, NativeKey, SignatureEncoding};

/// The largest modulus that jwt-simple takes.
const JWT_SIMPLE_RSA_BITS: usize = 4096;

/// A key, bound to one algorithm.
pub(crate) struct Verifier {
    rust: RustKey,
    native: Option<NativeKey>,
}

/// A key, bound to one algorithm, for the code in the module.
enum RustKey {
    Rs256(RS256PublicKey),
    Rs384(RS384PublicKey),
    Rs512(RS512PublicKey),
    Ps256(PS256PublicKey),
    Ps384(PS384PublicKey),
    Ps512(PS512PublicKey),
    /// More bits than jwt-simple takes: checked by the crate `rsa`, on which
    /// jwt-simple itself builds.
    LargeRsa(Algorithm, Box<RsaPublicKey>),
    Es256(ES256PublicKey),
    Es384(ES384PublicKey),
    EdDsa(Ed25519PublicKey),
    Hs256(HS256Key),
    Hs384(HS384Key),
    Hs512(HS512Key),
}

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
        let (modulus, exponent) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
        let key = RsaPublicKey::new_with_max_size(modulus, exponent, bits).ok()?;
        let native =
            native_key(algorithm, native, || Some(key.to_public_key_der().ok()?.into_vec()));
        let rust = if bits > JWT_SIMPLE_RSA_BITS {
            RustKey::LargeRsa(algorithm, Box::new(key))
        } else {
            match algorithm {
                Algorithm::Rs256 => RS256PublicKey::from_components(n, e).map(RustKey::Rs256),
                Algorithm::Rs384 => RS384PublicKey::from_components(n, e).map(RustKey::Rs384),
                Algorithm::Rs512 => RS512PublicKey::from_components(n, e).map(RustKey::Rs512),
                Algorithm::Ps256 => PS256PublicKey::from_components(n, e).map(RustKey::Ps256),
                Algorithm::Ps384 => PS384PublicKey::from_components(n, e).map(RustKey::Ps384),
                Algorithm::Ps512 => PS512PublicKey::from_components(n, e).map(RustKey::Ps512),
                _ => return None,
            }
            .ok()?
        };
        Some(Self { rust, native })
    }

    /// The point with those coordinates, or `None` if it is not on the curve.
    pub fn ec(algorithm: Algorithm, x: &[u8], y: &[u8], native: &NativeAlgorithms) -> Option<Self> {
        // SEC 1 section 2.3.3: an uncompressed point.
        let point = [&[4], x, y].concat();
        let (rust, der) = match algorithm {
            Algorithm::Es256 if x.len() == 32 && y.len() == 32 => {
                let key = ES256PublicKey::from_bytes(&point).ok()?;
                let der = key.to_der();
                (RustKey::Es256(key), der)
            }
            Algorithm::Es384 if x.len() == 48 && y.len() == 48 => {
                let key = ES384PublicKey::from_bytes(&point).ok()?;
                let der = key.to_der();
                (RustKey::Es384(key), der)
            }
            _ => return None,
        };
        Some(Self { rust, native: native_key(algorithm, native, || der.ok()) })
    }

    /// An Ed25519 key, or `None` if the bytes are none.
    pub fn ed25519(x: &[u8]) -> Option<Self> {
        let key = Ed25519PublicKey::from_bytes(x).ok()?;
        Some(Self { rust: RustKey::EdDsa(key), native: None })
    }

    /// A shared secret.
    pub fn hmac(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let rust = match algorithm {
            Algorithm::Hs256 => RustKey::Hs256(HS256Key::from_bytes(secret)),
            Algorithm::Hs384 => RustKey::Hs384(HS384Key::from_bytes(secret)),
            Algorithm::Hs512 => RustKey::Hs512(HS512Key::from_bytes(secret)),
            _ => return None,
        };
        Some(Self { rust, native: None })
    }

    /// Whether this key made the token's signature. What the host cannot tell is
    /// checked in the module.
    pub fn verify(&self, token: &Jws<'_>, host: &dyn Host) -> bool {
        self.verify_natively(token, host).unwrap_or_else(|| self.rust.verify(token))
    }

    /// The same, by the host only; `None` if it cannot tell.
    pub fn verify_natively(&self, token: &Jws<'_>, host: &dyn Host) -> Option<bool> {
        self.native.as_ref()?.verify(token, host)
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
    /// Whether this key made the token's signature.
    fn verify(&self, token: &Jws<'_>) -> bool {
        macro_rules! verified_by {
            ($key:expr) => {
                $key.verify_token::<NoCustomClaims>(token.compact, Some(signature_only())).is_ok()
            };
        }
        match self {
            Self::Rs256(key) => verified_by!(key),
            Self::Rs384(key) => verified_by!(key),
            Self::Rs512(key) => verified_by!(key),
            Self::Ps256(key) => verified_by!(key),
            Self::Ps384(key) => verified_by!(key),
            Self::Ps512(key) => verified_by!(key),
            Self::LargeRsa(algorithm, key) => verify_large_rsa(*algorithm, key, token),
            Self::Es256(key) => verified_by!(key),
            Self::Es384(key) => verified_by!(key),
            Self::EdDsa(key) => verified_by!(key),
            Self::Hs256(key) => verified_by!(key),
            Self::Hs384(key) => verified_by!(key),
            Self::Hs512(key) => verified_by!(key),
        }
    }
}

fn signature_only() -> VerificationOptions {
    VerificationOptions {
        accept_future: true,
        time_tolerance: Some(Duration::from_secs(0)),
        artificial_time: Some(UnixTimeStamp::from_secs(0)),
        ..Default::default()
    }
}

fn verify_large_rsa(algorithm: Algorithm, key: &RsaPublicKey, token: &Jws<'_>) -> bool {
    fn check<D: Digest>(key: &RsaPublicKey, scheme: impl SignatureScheme, token: &Jws<'_>) -> bool {
        key.verify(scheme, &D::digest(token.signing_input()), &token.signature).is_ok()
    }
    match algorithm {
        Algorithm::Rs256 => check::<Sha256>(key, Pkcs1v15Sign::new::<Sha256>(), token),
        Algorithm::Rs384 => check::<Sha384>(key, Pkcs1v15Sign::new::<Sha384>(), token),
        Algorithm::Rs512 => check::<Sha512>(key, Pkcs1v15Sign::new::<Sha512>(), token),
        // The salt is as long as the hash (RFC 7518 section 3.5).
        Algorithm::Ps256 => check::<Sha256>(key, Pss::new_with_salt::<Sha256>(32), token),
        Algorithm::Ps384 => check::<Sha384>(key, Pss::new_with_salt::<Sha384>(48), token),
        Algorithm::Ps512 => check::<Sha512>(key, Pss::new_with_salt::<Sha512>(64), token),
        _ => false,
    }
}
