//! An issuer of tokens, ready to check them.

use std::rc::Rc;

use ct_codecs::{Decoder, Hex};
use mesh_filters_config::{Errors, HeaderName, Identifier, NonEmpty};
use mesh_filters_policy::claims::ClaimPath;
use mesh_filters_policy::{CalloutError, Env, Headers, Host, HttpResponse};

use crate::algorithm::Algorithm;
use crate::cache::VerifiedTokens;
use crate::claims::{Claims, TimeLimits};
use crate::config::{CacheConfig, ProviderConfig, TokenType};
use crate::denied::Denied;
use crate::jws::Jws;
use crate::keys::{Keys, KeysTurn};
use crate::native::NativeAlgorithms;
use crate::reason::{Reason, Refusal};
use crate::source::Source;

/// The SHA-256 of the client's certificate, in hexadecimal (Envoy's "Attributes").
const CLIENT_CERTIFICATE: &[&str] = &["connection", "sha256_peer_certificate_digest"];

const SHA256_BYTES: usize = 32;

/// An issuer of tokens.
pub(crate) struct Provider {
    pub name: Identifier,
    issuer: String,
    audiences: Option<Vec<NonEmpty<String>>>,
    algorithms: Vec<Algorithm>,
    token_types: Vec<TokenType>,
    keys: Keys,
    limits: TimeLimits,
    sources: Vec<Source>,
    forward: bool,
    bound_to_certificate: bool,
    claims_to_headers: Vec<(ClaimPath, HeaderName)>,
    payload_header: Option<HeaderName>,
    denied: Rc<Denied>,
    verified: VerifiedTokens,
}

/// A token that was found in a request and verified.
pub(crate) struct Verified<'p> {
    provider: &'p Provider,
    source: &'p Source,
    /// Its claims.
    pub claims: Rc<Claims>,
    headers: Vec<(&'p HeaderName, Vec<u8>)>,
}

impl Provider {
    /// Compiles the provider that stands at `providers[index]`. Notes mistakes in
    /// `errors`, in which case there is none, and what can be lived with in
    /// `warnings`.
    pub fn compile(
        index: usize,
        config: &ProviderConfig,
        (cache, denied): (&CacheConfig, &Rc<Denied>),
        native: &Rc<NativeAlgorithms>,
        errors: &Errors,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let path = format!("providers[{index}]");
        let algorithms = match &config.algorithms {
            Some(listed) => listed.to_vec(),
            None => Algorithm::ALL.iter().copied().filter(|it| !it.is_symmetric()).collect(),
        };
        let compile_source =
            |(index, it)| Source::compile(it, &format!("{path}.from[{index}]"), errors);
        let sources = config.from.iter().enumerate().filter_map(compile_source).collect();
        let claims_to_headers = config
            .claims_to_headers
            .iter()
            .enumerate()
            .filter_map(|(index, it)| {
                let at = format!("{path}.claims_to_headers[{index}]");
                let claim =
                    ClaimPath::compile(it.claim.as_ref(), it.claim_path.as_ref(), &at, errors)?;
                Some((claim, it.header.clone()))
            })
            .collect();
        let of_provider = (config.issuer.as_str(), algorithms.as_slice(), native);
        let keys =
            Keys::compile(&config.jwks, of_provider, &format!("{path}.jwks"), errors, warnings)?;
        Some(Self {
            name: config.name.clone(),
            issuer: config.issuer.to_string(),
            audiences: config.audiences.as_ref().map(|audiences| audiences.to_vec()),
            algorithms,
            token_types: config.token_types.to_vec(),
            keys,
            limits: TimeLimits {
                clock_skew: config.clock_skew,
                require_expiration: config.require_expiration,
                max_lifetime: config.max_lifetime,
            },
            sources,
            forward: config.forward,
            bound_to_certificate: config.bound_to_certificate,
            claims_to_headers,
            payload_header: config.payload_header.clone(),
            denied: Rc::clone(denied),
            verified: VerifiedTokens::new(cache),
        })
    }

