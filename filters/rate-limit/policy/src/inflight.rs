//! How many requests of each key are in flight.
//!
//! The slots that all workers share are entries in a fixed number of shards, changed
//! by compare-and-swap. An entry says whose key it is, which VM holds it, and how many
//! slots that VM has taken.
//!
//! **A VM that died gives its slots back.** Each VM is an owner with a random number,
//! and one shared list says until when each is alive. A VM renews that every second;
//! [`ALIVE`] after the last time its entries count no longer and may be overwritten.
//!
//! **Where there is no room**, in a shard or in the list of owners, nothing is taken
//! and [`Slot::Unavailable`] returned: a bulkhead that cannot count lets pass. To get
//! there a client needs as many keys in flight at once as there are entries, for an
//! entry is free again as soon as its last request ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use mesh_filters_policy::{Host, Monotonic, NotShared};

use crate::table::{Shards, SharedShards};

/// How long an owner counts as alive that does not say so again.
pub const ALIVE: Duration = Duration::from_secs(5);

/// How often an owner says so.
pub const RENEWAL: Duration = Duration::from_secs(1);

/// How many owners there can be: VMs that live, or died in the last seconds.
pub const OWNERS: usize = 256;

/// How many entries a shard has.
pub const ENTRIES: usize = 32;

const SHARDS: usize = 256;

/// Key, owner and count.
const ENTRY_BYTES: usize = 24;

/// Number and the time until which it is alive.
const OWNER_BYTES: usize = 16;

const OWNER_LIST: &str = "mesh-filters/rate-limit/in-flight/owners";

/// How often a change is tried; each failure means that another worker succeeded.
const MAX_TRIES: usize = 100;

/// What came of asking for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It is taken, to be given back when the request ends.
    Taken,
    /// As many as the limit says are taken.
    Over,
    /// It could not be counted.
    Unavailable,
}

/// The keys under which workers share slots.
pub struct SharedKeys {
    shards: Vec<String>,
    owners: [String; 1],
}

impl Default for SharedKeys {
    fn default() -> Self {
        let shard = |shard| format!("mesh-filters/rate-limit/in-flight/{shard}");
        Self { shards: (0..SHARDS).map(shard).collect(), owners: [OWNER_LIST.into()] }
    }
}

impl SharedKeys {
    /// Makes the values that are not there. To be called when configuring, as
    /// [`SharedShards::prepare`].
    pub fn prepare(&self, host: &dyn Host) {
        SharedShards::make(host, &self.shards, &[0; ENTRIES * ENTRY_BYTES]);
        SharedShards::make(host, &self.owners, &[0; OWNERS * OWNER_BYTES]);
    }
}

/// The slots that this VM holds among those of all workers.
pub struct SharedSlots {
    keys: SharedKeys,
    owner: u64,
    /// When this owner has last said that it is alive.
    renewed: Cell<Option<Monotonic>>,
    /// Slots that were to be given back while others were faster, again and again.
    owed: RefCell<Vec<u64>>,
}

impl SharedSlots {
    /// Slots of an owner of that number, which nobody else has.
    pub fn new(owner: u64) -> Self {
        Self {
            keys: SharedKeys::default(),
            owner: owner.max(1),
            renewed: Cell::new(None),
            owed: RefCell::default(),
        }
    }

    /// Makes what workers share, if it is not there.
    pub fn prepare(&self, host: &dyn Host) {
        self.keys.prepare(host);
    }

    /// Takes a slot if fewer than `most` are taken.
    pub fn take(&self, host: &dyn Host, key: u64, most: u64) -> Slot {
        let now = host.monotonic();
        let fresh = self.renewed.get().is_some_and(|renewed| now.since(renewed) < RENEWAL);
        if !fresh && !self.renew(host) {
            return Slot::Unavailable;
        }
        let Some(alive) = self.alive(host, now) else {
            return Slot::Unavailable;
        };
        let taken = self.change(host, key, |bytes| {
            let (mut in_flight, mut place) = (0, None);
            for entry in entries::<3>(bytes) {
                let [of, owner, count] = *entry;
                let (of, owner, count) = (number(of), number(owner), number(count));
                let counts = count > 0 && alive.contains(&owner);
                if of == key && counts {
                    in_flight = u64::saturating_add(in_flight, count);
                }
                let own = of == key && owner == self.owner;
                if own || (!counts && place.is_none()) {
                    place = Some(([of, owner, count], entry));
                }
            }
            if in_flight >= most {
                return Err(Slot::Over);
            }
            let ([of, owner, count], entry) = place.ok_or(Slot::Unavailable)?;
            let held = if of == key && owner == self.owner { count } else { 0 };
            *entry = [key, self.owner, held.saturating_add(1)].map(u64::to_le_bytes);
            Ok(Slot::Taken)
        });
        taken.unwrap_or(Slot::Over)
    }

