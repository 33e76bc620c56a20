//! JSON Web Token authentication: which requests may pass, and as whom.
//!
//! A request goes through these steps, each in a module of its own:
//!
//! 1. [`token`] finds the bearer token (RFC 6750);
//! 2. [`jws`] takes it apart and refuses headers that no one should trust
//!    (RFC 7515, RFC 8725);
//! 3. [`claims`] reads the payload and checks issuer, audience and time
//!    (RFC 7519): cheap checks come before costly ones;
//! 4. [`jwk`] chooses the keys that may have signed it (RFC 7517);
//! 5. [`crypto`] checks the signature (RFC 7518, RFC 8037).
//!
//! [`policy`] strings them together behind the rules of the configuration, and
//! [`reason`] turns what happened into the one answer that a client may see.

mod algorithm;
mod claims;
mod config;
mod crypto;
mod jwk;
mod jws;
mod policy;
mod provider;
mod reason;
mod rules;
mod token;

pub use config::Config;
pub use policy::{JwtAuth, JwtStream};
pub use reason::Reason;
