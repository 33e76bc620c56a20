//! Envoy's foreign functions.

use mesh_filters_policy::SignatureCheck;
use prost::Message;

use crate::host;

/// `envoy.source.extensions.common.wasm.VerifySignatureArguments`.
#[derive(Message)]
struct VerifySignatureArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
}

/// `envoy.source.extensions.common.wasm.VerifySignatureResult`.
#[derive(Message)]
struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    result: bool,
}

/// Whether the signature is right; `None` if the host cannot tell.
pub(crate) fn verify_signature(check: &SignatureCheck<'_>) -> Option<bool> {
    let arguments = VerifySignatureArguments {
        hash_function: check.hash.into(),
        public_key: check.public_key.into(),
        signature: check.signature.into(),
        text: check.message.into(),
    };
    let answer = host::call_foreign_function("verify_signature", &arguments.encode_to_vec());
    let result = VerifySignatureResult::decode(answer.ok()?.as_slice()).ok()?;
    Some(result.result)
}