    /// Gives a slot back.
    pub fn give_back(&self, host: &dyn Host, key: u64) {
        let given = self.change(host, key, |bytes| {
            let own = |entry: &&mut [[u8; 8]; 3]| {
                let [of, owner, count] = **entry;
                number(of) == key && number(owner) == self.owner && number(count) > 0
            };
            // Overwritten, if this VM was held up for so long that it looked dead.
            let entry = entries::<3>(bytes).find(own).ok_or(Slot::Unavailable)?;
            let [_, _, count] = *entry;
            *entry = match number(count) {
                1 => [[0; 8]; 3],
                count => [key, self.owner, count - 1].map(u64::to_le_bytes),
            };
            Ok(Slot::Taken)
        });
        if given.is_none() {
            self.owed.borrow_mut().push(key);
        }
    }

    /// What is due each [`RENEWAL`].
    pub fn on_tick(&self, host: &dyn Host) {
        self.renew(host);
        for key in self.owed.take() {
            self.give_back(host, key);
        }
    }

    /// Says that this owner is alive; `false` if there is no room for it.
    fn renew(&self, host: &dyn Host) -> bool {
        let now = host.monotonic();
        let until = now.later(ALIVE).as_nanos();
        let owners = SharedShards::new(host, &self.keys.owners);
        let renewed = change(&owners, 0, |bytes| {
            let mut place = None;
            for entry in entries::<2>(bytes) {
                let [owner, alive] = *entry;
                let own = number(owner) == self.owner;
                if own || (place.is_none() && number(alive) <= now.as_nanos()) {
                    place = Some(entry);
                }
                if own {
                    break;
                }
            }
            *place.ok_or(false)? = [self.owner, until].map(u64::to_le_bytes);
            Ok(true)
        });
        let renewed = renewed.unwrap_or(false);
        if renewed {
            self.renewed.set(Some(now));
        }
        renewed
    }

    fn alive(&self, host: &dyn Host, now: Monotonic) -> Option<Vec<u64>> {
        let (mut bytes, _) = SharedShards::new(host, &self.keys.owners).read(0)?;
        let alive = entries::<2>(&mut bytes).map(|[owner, until]| (number(*owner), number(*until)));
        Some(alive.filter(|(_, until)| *until > now.as_nanos()).map(|(owner, _)| owner).collect())
    }

    fn change(
        &self,
        host: &dyn Host,
        key: u64,
        work: impl Fn(&mut [u8]) -> Result<Slot, Slot>,
    ) -> Option<Slot> {
        let shard = usize::try_from(key >> 32).unwrap_or_default() % SHARDS;
        let shards = SharedShards::new(host, &self.keys.shards);
        match change(&shards, shard, work) {
            Ok(slot) => Some(slot),
            Err(NotShared::Changed) => None,
            Err(NotShared::Refused) => Some(Slot::Unavailable),
        }
    }
}

/// The slots of one worker alone. There is an entry for each key in flight, so they
/// are never more than requests.
#[derive(Default)]
pub struct OwnSlots(RefCell<HashMap<u64, u64>>);

impl OwnSlots {
    /// Takes a slot if fewer than `most` are taken.
    pub fn take(&self, key: u64, most: u64) -> Slot {
        let mut slots = self.0.borrow_mut();
        let taken = slots.get(&key).copied().unwrap_or_default();
        if taken >= most {
            return Slot::Over;
        }
        slots.insert(key, taken + 1);
        Slot::Taken
    }

    /// Gives a slot back.
    pub fn give_back(&self, key: u64) {
        let mut slots = self.0.borrow_mut();
        match slots.get_mut(&key) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(slots.remove(&key)),
        }
    }
}

/// Changes a shard as `work` says, which is asked again after each failure; what it
/// gives as an error is returned without a change.
fn change<T>(
    shards: &dyn Shards,
    shard: usize,
    work: impl Fn(&mut [u8]) -> Result<T, T>,
) -> Result<T, NotShared> {
    for _ in 0..MAX_TRIES {
        let (mut bytes, version) = shards.read(shard).ok_or(NotShared::Refused)?;
        let done = match work(&mut bytes) {
            Ok(done) => done,
            Err(unchanged) => return Ok(unchanged),
        };
        match shards.write(shard, &bytes, version) {
            Ok(()) => return Ok(done),
            Err(NotShared::Changed) => {}
            Err(NotShared::Refused) => return Err(NotShared::Refused),
        }
    }
    Err(NotShared::Changed)
}

/// The entries of a value, of so many words each.
fn entries<const WORDS: usize>(bytes: &mut [u8]) -> impl Iterator<Item = &mut [[u8; 8]; WORDS]> {
    let (words, _) = bytes.as_chunks_mut::<8>();
    let (entries, _) = words.as_chunks_mut::<WORDS>();
    entries.iter_mut()
}

fn number(word: [u8; 8]) -> u64 {
    u64::from_le_bytes(word)
}
