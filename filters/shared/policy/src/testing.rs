//! A host for the tests of policies: what it says and keeps, the test decides.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use crate::host::{Host, HostRefused, LogLevel, NotShared, Shared, SignatureCheck, Version};
use crate::time::Monotonic;
use crate::verdict::CounterId;

type Verify = dyn Fn(&SignatureCheck<'_>) -> Option<bool>;

/// A host in memory. Several policies on one of these are workers of one proxy.
#[derive(Default)]
pub struct FakeHost {
    verify: Option<Box<Verify>>,
    now: Cell<Monotonic>,
    random: Cell<u64>,
    shared: RefCell<HashMap<String, (u32, Vec<u8>)>>,
    writes: Cell<u32>,
    /// What Envoy knows, by the parts of its path with dots between.
    pub properties: RefCell<HashMap<String, Vec<u8>>>,
    /// The environment of the VM.
    pub environment: RefCell<HashMap<String, String>>,
    /// What was counted.
    pub counts: RefCell<HashMap<usize, u64>>,
    /// What was logged.
    pub log: RefCell<Vec<(LogLevel, String)>>,
}

impl FakeHost {
    /// A host that checks signatures like this.
    pub fn that_verifies(verify: impl Fn(&SignatureCheck<'_>) -> Option<bool> + 'static) -> Self {
        Self { verify: Some(Box::new(verify)), ..Self::default() }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get().later(by));
    }

    /// How often a counter went up.
    pub fn counted(&self, counter: usize) -> u64 {
        self.counts.borrow().get(&counter).copied().unwrap_or_default()
    }
}

impl Host for FakeHost {
    fn verify_signature(&self, check: &SignatureCheck<'_>) -> Option<bool> {
        self.verify.as_ref().and_then(|verify| verify(check))
    }

    fn monotonic(&self) -> Monotonic {
        self.now.get()
    }

    /// A sequence that is the same in every run (`SplitMix64`).
    fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.properties.borrow().get(&path.join(".")).cloned()
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostRefused> {
        self.properties.borrow_mut().insert(name.into(), value.into());
        Ok(())
    }

    fn shared(&self, key: &str) -> Option<Shared> {
        let shared = self.shared.borrow();
        let (version, value) = shared.get(key)?;
        Some(Shared { value: value.clone(), version: Version(*version) })
    }

    fn share(&self, key: &str, value: &[u8], expected: Option<Version>) -> Result<(), NotShared> {
        let mut shared = self.shared.borrow_mut();
        let old = shared.get(key).map(|(version, _)| Version(*version));
        if expected.is_some() && old.is_some() && expected != old {
            return Err(NotShared::Changed);
        }
        self.writes.set(self.writes.get() + 1);
        shared.insert(key.into(), (self.writes.get(), value.into()));
        Ok(())
    }

    fn environment(&self, name: &str) -> Option<String> {
        self.environment.borrow().get(name).cloned()
    }

    fn count(&self, counter: CounterId, by: u64) {
        *self.counts.borrow_mut().entry(counter.0).or_default() += by;
    }

    fn log(&self, level: LogLevel, line: &str) {
        self.log.borrow_mut().push((level, line.into()));
    }
}
