//! Signatures alone: what a key set vouches for, whatever it says.
//!
//! Test vectors have payloads that are no claims, and messages that are no tokens.
//! This is how they reach the code that checks the tokens of requests.

use mesh_filters_policy::VerifySignature;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::crypto::Signed;
use crate::jwk::{KeySet, ReadKeySet};
use crate::jws::Jws;
use crate::probe;
use crate::reason::Reason;

/// A key set, and the algorithms that it may be used with.
pub struct SignatureVerifier {
    keys: KeySet,
    algorithms: Vec<Algorithm>,
    unusable: Vec<String>,
}

impl SignatureVerifier {
    /// Reads a JSON Web Key Set (RFC 7517 section 5) to be used with `algorithms`.
    /// `host` is asked what it can do.
    ///
    /// # Errors
    /// A sentence that says why, if there is no usable key in it.
    pub fn new(
        jwks: &Value,
        algorithms: &[Algorithm],
        host: &dyn VerifySignature,
    ) -> Result<Self, String> {
        let native = probe::native_algorithms(host);
        let ReadKeySet { keys, unusable } = KeySet::read(jwks, algorithms, &native)?;
        Ok(Self { keys, algorithms: algorithms.to_vec(), unusable })
    }

    /// The keys that were left out, and why.
    pub fn unusable(&self) -> &[String] {
        &self.unusable
    }

    /// Returns the payload of a JWS in its compact serialization (RFC 7515 section
    /// 3.1), if one of the keys made its signature.
    ///
    /// # Errors
    /// [`Reason::Malformed`], [`Reason::Algorithm`], [`Reason::Kid`] or
    /// [`Reason::Signature`].
    pub fn verify(&self, token: &[u8], host: &dyn VerifySignature) -> Result<Vec<u8>, Reason> {
        let jws = Jws::parse(token)?;
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(Reason::Algorithm);
        }
        self.keys.verify(&jws, host)?;
        Ok(jws.payload)
    }

    /// Checks the signature of any bytes, which is what RFC 7515 section 5.2 comes
    /// down to.
    ///
    /// # Errors
    /// [`Reason::Algorithm`] if none of the keys is for the algorithm,
    /// [`Reason::Signature`] if none made the signature.
    pub fn verify_bytes(
        &self,
        algorithm: Algorithm,
        signing_input: &[u8],
        signature: &[u8],
        host: &dyn VerifySignature,
    ) -> Result<(), Reason> {
        self.keys.verify_signed(None, algorithm, Signed { signing_input, signature }, host)
    }
}
