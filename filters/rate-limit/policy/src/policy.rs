//! The policy: every limit that is about a request must admit it.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use mesh_filters_config::{ConfigErrors, Errors, compile};
use mesh_filters_policy::matcher::RequestView;
use mesh_filters_policy::{
    Configured, CounterId, Env, FailureMode, Headers, Host, LocalReply, Monotonic, Policy, Reason,
    Stream, Verdict, Work,
};

use crate::config::{Config, HeadersConfig, MissingKey, OverrideConfig, ReplyConfig, Scope};
use crate::gcra::{Level, Refused};
use crate::headers::{self, Standing};
use crate::inflight::{OwnSlots, RENEWAL, SharedSlots, Slot};
use crate::limit::{Allowance, Demand, Limit, Rate, Seed};
use crate::table::{Fingerprint, OwnShards, Shards, SharedShards, Table, Taken};

/// The shared value that holds the key of the hash.
const SEED: &str = "mesh-filters/rate-limit/seed";

/// `RESOURCE_EXHAUSTED`.
const GRPC_RESOURCE_EXHAUSTED: u8 = 8;

/// What came of a limit, as metrics call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Allowed,
    Limited,
    ShadowLimited,
    ErrorAllowed,
    MissingKey,
}

impl Outcome {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Allowed, "allowed"),
        (Self::Limited, "limited"),
        (Self::ShadowLimited, "shadow_limited"),
        (Self::ErrorAllowed, "error_allowed"),
        (Self::MissingKey, "missing_key"),
    ];
}

/// Rate limits, configured.
pub struct RateLimit(Rc<Compiled>);

struct Compiled {
    limits: Vec<Limit>,
    headers: HeadersConfig,
    reply: ReplyConfig,
    capacity: usize,
    shared_keys: Vec<String>,
    own: OwnShards,
    own_slots: OwnSlots,
    slots: SharedSlots,
    seed: Seed,
}

/// One request's passage through [`RateLimit`].
pub struct RateLimitStream {
    policy: Rc<Compiled>,
    /// The limits that it was counted by.
    standings: Vec<Standing>,
    /// Limits that charge once the response is known.
    to_charge: Vec<Charge>,
    /// What it holds until it ends: limits, and whose slot.
    held: Vec<(usize, u64)>,
}

/// What is taken from a key.
#[derive(Clone, Copy)]
struct Charge {
    limit: usize,
    rate: Rate,
    fingerprint: Fingerprint,
    cost: u64,
}

impl Policy for RateLimit {
    type Stream = RateLimitStream;

    const NAME: &'static str = "rate-limit";

    fn configure(config: &[u8], host: &dyn Host) -> Result<Configured<Self>, ConfigErrors> {
        compile(config, |config: Config, errors| {
            let compiled = Compiled::new(&config, host, errors);
            if compiled.limits.iter().any(|limit| limit.scope == Scope::Host) {
                SharedShards::prepare(host, &compiled.shared_keys);
            }
            if compiled.shares_slots() {
                compiled.slots.prepare(host);
            }
            let policy = Self(Rc::new(compiled));
            Some(Configured { policy, warnings: Vec::new(), notes: Vec::new() })
        })
    }

    fn counters(&self) -> Vec<String> {
        let of_limits = self.0.limits.iter().flat_map(|limit| {
            let name = limit.name.as_str();
            Outcome::ALL
                .map(|(_, outcome)| format!("rate_limit.requests.limit.{name}.outcome.{outcome}"))
        });
        of_limits.chain(["rate_limit.requests.outcome.unlimited".to_owned()]).collect()
    }

    fn failure_mode(&self) -> FailureMode {
        // A limit protects what is behind it from too much; what is behind it is there
        // to be reached. A proxy that fails its filters must not be an outage of all.
        FailureMode::Open
    }

    fn stream(&self) -> RateLimitStream {
        let policy = Rc::clone(&self.0);
        RateLimitStream { policy, standings: Vec::new(), to_charge: Vec::new(), held: Vec::new() }
    }

