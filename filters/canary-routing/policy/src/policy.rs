//! The policy: which requests go where, and what their responses are told.

use std::collections::BTreeSet;
use std::rc::Rc;

use mesh_filters_config::{ConfigErrors, Errors, HeaderName, compile};
use mesh_filters_policy::matcher::RequestView;
use mesh_filters_policy::{
    Configured, CounterId, Env, FailureMode, Headers, Host, Policy, Reason, Stream, Verdict, Work,
    is_spelling_of,
};

use crate::config::Config;
use crate::counters::Names;
use crate::experiment::{Decision, Experiment};
use crate::guard::Outcome;

/// More experiments are a mistake, and each is tried for every request.
const MAX_EXPERIMENTS: usize = 32;

/// Headers of a response that are not to be overwritten with a name.
const RESERVED_RESPONSE_HEADERS: [&str; 3] = ["set-cookie", "vary", "content-type"];

/// Canary routing, configured.
#[derive(Clone)]
pub struct CanaryRouting(Rc<Compiled>);

struct Compiled {
    /// Those that are enabled.
    experiments: Vec<Experiment>,
    /// Every header that requests must not bring along, of all experiments.
    managed: BTreeSet<String>,
    counters: Names,
    no_experiment: CounterId,
}

/// One request's passage through [`CanaryRouting`].
pub struct CanaryStream {
    compiled: Rc<Compiled>,
    /// By the experiment's place.
    decisions: Vec<(usize, Decision)>,
    is_grpc: bool,
}

impl Policy for CanaryRouting {
    type Stream = CanaryStream;

    const NAME: &'static str = "canary-routing";

    fn configure(config: &[u8], host: &dyn Host) -> Result<Configured<Self>, ConfigErrors> {
        compile(config, |config: Config, errors| {
            let compiled = Compiled::new(&config, host, errors);
            let policy = Self(Rc::new(compiled));
            Some(Configured { policy, warnings: Vec::new(), notes: Vec::new() })
        })
    }

    fn counters(&self) -> Vec<String> {
        self.0.counters.to_vec()
    }

    /// Which variant answers is not a question of who may ask: a request that cannot
    /// be judged goes where those go that no experiment is about.
    fn failure_mode(&self) -> FailureMode {
        FailureMode::Open
    }

    fn stream(&self) -> CanaryStream {
        CanaryStream { compiled: Rc::clone(&self.0), decisions: Vec::new(), is_grpc: false }
    }

    fn on_tick(&self, env: &Env<'_>) -> Work {
        let next = self.0.experiments.iter().filter_map(|it| it.on_tick(env.host)).min();
        Work { next_tick: next, ..Work::default() }
    }
}

impl Compiled {
    /// Compiles a configuration. Where it notes an error, what it returns is not to be
    /// used.
    fn new(config: &Config, host: &dyn Host, errors: &Errors) -> Self {
        if config.experiments.len() > MAX_EXPERIMENTS {
            errors.add("experiments", format!("must not be more than {MAX_EXPERIMENTS}"));
        }
        let mut counters = Names::default();
        let no_experiment = counters.add("canary_routing.decisions.cause.no_experiment".into());
        let route_header = config.route_header.as_str();
        let compile = |(index, it)| {
            let path = format!("experiments[{index}]");
            Experiment::compile(it, route_header, &path, (host, errors), &mut counters)
        };
        let all: Vec<_> = config.experiments.iter().enumerate().map(compile).collect();
        check_names(config, &all, errors);
        let routes: BTreeSet<&str> =
            all.iter().map(|it| it.header.as_str()).chain([route_header]).collect();
        check_headers(config, &all, &routes, errors);
        let overrides = all.iter().filter_map(Experiment::override_header);
        let managed = routes.iter().copied().chain(overrides).map(Into::into).collect();
        let enabled = config.experiments.iter().map(|it| it.enabled);
        let experiments = all.into_iter().zip(enabled).filter(|it| it.1).map(|it| it.0).collect();
        Self { experiments, managed, counters, no_experiment }
    }

    /// Decides what every experiment has to say of the request, and edits it.
    fn judge(&self, request: &mut Headers, env: &Env<'_>) -> Vec<(usize, Decision)> {
        let view = RequestView::new(request, env.host);
        let mut set: Vec<&str> = Vec::new();
        let mut decisions = Vec::new();
        for (index, experiment) in self.experiments.iter().enumerate() {
            if set.contains(&experiment.header.as_str()) {
                continue;
            }
            if let Some(decision) = experiment.decide(&view, env) {
                if !experiment.shadow {
                    set.push(&experiment.header);
                }
                decisions.push((index, decision));
            }
        }
        drop(view);
        // Whatever was decided: what a client sends is never taken for ours.
        request.remove_if(|name| self.managed.iter().any(|it| is_spelling_of(it, name)));
        for (experiment, decision) in self.effective(&decisions) {
            let variant = experiment.name_of(decision.variant);
            request.set(&experiment.header, variant.as_bytes().to_vec());
        }
        decisions
    }

