//! A configured policy, with what the host gave it.

use mesh_filters_policy::{Configured, CounterId, Policy};
use proxy_wasm::types::LogLevel;

use crate::foreign::ProxyHost;
use crate::host;

/// A policy with what the host gave it.
pub(crate) struct Filter<P> {
    pub policy: P,
    counters: Vec<u32>,
    host_failures: u32,
}

impl<P: Policy> Filter<P> {
    /// Compiles a configuration, defines the metrics and says what an operator
    /// should know.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn load(config: &[u8]) -> Result<Self, String> {
        let Configured { policy, warnings, notes } =
            P::configure(config, &ProxyHost).map_err(|errors| errors.to_string())?;
        let define = |name: &str| {
            host::define_counter(name).map_err(|error| format!("{} failed for {name}", error.call))
        };
        let counters =
            policy.counters().iter().map(|name| define(name)).collect::<Result<_, _>>()?;
        let host_failures = define(&format!("{}.host_failures", P::NAME.replace('-', "_")))?;
        for warning in warnings {
            host::log(LogLevel::Warn, &format!("{}: {warning}", P::NAME));
        }
        for note in notes {
            host::log(LogLevel::Info, &format!("{}: {note}", P::NAME));
        }
        Ok(Self { policy, counters, host_failures })
    }

    pub(crate) fn count(&self, counter: CounterId) {
        if let Some(metric) = self.counters.get(counter.0) {
            host::count(*metric);
        }
    }

    pub(crate) fn count_host_failure(&self) {
        host::count(self.host_failures);
    }
}
