//! The policy: one request in, one decision out.

use std::rc::Rc;

use mesh_filters_config::{ConfigErrors, Errors, HeaderField, HeaderName, compile};
use mesh_filters_policy::remote::{Event, Turn};
use mesh_filters_policy::{
    CalloutError, CalloutId, Configured, CounterId, Env, FailureMode, Headers, Host, HttpResponse,
    LogLevel, Monotonic, Policy, RequestPath, Stream, Verdict, Work, claims, is_spelling_of,
};

use crate::config::{Config, ProviderConfig};
use crate::denied::Denied;
use crate::native::NativeAlgorithms;
use crate::probe;
use crate::provider::{Provider, Verified};
use crate::reason::{Reason, Refusal};
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
    denied: Rc<Denied>,
    /// Whether later filters learn the claims.
    filter_state: bool,
    failure_mode: FailureMode,
}

/// Why a request is refused, and by which provider.
#[derive(Clone, Copy)]
struct RefusedBy {
    provider: usize,
    refusal: Refusal,
}

/// One request's passage through [`JwtAuth`].
pub struct JwtStream(Rc<Compiled>);

impl Policy for JwtAuth {
    type Stream = JwtStream;

    const NAME: &'static str = "jwt-auth";

    fn configure(config: &[u8], host: &dyn Host) -> Result<Configured<Self>, ConfigErrors> {
        let native = Rc::new(probe::native_algorithms(host));
        compile(config, |config: Config, errors| {
            let mut warnings = Vec::new();
            let compiled = Compiled::new(&config, &native, errors, &mut warnings);
            compiled.prepare(host);
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
        let of_fetches = self.0.fetches().flat_map(|fetch| {
            let name = match fetch {
                Fetch::Keys(provider) => {
                    let name = self.0.providers.get(provider).map(|it| it.name.as_str());
                    format!("jwt_auth.key_fetches.provider.{}", name.unwrap_or_default())
                }
                Fetch::DenyList => "jwt_auth.deny_list_fetches".into(),
            };
            FETCH_RESULTS.map(|result| format!("{name}.result.{result}"))
        });
        of_providers.chain(of_none).chain(of_fetches).collect()
    }

    fn failure_mode(&self) -> FailureMode {
        self.0.failure_mode
    }

    fn stream(&self) -> JwtStream {
        JwtStream(Rc::clone(&self.0))
    }

    fn on_tick(&self, env: &Env<'_>) -> Work {
        let fetches = self.0.fetches().filter_map(|fetch| self.0.on_tick(fetch, env));
        fetches.reduce(Work::and).unwrap_or_default()
    }

    fn on_callout(
        &self,
        id: CalloutId,
        answer: Result<HttpResponse, CalloutError>,
        env: &Env<'_>,
    ) -> Work {
        let fetch = self.0.fetches().find(|fetch| self.0.callout_id(*fetch) == id);
        fetch.and_then(|fetch| self.0.on_answer(fetch, answer, env)).unwrap_or_default()
    }
}

/// Something that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetch {
    /// The keys of a provider.
    Keys(usize),
    /// The list of tokens that are refused.
    DenyList,
}

/// The label of metrics for what a fetch came to.
const FETCH_RESULTS: [&str; 2] = ["ok", "failed"];

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
        native: &Rc<NativeAlgorithms>,
        errors: &Errors,
        warnings: &mut Vec<String>,
    ) -> Self {
        check_names_are_unique(&config.providers, errors);
        check_tokens_are_not_overwritten(&config.providers, errors);
        let denied = Rc::new(Denied::compile(&config.deny, errors));
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
            denied,
            filter_state: config.filter_state,
            failure_mode: config.failure_mode.0,
        }
    }

    fn prepare(&self, host: &dyn Host) {
        for provider in &self.providers {
            provider.prepare(host);
        }
        if let Some(list) = self.denied.fetched() {
            list.prepare(host);
        }
    }

    fn fetches(&self) -> impl Iterator<Item = Fetch> {
        let of_keys = |(index, provider): (usize, &Provider)| {
            provider.fetches_keys().then_some(Fetch::Keys(index))
        };
        let keys = self.providers.iter().enumerate().filter_map(of_keys);
        keys.chain(self.denied.fetched().map(|_| Fetch::DenyList))
    }

    fn callout_id(&self, fetch: Fetch) -> CalloutId {
        match fetch {
            Fetch::Keys(provider) => CalloutId(provider),
            Fetch::DenyList => CalloutId(self.providers.len()),
        }
    }

    fn on_tick(&self, fetch: Fetch, env: &Env<'_>) -> Option<Work> {
        let (turn, warnings) = match fetch {
            Fetch::Keys(provider) => {
                let turn = self.providers.get(provider)?.on_tick(env)?;
                (turn.turn, turn.warnings)
            }
            Fetch::DenyList => {
                let (turn, warning) = self.denied.fetched()?.on_tick(env);
                (turn, warning.into_iter().collect())
            }
        };
        Some(self.work(fetch, turn, &warnings, env))
    }

    fn on_answer(
        &self,
        fetch: Fetch,
        answer: Result<HttpResponse, CalloutError>,
        env: &Env<'_>,
    ) -> Option<Work> {
        let (turn, warnings) = match fetch {
            Fetch::Keys(provider) => {
                let turn = self.providers.get(provider)?.on_answer(answer, env)?;
                (turn.turn, turn.warnings)
            }
            Fetch::DenyList => {
                let (turn, warning) = self.denied.fetched()?.on_answer(answer, env);
                (turn, warning.into_iter().collect())
            }
        };
        Some(self.work(fetch, turn, &warnings, env))
    }

    /// Says and counts what happened, and returns what is to be done.
    fn work(&self, fetch: Fetch, turn: Turn, warnings: &[String], env: &Env<'_>) -> Work {
        let what = match fetch {
            Fetch::Keys(provider) => {
                let name = self.providers.get(provider).map(|it| it.name.as_str());
                format!("keys of provider {}", name.unwrap_or_default())
            }
            Fetch::DenyList => "deny list".into(),
        };
        for warning in warnings {
            env.host.log(LogLevel::Warn, &format!("{what}: {warning}"));
        }
        match turn.event {
            Some(Event::Fetched(_)) => {
                env.host.log(LogLevel::Info, &format!("{what}: fetched"));
                self.count_fetch(fetch, 0, env);
            }
            Some(Event::Unchanged) => self.count_fetch(fetch, 0, env),
            Some(Event::Failed(_)) => self.count_fetch(fetch, 1, env),
            Some(Event::Received(_) | Event::Expired) | None => {}
        }
        let id = self.callout_id(fetch);
        Work {
            callouts: turn.request.into_iter().map(|request| (id, request)).collect(),
            resume: turn.changed,
            next_tick: Some(turn.next_tick),
        }
    }

    /// The counters of fetches stand in [`Policy::counters`] behind those of reasons.
    fn count_fetch(&self, fetch: Fetch, result: usize, env: &Env<'_>) {
        let before = self.providers.len() * Reason::OF_PROVIDERS.len() + Reason::OF_NONE.len();
        if let Some(place) = self.fetches().position(|it| it == fetch) {
            env.host.count(CounterId(before + place * FETCH_RESULTS.len() + result), 1);
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
                self.share(&verified, env);
                for token in verified {
                    token.apply(request);
                }
                Verdict::Continue(self.reason(Some(provider), Reason::Ok))
            }
            Err(RefusedBy { refusal: Refusal { wait: Some(until), .. }, .. }) if env.may_wait => {
                Verdict::Wait(until)
            }
            Err(RefusedBy { refusal: Refusal { reason: Reason::Missing, .. }, .. })
                if needed.allow_missing =>
            {
                Verdict::Continue(self.reason(None, Reason::Anonymous))
            }
            Err(RefusedBy { provider, refusal: Refusal { reason, .. } })
                if reason.is_unavailability() && self.failure_mode == FailureMode::Open =>
            {
                Verdict::Continue(self.reason(Some(provider), reason))
            }
            Err(RefusedBy { provider, refusal }) => self.refuse(Some(provider), refusal.reason),
        }
    }

    /// Lets later filters know the claims.
    fn share(&self, verified: &[Verified<'_>], env: &Env<'_>) {
        if self.filter_state {
            let value = claims::property_value(verified.iter().map(Verified::to_share));
            if env.host.set_property(claims::PROPERTY, &value).is_err() {
                // To them it is a request without a token, as it is without this filter.
                env.host.log(LogLevel::Warn, "the proxy did not take the claims for later filters");
            }
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
    ) -> Result<(usize, Vec<Verified<'_>>), RefusedBy> {
        let mut verified = Vec::with_capacity(tokens.len());
        let mut missing = None;
        let mut waits: Option<RefusedBy> = None;
        for token in tokens {
            let provider = token.provider;
            match self.one(token, request, env) {
                Ok(one) => verified.push(one),
                Err(Refusal { reason: Reason::Missing, .. }) => {
                    missing = missing.or(Some(provider));
                }
                // Another one may be refused whatever becomes of this one.
                Err(refusal @ Refusal { wait: Some(_), .. }) => {
                    waits = waits.or(Some(RefusedBy { provider, refusal }));
                }
                Err(refusal) => return Err(RefusedBy { provider, refusal }),
            }
        }
        let first = tokens.first().map_or(0, |token| token.provider);
        match (missing, waits) {
            (None, None) => Ok((first, verified)),
            // One of several is there: the request is not without tokens, and
            // `allow_missing` must not let it pass as such.
            (Some(provider), waits) if waits.is_some() || !verified.is_empty() => {
                Err(RefusedBy { provider, refusal: Reason::Incomplete.into() })
            }
            (Some(provider), _) => Err(RefusedBy { provider, refusal: Reason::Missing.into() }),
            (None, Some(waits)) => Err(waits),
        }
    }

    /// The first token that will do. If there is none, the refusal of a token that
    /// was presented says more than that others are missing.
    fn any_of(
        &self,
        tokens: &[TokenRequirement],
        request: &Headers,
        env: &Env<'_>,
    ) -> Result<(usize, Vec<Verified<'_>>), RefusedBy> {
        let mut refused: Option<RefusedBy> = None;
        let mut wait: Option<Monotonic> = None;
        for token in tokens {
            let provider = token.provider;
            match self.one(token, request, env) {
                Ok(one) => return Ok((provider, vec![one])),
                Err(refusal) => {
                    wait = wait.max(refusal.wait);
                    let new = RefusedBy { provider, refusal };
                    let old = refused.get_or_insert(new);
                    if new.refusal.reason.tells_more_than(old.refusal.reason) {
                        *old = new;
                    }
                }
            }
        }
        let mut refused =
            refused.unwrap_or(RefusedBy { provider: 0, refusal: Reason::Missing.into() });
        // Any that may become good is worth waiting for.
        refused.refusal.wait = wait;
        Err(refused)
    }

    fn one(
        &self,
        token: &TokenRequirement,
        request: &Headers,
        env: &Env<'_>,
    ) -> Result<Verified<'_>, Refusal> {
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
