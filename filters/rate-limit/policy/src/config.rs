//! The configuration as it is written.

use std::time::Duration;

use mesh_filters_config::{Bounded, Decode, HeaderField, Identifier, Node, NonEmpty, object};
use mesh_filters_policy::claims::ClaimSelector;
use mesh_filters_policy::matcher::RequestMatch;

object! {
    /// Configuration of the rate-limit filter.
    pub struct Config {
        /// What is limited. All limits that match a request must admit it.
        required limits: NonEmpty<Vec<LimitConfig>>,
        /// Other rates for some keys.
        default overrides: Vec<OverrideConfig> = [],
        /// Which headers tell a client what it has left.
        default headers: HeadersConfig = "ietf",
        /// What a request gets that is refused.
        default reply: ReplyConfig = {},
        /// How many keys are counted apart at once, of all limits together.
        default capacity: Bounded<1024, 1_048_576> = 65536,
    }
}

object! {
    /// A limit.
    pub struct LimitConfig {
        /// The name by which metrics, headers and overrides call it.
        required name: Identifier,
        /// Which requests it is about; all, without it. A request whose path can be
        /// read in more than one way fits every `path`.
        default r#match: RequestMatch = {},
        /// What tells clients apart: all parts together. Without it there is one
        /// client.
        default key: Vec<KeyPartConfig> = [],
        /// What becomes of a request that lacks a part of the key: it is refused
        /// (`deny`), not counted (`skip`), or counted with all such (`share`).
        default missing_key: MissingKey = "skip",
        /// How much a client may do. Exactly one of this, `rates` and `concurrency`.
        optional rate: RateConfig,
        /// The same several times; all must hold.
        optional rates: NonEmpty<Vec<RateConfig>>,
        /// How many requests of a client may be in flight at once.
        optional concurrency: Bounded<1, 1_000_000_000>,
        /// Who counts together: all workers of this Envoy (`host`), or each for itself
        /// (`worker`).
        default scope: Scope = "host",
        /// What a request costs, if not 1.
        optional cost: CostConfig,
        /// What is charged once the response is known.
        optional charge_response: ChargeConfig,
        /// Only counts what it would refuse.
        default shadow: bool = false,
    }
}

object! {
    /// A part of a key: exactly one of its fields.
    pub struct KeyPartConfig {
        /// The client's address.
        optional client_ip: ClientIpConfig,
        /// A request header.
        optional header: HeaderField,
        /// A cookie.
        optional cookie: NonEmpty<String>,
        /// A query parameter.
        optional query: NonEmpty<String>,
        /// A claim that an earlier filter has verified, with dots between the names of
        /// nested ones.
        optional claim: ClaimSelector,
    }
}

object! {
    /// The client's address, or the network it is in.
    pub struct ClientIpConfig {
        /// How many proxies of one's own stand between the client and this one, each
        /// of which adds an entry to `x-forwarded-for`. With 0, or where there are
        /// fewer entries, the address is that of the connection.
        default trusted_hops: Bounded<0, 16> = 0,
        /// How many bits of an IPv4 address count.
        default ipv4_prefix: Bounded<0, 32> = 32,
        /// How many bits of an IPv6 address count. A client usually has 64 of its own.
        default ipv6_prefix: Bounded<0, 128> = 64,
    }
}

object! {
    /// So many requests in so much time.
    pub struct RateConfig {
        /// How many.
        required requests: Bounded<1, 1_000_000_000>,
        /// In how much time.
        required per: Duration,
        /// How many of them may come at once after a pause; as many as `requests`,
        /// without it.
        optional burst: Bounded<1, 1_000_000_000>,
    }
}

object! {
    /// What a request costs.
    pub struct CostConfig {
        /// The header that says so: a whole number from 1 on. It is taken at its word,
        /// so it should be one that clients cannot send.
        required request_header: HeaderField,
        /// The cost where that header is missing or no such number.
        default default: Bounded<1, 1_000_000> = 1,
        /// A higher cost counts as this one.
        required max: Bounded<1, 1_000_000>,
    }
}

object! {
    /// What is charged once the response is known.
    pub struct ChargeConfig {
        /// The response header that says how much: a whole number.
        required header: HeaderField,
        /// A higher one counts as this one.
        required max: Bounded<1, 1_000_000_000>,
    }
}

object! {
    /// Other rates for one key of a limit.
    pub struct OverrideConfig {
        /// The limit, by its name.
        required limit: Identifier,
        /// The key: the value of each part, in their order.
        required key: NonEmpty<Vec<String>>,
        /// How much this client may do. Exactly one of this, `rates` and
        /// `concurrency`, which must be what the limit has too.
        optional rate: RateConfig,
        /// The same several times; all must hold.
        optional rates: NonEmpty<Vec<RateConfig>>,
        /// How many of its requests may be in flight at once.
        optional concurrency: Bounded<1, 1_000_000_000>,
    }
}

object! {
    /// What a request gets that is refused.
    pub struct ReplyConfig {
        /// The status.
        default status: Bounded<400, 599> = 429,
        /// The body.
        default body: String = "{\"error\":\"rate limited\"}",
        /// The body's type.
        default content_type: NonEmpty<String> = "application/json",
    }
}

macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $( $(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal ),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $variant_doc])+ $variant ),+
        }

        impl Decode for $name {
            fn decode(node: &Node<'_>) -> Option<Self> {
                match node.string()? {
                    $( $word => Some(Self::$variant), )+
                    _ => {
                        let words = [$($word),+].join("\", \"");
                        node.refuse(format!("must be one of \"{words}\""))
                    }
                }
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"enum": [$($word),+]})
            }
        }
    };
}

words! {
    /// What becomes of a request that lacks a part of the key.
    MissingKey {
        /// It is refused.
        Deny = "deny",
        /// It is not counted.
        Skip = "skip",
        /// It is counted with all such.
        Share = "share",
    }
}

words! {
    /// Who counts together.
    Scope {
        /// All workers of this Envoy.
        Host = "host",
        /// Each worker for itself.
        Worker = "worker",
    }
}

words! {
    /// Which headers tell a client what it has left.
    HeadersConfig {
        /// `RateLimit` and `RateLimit-Policy`.
        Ietf = "ietf",
        /// `x-ratelimit-limit`, `-remaining` and `-reset`.
        Legacy = "legacy",
        /// None.
        None = "none",
    }
}
