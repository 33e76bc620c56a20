//! An issuer of tokens, ready to check them.

use std::time::Duration;

use mesh_filters_config::{Errors, HeaderName, Identifier, NonEmpty};
use mesh_filters_policy::UnixTime;

use crate::algorithm::Algorithm;
use crate::claims::{ClaimPath, Claims};
use crate::config::ProviderConfig;
use crate::jwk::{KeySet, ReadKeySet};
use crate::jws::Jws;
use crate::reason::Reason;

/// A provider whose keys have been read.
pub(crate) struct Provider {
    pub name: Identifier,
    pub claims_to_headers: Vec<(ClaimPath, HeaderName)>,
    issuer: String,
    audiences: Option<Vec<NonEmpty<String>>>,
    algorithms: Vec<Algorithm>,
    keys: KeySet,
    clock_skew: Duration,
}

impl Provider {
    /// Compiles the provider that stands at `providers[index]`. Notes mistakes in
    /// `errors`, in which case there is none, and what can be lived with in
    /// `warnings`.
    pub fn compile(
        index: usize,
        config: &ProviderConfig,
        errors: &Errors,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let algorithms = match &config.algorithms {
            Some(listed) => listed.to_vec(),
            None => Algorithm::ALL.iter().copied().filter(|it| !it.is_symmetric()).collect(),
        };
        let path = format!("providers[{index}].jwks.inline");
        match KeySet::read(&config.jwks.inline.0, &algorithms) {
            Err(problem) => {
                errors.add(path, problem);
                None
            }
            Ok(ReadKeySet { keys, unusable }) => {
                warnings.extend(unusable.into_iter().map(|key| format!("{path}.{key}; left out")));
                Some(Self {
                    name: config.name.clone(),
                    claims_to_headers: config
                        .claims_to_headers
                        .iter()
                        .map(|entry| (entry.claim.clone(), entry.header.clone()))
                        .collect(),
                    issuer: config.issuer.to_string(),
                    audiences: config.audiences.as_ref().map(|audiences| audiences.to_vec()),
                    algorithms,
                    keys,
                    clock_skew: config.clock_skew,
                })
            }
        }
    }

    /// Returns the claims of a token that this provider issued and that is good
    /// now. The cheap checks come first; the signature is checked only of a token
    /// that would pass if it were genuine.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn verify(&self, token: &[u8], now: UnixTime) -> Result<Claims, Reason> {
        let jws = Jws::parse(token)?;
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(Reason::Algorithm);
        }
        let claims = Claims::parse(&jws.payload)?;
        if claims.issuer() != Some(self.issuer.as_str()) {
            return Err(Reason::Issuer);
        }
        if let Some(audiences) = &self.audiences
            && !claims.is_for_one_of(audiences.iter().map(|audience| audience.as_str()))
        {
            return Err(Reason::Audience);
        }
        claims.check_time(now, self.clock_skew)?;
        self.keys.verify(&jws)?;
        Ok(claims)
    }
}
