//! What each key has spent, in a table of fixed size.
//!
//! The table is cut into shards, and a key's hash says which one it is in. A shard is
//! one value, which all workers share and change by compare-and-swap, or which one
//! worker has for itself. An entry is a key's fingerprint and its TAT.
//!
//! **Nothing that counts is ever forgotten.** An entry may be overwritten once its TAT
//! has passed, for then the key is as fresh as one never seen. A key that finds its
//! shard full of others that are still paying shares one entry with all such keys of
//! its limit, so whoever floods the table with made-up keys gets, for all of them
//! beyond its capacity, the quota of one; and whoever is being limited stays limited.
//! The hash is keyed with a number that nobody outside knows, so a flood cannot be
//! aimed at somebody's shard.
//!
//! **Under contention** a change is tried again, [`MAX_TRIES`] times. Should that not
//! be enough, the request is refused: the limit is a promise to what is behind it.

use std::cell::RefCell;

use mesh_filters_policy::{Host, Monotonic, NotShared, Version};

use crate::gcra::{Level, Quota, Refused, Tat};

/// How many entries a shard has. One is copied out and in for each change.
const ENTRIES: usize = 32;

const ENTRY_BYTES: usize = 16;

const SHARD_BYTES: usize = ENTRIES * ENTRY_BYTES;

/// Shards for the entries that keys share when their own is full: one entry a quota.
const SPARE_SHARDS: usize = 16;

/// How often a change is tried. Each failure means that another worker has succeeded,
/// so with as many workers as a machine has cores this is never reached but by design.
const MAX_TRIES: usize = 100;

/// A key of a limit, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Says which key it is. Never zero.
    pub key: u64,
    /// Says which quota it is of. Never zero.
    pub quota: u64,
}

/// Where shards are kept.
pub trait Shards {
    /// A shard; `None` if there is none.
    fn read(&self, shard: usize) -> Option<(Vec<u8>, Option<Version>)>;

    /// Writes a shard, unless somebody has since it was read.
    ///
    /// # Errors
    /// [`NotShared`].
    fn write(&self, shard: usize, bytes: &[u8], read: Option<Version>) -> Result<(), NotShared>;
}

/// Shards that all workers of a proxy share.
pub struct SharedShards<'a> {
    host: &'a dyn Host,
    keys: &'a [String],
}

impl<'a> SharedShards<'a> {
    /// The keys of a table of that many entries.
    pub fn keys(capacity: usize) -> Vec<String> {
        let shards = shards(capacity) + SPARE_SHARDS;
        (0..shards).map(|shard| format!("mesh-filters/rate-limit/{capacity}/{shard}")).collect()
    }

    /// Makes the shards that are not there. To be called when configuring, which
    /// happens in one thread before the workers start: a shard that two workers make
    /// at once would lose what one of them wrote.
    pub fn prepare(host: &dyn Host, keys: &[String]) {
        Self::make(host, keys, &[0; SHARD_BYTES]);
    }

    /// As [`SharedShards::prepare`], for shards that begin as these bytes.
    pub(crate) fn make(host: &dyn Host, keys: &[String], bytes: &[u8]) {
        for key in keys.iter().filter(|key| host.shared(key).is_none()) {
            // A host that does not share says so again when a request comes.
            let _ = host.share(key, bytes, None);
        }
    }

    /// The shards under these keys.
    pub fn new(host: &'a dyn Host, keys: &'a [String]) -> Self {
        Self { host, keys }
    }
}

impl Shards for SharedShards<'_> {
    fn read(&self, shard: usize) -> Option<(Vec<u8>, Option<Version>)> {
        let found = self.host.shared(self.keys.get(shard)?)?;
        Some((found.value, Some(found.version)))
    }

    fn write(&self, shard: usize, bytes: &[u8], read: Option<Version>) -> Result<(), NotShared> {
        let key = self.keys.get(shard).ok_or(NotShared::Refused)?;
        self.host.share(key, bytes, read)
    }
}

/// Shards of one worker alone.
pub struct OwnShards(RefCell<Vec<Vec<u8>>>);

impl OwnShards {
    /// Those of a table of that many entries.
    pub fn new(capacity: usize) -> Self {
        Self(RefCell::new(vec![Vec::new(); shards(capacity) + SPARE_SHARDS]))
    }
}

impl Shards for OwnShards {
    fn read(&self, shard: usize) -> Option<(Vec<u8>, Option<Version>)> {
        let shards = self.0.borrow();
        let bytes = shards.get(shard)?;
        // Memory is taken when a shard is first used.
        Some((if bytes.is_empty() { vec![0; SHARD_BYTES] } else { bytes.clone() }, None))
    }

    fn write(&self, shard: usize, bytes: &[u8], _: Option<Version>) -> Result<(), NotShared> {
        *self.0.borrow_mut().get_mut(shard).ok_or(NotShared::Refused)? = bytes.to_vec();
        Ok(())
    }
}

fn shards(capacity: usize) -> usize {
    capacity.div_ceil(ENTRIES).max(1)
}

/// A table of that many entries in some shards.
pub struct Table<'a> {
    shards: &'a dyn Shards,
    capacity: usize,
}

/// What came of a request for a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was admitted, and this is left.
    Admitted(Level),
    /// It was refused, and nothing was spent.
    Refused(Refused),
    /// Others were faster, again and again.
    Contended,
    /// The table could not be read or changed.
    Unavailable,
}

