//! A configured policy, with what the host gave it.

use mesh_filters_policy::{Configured, CounterId, Env, Host, LogLevel, Policy};

use crate::background::Background;
use crate::host::{self, HostError};
use crate::proxy::Proxy;
use crate::waiting::Waiting;

/// A policy with what the host gave it.
pub(crate) struct Filter<P: Policy> {
    pub policy: P,
    pub proxy: Proxy,
    pub background: Background,
    pub waiting: Waiting<P>,
    host_failures: u32,
}

impl<P: Policy> Filter<P> {
    /// Compiles a configuration, defines the metrics and says what an operator
    /// should know. `root` is the context that is ticked.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub fn load(config: &[u8], root: u32) -> Result<Self, String> {
        let proxy = Proxy::new(P::NAME);
        let Configured { policy, warnings, notes } =
            P::configure(config, &proxy).map_err(|errors| errors.to_string())?;
        let define = |name: &str| {
            host::define_counter(name).map_err(|error| format!("{} failed for {name}", error.call))
        };
        let counters =
            policy.counters().iter().map(|name| define(name)).collect::<Result<_, _>>()?;
        let host_failures = define(&format!("{}.host_failures", P::NAME.replace('-', "_")))?;
        for warning in warnings {
            proxy.log(LogLevel::Warn, &warning);
        }
        for note in notes {
            proxy.log(LogLevel::Info, &note);
        }
        Ok(Self {
            policy,
            proxy: proxy.with_counters(counters),
            background: Background::new(root),
            waiting: Waiting::default(),
            host_failures,
        })
    }

    /// What surrounds a decision that is made now.
    ///
    /// # Errors
    /// If the host has no clock.
    pub fn env(&self, may_wait: bool) -> Result<Env<'_>, HostError> {
        Ok(Env { now: host::now()?, may_wait, host: &self.proxy })
    }

    pub fn count(&self, counter: CounterId) {
        self.proxy.count(counter, 1);
    }

    pub fn note_host_failure(&self, error: HostError) {
        self.proxy.log(LogLevel::Warn, &format!("{} failed", error.call));
        host::count(self.host_failures, 1);
    }
}
