//! Signatures, checked by the host.
//!
//! Envoy's `verify_signature` runs native code outside of the VM, which takes a
//! small part of the time that Rust takes inside of it. Which algorithms a host can
//! check is found out when the filter is configured, by asking it about signatures
//! that are known to be right and wrong; it is never assumed. RSASSA-PSS and Ed25519
//! have no place in its interface.

use mesh_filters_policy::{Host, SignatureCheck};
use serde::Deserialize;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::jwk::KeySet;
use crate::jws::Jws;

/// One token for each algorithm that a host may know, with its key. The private
/// keys were thrown away.
const KNOWN_SIGNATURES: &str = include_str!("known_signatures.json");

#[derive(Deserialize)]
struct KnownSignature {
    key: Value,
    token: String,
}

/// The algorithms that the host checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NativeAlgorithms(Vec<Algorithm>);

impl NativeAlgorithms {
    /// Every algorithm that a host may know.
    const CANDIDATES: [Algorithm; 5] =
        [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Es256, Algorithm::Es384];

    /// Asks the host.
    pub fn find(host: &dyn Host) -> Self {
        let known: Vec<KnownSignature> = serde_json::from_str(KNOWN_SIGNATURES).unwrap_or_default();
        Self(known.iter().filter_map(|known| known.checked_by(host)).collect())
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

impl KnownSignature {
    /// The algorithm, if the host tells this signature from a wrong one.
    fn checked_by(&self, host: &dyn Host) -> Option<Algorithm> {
        let right = Jws::parse(self.token.as_bytes()).ok()?;
        let algorithm = right.algorithm;
        let native = NativeAlgorithms(NativeAlgorithms::CANDIDATES.to_vec());
        let keys = serde_json::json!({"keys": [self.key]});
        let keys = KeySet::read(&keys, &[algorithm], &native).ok()?.keys;
        let verifier = keys.only_verifier()?;
        let mut wrong = Jws::parse(self.token.as_bytes()).ok()?;
        *wrong.signature.last_mut()? ^= 1;
        let answers =
            (verifier.verify_natively(&right, host), verifier.verify_natively(&wrong, host));
        (answers == (Some(true), Some(false))).then_some(algorithm)
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
    /// Whether this key made the token's signature; `None` if the host cannot
    /// tell.
    pub fn verify(&self, token: &Jws<'_>, host: &dyn Host) -> Option<bool> {
        let signature = token.signature.as_slice();
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
            message: token.signing_input(),
        })
    }
}
