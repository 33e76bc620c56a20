//! Claims of verified tokens: which one is meant, what is asked of it, and how it
//! gets from the filter that verified the token to those behind it.
//!
//! A filter that has verified tokens leaves their claims in the property
//! [`PROPERTY`], which Envoy keeps in the filter state of the request: no client can
//! write there, and the upstream does not see it. Its value is a JSON list, one
//! object for each token, in the order of the rule that asked for them:
//!
//! ```json
//! [{"provider": "corp", "claims": {"iss": "https://idp.example.com/", "sub": "alice"}}]
//! ```

mod matching;
mod path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::host::Host;

pub use matching::{ClaimCondition, ClaimMatch, Scalar};
pub use path::{ClaimPath, ClaimSelector};

/// The property that holds the claims of the verified tokens of a request.
pub const PROPERTY: &str = "mesh_filters.jwt";

/// The claims of the verified tokens of a request. Empty where there are none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VerifiedClaims(Vec<OfProvider>);

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct OfProvider {
    claims: Map<String, Value>,
}

impl VerifiedClaims {
    /// What an earlier filter has verified.
    pub fn of_request(host: &dyn Host) -> Self {
        let shared = host.property(&[PROPERTY]).unwrap_or_default();
        Self(serde_json::from_slice(&shared).unwrap_or_default())
    }

    /// The claim of the first token that has it.
    pub fn find(&self, path: &ClaimPath) -> Option<&Value> {
        self.0.iter().find_map(|token| path.find(&token.claims))
    }

    /// Whether a token's claims meet the condition. Where there is no token, no claim
    /// is there.
    pub fn meet(&self, condition: &ClaimCondition) -> bool {
        if self.0.is_empty() {
            return condition.is_met(&Map::new());
        }
        self.0.iter().any(|token| condition.is_met(&token.claims))
    }
}

/// The value of [`PROPERTY`] for tokens of these providers with these payloads, which
/// are JSON objects.
pub fn property_value<'a>(tokens: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut value = b"[".to_vec();
    for (provider, payload) in tokens {
        if value.len() > 1 {
            value.push(b',');
        }
        // The name is an identifier, which JSON does not escape.
        value.extend(b"{\"provider\":\"");
        value.extend(provider.as_bytes());
        value.extend(b"\",\"claims\":");
        value.extend(payload);
        value.push(b'}');
    }
    value.push(b']');
    value
}
