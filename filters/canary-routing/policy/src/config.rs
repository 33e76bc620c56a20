//! The configuration as it is written.

use std::fmt;
use std::time::Duration;

use mesh_filters_config::{
    Bounded, Decode, HeaderField, HeaderName, Identifier, Moment, Node, NonEmpty, Percentage,
    Ratio, object,
};
use mesh_filters_policy::claims::ClaimSelector;
use mesh_filters_policy::matcher::Condition;

object! {
    /// Configuration of the canary-routing filter.
    pub struct Config {
        /// The request header that tells the route table which variant was chosen. A
        /// client's own header of that name is always removed.
        default route_header: HeaderName = "x-mesh-variant",
        /// The experiments, in order. Of those that set the same header, the first one
        /// that matches a request decides.
        required experiments: Vec<ExperimentConfig>,
    }
}

object! {
    /// Which requests get which variant of what is behind the proxy.
    pub struct ExperimentConfig {
        /// The name by which metrics, log lines and signed overrides call it.
        required name: Identifier,
        /// Which requests it is about. `{}` is all of them.
        default r#match: Condition = {},
        /// The header it sets, if not `route_header`.
        optional header: HeaderName,
        /// Rules that choose a variant before any weight does. The first that matches
        /// decides.
        default assign: Vec<AssignConfig> = [],
        /// The variants, and what share of the requests each gets that no rule chooses
        /// one for. Together they are 100.
        required weights: NonEmpty<Vec<WeightConfig>>,
        /// How a client keeps its variant. Without it, each request is drawn anew.
        optional sticky: StickyConfig,
        /// Raises the weight of one variant over time.
        optional ramp: RampConfig,
        /// Takes a variant out that fails more, or is slower, than another.
        optional guard: GuardConfig,
        /// Lets testers choose a variant by a signed header.
        optional r#override: OverrideConfig,
        /// The kill switch: with `false`, the filter acts as if the experiment were not
        /// there, but still removes its headers from requests.
        default enabled: bool = true,
        /// Decides and counts, and changes nothing.
        default shadow: bool = false,
        /// The response header that tells the client which variant it got.
        optional response_header: HeaderName,
    }
}

object! {
    /// A rule that chooses a variant.
    pub struct AssignConfig {
        /// Which requests.
        required when: Condition,
        /// Their variant.
        required variant: Identifier,
    }
}

object! {
    /// A variant and its share.
    pub struct WeightConfig {
        /// The variant.
        required variant: Identifier,
        /// Its share in percent.
        required weight: Percentage,
    }
}

object! {
    /// How a client keeps its variant.
    pub struct StickyConfig {
        /// What a client is known by. The first that a request has counts.
        required by: NonEmpty<Vec<StickyKeyConfig>>,
        /// Makes this experiment's choice independent of others'. Experiments with the
        /// same salt put the same clients first.
        required salt: NonEmpty<String>,
        /// The cookie that a client gets which is known by nothing else.
        optional cookie: CookieConfig,
    }
}

object! {
    /// What a client is known by: exactly one of these.
    pub struct StickyKeyConfig {
        /// A claim that an earlier filter has verified, with dots between the names of
        /// nested ones.
        optional claim: ClaimSelector,
        /// The names of nested claims one by one, for names that hold dots.
        optional claim_path: NonEmpty<Vec<NonEmpty<String>>>,
        /// A request header.
        optional header: HeaderField,
        /// A cookie: the filter's own, or one that is taken as it stands.
        optional cookie: NonEmpty<String>,
    }
}

