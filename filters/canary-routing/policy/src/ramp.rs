//! A weight that rises with the wall clock, and so is the same in every proxy whose
//! clock is right, without a word between them.

use std::time::Duration;

use mesh_filters_config::{Errors, Percentage};
use mesh_filters_policy::UnixTime;

use crate::config::RampConfig;

/// A compiled ramp.
#[derive(Debug, Clone)]
pub(crate) struct Ramp {
    from: u32,
    to: u32,
    start: UnixTime,
    over: Duration,
    steps: Option<u64>,
}

impl Ramp {
    /// Compiles the ramp that stands at `path`.
    pub fn compile(config: &RampConfig, path: &str, errors: &Errors) -> Self {
        let RampConfig { from, to, start, over, steps, .. } = config;
        if over.is_zero() {
            errors.add(format_args!("{path}.over"), "must be longer than nothing");
        }
        if from > to {
            errors.add(
                format_args!("{path}.to"),
                "must not be less than \"from\": a ramp only rises; lower the weight instead",
            );
        }
        Self {
            from: from.thousandths(),
            to: to.thousandths(),
            start: UnixTime::from_nanos(start.unix_nanos()),
            over: *over,
            steps: steps.map(mesh_filters_config::Bounded::get),
        }
    }

    /// The weight in thousandths of a percent; `None` before the start.
    pub fn weight(&self, now: UnixTime) -> Option<u32> {
        let elapsed = now.since(self.start)?.min(self.over).as_nanos();
        let over = self.over.as_nanos().max(1);
        let rise = u128::from(self.to.saturating_sub(self.from));
        let risen = match self.steps {
            None => rise * elapsed / over,
            // From step to step the weight stands still; the last one is the end.
            Some(steps) => {
                let steps = u128::from(steps.max(1));
                rise * (elapsed * steps / over) / steps
            }
        };
        let risen = u32::try_from(risen).unwrap_or(u32::MAX);
        Some(self.from.saturating_add(risen).min(Percentage::HUNDRED.thousandths()))
    }
}
