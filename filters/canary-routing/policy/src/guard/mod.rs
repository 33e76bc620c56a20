//! Takes a variant out that does worse than another, in this proxy.
//!
//! The workers add up what happened in windows: each counts for itself and, once a
//! tick, merges its counts into a record that all share, by comparing and swapping. So
//! a request costs no call into the proxy for it, and a decision reaches every worker
//! within a tick. All that follows from a trip is a function of the time since, so the
//! workers need not agree on anything else:
//!
//! | time since the trip | phase | share of its weight |
//! |---|---|---|
//! | up to `cool_down` | tripped | none |
//! | then, for one `window` each | trial | 10 %, 20 %, 40 %, 80 % |
//! | then | at rest | all |
//!
//! Beyond a limit in a trial, the guard trips anew.

mod outcome;
mod record;

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use mesh_filters_config::{Errors, Percentage};
use mesh_filters_policy::{Host, LogLevel, Monotonic, NotShared};

use crate::config::GuardConfig;
pub(crate) use outcome::Outcome;
use record::{Both, Record, Sums};

/// The windows of a trial: the first with a tenth of the weight, each with twice as
/// much as the one before.
const TRIAL_WINDOWS: u64 = 4;

/// How often a merge is tried that other workers keep changing. Counts that find no
/// place are merged with the next tick.
const MAX_TRIES: usize = 8;

/// The guard's limits.
#[derive(Debug, Clone, Copy)]
struct Limits {
    error_rate: Option<u64>,
    latency_ratio: Option<u64>,
    min_requests: u64,
}

/// One guard in one worker.
#[derive(Debug)]
pub(crate) struct Guard {
    name: String,
    key: String,
    limits: Limits,
    window: Duration,
    cool_down: Duration,
    local: RefCell<Local>,
}

#[derive(Debug, Default)]
struct Local {
    /// What the workers knew at the last tick.
    record: Record,
    /// What has happened here since.
    pending: Both,
}

/// Which of the two a request went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Guarded,
    Other,
}

/// What the guard is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Watching.
    AtRest,
    /// Leaving the variant out.
    Tripped,
    /// Trying it again, for so many windows already.
    Trial(u64),
}

impl Phase {
    /// Its number in the shared record.
    const fn number(self) -> u64 {
        match self {
            Self::AtRest => 0,
            Self::Tripped => 1,
            Self::Trial(_) => 2,
        }
    }

    /// Its name; `None` at rest.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::AtRest => None,
            Self::Tripped => Some("tripped"),
            Self::Trial(_) => Some("trial"),
        }
    }

    /// What is left of a weight, never nothing in a trial.
    pub fn allows(self, weight: u32) -> u32 {
        match self {
            Self::AtRest => weight,
            Self::Tripped => 0,
            Self::Trial(windows) => {
                let tenths = 1 << windows.min(TRIAL_WINDOWS);
                let part = u64::from(weight) * tenths / 10;
                u32::try_from(part).unwrap_or(weight).clamp(weight.min(1), weight)
            }
        }
    }
}

/// A change that operators are told of, by one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Tripped,
    Trial,
    Restored,
}

impl Guard {
    /// Compiles the guard that stands at `path`.
    pub fn compile(config: &GuardConfig, experiment: &str, path: &str, errors: &Errors) -> Self {
        let GuardConfig { variant, compare_to, window, cool_down, .. } = config;
        let (variant, compare_to) = (variant.as_str(), compare_to.as_str());
        if variant == compare_to {
            errors.add(format_args!("{path}.compare_to"), "must be another variant");
        }
        if config.max_error_rate.is_none() && config.max_latency_ratio.is_none() {
            errors.add_about_fields(path, "must have max_error_rate, max_latency_ratio or both");
        }
        let bounds = [("window", window, 1, 3_600), ("cool_down", cool_down, 1, 86_400)];
        for (field, duration, least, most) in bounds {
            let bounds = Duration::from_secs(least)..=Duration::from_secs(most);
            if !bounds.contains(duration) {
                errors.add(
                    format_args!("{path}.{field}"),
                    format!("must be from {least}s to {most}s"),
                );
            }
        }
        Self {
            name: format!("{experiment}: {variant}, compared to {compare_to},"),
            key: format!("canary-routing.guard.{experiment}.{variant}.{compare_to}"),
            limits: Limits {
                error_rate: config.max_error_rate.map(|it| it.thousandths().into()),
                latency_ratio: config.max_latency_ratio.map(|it| it.thousandths().into()),
                min_requests: config.min_requests.get(),
            },
            window: *window,
            cool_down: *cool_down,
            local: RefCell::default(),
        }
    }

    /// What the guard is doing, as far as this worker knows.
    pub fn phase(&self, host: &dyn Host) -> Phase {
        match self.local.borrow().record.tripped {
            0 => Phase::AtRest,
            tripped => self.phase_at(tripped, host.monotonic()),
        }
    }

    fn phase_at(&self, tripped: u64, now: Monotonic) -> Phase {
        let since = now.since(Monotonic::from_nanos(tripped));
        match since.checked_sub(self.cool_down) {
            _ if tripped == 0 => Phase::AtRest,
            None => Phase::Tripped,
            Some(trial) => match self.windows_in(trial) {
                windows @ 0..TRIAL_WINDOWS => Phase::Trial(windows),
                _ => Phase::AtRest,
            },
        }
    }

