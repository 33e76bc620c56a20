//! Why a request passed or was refused, and what the client is told.

use std::borrow::Cow;

use mesh_filters_policy::{LocalReply, Monotonic};

macro_rules! reasons {
    (
        of_providers: { $( $(#[doc = $doc:literal])+ $variant:ident = $label:literal ),+ $(,)? }
        of_none: { $( $(#[doc = $none_doc:literal])+ $none:ident = $none_label:literal ),+ $(,)? }
    ) => {
        /// Why a request passed or was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $( $(#[doc = $doc])+ $variant, )+
            $( $(#[doc = $none_doc])+ $none, )+
        }

        impl Reason {
            /// The reasons of a request that a provider judged.
            pub(crate) const OF_PROVIDERS: &[Self] = &[$(Self::$variant),+];

            /// The reasons of a request that no provider was asked about.
            pub(crate) const OF_NONE: &[Self] = &[$(Self::$none),+];

            /// The label of metrics.
            pub const fn label(self) -> &'static str {
                match self {
                    $( Self::$variant => $label, )+
                    $( Self::$none => $none_label, )+
                }
            }

            /// The response detail.
            pub(crate) const fn detail(self) -> &'static str {
                match self {
                    $( Self::$variant => concat!("jwt_auth{", $label, "}"), )+
                    $( Self::$none => concat!("jwt_auth{", $none_label, "}"), )+
                }
            }
        }
    };
}

reasons! {
    of_providers: {
        /// A valid token was presented.
        Ok = "ok",
        /// There is no token.
        Missing = "missing",
        /// Several tokens are needed, and some are there.
        Incomplete = "incomplete",
        /// There are other credentials beside the token.
        Duplicate = "duplicate",
        /// It is no JSON Web Token, or one with a header that must not be followed.
        Malformed = "malformed",
        /// Its `typ` is that of another kind of token.
        Type = "type",
        /// Its algorithm is unknown, not allowed, or not that of its key.
        Algorithm = "algorithm",
        /// Its `iss` is another.
        Issuer = "issuer",
        /// Its `aud` holds none of ours.
        Audience = "audience",
        /// `exp` has passed.
        Expired = "expired",
        /// `nbf` is yet to come.
        NotYetValid = "not_yet_valid",
        /// It lives longer than is accepted, or does not say for how long.
        Lifetime = "lifetime",
        /// No key has its `kid`.
        Kid = "kid",
        /// The keys are yet to be fetched, or too old.
        KeysUnavailable = "keys_unavailable",
        /// The signature is not that of the key.
        Signature = "signature",
        /// It is on the list of those that are refused although they are valid.
        Revoked = "revoked",
        /// The list of those that are refused is yet to be fetched.
        DenyListUnavailable = "deny_list_unavailable",
        /// It is bound to another client certificate than the connection's, or to
        /// none.
        Certificate = "certificate",
        /// It is valid and lacks a scope that the rule asks for.
        Scope = "scope",
        /// It is valid and its claims are not what the rule asks for.
        Claims = "claims",
    }
    of_none: {
        /// The rule asks for no token.
        Anonymous = "anonymous",
        /// The request's path can be read in more than one way.
        Path = "path",
        /// No rule is about this request.
        NoRule = "no_rule",
    }
}

/// Why a token will not do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub reason: Reason,
    /// Until when that may change.
    pub wait: Option<Monotonic>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, wait: None }
    }
}

impl Reason {
    /// Whether nobody can tell whether the request is good.
    pub(crate) fn is_unavailability(self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::DenyListUnavailable)
    }

    /// Whether this refusal tells an operator more than another: that a token
    /// fails tells more than that there is none, and that a valid one does not
    /// suffice tells most.
    pub(crate) fn tells_more_than(self, other: Self) -> bool {
        let rank = |reason| match reason {
            Self::Missing => 0,
            Self::Issuer => 1,
            Self::Scope | Self::Claims => 3,
            _ => 2,
        };
        rank(self) > rank(other)
    }

    /// The answer to a client whose request is refused for this reason.
    ///
    /// A client learns what RFC 6750 section 3.1 has for it and no more: not
    /// which check its token failed, which would help to forge one.
    pub(crate) fn reply(self, realm: Option<&str>) -> LocalReply {
        let (status, error) = match self {
            Self::Missing | Self::Incomplete => (401, None),
            Self::Duplicate | Self::Path => (400, Some("invalid_request")),
            Self::Scope | Self::Claims => (403, Some("insufficient_scope")),
            Self::NoRule => (403, Some("access_denied")),
            // RFC 6749 section 4.1.2.1 has the word. No challenge: other credentials
            // would not help.
            Self::KeysUnavailable | Self::DenyListUnavailable => {
                (503, Some("temporarily_unavailable"))
            }
            _ => (401, Some("invalid_token")),
        };
        let mut headers = vec![("content-type", Cow::Borrowed("application/json"))];
        if let Some(realm) = realm.filter(|_| status != 503) {
            let error = error.map(|error| format!(", error=\"{error}\"")).unwrap_or_default();
            headers.push(("www-authenticate", format!("Bearer realm=\"{realm}\"{error}").into()));
        }
        let error = error.unwrap_or("token_required");
        let body = format!("{{\"error\":\"{error}\"}}\n").into();
        LocalReply { status, headers, body, grpc_status: None }
    }
}
