//! One experiment: who gets which variant, and why.

use std::collections::BTreeSet;

use mesh_filters_config::Errors;
use mesh_filters_policy::matcher::{Condition, RequestView};
use mesh_filters_policy::{CounterId, Env, Headers, Host, Reason};

use crate::config::ExperimentConfig;
use crate::counters::{Cause, Decisions, Names};
use crate::guard::{Event, Guard, Outcome, Phase, Side};
use crate::overrides::{self, Override};
use crate::ramp::Ramp;
use crate::response;
use crate::shares::{Choice, FirstWeight, Shares, VariantId, by_chance};
use crate::sticky::{Client, Sticky};
use crate::variants::Variants;

/// A compiled experiment.
#[derive(Debug)]
pub(crate) struct Experiment {
    /// The header it sets, in lower case.
    pub header: String,
    matches: Condition,
    variants: Vec<String>,
    rules: Vec<(Condition, VariantId)>,
    shares: Shares,
    sticky: Option<Sticky>,
    ramp: Option<Ramp>,
    guard: Option<Guarded>,
    overrides: Option<(Override, CounterId)>,
    pub shadow: bool,
    response_header: Option<String>,
    vary: BTreeSet<String>,
    decisions: Decisions,
    rejected_cookies: Option<CounterId>,
}

/// A guard, and what it is about.
#[derive(Debug)]
struct Guarded {
    guard: Guard,
    variant: VariantId,
    compare_to: VariantId,
    response_header: Option<String>,
    tripped: CounterId,
    trial: CounterId,
    restored: CounterId,
}

impl Guarded {
    fn compile(written: &Variants<'_>, names: &mut Names) -> Option<Self> {
        let config = written.config.guard.as_ref()?;
        let name = written.config.name.as_str();
        let guard =
            Guard::compile(config, name, &format!("{}.guard", written.path), written.errors);
        let compare_to = written.find(&config.compare_to, "guard.compare_to");
        let variant = written.config.weights.iter().position(|it| it.variant == config.variant);
        let mut event = |event: &str| {
            names.add(format!("canary_routing.guard.experiment.{name}.event.{event}"))
        };
        Some(Self {
            tripped: event("tripped"),
            trial: event("trial"),
            restored: event("restored"),
            guard,
            variant: variant?,
            compare_to: compare_to?,
            response_header: config.response_header.as_ref().map(|it| it.as_str().into()),
        })
    }
}

/// What a request got.
#[derive(Debug)]
pub(crate) struct Decision {
    pub variant: VariantId,
    /// Why, and what counts it.
    pub reason: Option<Reason>,
    /// The cookie that the client is to get.
    pub set_cookie: Option<Vec<u8>>,
}

