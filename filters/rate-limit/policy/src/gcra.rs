//! The generic cell rate algorithm (ITU-T I.371), in whole nanoseconds.
//!
//! One number a key says all: the theoretical arrival time (TAT), at which a key that
//! sends no more would be as fresh as one never seen. A window counter needs a number
//! and a window, forgets everything at its edge, and so admits twice the limit around
//! it; a token bucket needs a level and the time of its last change, two numbers that
//! must change together. One number fits compare-and-swap, and a key whose TAT has
//! passed can be forgotten without loss.
//!
//! A quota of `burst` at `interval` a request admits a request of cost `c` at time
//! `now` if `max(TAT, now) + c * interval - now <= burst * interval`, and sets TAT to
//! that sum.

use std::time::Duration;

use mesh_filters_policy::Monotonic;

/// So many at once after a pause, and one more each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds a request; never zero.
    interval: u64,
    /// Never zero.
    burst: u64,
}

/// The theoretical arrival time of a key; the first moment for one never seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tat(pub u64);

/// What a key has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How much it may still spend at once.
    pub remaining: u64,
    /// How long until it may spend all of its burst again.
    pub reset: Duration,
}

/// A request was more than the quota admits now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// After how long the same request would be admitted; `None` if never, because it
    /// costs more than the whole burst.
    pub retry_after: Option<Duration>,
}

impl Quota {
    /// That many requests per that time, and `burst` at once after a pause. `None` if
    /// one of them is zero, if they come to more than one a nanosecond, or if a whole
    /// burst takes longer than 64 bits of nanoseconds can tell.
    pub fn new(requests: u64, per: Duration, burst: u64) -> Option<Self> {
        let per = u64::try_from(per.as_nanos()).ok()?;
        // Rounded up, so that no more is admitted than was said.
        let interval = per.checked_add(requests.checked_sub(1)?)?.checked_div(requests)?;
        let fits = per >= requests && burst > 0 && interval.checked_mul(burst)? < u64::MAX / 4;
        fits.then_some(Self { interval, burst })
    }

    /// How many may come at once after a pause.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// How long a key that has spent all takes to be fresh again, in nanoseconds.
    fn window(&self) -> u64 {
        self.interval * self.burst
    }

    /// Admits a request of that cost, and returns the key's new TAT.
    ///
    /// # Errors
    /// [`Refused`], in which case nothing is spent.
    pub fn admit(&self, tat: Tat, now: Monotonic, cost: u64) -> Result<Tat, Refused> {
        let now = now.as_nanos();
        let start = self.sane(tat, now).max(now);
        let Some(added) = self.interval.checked_mul(cost).filter(|it| *it <= self.window()) else {
            return Err(Refused { retry_after: None });
        };
        let new = start.saturating_add(added);
        let ahead = new - now;
        if ahead > self.window() {
            return Err(Refused { retry_after: Some(Duration::from_nanos(ahead - self.window())) });
        }
        Ok(Tat(new))
    }

    /// Takes a cost without asking, such as one that is known only afterwards. A key
    /// is never put further into debt than its whole burst.
    #[must_use]
    pub fn charge(&self, tat: Tat, now: Monotonic, cost: u64) -> Tat {
        let now = now.as_nanos();
        let start = self.sane(tat, now).max(now);
        let new = start.saturating_add(self.interval.saturating_mul(cost));
        Tat(new.min(now.saturating_add(self.window() * 2)))
    }

    /// Gives back what was admitted.
    #[must_use]
    pub fn refund(&self, tat: Tat, cost: u64) -> Tat {
        Tat(tat.0.saturating_sub(self.interval.saturating_mul(cost)))
    }

    /// What a key has left.
    pub fn level(&self, tat: Tat, now: Monotonic) -> Level {
        let now = now.as_nanos();
        let ahead = self.sane(tat, now).saturating_sub(now);
        let free = self.window().saturating_sub(ahead);
        Level { remaining: free / self.interval, reset: Duration::from_nanos(ahead) }
    }

    /// A TAT further ahead than any charge leads is of a clock that has jumped back:
    /// the key then counts as having spent as much as it can.
    fn sane(&self, tat: Tat, now: u64) -> u64 {
        tat.0.min(now.saturating_add(self.window() * 2))
    }
}
