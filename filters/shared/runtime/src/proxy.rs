//! The host as a policy sees it.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};

use fastrand::Rng;
use mesh_filters_policy::{
    CounterId, Host, HostRefused, LogLevel, Monotonic, NotShared, Shared, SignatureCheck,
    VerifySignature, Version,
};
use proxy_wasm::types;

use crate::foreign;
use crate::host;

/// The proxy that this VM runs in.
pub(crate) struct Proxy {
    name: &'static str,
    /// By the policy's counter ids.
    counters: Vec<u32>,
    rng: RefCell<Rng>,
}

impl Proxy {
    /// The proxy, before any counter is defined.
    pub fn new(name: &'static str) -> Self {
        // The standard library asks the host for random keys.
        let seed = RandomState::new().build_hasher().finish();
        Self { name, counters: Vec::new(), rng: RefCell::new(Rng::with_seed(seed)) }
    }

    /// Has these counters counted from now on.
    pub fn with_counters(self, counters: Vec<u32>) -> Self {
        Self { counters, ..self }
    }
}

impl VerifySignature for Proxy {
    fn verify_signature(&self, check: &SignatureCheck<'_>) -> Option<bool> {
        foreign::verify_signature(check)
    }
}

impl Host for Proxy {
    fn monotonic(&self) -> Monotonic {
        host::monotonic()
    }

    fn random(&self) -> u64 {
        self.rng.borrow_mut().u64(..)
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        host::property(path).ok()
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostRefused> {
        host::set_property(name, value).map_err(|_| HostRefused)
    }

    fn shared(&self, key: &str) -> Option<Shared> {
        host::shared(key).ok()
    }

    fn share(&self, key: &str, value: &[u8], expected: Option<Version>) -> Result<(), NotShared> {
        host::share(key, value, expected)
    }

    fn environment(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn count(&self, counter: CounterId, by: u64) {
        if let Some(metric) = self.counters.get(counter.0) {
            host::count(*metric, by);
        }
    }

    fn log(&self, level: LogLevel, line: &str) {
        let level = match level {
            LogLevel::Debug => types::LogLevel::Debug,
            LogLevel::Info => types::LogLevel::Info,
            LogLevel::Warn => types::LogLevel::Warn,
        };
        host::log(level, &format!("{}: {line}", self.name));
    }
}
