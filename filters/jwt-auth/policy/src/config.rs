//! The configuration as it is written.

use std::fmt;
use std::time::Duration;

use mesh_filters_config::{
    ByteSize, Decode, HeaderField, HeaderName, HttpUri, Identifier, MAX_CONFIG_BYTES, Node,
    NonEmpty, object,
};
use mesh_filters_policy::FailureMode;
use mesh_filters_policy::claims::{ClaimMatch, ClaimSelector};
use mesh_filters_policy::matcher::RequestMatch;
use serde_json::Value;

use crate::algorithm::Algorithm;

object! {
    /// Configuration of the jwt-auth filter.
    pub struct Config {
        /// Who issues tokens, and how a token of theirs is checked.
        required providers: NonEmpty<Vec<ProviderConfig>>,
        /// What a request needs. The first rule that matches decides; a request
        /// that none matches is refused.
        required rules: NonEmpty<Vec<RuleConfig>>,
        /// Lets CORS preflight requests pass without a token: `OPTIONS` with
        /// `origin` and `access-control-request-method`. Browsers send them
        /// without credentials.
        default bypass_cors_preflight: bool = false,
        /// Tokens that have been verified, so that a known one costs no
        /// cryptography. Each worker has its own.
        default cache: CacheConfig = {},
        /// Tokens that are refused although they are valid.
        default deny: DenyConfig = {},
        /// Whether later filters can read the claims of verified tokens, as the
        /// property `mesh_filters.jwt`.
        default filter_state: bool = true,
        /// What becomes of a request that cannot be judged: because the keys for its
        /// token are missing, or because the proxy fails the filter. `closed`
        /// answers 503. `open` lets it pass unjudged, with no header of this filter.
        default failure_mode: FailureModeConfig = "closed",
    }
}

/// `closed` or `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureModeConfig(pub FailureMode);

impl Decode for FailureModeConfig {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match node.string()? {
            "closed" => Some(Self(FailureMode::Closed)),
            "open" => Some(Self(FailureMode::Open)),
            _ => node.refuse("must be \"closed\" or \"open\""),
        }
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
        /// Where the token is. The first place that holds one counts.
        default from: NonEmpty<Vec<SourceConfig>> = [{"header": "authorization", "prefix": "Bearer "}],
        /// Whether the upstream gets the token too. Otherwise it is taken out of
        /// where it was found.
        default forward: bool = false,
        /// By how much clocks may differ when `exp` and `nbf` are checked.
        default clock_skew: Duration = "60s",
        /// Whether a token must have `exp`.
        default require_expiration: bool = true,
        /// The longest time between `iat` and `exp` that is accepted. A token
        /// without `iat` is then refused.
        optional max_lifetime: Duration,
        /// The kinds of token that are accepted, by their `typ` header
        /// (RFC 8725 section 3.11). A token without one is a `JWT`.
        default token_types: NonEmpty<Vec<TokenType>> = ["JWT", "at+jwt"],
        /// Whether a token is good only over a connection with the client certificate
        /// that its `cnf` claim names (RFC 8705 section 3.1).
        default bound_to_certificate: bool = false,
        /// Claims that the upstream gets as request headers.
        default claims_to_headers: Vec<ClaimToHeaderConfig> = [],
        /// The header in which the upstream gets the token's payload, in
        /// base64url. A client's own header of that name is always removed.
        optional payload_header: HeaderName,
    }
}

object! {
    /// Where a provider's keys come from: exactly one of `inline`, `remote` and
    /// `discovery`.
    pub struct JwksConfig {
        /// The JSON Web Key Set itself (RFC 7517 section 5).
        optional inline: InlineJwks,
        /// A JSON Web Key Set that is fetched.
        optional remote: RemoteConfig,
        /// The issuer's metadata, which say where its JSON Web Key Set is (OpenID
        /// Connect Discovery 1.0 section 4, RFC 8414 section 3).
        optional discovery: DiscoveryConfig,
    }
}

