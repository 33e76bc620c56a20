//! The policy: one request in, one decision out.

use std::rc::Rc;

use mesh_filters_config::{ConfigErrors, Errors, HeaderField, HeaderName, compile};
use mesh_filters_policy::{
    Configured, CounterId, Env, FailureMode, Headers, Host, Policy, RequestPath, Stream, Verdict,
    is_spelling_of,
};

use crate::config::{Config, ProviderConfig};
use crate::denied::Denied;
use crate::native::NativeAlgorithms;
use crate::probe;
use crate::provider::{Provider, Verified};
use crate::reason::Reason;
use crate::rules::{Mode, Requirement, Rules, TokenRequirement, TokenRequirements};

/// JSON Web Token authentication, configured.
#[derive(Clone)]
pub struct JwtAuth(Rc<Compiled>);

struct Compiled {
    providers: Vec<Provider>,
    rules: Rules,
    bypass_cors_preflight: bool,
    /// Every header that any provider sets, whichever rule applies.
    managed: Vec<HeaderName>,
}

/// Which provider refused a request, and why.
type Refusal = (usize, Reason);

/// One request's passage through [`JwtAuth`].
pub struct JwtStream(Rc<Compiled>);

impl Policy for JwtAuth {
    type Stream = JwtStream;

    const NAME: &'static str = "jwt-auth";

    fn configure(config: &[u8], host: &dyn Host) -> Result<Configured<Self>, ConfigErrors> {
        let native = probe::native_algorithms(host);
        compile(config, |config: Config, errors| {
            let mut warnings = Vec::new();
            let compiled = Compiled::new(&config, &native, errors, &mut warnings);
            let notes = vec![native.describe()];
            Some(Configured { policy: Self(Rc::new(compiled)), warnings, notes })
        })
    }

    fn counters(&self) -> Vec<String> {
        let of_providers = self.0.providers.iter().flat_map(|provider| {
            let name = provider.name.as_str();
            Reason::OF_PROVIDERS.iter().map(move |reason| {
                format!("jwt_auth.requests.provider.{name}.reason.{}", reason.label())
            })
        });
        let of_none = Reason::OF_NONE
            .iter()
            .map(|reason| format!("jwt_auth.requests.reason.{}", reason.label()));
        of_providers.chain(of_none).collect()
    }

    fn failure_mode(&self) -> FailureMode {
        FailureMode::Closed
    }

    fn stream(&self) -> JwtStream {
        JwtStream(Rc::clone(&self.0))
    }
}

fn check_names_are_unique(providers: &[ProviderConfig], errors: &Errors) {
    for (index, provider) in providers.iter().enumerate() {
        if providers.iter().take(index).any(|earlier| earlier.name == provider.name) {
            errors.add(
                format_args!("providers[{index}].name"),
                format!("there is another provider \"{}\"", provider.name.as_str()),
            );
        }
    }
}

/// What a filter sets it also removes from what clients send, so a token could
/// never be read from there.
fn check_tokens_are_not_overwritten(providers: &[ProviderConfig], errors: &Errors) {
    let managed: Vec<&str> = providers
        .iter()
        .flat_map(|it| {
            it.claims_to_headers.iter().map(|entry| &entry.header).chain(&it.payload_header)
        })
        .map(HeaderName::as_str)
        .collect();
    for (index, provider) in providers.iter().enumerate() {
        for (place, source) in provider.from.iter().enumerate() {
            if let Some(header) = source.header.as_ref().map(HeaderField::as_str)
                && managed.contains(&header)
            {
                errors.add(
                    format_args!("providers[{index}].from[{place}].header"),
                    format!("\"{header}\" is set by this filter; read the token from another"),
                );
            }
        }
    }
}

impl Stream for JwtStream {
    fn on_request_headers(&mut self, request: &mut Headers, env: &Env<'_>) -> Verdict {
        self.0.judge(request, env)
    }
}

impl Compiled {
    /// Compiles a configuration. Where it notes an error, what it returns is not
    /// to be used.
    fn new(
        config: &Config,
        native: &NativeAlgorithms,
        errors: &Errors,
        warnings: &mut Vec<String>,
    ) -> Self {
        check_names_are_unique(&config.providers, errors);
        check_tokens_are_not_overwritten(&config.providers, errors);
        let denied = Rc::new(Denied::new(&config.deny));
        let bounds = (&config.cache, &denied);
        let providers: Vec<Provider> = config
            .providers
            .iter()
            .enumerate()
            .filter_map(|(index, it)| {
                Provider::compile(index, it, bounds, native, errors, warnings)
            })
            .collect();
        let mut managed: Vec<HeaderName> =
            providers.iter().flat_map(Provider::managed_headers).cloned().collect();
        managed.sort();
        managed.dedup();
        Self {
            providers,
            rules: Rules::compile(&config.rules, &config.providers, errors),
            bypass_cors_preflight: config.bypass_cors_preflight,
            managed,
        }
    }

