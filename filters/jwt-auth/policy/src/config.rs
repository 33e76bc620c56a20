//! The configuration as it is written.

use std::fmt;
use std::time::Duration;

use mesh_filters_config::{Decode, HeaderName, Identifier, Node, NonEmpty, object};
use mesh_filters_policy::matcher::RequestMatchConfig;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::claims::ClaimPath;

object! {
    /// Configuration of the jwt-auth filter.
    pub struct Config {
        /// Who issues tokens, and how a token of theirs is checked.
        required providers: NonEmpty<Vec<ProviderConfig>>,
        /// What a request needs. The first rule that matches decides; a request
        /// that none matches is refused.
        required rules: NonEmpty<Vec<RuleConfig>>,
    }
}

object! {
    /// An issuer of tokens.
    pub struct ProviderConfig {
        /// The name by which rules, metrics and the `realm` of a challenge call
        /// it.
        required name: Identifier,
        /// What the `iss` claim must be, to the letter.
        required issuer: NonEmpty<String>,
        /// One of these must be in the `aud` claim. Without it, `aud` is not
        /// checked.
        optional audiences: NonEmpty<Vec<NonEmpty<String>>>,
        /// The algorithms that a token may be signed with. Without it, every
        /// asymmetric one; `HS256`, `HS384` and `HS512` only where listed.
        optional algorithms: NonEmpty<Vec<Algorithm>>,
        /// The keys that tokens are signed with.
        required jwks: JwksConfig,
        /// By how much clocks may differ when `exp` and `nbf` are checked.
        default clock_skew: Duration = "60s",
        /// Claims that the upstream gets as request headers.
        default claims_to_headers: Vec<ClaimToHeaderConfig> = [],
    }
}

object! {
    /// Where a provider's keys come from.
    pub struct JwksConfig {
        /// The JSON Web Key Set itself (RFC 7517 section 5).
        required inline: InlineJwks,
    }
}

/// A key set as it stands. Its members are not ours to be strict about: RFC 7517
/// section 5 asks to ignore those that are not understood.
#[derive(Clone)]
pub struct InlineJwks(pub Value);

/// Without the keys: some are secrets.
impl fmt::Debug for InlineJwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineJwks(..)")
    }
}

impl Decode for InlineJwks {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match node.value() {
            Value::Object(_) => Some(Self(node.value().clone())),
            _ => node.expected("a JSON Web Key Set, such as {\"keys\": [...]}"),
        }
    }
}

object! {
    /// A claim that becomes a request header.
    pub struct ClaimToHeaderConfig {
        /// The claim, with dots between the names of nested ones, as in
        /// `realm_access.roles`. A list is joined with commas.
        required claim: ClaimPath,
        /// The header. A client's own header of that name is always removed.
        required header: HeaderName,
    }
}

object! {
    /// What some requests need. Has either `allow` or `require`.
    pub struct RuleConfig {
        /// Which requests.
        required r#match: RequestMatchConfig,
        /// Lets them pass without a token.
        optional allow: AllowConfig,
        /// What they must present.
        optional require: RequireConfig,
    }
}

/// Who passes without a token: `anonymous`, everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowConfig;

impl Decode for AllowConfig {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match node.string()? {
            "anonymous" => Some(Self),
            _ => node.refuse("must be \"anonymous\""),
        }
    }
}

object! {
    /// What a request must present.
    pub struct RequireConfig {
        /// A valid token of this provider, by its name.
        required provider: Identifier,
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{AllowConfig, InlineJwks};

    impl JsonSchema for InlineJwks {
        fn schema_name() -> Cow<'static, str> {
            "JsonWebKeySet".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "object",
                "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
                "required": ["keys"],
            })
        }
    }

    impl JsonSchema for AllowConfig {
        fn schema_name() -> Cow<'static, str> {
            "Allow".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"const": "anonymous"})
        }
    }
}