object! {
    /// A JSON Web Key Set that is fetched, and fetched again in the background.
    pub struct RemoteConfig {
        /// Envoy's cluster that serves it.
        required cluster: NonEmpty<String>,
        /// Its address.
        required uri: HttpUri,
        /// How long an answer may take, and how long a request waits for keys.
        default timeout: Timeout = "2s",
        /// How old the keys may become before they are fetched again.
        default refresh: Refresh = "10m",
        /// How much older than that they may become if they cannot be fetched.
        default max_stale: Duration = "24h",
        /// A longer answer is not read.
        default max_bytes: DocumentSize = "256KiB",
    }
}

object! {
    /// An issuer whose metadata are fetched, and then the keys that they name.
    pub struct DiscoveryConfig {
        /// Envoy's cluster that serves the metadata.
        required cluster: NonEmpty<String>,
        /// The address of the metadata. Their `issuer` must be the provider's.
        required uri: HttpUri,
        /// Envoy's cluster that serves the keys, if the metadata's `jwks_uri` is on
        /// another host. Without it, the keys must be on the same one.
        optional jwks_cluster: NonEmpty<String>,
        /// How long each answer may take, and how long a request waits for keys.
        default timeout: Timeout = "2s",
        /// How old the keys may become before they are fetched again.
        default refresh: Refresh = "10m",
        /// How much older than that they may become if they cannot be fetched.
        default max_stale: Duration = "24h",
        /// A longer answer is not read.
        default max_bytes: DocumentSize = "256KiB",
    }
}

/// How long an answer may take: 10ms to 1m.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub Duration);

impl Decode for Timeout {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let timeout = Duration::decode(node)?;
        if !(Duration::from_millis(10)..=Duration::from_mins(1)).contains(&timeout) {
            return node.refuse("must be between \"10ms\" and \"1m\"");
        }
        Some(Self(timeout))
    }
}

/// How often something is fetched: at most once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh(pub Duration);

impl Decode for Refresh {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let refresh = Duration::decode(node)?;
        if refresh < Duration::from_secs(1) {
            return node.refuse("must be \"1s\" or longer");
        }
        Some(Self(refresh))
    }
}

/// How long a document may be: at most 1MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentSize(pub usize);

impl Decode for DocumentSize {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let ByteSize(size) = ByteSize::decode(node)?;
        if !(1..=MAX_CONFIG_BYTES).contains(&size) {
            return node.refuse("must be between \"1B\" and \"1MiB\"");
        }
        Some(Self(size))
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
    /// A place that may hold the token: exactly one of `header`, `cookie` and
    /// `query`.
    pub struct SourceConfig {
        /// A request header.
        optional header: HeaderField,
        /// What stands before the token in that header, such as `"Bearer "`, in
        /// any case. Without it, the value is the bare token.
        optional prefix: NonEmpty<String>,
        /// A cookie.
        optional cookie: NonEmpty<String>,
        /// A query parameter.
        optional query: NonEmpty<String>,
    }
}

/// A `typ` header that is accepted: `JWT`, or a name that ends in `+jwt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenType(String);

impl TokenType {
    /// The type in lower case, without `application/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Decode for TokenType {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let lower = node.string()?.to_ascii_lowercase();
        let name = lower.strip_prefix("application/").unwrap_or(&lower);
        if name != "jwt" && !name.ends_with("+jwt") {
            return node.refuse("must be \"JWT\" or a type that ends in \"+jwt\"");
        }
        Some(Self(name.into()))
    }
}

object! {
    /// A claim that becomes a request header. A list is joined with commas.
    pub struct ClaimToHeaderConfig {
        /// The claim, with dots between the names of nested ones, as in
        /// `realm_access.roles`. Either this or `claim_path`.
        optional claim: ClaimSelector,
        /// The names of nested claims one by one, for names that hold dots.
        optional claim_path: NonEmpty<Vec<NonEmpty<String>>>,
        /// The header. A client's own header of that name is always removed.
        required header: HeaderName,
    }
}

