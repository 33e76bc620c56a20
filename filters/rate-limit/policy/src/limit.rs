//! Limits, ready to be asked.

use std::collections::HashMap;
use std::hash::Hasher;
use std::time::Duration;

use mesh_filters_config::{Bounded, Errors, Identifier, NonEmpty};
use mesh_filters_policy::Headers;
use mesh_filters_policy::matcher::{RequestMatch, RequestView};
use siphasher::sip::SipHasher24;

use crate::config::{ChargeConfig, CostConfig, LimitConfig, MissingKey, RateConfig, Scope};
use crate::gcra::Quota;
use crate::key::KeyPart;
use crate::table::Fingerprint;

/// More rates of one limit than anyone needs.
const MAX_RATES: usize = 8;

/// How many requests may be in flight.
type Slots = Bounded<1, 1_000_000_000>;

/// A limit.
pub(crate) struct Limit {
    pub name: Identifier,
    matcher: RequestMatch,
    key: Vec<KeyPart>,
    /// A text that only the same key has.
    definition: String,
    pub missing_key: MissingKey,
    allowance: Allowance,
    overrides: HashMap<Vec<Vec<u8>>, Allowance>,
    pub scope: Scope,
    cost: Option<CostConfig>,
    pub charge_response: Option<ChargeConfig>,
    pub shadow: bool,
}

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub quota: Quota,
    pub requests: u64,
    pub per: Duration,
}

/// What a client may do.
pub(crate) enum Allowance {
    /// So much in some time. All must hold.
    Rates(Vec<Rate>),
    /// So many requests in flight at once.
    Concurrency(u64),
}

/// What a limit asks of a request.
pub(crate) enum Demand<'a> {
    /// Nothing: it is about other requests, or the request is not counted.
    Nothing,
    /// The request lacks a part of the key.
    MissingKey,
    /// That much of these.
    Spend { cost: u64, of: Vec<(Fingerprint, &'a Rate)> },
    /// A slot of this key, of which there are so many.
    Slot { key: u64, most: u64 },
}

/// Turns keys into fingerprints that nobody outside can foresee.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    key: [u8; 16],
    /// Which filter of this Envoy it is, so that two with limits of one name count
    /// apart.
    filter: Vec<u8>,
}

impl Seed {
    pub fn new(key: [u8; 16], filter: Vec<u8>) -> Self {
        Self { key, filter }
    }

    /// The fingerprint of a client of a limit, for one of its rates. What is
    /// in it decides what survives a new configuration: a limit of the same name with
    /// the same key and rate goes on where it was.
    fn fingerprint(&self, limit: &Limit, rate: &Rate, key: &[Option<Vec<u8>>]) -> Fingerprint {
        let mut hasher = self.hasher(limit);
        for bytes in [
            rate.requests.to_le_bytes().as_slice(),
            &rate.per.as_nanos().to_le_bytes(),
            &rate.quota.burst().to_le_bytes(),
        ] {
            write(&mut hasher, bytes);
        }
        let quota = hasher.finish().max(1);
        Fingerprint { key: Self::of_key(hasher, key), quota }
    }

    /// The fingerprint of a client of a limit of what is in flight. How many may be is
    /// not in it: what is in flight stays so with a new configuration.
    fn slot(&self, limit: &Limit, key: &[Option<Vec<u8>>]) -> u64 {
        Self::of_key(self.hasher(limit), key)
    }

    fn hasher(&self, limit: &Limit) -> SipHasher24 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        write(&mut hasher, &self.filter);
        write(&mut hasher, limit.name.as_str().as_bytes());
        write(&mut hasher, limit.definition.as_bytes());
        hasher
    }

    fn of_key(mut hasher: SipHasher24, key: &[Option<Vec<u8>>]) -> u64 {
        for value in key {
            match value {
                Some(value) => write(&mut hasher, value),
                None => hasher.write_u8(0),
            }
        }
        hasher.finish().max(1)
    }
}