impl Experiment {
    /// Compiles the experiment that stands at `path`. Notes mistakes in `errors`; with
    /// one, what it returns is not to be used.
    pub fn compile(
        config: &ExperimentConfig,
        route_header: &str,
        path: &str,
        (host, errors): (&dyn Host, &Errors),
        names: &mut Names,
    ) -> Self {
        let name = config.name.as_str();
        let written = Variants { config, path, errors };
        let variants = written.names();
        let rules = written.rules();
        let first = written.first();
        let sticky = config
            .sticky
            .as_ref()
            .map(|it| Sticky::compile(it, name, &format!("{path}.sticky"), host, errors));
        let ramp = config.ramp.as_ref();
        let ramp = ramp.map(|it| Ramp::compile(it, &format!("{path}.ramp"), errors));
        let guard = Guarded::compile(&written, names);
        let overrides = config.r#override.as_ref().and_then(|it| {
            let counter = names.add(format!("canary_routing.ignored_overrides.experiment.{name}"));
            let at = format!("{path}.override");
            Some((Override::compile(it, name, &at, host, errors)?, counter))
        });
        let has_cookie = sticky.as_ref().is_some_and(|it| it.cookie_name().is_some());
        let rejected_cookies = has_cookie
            .then(|| names.add(format!("canary_routing.rejected_cookies.experiment.{name}")));
        let goes_together = |variant: VariantId, cause: Cause| match cause {
            Cause::Shadow => config.shadow,
            _ if config.shadow => false,
            Cause::Override => overrides.is_some(),
            Cause::Rule => rules.iter().any(|(_, it)| *it == variant),
            Cause::Sticky => sticky.is_some(),
            Cause::Weight => true,
            Cause::Guard => guard.as_ref().is_some_and(|it| it.variant != variant),
        };
        let decisions = Decisions::new(name, &variants, goes_together, names);
        let header = config.header.as_ref().map_or(route_header, |it| it.as_str());
        let mut experiment = Self {
            header: header.into(),
            matches: config.r#match.clone(),
            shares: Shares::new(&written.weights(), first),
            variants,
            rules,
            sticky,
            ramp,
            guard,
            overrides,
            shadow: config.shadow,
            response_header: config.response_header.as_ref().map(|it| it.as_str().into()),
            vary: BTreeSet::new(),
            decisions,
            rejected_cookies,
        };
        let override_header = experiment.override_header().map(Into::into);
        experiment.vary = experiment.read_headers();
        experiment.vary.extend(override_header);
        experiment
    }

    /// The request headers that it reads but for that of overrides.
    pub fn read_headers(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.matches.add_request_headers(&mut names);
        for (condition, _) in &self.rules {
            condition.add_request_headers(&mut names);
        }
        let sticky = self.sticky.iter().flat_map(Sticky::request_headers);
        names.extend(sticky.map(Into::into));
        names
    }

    /// The header in which it takes overrides.
    pub fn override_header(&self) -> Option<&str> {
        self.overrides.as_ref().map(|(it, _)| it.header())
    }

    /// The cookie that it sets.
    pub fn cookie_name(&self) -> Option<&str> {
        self.sticky.as_ref().and_then(Sticky::cookie_name)
    }

    /// A variant's name.
    pub fn name_of(&self, variant: VariantId) -> &str {
        self.variants.get(variant).map_or("", String::as_str)
    }

    /// What the request gets; `None` if the experiment is not about it.
    pub fn decide(&self, request: &RequestView<'_>, env: &Env<'_>) -> Option<Decision> {
        if !self.matches.matches(request) {
            return None;
        }
        let mut decision = self.judge(request, env);
        if self.shadow {
            decision.set_cookie = None;
        }
        Some(decision)
    }

    fn judge(&self, request: &RequestView<'_>, env: &Env<'_>) -> Decision {
        if let Some(variant) = self.overridden(request, env) {
            return self.decision(variant, Cause::Override, None);
        }
        if let Some((_, variant)) = self.rules.iter().find(|(when, _)| when.matches(request)) {
            return self.decision(*variant, Cause::Rule, None);
        }
        self.weigh(request, env)
    }

    fn overridden(&self, request: &RequestView<'_>, env: &Env<'_>) -> Option<VariantId> {
        let (overrides, ignored) = self.overrides.as_ref()?;
        let variant = match overrides.find(request.headers, env.now) {
            overrides::Found::None => return None,
            overrides::Found::Ignored => None,
            overrides::Found::Variant(name) => self.variants.iter().position(|it| it == name),
        };
        if variant.is_none() {
            env.host.count(*ignored, 1);
        }
        variant
    }

    fn weigh(&self, request: &RequestView<'_>, env: &Env<'_>) -> Decision {
        let weight = self.first_weight(env);
        let Some(sticky) = &self.sticky else {
            let choice = self.shares.choose(weight, by_chance(env.host));
            return self.chosen(choice, Cause::Weight, None);
        };
        let Client { key, is_known, set_cookie, cookie_was_rejected } = sticky.client(request, env);
        if let Some(counter) = self.rejected_cookies.filter(|_| cookie_was_rejected) {
            env.host.count(counter, 1);
        }
        let choice = match key {
            Some(key) => self.shares.choose(weight, |variant| sticky.hash.draw(&key, variant)),
            None => self.shares.choose(weight, by_chance(env.host)),
        };
        self.chosen(choice, if is_known { Cause::Sticky } else { Cause::Weight }, set_cookie)
    }

    fn first_weight(&self, env: &Env<'_>) -> FirstWeight {
        let ramp = self.ramp.as_ref().and_then(|ramp| ramp.weight(env.now));
        let nominal = ramp.unwrap_or_else(|| self.shares.first_weight());
        let phase = self.guard.as_ref().map_or(Phase::AtRest, |it| it.guard.phase(env.host));
        FirstWeight { nominal, allowed: phase.allows(nominal) }
    }

    fn chosen(&self, choice: Choice, cause: Cause, set_cookie: Option<Vec<u8>>) -> Decision {
        let cause = if choice.is_diverted { Cause::Guard } else { cause };
        self.decision(choice.variant, cause, set_cookie)
    }

    fn decision(&self, variant: VariantId, cause: Cause, set_cookie: Option<Vec<u8>>) -> Decision {
        let cause = if self.shadow { Cause::Shadow } else { cause };
        Decision { variant, reason: self.decisions.reason(variant, cause), set_cookie }
    }

    /// Whether the response to a request with this decision is to be told anything.
    pub fn tells_responses(&self, decision: &Decision) -> bool {
        decision.set_cookie.is_some()
            || self.response_header.is_some()
            || !self.vary.is_empty()
            || self.guard.as_ref().is_some_and(|it| it.response_header.is_some())
    }

    /// Tells the response to a request with this decision.
    pub fn tell(&self, decision: &Decision, response: &mut Headers, env: &Env<'_>) {
        if let Some(header) = &self.response_header {
            response.set(header, self.name_of(decision.variant).into());
        }
        if let Some(guarded) = &self.guard
            && let Some(header) = &guarded.response_header
            && let Some(phase) = guarded.guard.phase(env.host).name()
        {
            response.set(header, phase.into());
        }
        if let Some(cookie) = &decision.set_cookie {
            response.append("set-cookie", cookie.clone());
        }
        response::vary(response, &self.vary);
    }

    fn side(&self, variant: VariantId) -> Option<(&Guarded, Side)> {
        let guarded = self.guard.as_ref()?;
        let sides = [(guarded.variant, Side::Guarded), (guarded.compare_to, Side::Other)];
        let (_, side) = sides.into_iter().find(|(id, _)| *id == variant)?;
        Some((guarded, side))
    }

    /// Whether a guard cares how a request with this variant ends.
    pub fn watches(&self, variant: VariantId) -> bool {
        self.side(variant).is_some()
    }

    /// Takes note of how a request with this variant ended.
    pub fn note(&self, variant: VariantId, outcome: Outcome) {
        if let Some((guarded, side)) = self.side(variant) {
            guarded.guard.note(side, outcome);
        }
    }

    /// Lets the guard do what is due. Returns when it is to be asked again.
    pub fn on_tick(&self, host: &dyn Host) -> Option<std::time::Duration> {
        let guarded = self.guard.as_ref()?;
        if let Some(event) = guarded.guard.on_tick(host) {
            let counter = match event {
                Event::Tripped => guarded.tripped,
                Event::Trial => guarded.trial,
                Event::Restored => guarded.restored,
            };
            host.count(counter, 1);
        }
        Some(guarded.guard.next_tick())
    }
}
