//! Tokens that are refused although they are valid.

use std::collections::HashSet;

use crate::claims::Claims;
use crate::config::DenyConfig;
use crate::reason::Reason;

/// What revokes a token. Looked at on every request, so looking must not take
/// longer with every entry.
pub(crate) struct Denied {
    jti: HashSet<String>,
    sub: HashSet<String>,
}

impl Denied {
    pub fn new(config: &DenyConfig) -> Self {
        Self {
            jti: config.jti.iter().map(|jti| jti.to_string()).collect(),
            sub: config.sub.iter().map(|sub| sub.to_string()).collect(),
        }
    }

    /// Checks the claims of a valid token.
    ///
    /// # Errors
    /// [`Reason::Revoked`].
    pub fn check(&self, claims: &Claims) -> Result<(), Reason> {
        let holds = |list: &HashSet<String>, name| {
            claims.text(name).is_some_and(|value| list.contains(value))
        };
        if holds(&self.jti, "jti") || holds(&self.sub, "sub") {
            return Err(Reason::Revoked);
        }
        Ok(())
    }
}
