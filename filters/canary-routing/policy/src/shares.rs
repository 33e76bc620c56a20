//! Which variant a key falls to.
//!
//! Each variant in turn takes its share of the keys that none before it took. Whether
//! it takes one is a keyed hash of the variant and the key, so no two variants ask the
//! same question. The variant that a ramp or a guard moves is asked first, and the
//! others share what it leaves as their weights are to each other. So:
//!
//! - a key has the same variant on every proxy and after every restart;
//! - raising the first weight only moves keys to the first variant: who had it keeps
//!   it, and nobody changes between the others;
//! - lowering it sends each key back to where it was before.
//!
//! One line with an interval for each variant has this only with two variants: with
//! three, the border between the others would move as well.

use std::hash::Hasher;

use mesh_filters_config::Percentage;
use mesh_filters_policy::Host;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

/// A variant's place in `weights`.
pub(crate) type VariantId = usize;

/// The variants of one experiment, in the order in which they take keys.
#[derive(Debug)]
pub(crate) struct Shares(Vec<Share>);

#[derive(Debug)]
struct Share {
    id: VariantId,
    name: String,
    weight: u32,
}

/// Where a key falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub variant: VariantId,
    /// Whether it would be the first variant, had that the weight it should have.
    pub is_diverted: bool,
}

/// The weight of the first variant, in thousandths of a percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstWeight {
    /// The one it should have.
    pub nominal: u32,
    /// The one that a guard leaves it.
    pub allowed: u32,
}

impl Shares {
    /// The variants with their weights in thousandths of a percent, `first` ahead.
    pub fn new(weights: &[(String, u32)], first: VariantId) -> Self {
        let share = |(id, (name, weight)): (VariantId, &(String, u32))| Share {
            id,
            name: name.clone(),
            weight: *weight,
        };
        let mut shares: Vec<_> = weights.iter().enumerate().map(share).collect();
        shares.sort_by_key(|share| share.id != first);
        Self(shares)
    }

    /// The configured weight of the first variant.
    pub fn first_weight(&self) -> u32 {
        self.0.first().map_or(0, |share| share.weight)
    }

    /// Where a key falls of which `draw` is the hash with a variant's name.
    pub fn choose(&self, weight: FirstWeight, draw: impl Fn(&str) -> u64) -> Choice {
        let Some((first, others)) = self.0.split_first() else {
            return Choice { variant: 0, is_diverted: false };
        };
        let drawn = draw(&first.name);
        let whole = Percentage::HUNDRED.thousandths();
        if is_below(drawn, weight.allowed, whole) {
            return Choice { variant: first.id, is_diverted: false };
        }
        let is_diverted = is_below(drawn, weight.nominal, whole);
        let mut left = others.iter().map(|share| share.weight).sum();
        for share in others {
            if is_below(draw(&share.name), share.weight, left) {
                return Choice { variant: share.id, is_diverted };
            }
            left -= share.weight;
        }
        // Only where no other has a weight, and then the first has all of it.
        Choice { variant: first.id, is_diverted: false }
    }
}

/// Whether a number drawn from all of `u64` is among the first `part` in `whole`.
fn is_below(drawn: u64, part: u32, whole: u32) -> bool {
    (u128::from(drawn) * u128::from(whole)) >> 64 < u128::from(part)
}

/// A number drawn by chance, which no key repeats.
pub(crate) fn by_chance(host: &dyn Host) -> impl Fn(&str) -> u64 {
    move |_| host.random()
}

/// The keyed hash of one salt. `SipHash-2-4` is made for short keys that clients
/// choose: without the salt nobody finds keys that fall where he wants them.
#[derive(Debug, Clone)]
pub(crate) struct KeyedHash(SipHasher24);

impl KeyedHash {
    pub fn new(salt: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(salt).into();
        let half = |bytes: &[u8]| bytes.first_chunk().copied().map_or(0, u64::from_le_bytes);
        let (first, rest) = digest.split_at(8);
        Self(SipHasher24::new_with_keys(half(first), half(rest)))
    }

    /// A number for this key and a variant. A name holds no NUL, so no two pairs are
    /// hashed as the same bytes.
    pub fn draw(&self, key: &[u8], variant: &str) -> u64 {
        let mut hasher = self.0;
        hasher.write(variant.as_bytes());
        hasher.write(&[0]);
        hasher.write(key);
        hasher.finish()
    }
}
