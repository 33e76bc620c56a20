//! What a host can do, found out and never assumed: it is asked about signatures
//! that are known to be right and wrong.

use mesh_filters_policy::VerifySignature;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::jwk::KeySet;
use crate::jws::Jws;
use crate::native::NativeAlgorithms;

/// One token for each algorithm that a host may know, with its key. The private
/// keys were thrown away.
const KNOWN_SIGNATURES: &str = include_str!("known_signatures.json");

#[derive(Deserialize)]
struct KnownSignature {
    key: Value,
    token: String,
}

/// The algorithms whose signatures this host can tell from wrong ones.
pub(crate) fn native_algorithms(host: &dyn VerifySignature) -> NativeAlgorithms {
    let known: Vec<KnownSignature> = serde_json::from_str(KNOWN_SIGNATURES).unwrap_or_default();
    known.iter().filter_map(|known| known.told_by(host)).collect()
}

impl KnownSignature {
    fn told_by(&self, host: &dyn VerifySignature) -> Option<Algorithm> {
        let right = Jws::parse(self.token.as_bytes()).ok()?;
        let algorithm = right.algorithm;
        let keys = json!({"keys": [self.key]});
        let keys = KeySet::read(&keys, &[algorithm], &NativeAlgorithms::candidates()).ok()?.keys;
        let verifier = keys.only_verifier()?;
        let mut wrong = Jws::parse(self.token.as_bytes()).ok()?;
        *wrong.signature.last_mut()? ^= 1;
        let told_right = verifier.verify_natively(right.signed(), host);
        let told_wrong = verifier.verify_natively(wrong.signed(), host);
        ((told_right, told_wrong) == (Some(true), Some(false))).then_some(algorithm)
    }
}