object! {
    /// What some requests need. Has either `allow` or `require`.
    pub struct RuleConfig {
        /// Which requests.
        required r#match: RequestMatch,
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
    /// What a request must present: exactly one of `provider`, `all` and `any`.
    pub struct RequireConfig {
        /// A valid token of this provider, by its name.
        optional provider: Identifier,
        /// Scopes that its `scope` or `scp` claim must hold, all of them.
        default scopes: Vec<NonEmpty<String>> = [],
        /// What else its claims must say, all of it.
        default claims: Vec<ClaimMatch> = [],
        /// Several tokens, all of them valid.
        optional all: NonEmpty<Vec<TokenConfig>>,
        /// One valid token of several that would do.
        optional any: NonEmpty<Vec<TokenConfig>>,
        /// Lets a request pass that has no token at all. One with a token that
        /// is refused is still refused.
        default allow_missing: bool = false,
    }
}

object! {
    /// A token that must be valid.
    pub struct TokenConfig {
        /// The provider, by its name.
        required provider: Identifier,
        /// Scopes that its `scope` or `scp` claim must hold, all of them.
        default scopes: Vec<NonEmpty<String>> = [],
        /// What else its claims must say, all of it.
        default claims: Vec<ClaimMatch> = [],
    }
}

object! {
    /// The bounds of the cache of verified tokens.
    pub struct CacheConfig {
        /// How many tokens are kept. When it is full the oldest one goes. 0
        /// switches the cache off.
        default entries: Count = 4096,
        /// Longer tokens are verified each time.
        default max_token_bytes: ByteSize = "8KiB",
    }
}

/// A whole number from 0 to 65536.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub usize);

const MAX_COUNT: u64 = 65_536;

impl Decode for Count {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let count = node.value().as_u64().filter(|count| *count <= MAX_COUNT);
        match count.and_then(|count| usize::try_from(count).ok()) {
            Some(count) => Some(Self(count)),
            None => node.refuse(format!("must be a whole number from 0 to {MAX_COUNT}")),
        }
    }
}

object! {
    /// Tokens that are refused although they are valid: those that are listed here,
    /// and those of a list that is fetched.
    pub struct DenyConfig {
        /// By their `jti` claim.
        default jti: Vec<NonEmpty<String>> = [],
        /// By their `sub` claim.
        default sub: Vec<NonEmpty<String>> = [],
        /// Envoy's cluster that serves a list. Goes with `uri`.
        optional cluster: NonEmpty<String>,
        /// The address of the list: JSON with `jti` and `sub`, as here.
        optional uri: HttpUri,
        /// How long an answer may take, and how long a request waits for the first
        /// list.
        default timeout: Timeout = "2s",
        /// How old the list may become before it is fetched again. The last one is
        /// used for as long as there is no other.
        default refresh: Refresh = "1m",
        /// A longer answer is not read.
        default max_bytes: DocumentSize = "1MiB",
    }
}

object! {
    /// A list that is fetched.
    pub struct DenyList {
        /// By their `jti` claim.
        default jti: Vec<NonEmpty<String>> = [],
        /// By their `sub` claim.
        default sub: Vec<NonEmpty<String>> = [],
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{
        AllowConfig, Count, DocumentSize, FailureModeConfig, InlineJwks, MAX_COUNT, Refresh,
        Timeout, TokenType,
    };

    macro_rules! schema {
        ($type:ty, $name:literal, $schema:tt) => {
            impl JsonSchema for $type {
                fn schema_name() -> Cow<'static, str> {
                    $name.into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        };
    }

    schema!(InlineJwks, "JsonWebKeySet", {
        "type": "object",
        "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
        "required": ["keys"],
    });
    schema!(FailureModeConfig, "FailureMode", {"enum": ["closed", "open"]});
    schema!(Timeout, "Timeout", {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"});
    schema!(Refresh, "Refresh", {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"});
    schema!(DocumentSize, "DocumentSize", {"type": "string", "pattern": "^[0-9]+(B|KiB|MiB)$"});
    schema!(AllowConfig, "Allow", {"const": "anonymous"});
    schema!(Count, "Count", {"type": "integer", "minimum": 0, "maximum": MAX_COUNT});
    schema!(TokenType, "TokenType", {"type": "string", "pattern": r"^(.*\+|[Aa]pplication/)?[Jj][Ww][Tt]$"});
}