object! {
    /// The filter's own cookie. Its value is signed, so that no client chooses its
    /// bucket.
    pub struct CookieConfig {
        /// Its name.
        required name: CookieName,
        /// How long it is good for. It is renewed when half of that is over.
        default ttl: Duration = "30d",
        /// Whether browsers send it over HTTPS only.
        default secure: bool = true,
        /// Whether it is kept from scripts.
        default http_only: bool = true,
        /// Whether browsers send it with requests from other sites.
        default same_site: SameSite = "lax",
        /// The path below which browsers send it.
        default path: CookiePath = "/",
        /// The key it is signed with, of 32 bytes or more.
        optional key: Secret,
        /// The variable of the VM's environment that holds the key.
        optional key_env: NonEmpty<String>,
    }
}

object! {
    /// Raises the weight of one variant over time. The others share the rest as their
    /// weights are to each other. Before `start`, the weights are as they are written.
    pub struct RampConfig {
        /// The variant.
        required variant: Identifier,
        /// Its weight at `start`, in percent.
        required from: Percentage,
        /// Its weight at the end, in percent.
        required to: Percentage,
        /// When it begins.
        required start: Moment,
        /// How long it takes.
        required over: Duration,
        /// In how many equal steps. Without it, the weight rises evenly.
        optional steps: Bounded<1, 1000>,
    }
}

object! {
    /// Takes a variant out that does worse than another, in this proxy.
    pub struct GuardConfig {
        /// The variant.
        required variant: Identifier,
        /// The one that it is compared to.
        required compare_to: Identifier,
        /// The most of its requests that may fail, in percent. It must also fail more
        /// than the other.
        optional max_error_rate: Percentage,
        /// How many times as long as the other it may take on average.
        optional max_latency_ratio: Ratio,
        /// With fewer requests in a window nothing is decided.
        default min_requests: Bounded<1, 1_000_000> = 50,
        /// The time over which requests are counted.
        default window: Duration = "30s",
        /// How long the variant is left out.
        default cool_down: Duration = "5m",
        /// The response header that says so while the variant is left out or tried
        /// again: `tripped` or `trial`.
        optional response_header: HeaderName,
    }
}

object! {
    /// Lets testers choose a variant by a signed header.
    pub struct OverrideConfig {
        /// The request header. It never reaches the upstream.
        required header: HeaderName,
        /// The key it is signed with, of 32 bytes or more.
        optional key: Secret,
        /// The variable of the VM's environment that holds the key.
        optional key_env: NonEmpty<String>,
    }
}

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Decode for Secret {
    fn decode(node: &Node<'_>) -> Option<Self> {
        node.string().map(|text| Self(text.into()))
    }
}

/// The name of a cookie that the filter sets: a token (RFC 6265 section 4.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieName(String);

impl CookieName {
    /// The name as it is written; names of cookies are case-sensitive.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Decode for CookieName {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let name = node.string()?;
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return node.refuse("must be the name of a cookie, such as \"mesh_bucket\"");
        }
        Some(Self(name.into()))
    }
}

/// The `Path` of a cookie (RFC 6265 section 4.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookiePath(String);

impl CookiePath {
    /// The path, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Decode for CookiePath {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let path = node.string()?;
        let fits = path.starts_with('/')
            && path.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b';');
        if !fits {
            return node.refuse("must be a path such as \"/\", in ASCII and without \";\"");
        }
        Some(Self(path.into()))
    }
}

/// Whether browsers send a cookie with requests from other sites (RFC 6265bis
/// section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// With links that are followed.
    Lax,
    /// Always.
    None,
}

impl SameSite {
    /// The attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

impl Decode for SameSite {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match node.string()? {
            "strict" => Some(Self::Strict),
            "lax" => Some(Self::Lax),
            "none" => Some(Self::None),
            _ => node.refuse("must be \"strict\", \"lax\" or \"none\""),
        }
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{CookieName, CookiePath, SameSite, Secret};

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

    schema!(Secret, "Secret", {"type": "string", "minLength": 1});
    schema!(CookieName, "CookieName", {"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"});
    schema!(CookiePath, "CookiePath", {"type": "string", "pattern": "^/[ -:<-~]*$"});
    schema!(SameSite, "SameSite", {"enum": ["strict", "lax", "none"]});
}