/// Whether a key has an entry of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At this byte of its shard.
    Entry(usize),
    /// Its shard is full.
    Full,
}

impl<'a> Table<'a> {
    /// A table of that many entries.
    pub fn new(shards: &'a dyn Shards, capacity: usize) -> Self {
        Self { shards, capacity }
    }

    /// Whether a request would be admitted now, and what would be left.
    pub fn peek(&self, key: Fingerprint, quota: &Quota, now: Monotonic, cost: u64) -> Taken {
        self.change(key, now, |tat| {
            Err(match quota.admit(tat, now, cost) {
                Ok(new) => Taken::Admitted(quota.level(new, now)),
                Err(refused) => Taken::Refused(refused),
            })
        })
    }

    /// Admits a request if the quota does.
    pub fn take(&self, key: Fingerprint, quota: &Quota, now: Monotonic, cost: u64) -> Taken {
        self.change(key, now, |tat| match quota.admit(tat, now, cost) {
            Ok(new) => Ok((new, Taken::Admitted(quota.level(new, now)))),
            Err(refused) => Err(Taken::Refused(refused)),
        })
    }

    /// Takes a cost without asking.
    pub fn charge(&self, key: Fingerprint, quota: &Quota, now: Monotonic, cost: u64) -> Taken {
        self.change(key, now, |tat| {
            let new = quota.charge(tat, now, cost);
            Ok((new, Taken::Admitted(quota.level(new, now))))
        })
    }

    /// Gives back what was taken for a request that was then refused by another limit.
    pub fn refund(&self, key: Fingerprint, quota: &Quota, now: Monotonic, cost: u64) -> Taken {
        self.change(key, now, |tat| {
            let new = quota.refund(tat, cost);
            Ok((new, Taken::Admitted(quota.level(new, now))))
        })
    }

    /// How many entries count at the moment, of how many.
    pub fn fill(&self, now: Monotonic) -> (usize, usize) {
        let count = |shard| {
            let bytes = self.shards.read(shard).map(|it| it.0).unwrap_or_default();
            entries(&bytes).filter(|(_, _, tat)| tat.0 > now.as_nanos()).count()
        };
        let shards = shards(self.capacity);
        ((0..shards).map(count).sum(), shards * ENTRIES)
    }

    /// Changes the TAT of a key as `work` says, which is asked again after each
    /// failure; what it gives as an error is returned without a change.
    fn change(
        &self,
        key: Fingerprint,
        now: Monotonic,
        work: impl Fn(Tat) -> Result<(Tat, Taken), Taken>,
    ) -> Taken {
        let shards = shards(self.capacity);
        let own = usize::try_from(key.key >> 32).unwrap_or_default() % shards;
        let spare = shards + usize::try_from(key.quota >> 32).unwrap_or_default() % SPARE_SHARDS;
        for _ in 0..MAX_TRIES {
            let Some(mut shard) = self.shards.read(own) else {
                return Taken::Unavailable;
            };
            let mut number = own;
            let mut fingerprint = key.key;
            let mut place = place(&shard.0, fingerprint, now);
            if place == Place::Full {
                (number, fingerprint) = (spare, key.quota);
                let Some(spare) = self.shards.read(spare) else {
                    return Taken::Unavailable;
                };
                shard = spare;
                place = self::place(&shard.0, fingerprint, now);
            }
            let (mut bytes, version) = shard;
            // Even the entries to share are all taken: as good as refused.
            let Place::Entry(at) = place else {
                return Taken::Contended;
            };
            let Some(entry) = bytes.get_mut(at..at + ENTRY_BYTES) else {
                return Taken::Unavailable;
            };
            let (new, taken) = match work(tat_of(entry, fingerprint)) {
                Ok(changed) => changed,
                Err(taken) => return taken,
            };
            entry.copy_from_slice(&[fingerprint.to_le_bytes(), new.0.to_le_bytes()].concat());
            match self.shards.write(number, &bytes, version) {
                Ok(()) => return taken,
                Err(NotShared::Changed) => {}
                Err(NotShared::Refused) => return Taken::Unavailable,
            }
        }
        Taken::Contended
    }
}

/// The entries of a shard: where each is, whose, and its TAT.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (usize, u64, Tat)> {
    let (words, _) = bytes.as_chunks::<8>();
    let (pairs, _) = words.as_chunks::<2>();
    pairs.iter().enumerate().map(|(index, [fingerprint, tat])| {
        let tat = Tat(u64::from_le_bytes(*tat));
        (index * ENTRY_BYTES, u64::from_le_bytes(*fingerprint), tat)
    })
}

/// Where the key's entry is, or could be.
fn place(bytes: &[u8], fingerprint: u64, now: Monotonic) -> Place {
    let mut free = Place::Full;
    for (at, of, tat) in entries(bytes) {
        if of == fingerprint {
            return Place::Entry(at);
        }
        if free == Place::Full && (of == 0 || tat.0 <= now.as_nanos()) {
            free = Place::Entry(at);
        }
    }
    free
}

/// The TAT of an entry, which counts only if it is this key's.
fn tat_of(entry: &[u8], fingerprint: u64) -> Tat {
    match entries(entry).next() {
        Some((_, of, tat)) if of == fingerprint => tat,
        _ => Tat::default(),
    }
}
