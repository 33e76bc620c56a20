//! The signature algorithms that can be asked for.

use mesh_filters_config::{Decode, Node};

macro_rules! algorithms {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $name:literal ),+ $(,)?) => {
        /// A JWS algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
        /// `none` is not one of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Algorithm {
            $( $(#[doc = $doc])+ $variant ),+
        }

        impl Algorithm {
            /// Every algorithm.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name, as `alg` has it.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $name ),+
                }
            }
        }
    };
}

algorithms! {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 = "RS256",
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384 = "RS384",
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512 = "RS512",
    /// RSASSA-PSS with SHA-256.
    Ps256 = "PS256",
    /// RSASSA-PSS with SHA-384.
    Ps384 = "PS384",
    /// RSASSA-PSS with SHA-512.
    Ps512 = "PS512",
    /// ECDSA on P-256 with SHA-256.
    Es256 = "ES256",
    /// ECDSA on P-384 with SHA-384.
    Es384 = "ES384",
    /// Ed25519.
    EdDsa = "EdDSA",
    /// HMAC with SHA-256.
    Hs256 = "HS256",
    /// HMAC with SHA-384.
    Hs384 = "HS384",
    /// HMAC with SHA-512.
    Hs512 = "HS512",
}

impl Algorithm {
    /// The algorithm of that name. Names are case-sensitive (RFC 7515 section
    /// 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// Whether whoever can verify can also sign. Such an algorithm is used only
    /// where a provider lists it: were it on by default, a public key could be
    /// taken for a shared secret (RFC 8725 section 2.1).
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl Decode for Algorithm {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let name = node.string()?;
        Self::from_name(name).or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|algorithm| algorithm.name()).collect();
            node.refuse(format!("must be one of {}", names.join(", ")))
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Algorithm {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Algorithm".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<_> = Self::ALL.iter().map(|algorithm| algorithm.name()).collect();
        schemars::json_schema!({"type": "string", "enum": names})
    }
}
