//! JSON Web Token authentication: which requests may pass, and as whom.
//!
//! A request goes through these steps, each in a module of its own:
//!
//! 1. [`source`] finds the token (RFC 6750);
//! 2. [`jws`] takes it apart and refuses headers that no one should trust
//!    (RFC 7515, RFC 8725);
//! 3. [`claims`] reads the payload and checks issuer, audience and time
//!    (RFC 7519): cheap checks come before costly ones;
//! 4. [`cache`] knows the tokens whose signature was checked before;
//! 5. [`jwk`] chooses the keys that may have signed it (RFC 7517);
//! 6. [`crypto`] checks the signature (RFC 7518, RFC 8037), or has the host do it
//!    ([`native`]).
//!
//! [`verifier`] does the last two alone, for who has no claims to check.
//!
//! [`rules`] say which requests need which tokens, [`policy`] strings it together, and
//! [`reason`] turns what happened into the one answer that a client may see.

mod algorithm;
mod cache;
mod claims;
mod config;
mod crypto;
mod denied;
mod jwk;
mod jws;
mod keys;
mod native;
mod policy;
mod probe;
mod provider;
mod reason;
mod rules;
mod source;
mod verifier;

pub use algorithm::Algorithm;
pub use config::Config;
pub use policy::{JwtAuth, JwtStream};
pub use reason::Reason;
pub use verifier::SignatureVerifier;
