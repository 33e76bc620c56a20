//! What clients carry and must not make themselves: HMAC-SHA256 (RFC 2104) with a key
//! that stands in the VM's environment or in the configuration.

use std::fmt;

use hmac::{Hmac, Mac};
use mesh_filters_config::{Errors, NonEmpty};
use mesh_filters_policy::Host;
use sha2::Sha256;

use crate::config::Secret;

/// A shorter key is refused: it would be weaker than the hash (RFC 2104 section 3).
const MIN_KEY_BYTES: usize = 32;

/// The bytes of a code.
pub(crate) const MAC_BYTES: usize = 32;

/// What a code is for. One that was made for another use is not good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    Cookie,
    Override,
}

impl Use {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Cookie => b"mesh-filters canary-routing cookie v1",
            Self::Override => b"mesh-filters canary-routing override v1",
        }
    }
}

/// A key, ready for use.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

/// Without the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// The key with these bytes; `None` if they are too few.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < MIN_KEY_BYTES {
            return None;
        }
        Hmac::new_from_slice(bytes).ok().map(Self)
    }

    /// The key that stands at `path`, in one of two ways.
    pub fn compile(
        key: Option<&Secret>,
        key_env: Option<&NonEmpty<String>>,
        path: &str,
        host: &dyn Host,
        errors: &Errors,
    ) -> Option<Self> {
        let (field, bytes) = match (key, key_env) {
            (Some(Secret(key)), None) => ("key", key.clone()),
            (None, Some(name)) => {
                let Some(value) = host.environment(name) else {
                    errors.add(
                        format_args!("{path}.key_env"),
                        format!(
                            "there is no \"{}\" in the environment of the VM; set it in \
                             vm_config.environment_variables",
                            name.as_str()
                        ),
                    );
                    return None;
                };
                ("key_env", value)
            }
            _ => {
                errors.add_about_fields(path, "must have either \"key\" or \"key_env\"");
                return None;
            }
        };
        let compiled = Self::new(bytes.as_bytes());
        if compiled.is_none() {
            errors.add(
                format_args!("{path}.{field}"),
                format!("must have at least {MIN_KEY_BYTES} bytes, has {}", bytes.len()),
            );
        }
        compiled
    }

    fn mac(&self, r#use: Use, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in std::iter::once(&r#use.label()).chain(parts) {
            mac.update(part);
            // No part holds a NUL but the last, so parts cannot be shifted.
            mac.update(&[0]);
        }
        mac
    }

    /// The code over `parts`. None but the last may hold a NUL.
    pub fn sign(&self, r#use: Use, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        self.mac(r#use, parts).finalize().into_bytes().into()
    }

    /// Whether `code` is the one over `parts`. Takes as long for every wrong one.
    pub fn verifies(&self, r#use: Use, parts: &[&[u8]], code: &[u8]) -> bool {
        self.mac(r#use, parts).verify_slice(code).is_ok()
    }
}