    fn windows_in(&self, time: Duration) -> u64 {
        let windows = time.as_nanos() / self.window.as_nanos().max(1);
        u64::try_from(windows).unwrap_or(u64::MAX)
    }

    /// Takes note of how a request ended.
    pub fn note(&self, side: Side, outcome: Outcome) {
        let Both { guarded, other } = &mut self.local.borrow_mut().pending;
        match side {
            Side::Guarded => guarded.add(outcome),
            Side::Other => other.add(outcome),
        }
    }

    /// When to tick again.
    pub fn next_tick(&self) -> Duration {
        (self.window / 10).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }

    /// Merges what happened here with what happened elsewhere, and judges it. Returns
    /// what this worker is the first to see.
    pub fn on_tick(&self, host: &dyn Host) -> Option<Event> {
        let mut local = self.local.borrow_mut();
        for _ in 0..MAX_TRIES {
            let shared = host.shared(&self.key);
            let known = shared.and_then(|it| Some((Record::decode(&it.value)?, Some(it.version))));
            // A host that shares nothing leaves each worker to itself.
            let (record, version) = known.unwrap_or((local.record, None));
            let (next, change) = self.advance(record, local.pending, host.monotonic());
            if next != record {
                match host.share(&self.key, &next.encode(), version) {
                    Err(NotShared::Changed) => continue,
                    Ok(()) | Err(NotShared::Refused) => {}
                }
            }
            *local = Local { record: next, pending: Both::default() };
            return change.map(|change| self.tell(change, host));
        }
        None
    }

    /// What becomes of the record with what happened in one worker.
    fn advance(&self, record: Record, pending: Both, now: Monotonic) -> (Record, Option<Change>) {
        let mut next = record;
        let window = self.windows_in(now.since(Monotonic::default()));
        if next.window < window {
            next = Record { window, sums: Both::default(), ..next };
        }
        let mut phase = self.phase_at(next.tripped, now);
        let mut excess = None;
        // While it is left out, only those reach it that a rule sends there, and what
        // was under way when it tripped.
        if phase != Phase::Tripped {
            next.sums.guarded.merge(pending.guarded);
            next.sums.other.merge(pending.other);
            excess = self.limits.excess(&next.sums);
        }
        let told = next.told;
        if excess.is_some() {
            next = Record { tripped: now.as_nanos().max(1), sums: Both::default(), ..next };
            phase = Phase::Tripped;
        } else if phase == Phase::AtRest {
            next.tripped = 0;
        }
        next.told = phase.number();
        let change = match (phase, excess) {
            (_, Some(excess)) => Some(Change::Tripped(excess)),
            (Phase::Trial(_), None) if next.told != told => Some(Change::Trial),
            (Phase::AtRest, None) if next.told != told => Some(Change::Restored),
            _ => None,
        };
        (next, change)
    }

    fn tell(&self, change: Change, host: &dyn Host) -> Event {
        let name = &self.name;
        let (event, level, line) = match change {
            Change::Tripped(excess) => {
                let line = format!("{name} {excess}: left out for {:?}", self.cool_down);
                (Event::Tripped, LogLevel::Warn, line)
            }
            Change::Trial => {
                let line = format!("{name} is tried again with a tenth of its weight");
                (Event::Trial, LogLevel::Info, line)
            }
            Change::Restored => {
                (Event::Restored, LogLevel::Info, format!("{name} has its weight again"))
            }
        };
        host.log(level, &line);
        event
    }
}

/// A change of phase, and what it was for.
#[derive(Debug, Clone, Copy)]
enum Change {
    Tripped(Excess),
    Trial,
    Restored,
}

/// What was beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excess {
    Errors(Both),
    Latency(Both),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors(Both { guarded, other }) => write!(
                f,
                "failed {} of {} requests, the other {} of {}",
                guarded.errors, guarded.requests, other.errors, other.requests
            ),
            Self::Latency(Both { guarded, other }) => {
                write!(f, "took {:?} on average, the other {:?}", mean(*guarded), mean(*other))
            }
        }
    }
}

fn mean(sums: Sums) -> Duration {
    Duration::from_micros(sums.nanos / sums.timed.max(1) / 1_000)
}

impl Limits {
    /// Which limit the sums of a window are beyond.
    fn excess(&self, sums: &Both) -> Option<Excess> {
        let Both { guarded, other } = sums;
        if guarded.requests < self.min_requests {
            return None;
        }
        let wide = |number: u64| u128::from(number);
        if let Some(limit) = self.error_rate {
            let whole = wide(Percentage::HUNDRED.thousandths().into());
            let is_over = wide(guarded.errors) * whole > wide(guarded.requests) * wide(limit);
            // Where both fail alike, something else is broken, and leaving one out
            // helps nobody.
            let is_worse = other.requests == 0
                || wide(guarded.errors) * wide(other.requests)
                    > wide(other.errors) * wide(guarded.requests);
            if is_over && is_worse {
                return Some(Excess::Errors(*sums));
            }
        }
        let enough = guarded.timed.min(other.timed) >= self.min_requests;
        if let Some(limit) = self.latency_ratio.filter(|_| enough) {
            let own = wide(guarded.nanos) * wide(other.timed) * 1_000;
            let allowed = wide(other.nanos) * wide(guarded.timed) * wide(limit);
            if own > allowed {
                return Some(Excess::Latency(*sums));
            }
        }
        None
    }
}