    /// The decisions that change something, each with its experiment.
    fn effective<'a>(
        &'a self,
        decisions: &'a [(usize, Decision)],
    ) -> impl Iterator<Item = (&'a Experiment, &'a Decision)> {
        let found = decisions
            .iter()
            .filter_map(|(index, decision)| Some((self.experiments.get(*index)?, decision)));
        found.filter(|(experiment, _)| !experiment.shadow)
    }

    /// Counts all decisions but the first, whose reason is that of the verdict.
    fn count(&self, decisions: &[(usize, Decision)], env: &Env<'_>) -> Verdict {
        let mut reasons = decisions.iter().filter_map(|(_, decision)| decision.reason);
        let none = Reason { detail: "canary_routing{no_experiment}", counter: self.no_experiment };
        let first = reasons.next().unwrap_or(none);
        for reason in reasons {
            env.host.count(reason.counter, 1);
        }
        Verdict::Continue(first)
    }
}

impl CanaryStream {
    fn effective(&self) -> impl Iterator<Item = (&Experiment, &Decision)> {
        self.compiled.effective(&self.decisions)
    }
}

impl Stream for CanaryStream {
    fn on_request_headers(&mut self, request: &mut Headers, env: &Env<'_>) -> Verdict {
        let content_type = request.first("content-type").unwrap_or_default();
        self.is_grpc = content_type.starts_with(b"application/grpc");
        self.decisions = self.compiled.judge(request, env);
        self.compiled.count(&self.decisions, env)
    }

    fn wants_response_headers(&self) -> bool {
        self.effective().any(|(experiment, decision)| experiment.tells_responses(decision))
    }

    fn on_response_headers(&mut self, response: &mut Headers, env: &Env<'_>) {
        for (experiment, decision) in self.effective() {
            experiment.tell(decision, response, env);
        }
    }

    fn wants_end(&self) -> bool {
        self.effective().any(|(experiment, decision)| experiment.watches(decision.variant))
    }

    fn on_end(&mut self, env: &Env<'_>) {
        if let Some(outcome) = Outcome::of_request(env.host, self.is_grpc) {
            for (experiment, decision) in self.effective() {
                experiment.note(decision.variant, outcome);
            }
        }
    }
}

fn check_names(config: &Config, all: &[Experiment], errors: &Errors) {
    for (index, experiment) in config.experiments.iter().enumerate() {
        let mut earlier = config.experiments.iter().take(index);
        if earlier.any(|it| it.name == experiment.name) {
            errors.add(
                format_args!("experiments[{index}].name"),
                format!("there is another experiment \"{}\"", experiment.name.as_str()),
            );
        }
    }
    for (index, experiment) in all.iter().enumerate() {
        // A cookie is signed for one experiment, and each would replace the other's.
        if let Some(name) = experiment.cookie_name()
            && all.iter().take(index).any(|it| it.cookie_name() == Some(name))
        {
            errors.add(
                format_args!("experiments[{index}].sticky.cookie.name"),
                format!("another experiment has the cookie \"{name}\""),
            );
        }
    }
}

fn check_headers(config: &Config, all: &[Experiment], routes: &BTreeSet<&str>, errors: &Errors) {
    let overrides: BTreeSet<&str> = all.iter().filter_map(Experiment::override_header).collect();
    let is_one_of = |names: &BTreeSet<&str>, name: &str| {
        names.iter().any(|it| is_spelling_of(it, name.as_bytes()))
    };
    for (index, (experiment, written)) in all.iter().zip(&config.experiments).enumerate() {
        let path = format!("experiments[{index}]");
        if let Some(header) = experiment.override_header()
            && is_one_of(routes, header)
        {
            errors.add(
                format_args!("{path}.override.header"),
                format!("\"{header}\" is set by this filter; take overrides from another"),
            );
        }
        for header in experiment.read_headers() {
            if is_one_of(routes, &header) || is_one_of(&overrides, &header) {
                errors.add(
                    &path,
                    format!("must not look at \"{header}\", which is this filter's own"),
                );
            }
        }
        let guard = written.guard.as_ref().and_then(|it| it.response_header.as_ref());
        for (field, header) in [
            ("response_header", written.response_header.as_ref()),
            ("guard.response_header", guard),
        ] {
            if let Some(header) = header.map(HeaderName::as_str)
                && RESERVED_RESPONSE_HEADERS.contains(&header)
            {
                errors.add(format_args!("{path}.{field}"), format!("must not be \"{header}\""));
            }
        }
    }
}