    fn judge(&self, request: &mut Headers, env: &Env<'_>) -> Verdict {
        // Before anything else: what a client sends is never taken for ours,
        // whichever rule applies.
        request.remove_if(|name| {
            self.managed.iter().any(|managed| is_spelling_of(managed.as_str(), name))
        });
        let Some(path) = request.first(":path").and_then(|it| RequestPath::parse(it).ok()) else {
            return self.refuse(None, Reason::Path);
        };
        if self.bypass_cors_preflight && is_cors_preflight(request) {
            return Verdict::Continue(self.reason(None, Reason::Anonymous));
        }
        match self.rules.requirement(request, &path) {
            None => self.refuse(None, Reason::NoRule),
            Some(Requirement::Anonymous) => Verdict::Continue(self.reason(None, Reason::Anonymous)),
            Some(Requirement::Tokens(needed)) => self.judge_tokens(needed, request, env),
        }
    }

    fn judge_tokens(
        &self,
        needed: &TokenRequirements,
        request: &mut Headers,
        env: &Env<'_>,
    ) -> Verdict {
        let verified = match needed.mode {
            Mode::All => self.all_of(&needed.tokens, request, env),
            Mode::Any => self.any_of(&needed.tokens, request, env),
        };
        match verified {
            Ok((provider, verified)) => {
                for token in verified {
                    token.apply(request);
                }
                Verdict::Continue(self.reason(Some(provider), Reason::Ok))
            }
            Err((_, Reason::Missing)) if needed.allow_missing => {
                Verdict::Continue(self.reason(None, Reason::Anonymous))
            }
            Err((provider, reason)) => self.refuse(Some(provider), reason),
        }
    }

    /// Every token, counted for the first provider. Where some are missing and
    /// another is refused, the refusal counts: a request that presents anything is
    /// not one without tokens.
    fn all_of(
        &self,
        tokens: &[TokenRequirement],
        request: &Headers,
        env: &Env<'_>,
    ) -> Result<(usize, Vec<Verified<'_>>), Refusal> {
        let mut verified = Vec::with_capacity(tokens.len());
        let mut missing = None;
        for token in tokens {
            match self.one(token, request, env) {
                Ok(one) => verified.push(one),
                Err(Reason::Missing) => missing = missing.or(Some(token.provider)),
                Err(reason) => return Err((token.provider, reason)),
            }
        }
        let first = tokens.first().map_or(0, |token| token.provider);
        match missing {
            None => Ok((first, verified)),
            // One of several is there: the request is not without tokens, and
            // `allow_missing` must not let it pass as such.
            Some(provider) if !verified.is_empty() => Err((provider, Reason::Incomplete)),
            Some(provider) => Err((provider, Reason::Missing)),
        }
    }

    /// The first token that will do. If there is none, the refusal of a token that
    /// was presented says more than that others are missing.
    fn any_of(
        &self,
        tokens: &[TokenRequirement],
        request: &Headers,
        env: &Env<'_>,
    ) -> Result<(usize, Vec<Verified<'_>>), Refusal> {
        let mut refusal = None;
        for token in tokens {
            match self.one(token, request, env) {
                Ok(one) => return Ok((token.provider, vec![one])),
                Err(reason) => {
                    let new = (token.provider, reason);
                    let old = refusal.get_or_insert(new);
                    if new.1.tells_more_than(old.1) {
                        *old = new;
                    }
                }
            }
        }
        Err(refusal.unwrap_or((0, Reason::Missing)))
    }

    fn one(
        &self,
        token: &TokenRequirement,
        request: &Headers,
        env: &Env<'_>,
    ) -> Result<Verified<'_>, Reason> {
        // The rules name a provider by its place in the same list, so it is there. Were
        // it not, "missing" would be wrong: a rule may let that pass.
        let provider = self.providers.get(token.provider).ok_or(Reason::Malformed)?;
        let verified = provider.authenticate(request, env)?;
        token.check(&verified.claims)?;
        Ok(verified)
    }

    fn refuse(&self, provider: Option<usize>, reason: Reason) -> Verdict {
        let realm = provider.and_then(|index| self.providers.get(index));
        let reply = reason.reply(realm.map(|provider| provider.name.as_str()));
        Verdict::Reply(self.reason(provider, reason), reply)
    }

    /// The counters stand in [`Policy::counters`] provider by provider, those
    /// without a provider last.
    fn reason(&self, provider: Option<usize>, reason: Reason) -> mesh_filters_policy::Reason {
        let (block, reasons) = match provider {
            Some(index) => (index, Reason::OF_PROVIDERS),
            None => (self.providers.len(), Reason::OF_NONE),
        };
        let place = reasons.iter().position(|it| *it == reason).unwrap_or_default();
        mesh_filters_policy::Reason {
            detail: reason.detail(),
            counter: CounterId(block * Reason::OF_PROVIDERS.len() + place),
        }
    }
}

/// The Fetch standard, section 3.2.2: a CORS-preflight request.
fn is_cors_preflight(request: &Headers) -> bool {
    request.first(":method") == Some(b"OPTIONS")
        && request.first("origin").is_some()
        && request.first("access-control-request-method").is_some()
}