    /// Returns the token of this provider that the request presents, if it is good
    /// now. The first place that holds one counts.
    ///
    /// # Errors
    /// Why there is none, or why it is refused.
    pub fn authenticate(&self, request: &Headers, env: &Env<'_>) -> Result<Verified<'_>, Refusal> {
        for source in &self.sources {
            let token = match source.find(request) {
                Err(Reason::Missing) => continue,
                found => found?,
            };
            let claims = self.verify(token, env)?;
            let headers = self.headers(token, &claims)?;
            return Ok(Verified { provider: self, source, claims, headers });
        }
        Err(Reason::Missing.into())
    }

    /// Checks a token. The cheap checks come first; the signature is checked only
    /// of a token that would pass if it were genuine and is not known already.
    fn verify(&self, token: &[u8], env: &Env<'_>) -> Result<Rc<Claims>, Refusal> {
        let key = self.verified.key(token);
        let known = key.as_ref().and_then(|key| self.verified.get(key));
        let claims = if let Some(claims) = known {
            claims.check_time(env.now, self.limits)?;
            claims
        } else {
            let claims = Rc::new(self.verify_unknown(token, env)?);
            if let Some(key) = key {
                self.verified.insert(key, Rc::clone(&claims));
            }
            claims
        };
        self.denied.check(&claims).map_err(|reason| Refusal {
            reason,
            wait: match (reason, self.denied.fetched()) {
                (Reason::DenyListUnavailable, Some(list)) => list.wait_for_first(env.host),
                _ => None,
            },
        })?;
        if self.bound_to_certificate && !is_bound(&claims, env) {
            return Err(Reason::Certificate.into());
        }
        Ok(claims)
    }

    fn verify_unknown(&self, token: &[u8], env: &Env<'_>) -> Result<Claims, Refusal> {
        let mut jws = Jws::parse(token)?;
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(Reason::Algorithm.into());
        }
        if !self.token_types.iter().any(|it| it.as_str() == jws.typ()) {
            return Err(Reason::Type.into());
        }
        let claims = Claims::parse(std::mem::take(&mut jws.payload))?;
        if claims.text("iss") != Some(self.issuer.as_str()) {
            return Err(Reason::Issuer.into());
        }
        if let Some(audiences) = &self.audiences
            && !claims.is_for_one_of(audiences.iter().map(|audience| audience.as_str()))
        {
            return Err(Reason::Audience.into());
        }
        claims.check_time(env.now, self.limits)?;
        self.check_signature(&jws, env)?;
        Ok(claims)
    }

    fn check_signature(&self, jws: &Jws<'_>, env: &Env<'_>) -> Result<(), Refusal> {
        let fetched = self.keys.fetched();
        let Some(keys) = self.keys.current() else {
            let wait = fetched.and_then(|fetched| fetched.wait_for_first(env.host));
            return Err(Refusal { reason: Reason::KeysUnavailable, wait });
        };
        keys.verify(jws, env.host).map_err(|reason| Refusal {
            reason,
            wait: match (reason, fetched, &jws.kid) {
                (Reason::Kid, Some(fetched), Some(kid)) => fetched.wait_for_kid(kid, env.host),
                _ => None,
            },
        })
    }

    /// To be called when configuring: has the host share what workers share.
    pub fn prepare(&self, host: &dyn Host) {
        if let Some(fetched) = self.keys.fetched() {
            fetched.prepare(host);
        }
    }

    /// Whether its keys are fetched.
    pub fn fetches_keys(&self) -> bool {
        self.keys.fetched().is_some()
    }

    /// Does what is due about the keys; `None` if nothing ever is.
    pub fn on_tick(&self, env: &Env<'_>) -> Option<KeysTurn> {
        Some(self.take(self.keys.fetched()?.on_tick(env)))
    }

    /// Takes the answer to a request of the last turn.
    pub fn on_answer(
        &self,
        answer: Result<HttpResponse, CalloutError>,
        env: &Env<'_>,
    ) -> Option<KeysTurn> {
        Some(self.take(self.keys.fetched()?.on_answer(answer, env)))
    }

    fn take(&self, turn: KeysTurn) -> KeysTurn {
        if turn.replaced {
            self.verified.clear();
        }
        turn
    }

    fn headers(
        &self,
        token: &[u8],
        claims: &Claims,
    ) -> Result<Vec<(&HeaderName, Vec<u8>)>, Reason> {
        let mut headers = Vec::with_capacity(self.claims_to_headers.len() + 1);
        for (claim, header) in &self.claims_to_headers {
            if let Some(value) = claims.header_value(claim)? {
                headers.push((header, value));
            }
        }
        if let Some(header) = &self.payload_header {
            // Base64url, of a token whose alphabet was checked when it was verified.
            let payload = token.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
            headers.push((header, payload.to_vec()));
        }
        Ok(headers)
    }

    /// Every header that this provider sets.
    pub fn managed_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.claims_to_headers.iter().map(|(_, header)| header).chain(&self.payload_header)
    }
}

/// Whether the connection has the certificate that the token is bound to.
fn is_bound(claims: &Claims, env: &Env<'_>) -> bool {
    let Some(thumbprint) = claims.certificate_thumbprint() else {
        return false;
    };
    let Some(certificate) = env.host.property(CLIENT_CERTIFICATE) else {
        return false;
    };
    // Without a certificate Envoy has an empty text, which is no SHA-256.
    thumbprint.len() == SHA256_BYTES
        && Hex::decode_to_vec(certificate, None).is_ok_and(|it| it == thumbprint)
}

impl Verified<'_> {
    /// What later filters learn of it: whose it is, and its payload.
    pub fn to_share(&self) -> (&str, &[u8]) {
        (self.provider.name.as_str(), self.claims.payload())
    }

    /// Tells the upstream who it is, and keeps the token from it unless it is to
    /// be forwarded.
    pub fn apply(self, request: &mut Headers) {
        if !self.provider.forward {
            self.source.strip(request);
        }
        for (header, value) in self.headers {
            request.set(header.as_str(), value);
        }
    }
}
