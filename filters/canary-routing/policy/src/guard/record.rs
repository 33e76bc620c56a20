//! What the workers of a proxy know together about one guard: a value of fixed size.

use super::outcome::Outcome;

/// What happened to the requests of one variant in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub requests: u64,
    pub errors: u64,
    /// The requests whose time says something.
    pub timed: u64,
    /// The time that these took.
    pub nanos: u64,
}

impl Sums {
    pub fn add(&mut self, outcome: Outcome) {
        self.requests += 1;
        self.errors += u64::from(outcome.failed);
        if let Some(nanos) = outcome.nanos {
            self.timed += 1;
            self.nanos = self.nanos.saturating_add(nanos);
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.timed = self.timed.saturating_add(other.timed);
        self.nanos = self.nanos.saturating_add(other.nanos);
    }
}

/// The variant that is guarded, and the one it is compared to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Both {
    pub guarded: Sums,
    pub other: Sums,
}

/// What is shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The number of the window that the sums are of: the monotonic time, divided by
    /// the length of a window.
    pub window: u64,
    pub sums: Both,
    /// When the guard last tripped, in monotonic nanoseconds; 0 if it is at rest.
    pub tripped: u64,
    /// The phase that was last told, as a number.
    pub told: u64,
}

const FIELDS: usize = 11;

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let Both { guarded, other } = self.sums;
        let sums = |it: Sums| [it.requests, it.errors, it.timed, it.nanos];
        let fields = [self.window, self.tripped, self.told];
        let fields = fields.into_iter().chain(sums(guarded)).chain(sums(other));
        fields.flat_map(u64::to_le_bytes).collect()
    }

    /// `None` if it is of another form, as after a change of the filter.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let fields: &[[u8; 8]; FIELDS] = fields.try_into().ok()?;
        let [window, tripped, told, requests, errors, timed, nanos, others @ ..] =
            fields.map(u64::from_le_bytes);
        let guarded = Sums { requests, errors, timed, nanos };
        let [requests, errors, timed, nanos] = others;
        let other = Sums { requests, errors, timed, nanos };
        Some(Self { window, sums: Both { guarded, other }, tripped, told })
    }
}