/// Hashes bytes so that none can be taken for parts of what follows.
fn write(hasher: &mut SipHasher24, bytes: &[u8]) {
    hasher.write_u64(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    hasher.write(bytes);
}

impl Allowance {
    /// Compiles what stands at `at`, in one of three ways.
    pub fn compile(
        rate: Option<&RateConfig>,
        rates: Option<&NonEmpty<Vec<RateConfig>>>,
        concurrency: Option<&Slots>,
        at: &str,
        errors: &Errors,
    ) -> Option<Self> {
        let listed: Vec<(String, &RateConfig)> = match (rate, rates, concurrency) {
            (None, None, Some(most)) => return Some(Self::Concurrency(most.get())),
            (Some(rate), None, None) => vec![(format!("{at}.rate"), rate)],
            (None, Some(rates), None) => {
                if rates.len() > MAX_RATES {
                    errors.add(format_args!("{at}.rates"), format!("at most {MAX_RATES} are kept"));
                }
                let at = |index| format!("{at}.rates[{index}]");
                rates.iter().enumerate().map(|(index, rate)| (at(index), rate)).collect()
            }
            _ => {
                let problem = "must have exactly one of \"rate\", \"rates\", \"concurrency\"";
                errors.add_about_fields(at, problem);
                return None;
            }
        };
        let rates = listed.into_iter().filter_map(|(at, rate)| Rate::compile(rate, &at, errors));
        Some(Self::Rates(rates.collect()))
    }
}

impl Rate {
    fn compile(config: &RateConfig, at: &str, errors: &Errors) -> Option<Self> {
        let RateConfig { requests, per, burst } = config;
        let requests = requests.get();
        let burst = burst.as_ref().map_or(requests, |burst| burst.get());
        let quota = Quota::new(requests, *per, burst);
        if quota.is_none() {
            let problem = "must be a time in which that many requests can come one by one, from \
                           \"1ms\" on, and in which a burst is over within a hundred years";
            errors.add(format_args!("{at}.per"), problem);
        }
        Some(Self { quota: quota?, requests, per: *per })
    }
}

impl Limit {
    /// Compiles the limit that stands at `limits[index]`.
    pub fn compile(index: usize, config: &LimitConfig, errors: &Errors) -> Option<Self> {
        let at = format!("limits[{index}]");
        let LimitConfig { rate, rates, concurrency, .. } = config;
        let concurrency = concurrency.as_ref();
        let allowance = Allowance::compile(rate.as_ref(), rates.as_ref(), concurrency, &at, errors);
        for (field, is_there) in
            [("cost", config.cost.is_some()), ("charge_response", config.charge_response.is_some())]
        {
            if is_there && concurrency.is_some() {
                let problem = "is not for \"concurrency\": a request takes one slot";
                errors.add(format_args!("{at}.{field}"), problem);
            }
        }
        let key: Vec<_> = config
            .key
            .iter()
            .enumerate()
            .map(|(part, it)| KeyPart::compile(it, &format!("{at}.key[{part}]"), errors))
            .collect();
        let key = key.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Self {
            name: config.name.clone(),
            matcher: config.r#match.clone(),
            definition: format!("{key:?}"),
            key,
            missing_key: config.missing_key,
            // A limit that is wrong is still there to be named by overrides.
            allowance: allowance.unwrap_or(Allowance::Rates(Vec::new())),
            overrides: HashMap::new(),
            scope: config.scope,
            cost: config.cost.clone(),
            charge_response: config.charge_response.clone(),
            shadow: config.shadow,
        })
    }

    /// Whether an override may be that.
    pub fn takes(&self, other: &Allowance) -> bool {
        std::mem::discriminant(&self.allowance) == std::mem::discriminant(other)
    }

    /// Whether it is about what is in flight in all workers.
    pub fn shares_slots(&self) -> bool {
        self.scope == Scope::Host && matches!(self.allowance, Allowance::Concurrency(_))
    }

    /// Gives the key that stands at `at` another allowance.
    pub fn give(&mut self, key: &[String], allowance: Allowance, at: &str, errors: &Errors) {
        let parts = self.key.len();
        if key.len() != parts {
            let problem = match parts {
                0 => "the limit has no key, so there is one client, whose rate is the limit's",
                1 => "must have one value, for the one part of the limit's key",
                _ => &format!("must have {parts} values, one for each part of the limit's key"),
            };
            return errors.add(at, problem);
        }
        let mut values = Vec::with_capacity(parts);
        for (index, (part, text)) in self.key.iter().zip(key).enumerate() {
            match part.named(text) {
                Ok(value) => values.push(value),
                Err(problem) => errors.add(format_args!("{at}[{index}]"), problem),
            }
        }
        if values.len() == parts && self.overrides.insert(values, allowance).is_some() {
            errors.add(at, "there is another override of this key");
        }
    }

    /// What the limit asks of a request.
    pub fn demand(&self, request: &RequestView<'_>, seed: &Seed) -> Demand<'_> {
        let matches = match request.path() {
            Some(path) => self.matcher.matches(request.headers, path),
            // Whoever sends such a path must not get around a limit by it.
            None => self.matcher.matches_apart_from_path(request.headers),
        };
        if !matches {
            return Demand::Nothing;
        }
        let key: Vec<_> = self.key.iter().map(|part| part.of(request)).collect();
        if key.iter().any(Option::is_none) {
            match self.missing_key {
                MissingKey::Deny | MissingKey::Skip => return Demand::MissingKey,
                MissingKey::Share => {
                    // Otherwise a client could choose among as many as the other parts
                    // tell apart.
                    let nobody = vec![None; key.len()];
                    return self.ask(request.headers, &nobody, &self.allowance, seed);
                }
            }
        }
        let allowance = if self.overrides.is_empty() {
            &self.allowance
        } else {
            let values: Vec<Vec<u8>> = key.iter().flatten().cloned().collect();
            self.overrides.get(&values).unwrap_or(&self.allowance)
        };
        self.ask(request.headers, &key, allowance, seed)
    }

    fn ask<'a>(
        &self,
        request: &Headers,
        key: &[Option<Vec<u8>>],
        allowance: &'a Allowance,
        seed: &Seed,
    ) -> Demand<'a> {
        match allowance {
            Allowance::Rates(rates) => Demand::Spend {
                cost: self.cost(request),
                of: rates.iter().map(|rate| (seed.fingerprint(self, rate, key), rate)).collect(),
            },
            Allowance::Concurrency(most) => Demand::Slot { key: seed.slot(self, key), most: *most },
        }
    }

    fn cost(&self, request: &Headers) -> u64 {
        let Some(cost) = &self.cost else {
            return 1;
        };
        let asked = request.first(cost.request_header.as_str()).and_then(whole_number);
        match asked {
            Some(asked) if asked > 0 => asked.min(cost.max.get()),
            _ => cost.default.get().min(cost.max.get()),
        }
    }

    /// What the response says that is to be charged.
    pub fn charge(&self, response: &Headers) -> Option<u64> {
        let ChargeConfig { header, max } = self.charge_response.as_ref()?;
        let asked = response.first(header.as_str()).and_then(whole_number)?;
        Some(asked.min(max.get())).filter(|charge| *charge > 0)
    }
}

/// Digits alone; more than 64 bits of them are as many as 64 bits hold.
fn whole_number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(text).ok()?.parse().unwrap_or(u64::MAX))
}
