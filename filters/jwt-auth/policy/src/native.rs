//! Signatures, checked by the host.
//!
//! Envoy's `verify_signature` runs native code outside of the VM, which takes a
//! small part of the time that Rust takes inside of it. RSASSA-PSS and Ed25519 have
//! no place in its interface.

use mesh_filters_policy::{SignatureCheck, VerifySignature};

use crate::algorithm::Algorithm;
use crate::crypto::Signed;

/// The algorithms that the host checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NativeAlgorithms(Vec<Algorithm>);

impl NativeAlgorithms {
    /// Every algorithm that a host may know.
    pub fn candidates() -> Self {
        use Algorithm::{Es256, Es384, Rs256, Rs384, Rs512};
        Self(vec![Rs256, Rs384, Rs512, Es256, Es384])
    }

    pub fn contains(&self, algorithm: Algorithm) -> bool {
        self.0.contains(&algorithm)
    }

    /// A sentence for the log.
    pub fn describe(&self) -> String {
        if self.0.is_empty() {
            return "the host has no verify_signature; signatures are checked in the module".into();
        }
        let names: Vec<_> = self.0.iter().map(|algorithm| algorithm.name()).collect();
        format!("the host checks {} signatures, the module the others", names.join(", "))
    }
}

impl FromIterator<Algorithm> for NativeAlgorithms {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        Self(algorithms.into_iter().collect())
    }
}

/// A key as the host takes it.
pub(crate) struct NativeKey {
    pub hash: &'static str,
    /// DER-encoded `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
    pub encoding: SignatureEncoding,
}

/// How a JWS signature becomes what the host takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SignatureEncoding {
    /// RSASSA-PKCS1-v1_5: as it is.
    AsIs,
    /// ECDSA on P-256: r and s (RFC 7518 section 3.4), to be encoded as DER.
    P256,
    /// ECDSA on P-384: the same.
    P384,
}

impl NativeKey {
    /// Whether this key made the signature; `None` if the host cannot tell.
    pub fn verify(&self, signed: Signed<'_>, host: &dyn VerifySignature) -> Option<bool> {
        let Signed { signing_input, signature } = signed;
        let der = match self.encoding {
            SignatureEncoding::AsIs => None,
            SignatureEncoding::P256 => {
                match p256::ecdsa::Signature::from_slice(signature) {
                    Ok(signature) => Some(signature.to_der().as_bytes().to_vec()),
                    // No pair of numbers that a signature could be.
                    Err(_) => return Some(false),
                }
            }
            SignatureEncoding::P384 => match p384::ecdsa::Signature::from_slice(signature) {
                Ok(signature) => Some(signature.to_der().as_bytes().to_vec()),
                Err(_) => return Some(false),
            },
        };
        host.verify_signature(&SignatureCheck {
            hash: self.hash,
            public_key: &self.public_key,
            signature: der.as_deref().unwrap_or(signature),
            message: signing_input,
        })
    }
}
