//! Limits, ready to be asked.

use std::collections::HashMap;
use std::hash::Hasher;
use std::time::Duration;

use mesh_filters_config::{Errors, Identifier, NonEmpty};
use mesh_filters_policy::Headers;
use mesh_filters_policy::matcher::{RequestMatch, RequestView};
use siphasher::sip::SipHasher24;

use crate::config::{ChargeConfig, CostConfig, LimitConfig, MissingKey, RateConfig, Scope};
use crate::gcra::Quota;
use crate::key::KeyPart;
use crate::table::Fingerprint;

/// More rates of one limit than anyone needs.
const MAX_RATES: usize = 8;

/// A limit.
pub(crate) struct Limit {
    pub name: Identifier,
    matcher: RequestMatch,
    key: Vec<KeyPart>,
    /// A text that only the same key has.
    definition: String,
    pub missing_key: MissingKey,
    rates: Vec<Rate>,
    overrides: HashMap<Vec<Vec<u8>>, Vec<Rate>>,
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

/// What a limit asks of a request.
pub(crate) enum Demand<'a> {
    /// Nothing: it is about other requests, or the request is not counted.
    Nothing,
    /// The request lacks a part of the key.
    MissingKey,
    /// That much of these.
    Spend { cost: u64, of: Vec<(Fingerprint, &'a Rate)> },
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

    /// The fingerprint of a client of a limit, for the `index`th of its rates. What is
    /// in it decides what survives a new configuration: a limit of the same name with
    /// the same key and rate goes on where it was.
    fn fingerprint(&self, limit: &Limit, rate: &Rate, key: &[Option<Vec<u8>>]) -> Fingerprint {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        let mut write = |bytes: &[u8]| {
            hasher.write_u64(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            hasher.write(bytes);
        };
        write(&self.filter);
        write(limit.name.as_str().as_bytes());
        write(&rate.requests.to_le_bytes());
        write(&rate.per.as_nanos().to_le_bytes());
        write(&rate.quota.burst().to_le_bytes());
        write(limit.definition.as_bytes());
        let quota = hasher.finish().max(1);
        for value in key {
            match value {
                Some(value) => {
                    hasher.write_u64(u64::try_from(value.len()).unwrap_or(u64::MAX));
                    hasher.write(value);
                }
                None => hasher.write_u8(0),
            }
        }
        Fingerprint { key: hasher.finish().max(1), quota }
    }
}

impl Rate {
    /// Compiles the rates that stand at `at`, in either of two ways.
    pub fn compile(
        rate: Option<&RateConfig>,
        rates: Option<&NonEmpty<Vec<RateConfig>>>,
        at: &str,
        errors: &Errors,
    ) -> Vec<Self> {
        let listed: Vec<(String, &RateConfig)> = match (rate, rates) {
            (Some(rate), None) => vec![(format!("{at}.rate"), rate)],
            (None, Some(rates)) => {
                if rates.len() > MAX_RATES {
                    errors.add(format_args!("{at}.rates"), format!("at most {MAX_RATES} are kept"));
                }
                let at = |index| format!("{at}.rates[{index}]");
                rates.iter().enumerate().map(|(index, rate)| (at(index), rate)).collect()
            }
            _ => {
                errors.add_about_fields(at, "must have either \"rate\" or \"rates\"");
                Vec::new()
            }
        };
        listed.into_iter().filter_map(|(at, rate)| Self::one(rate, &at, errors)).collect()
    }

    fn one(config: &RateConfig, at: &str, errors: &Errors) -> Option<Self> {
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
        let rates = Rate::compile(config.rate.as_ref(), config.rates.as_ref(), &at, errors);
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
            rates,
            overrides: HashMap::new(),
            scope: config.scope,
            cost: config.cost.clone(),
            charge_response: config.charge_response.clone(),
            shadow: config.shadow,
        })
    }

    /// Gives the key that stands at `at` other rates.
    pub fn give(&mut self, key: &[String], rates: Vec<Rate>, at: &str, errors: &Errors) {
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
        if values.len() == parts && self.overrides.insert(values, rates).is_some() {
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
                    return self.spend(request.headers, &nobody, &self.rates, seed);
                }
            }
        }
        let rates = if self.overrides.is_empty() {
            &self.rates
        } else {
            let values: Vec<Vec<u8>> = key.iter().flatten().cloned().collect();
            self.overrides.get(&values).unwrap_or(&self.rates)
        };
        self.spend(request.headers, &key, rates, seed)
    }

    fn spend<'a>(
        &self,
        request: &Headers,
        key: &[Option<Vec<u8>>],
        rates: &'a [Rate],
        seed: &Seed,
    ) -> Demand<'a> {
        let of = rates.iter().map(|rate| (seed.fingerprint(self, rate, key), rate)).collect();
        Demand::Spend { cost: self.cost(request), of }
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