    fn on_tick(&self, env: &Env<'_>) -> Work {
        if !self.0.shares_slots() {
            return Work::default();
        }
        self.0.slots.on_tick(env.host);
        Work { next_tick: Some(RENEWAL), ..Work::default() }
    }
}

/// The key of the hash, which all workers share.
fn seed_of(host: &dyn Host) -> [u8; 16] {
    let shared = || <[u8; 16]>::try_from(host.shared(SEED)?.value).ok();
    shared().unwrap_or_else(|| {
        let [first, second] = [host.random(), host.random()].map(u64::to_le_bytes);
        let mut seed = [0; 16];
        for (byte, random) in seed.iter_mut().zip(first.into_iter().chain(second)) {
            *byte = random;
        }
        // Made by the first to configure, which is one thread alone.
        let _ = host.share(SEED, &seed, None);
        seed
    })
}

impl Compiled {
    fn new(config: &Config, host: &dyn Host, errors: &Errors) -> Self {
        let mut limits: Vec<Limit> = Vec::new();
        for (index, limit) in config.limits.iter().enumerate() {
            if config.limits.iter().take(index).any(|earlier| earlier.name == limit.name) {
                let name = limit.name.as_str();
                errors.add(
                    format_args!("limits[{index}].name"),
                    format!("there is another limit \"{name}\""),
                );
            }
            limits.extend(Limit::compile(index, limit, errors));
        }
        for (index, given) in config.overrides.iter().enumerate() {
            let at = format!("overrides[{index}]");
            let OverrideConfig { rate, rates, concurrency, .. } = given;
            let concurrency = concurrency.as_ref();
            let allowance =
                Allowance::compile(rate.as_ref(), rates.as_ref(), concurrency, &at, errors);
            // One that is there and not among these has a mistake of its own.
            if let Some(limit) = limits.iter_mut().find(|limit| limit.name == given.limit) {
                let Some(allowance) = allowance else { continue };
                if !limit.takes(&allowance) {
                    let problem = "must have \"concurrency\" if the limit has, and else not";
                    errors.add_about_fields(&at, problem);
                }
                limit.give(&given.key, allowance, &format!("{at}.key"), errors);
            } else if !config.limits.iter().any(|limit| limit.name == given.limit) {
                let known: Vec<_> = config.limits.iter().map(|it| it.name.as_str()).collect();
                let (name, known) = (given.limit.as_str(), known.join(", "));
                errors.add(
                    format_args!("{at}.limit"),
                    format!("there is no limit \"{name}\"; known: {known}"),
                );
            }
        }
        if !config.reply.content_type.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            let problem = "must be a media type such as \"application/json\"";
            errors.add("reply.content_type", problem);
        }
        let capacity = usize::try_from(config.capacity.get()).unwrap_or(usize::MAX);
        let filter = ["plugin_root_id", "plugin_name"]
            .iter()
            .filter_map(|name| host.property(&[name]))
            .collect::<Vec<_>>()
            .join(b"/".as_slice());
        Self {
            limits,
            headers: config.headers,
            reply: config.reply.clone(),
            capacity,
            shared_keys: SharedShards::keys(capacity),
            own: OwnShards::new(capacity),
            own_slots: OwnSlots::default(),
            slots: SharedSlots::new(host.random()),
            seed: Seed::new(seed_of(host), filter),
        }
    }

    fn with_table<T>(
        &self,
        limit: usize,
        host: &dyn Host,
        work: impl FnOnce(&Table<'_>) -> T,
    ) -> T {
        let shared = SharedShards::new(host, &self.shared_keys);
        let scope = self.limits.get(limit).map_or(Scope::Host, |limit| limit.scope);
        let shards: &dyn Shards = match scope {
            Scope::Host => &shared,
            Scope::Worker => &self.own,
        };
        work(&Table::new(shards, self.capacity))
    }

    fn shares_slots(&self) -> bool {
        self.limits.iter().any(Limit::shares_slots)
    }

    fn take_slot(&self, limit: usize, host: &dyn Host, key: u64, most: u64) -> Slot {
        match self.limits.get(limit).map(|limit| limit.scope) {
            Some(Scope::Worker) => self.own_slots.take(key, most),
            _ => self.slots.take(host, key, most),
        }
    }

    fn give_slot_back(&self, limit: usize, host: &dyn Host, key: u64) {
        match self.limits.get(limit).map(|limit| limit.scope) {
            Some(Scope::Worker) => self.own_slots.give_back(key),
            _ => self.slots.give_back(host, key),
        }
    }

    fn is_shadow(&self, limit: usize) -> bool {
        self.limits.get(limit).is_some_and(|limit| limit.shadow)
    }

    fn counter(limit: usize, outcome: Outcome) -> CounterId {
        let place = Outcome::ALL.iter().position(|(it, _)| *it == outcome).unwrap_or_default();
        CounterId(limit * Outcome::ALL.len() + place)
    }

    fn unlimited(&self) -> Verdict {
        let counter = CounterId(self.limits.len() * Outcome::ALL.len());
        Verdict::Continue(Reason { detail: "rate_limit{unlimited}", counter })
    }

    fn refuse(
        &self,
        limit: usize,
        (outcome, detail): (Outcome, &'static str),
        headers: Vec<(&'static str, String)>,
    ) -> Verdict {
        let ReplyConfig { status, body, content_type } = &self.reply;
        let mut all = vec![("content-type", Cow::Owned(content_type.to_string()))];
        all.extend(headers.into_iter().map(|(name, value)| (name, Cow::Owned(value))));
        let reply = LocalReply {
            status: u16::try_from(status.get()).unwrap_or(429),
            headers: all,
            body: body.clone().into(),
            grpc_status: Some(GRPC_RESOURCE_EXHAUSTED),
        };
        Verdict::Reply(Reason { detail, counter: Self::counter(limit, outcome) }, reply)
    }
}

/// A quota that does not admit the request.
struct Over {
    charge: Charge,
    refused: Refused,
}

impl Stream for RateLimitStream {
    fn on_request_headers(&mut self, request: &mut Headers, env: &Env<'_>) -> Verdict {
        let policy = Rc::clone(&self.policy);
        let mut charges = Vec::new();
        let mut slots = Vec::new();
        {
            let view = RequestView::new(request, env.host);
            for (index, limit) in policy.limits.iter().enumerate() {
                match limit.demand(&view, &policy.seed) {
                    Demand::Nothing => {}
                    Demand::MissingKey => {
                        if limit.missing_key == MissingKey::Deny && !limit.shadow {
                            let why = (Outcome::MissingKey, "rate_limit{missing_key}");
                            return policy.refuse(index, why, Vec::new());
                        }
                        env.host.count(Compiled::counter(index, Outcome::MissingKey), 1);
                    }
                    Demand::Slot { key, most } => slots.push((index, key, most)),
                    Demand::Spend { cost, of } => {
                        charges.extend(of.into_iter().map(|(fingerprint, rate)| Charge {
                            limit: index,
                            rate: *rate,
                            fingerprint,
                            cost,
                        }));
                    }
                }
            }
        }
        if charges.is_empty() && slots.is_empty() {
            return policy.unlimited();
        }
        let slots = match self.take_slots(&slots, env) {
            Ok(outcomes) => outcomes,
            Err(limit) => {
                let why = (Outcome::Limited, "rate_limit{concurrency}");
                return policy.refuse(limit, why, Vec::new());
            }
        };
        let now = env.host.monotonic();
        match self.spend(&charges, now, env) {
            Ok(counted) => {
                for charge in &charges {
                    let limit = policy.limits.get(charge.limit);
                    if limit.is_some_and(|limit| limit.charge_response.is_some()) {
                        self.to_charge.push(*charge);
                    }
                }
                // One limit is counted with the verdict, the others here.
                let allowed = |(_, outcome): &(usize, Outcome)| *outcome == Outcome::Allowed;
                let first = slots.iter().position(allowed).filter(|_| counted.is_none());
                for (index, (limit, outcome)) in slots.iter().enumerate() {
                    if Some(index) != first {
                        env.host.count(Compiled::counter(*limit, *outcome), 1);
                    }
                }
                let of_slots = first.and_then(|first| slots.get(first)).map(|it| it.0);
                match counted.or(of_slots) {
                    Some(limit) => Verdict::Continue(Reason {
                        detail: "rate_limit{allowed}",
                        counter: Compiled::counter(limit, Outcome::Allowed),
                    }),
                    None => policy.unlimited(),
                }
            }
            Err(Over { charge, refused }) => {
                self.give_back(env);
                let reset = refused.retry_after;
                let level = Level { remaining: 0, reset: reset.unwrap_or(charge.rate.per) };
                let tightest = policy.standing(&charge, level);
                let others: Vec<_> = charges
                    .iter()
                    .filter(|charge| !policy.is_shadow(charge.limit))
                    .map(|charge| policy.standing(charge, level))
                    .collect();
                let mut headers = headers::describe(policy.headers, &others, &tightest);
                if let Some(after) = reset {
                    headers.push(("retry-after", headers::seconds(after).max(1).to_string()));
                }
                policy.refuse(charge.limit, (Outcome::Limited, "rate_limit{limited}"), headers)
            }
        }
    }

    fn wants_response_headers(&self) -> bool {
        !self.to_charge.is_empty()
            || (self.policy.headers != HeadersConfig::None && !self.standings.is_empty())
    }

    fn on_response_headers(&mut self, response: &mut Headers, env: &Env<'_>) {
        let policy = Rc::clone(&self.policy);
        for charge in &self.to_charge {
            let Some(cost) = policy.limits.get(charge.limit).and_then(|it| it.charge(response))
            else {
                continue;
            };
            let now = env.host.monotonic();
            let Charge { limit, rate, fingerprint, .. } = charge;
            let taken = policy.with_table(*limit, env.host, |table| {
                table.charge(*fingerprint, &rate.quota, now, cost)
            });
            if let Taken::Admitted(level) = taken {
                let name = policy.standing(charge, level).limit;
                for standing in &mut self.standings {
                    if standing.limit == name && standing.rate == *rate {
                        standing.level = level;
                    }
                }
            }
        }
        if let Some(tightest) = headers::tightest(&self.standings) {
            let headers = headers::describe(policy.headers, &self.standings, tightest);
            headers::set(response, headers);
        }
    }

    fn wants_end(&self) -> bool {
        !self.held.is_empty()
    }

    fn on_end(&mut self, env: &Env<'_>) {
        self.give_back(env);
    }
}

impl RateLimitStream {
    /// Takes all slots, or none. Returns what came of each, or the limit that refuses.
    fn take_slots(
        &mut self,
        slots: &[(usize, u64, u64)],
        env: &Env<'_>,
    ) -> Result<Vec<(usize, Outcome)>, usize> {
        let policy = Rc::clone(&self.policy);
        let mut outcomes = Vec::with_capacity(slots.len());
        for (limit, key, most) in slots {
            let outcome = match policy.take_slot(*limit, env.host, *key, *most) {
                Slot::Taken => {
                    self.held.push((*limit, *key));
                    Outcome::Allowed
                }
                Slot::Over if policy.is_shadow(*limit) => Outcome::ShadowLimited,
                Slot::Over => {
                    self.give_back(env);
                    return Err(*limit);
                }
                Slot::Unavailable => Outcome::ErrorAllowed,
            };
            outcomes.push((*limit, outcome));
        }
        Ok(outcomes)
    }

    fn give_back(&mut self, env: &Env<'_>) {
        for (limit, key) in std::mem::take(&mut self.held) {
            self.policy.give_slot_back(limit, env.host, key);
        }
    }
}

impl Compiled {
    fn standing(&self, charge: &Charge, level: Level) -> Standing {
        let limit = self.limits.get(charge.limit).map_or("", |limit| limit.name.as_str());
        Standing { limit: limit.into(), rate: charge.rate, level }
    }
}

impl RateLimitStream {
    /// Spends all charges, or none. Returns the limit that the request is counted as
    /// allowed by, which is the tightest; the others are counted here.
    fn spend(
        &mut self,
        charges: &[Charge],
        now: Monotonic,
        env: &Env<'_>,
    ) -> Result<Option<usize>, Over> {
        let policy = Rc::clone(&self.policy);
        // A look first, where there are several: what one refuses must not be taken
        // from the others, not even for a moment.
        if charges.len() > 1 {
            let mut worst: Option<Over> = None;
            for charge in charges.iter().filter(|charge| !policy.is_shadow(charge.limit)) {
                let taken = policy.with_table(charge.limit, env.host, |table| {
                    table.peek(charge.fingerprint, &charge.rate.quota, now, charge.cost)
                });
                if let Taken::Refused(refused) = taken
                    && worst.as_ref().is_none_or(|worst| is_longer(refused, worst.refused))
                {
                    worst = Some(Over { charge: *charge, refused });
                }
            }
            if let Some(over) = worst {
                return Err(over);
            }
        }
        let mut spent: Vec<&Charge> = Vec::with_capacity(charges.len());
        let mut outcomes: Vec<(usize, Outcome)> = Vec::new();
        self.standings.clear();
        for charge in charges {
            let Charge { limit, rate, fingerprint, cost } = charge;
            let taken = policy.with_table(*limit, env.host, |table| {
                table.take(*fingerprint, &rate.quota, now, *cost)
            });
            match taken {
                Taken::Admitted(level) => {
                    spent.push(charge);
                    if !policy.is_shadow(*limit) {
                        self.standings.push(policy.standing(charge, level));
                    }
                    outcomes.push((*limit, Outcome::Allowed));
                }
                Taken::Refused(_) if policy.is_shadow(*limit) => {
                    outcomes.push((*limit, Outcome::ShadowLimited));
                }
                Taken::Unavailable => outcomes.push((*limit, Outcome::ErrorAllowed)),
                // Since the look another worker was faster, or there was none.
                Taken::Refused(_) | Taken::Contended => {
                    let refused = match taken {
                        Taken::Refused(refused) => refused,
                        _ => Refused { retry_after: Some(Duration::from_secs(1)) },
                    };
                    for charge in spent {
                        let Charge { limit, rate, fingerprint, cost } = charge;
                        policy.with_table(*limit, env.host, |table| {
                            table.refund(*fingerprint, &rate.quota, now, *cost)
                        });
                    }
                    self.standings.clear();
                    return Err(Over { charge: *charge, refused });
                }
            }
        }
        let tightest = headers::tightest(&self.standings).map(|it| it.limit.clone());
        let deciding = charges.iter().map(|charge| charge.limit).find(|limit| {
            policy
                .limits
                .get(*limit)
                .is_some_and(|it| Some(it.name.as_str()) == tightest.as_deref())
        });
        // One count a limit, whatever the number of its rates: the gravest.
        for limit in 0..policy.limits.len() {
            let of_limit = |outcome| outcomes.contains(&(limit, outcome));
            let grave = [Outcome::ErrorAllowed, Outcome::ShadowLimited, Outcome::Allowed];
            if let Some(outcome) = grave.into_iter().find(|outcome| of_limit(*outcome))
                && (deciding != Some(limit) || outcome != Outcome::Allowed)
            {
                env.host.count(Compiled::counter(limit, outcome), 1);
            }
        }
        Ok(deciding)
    }
}

/// Whether this refusal lasts longer than that one.
fn is_longer(this: Refused, that: Refused) -> bool {
    let length = |refused: Refused| refused.retry_after.unwrap_or(Duration::MAX);
    length(this) > length(that)
}
