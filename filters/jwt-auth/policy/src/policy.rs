//! The policy: one request in, one decision out.

use std::rc::Rc;

use mesh_filters_config::{ConfigErrors, Errors, HeaderName, compile};
use mesh_filters_policy::{
    Configured, CounterId, Env, FailureMode, Headers, Policy, RequestPath, Stream, UnixTime,
    Verdict,
};

use crate::config::{Config, ProviderConfig};
use crate::provider::Provider;
use crate::reason::Reason;
use crate::rules::{Requirement, Rules};
use crate::token;

/// JSON Web Token authentication, configured.
#[derive(Clone)]
pub struct JwtAuth(Rc<Compiled>);

struct Compiled {
    providers: Vec<Provider>,
    rules: Rules,
    /// Every header that any provider sets, whichever rule applies.
    managed: Vec<HeaderName>,
}

/// One request's passage through [`JwtAuth`].
pub struct JwtStream(Rc<Compiled>);

impl Policy for JwtAuth {
    type Stream = JwtStream;

    const NAME: &'static str = "jwt-auth";

    fn configure(config: &[u8]) -> Result<Configured<Self>, ConfigErrors> {
        compile(config, |config: Config, errors| {
            let mut warnings = Vec::new();
            let policy = Self(Rc::new(Compiled::new(&config, errors, &mut warnings)));
            Some(Configured { policy, warnings })
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

impl Stream for JwtStream {
    fn on_request_headers(&mut self, request: &mut Headers, env: &Env) -> Verdict {
        self.0.judge(request, env.now)
    }
}

impl Compiled {
    /// Compiles a configuration. Where it notes an error, what it returns is not
    /// to be used.
    fn new(config: &Config, errors: &Errors, warnings: &mut Vec<String>) -> Self {
        check_names_are_unique(&config.providers, errors);
        let providers = config
            .providers
            .iter()
            .enumerate()
            .filter_map(|(index, it)| Provider::compile(index, it, errors, warnings))
            .collect();
        let mut managed: Vec<HeaderName> = config
            .providers
            .iter()
            .flat_map(|it| it.claims_to_headers.iter().map(|entry| entry.header.clone()))
            .collect();
        managed.sort();
        managed.dedup();
        Self { providers, rules: Rules::compile(&config.rules, &config.providers, errors), managed }
    }

    fn judge(&self, request: &mut Headers, now: UnixTime) -> Verdict {
        // Before anything else: what a client sends is never taken for ours,
        // whichever rule applies.
        request.remove_if(|name| self.managed.iter().any(|managed| is_spelling_of(managed, name)));
        let Some(requirement) = request
            .first(":path")
            .and_then(|target| RequestPath::parse(target).ok())
            .map(|path| self.rules.requirement(&path))
        else {
            return self.refuse(None, Reason::Path);
        };
        match requirement {
            None => self.refuse(None, Reason::NoRule),
            Some(Requirement::Anonymous) => Verdict::Continue(self.reason(None, Reason::Anonymous)),
            Some(Requirement::Provider(index)) => match self.authenticate(index, request, now) {
                Ok(()) => Verdict::Continue(self.reason(Some(index), Reason::Ok)),
                Err(reason) => self.refuse(Some(index), reason),
            },
        }
    }

    fn authenticate(
        &self,
        index: usize,
        request: &mut Headers,
        now: UnixTime,
    ) -> Result<(), Reason> {
        // An index of the rules is one of `providers`: both come from one list.
        let provider = self.providers.get(index).ok_or(Reason::NoRule)?;
        let claims = provider.verify(token::bearer(request)?, now)?;
        let mut headers = Vec::with_capacity(provider.claims_to_headers.len());
        for (claim, header) in &provider.claims_to_headers {
            if let Some(value) = claims.header_value(claim)? {
                headers.push((header, value));
            }
        }
        token::strip(request);
        for (header, value) in headers {
            request.set(header.as_str(), value);
        }
        Ok(())
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

/// Whether an upstream may read `name` as the header `managed`. CGI and WSGI
/// servers turn `-` into `_`, so `x_user_id` would arrive as `x-user-id`.
fn is_spelling_of(managed: &HeaderName, name: &[u8]) -> bool {
    let fold = |byte: &u8| {
        if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
    };
    name.iter().map(fold).eq(managed.as_str().bytes().map(|byte| fold(&byte)))
}
