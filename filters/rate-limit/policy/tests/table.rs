//! The table: exact, bounded, and nobody forgiven.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{Host, Monotonic, NoHost};
use rate_limit_policy::gcra::{Quota, Refused};
use rate_limit_policy::table::{Fingerprint, OwnShards, Shards, SharedShards, Table, Taken};

const CAPACITY: usize = 256;

fn quota() -> Quota {
    Quota::new(10, Duration::from_secs(10), 5).unwrap()
}

/// A key that is in any shard.
fn key(number: u64) -> Fingerprint {
    // Numbers that follow each other fall far apart.
    Fingerprint { key: (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15), quota: 1 }
}

fn now(millis: u64) -> Monotonic {
    Monotonic::from_nanos((1_000_000 + millis) * 1_000_000)
}

fn is_admitted(taken: Taken) -> bool {
    matches!(taken, Taken::Admitted(_))
}

fn on_both(test: impl Fn(&dyn Shards)) {
    test(&OwnShards::new(CAPACITY));
    let (host, keys) = (FakeHost::default(), SharedShards::keys(CAPACITY));
    SharedShards::prepare(&host, &keys);
    test(&SharedShards::new(&host, &keys));
}

#[test]
fn each_key_has_its_own_quota() {
    on_both(|shards| {
        let table = Table::new(shards, CAPACITY);
        for number in 0..10 {
            for spent in 1..=5 {
                let taken = table.take(key(number), &quota(), now(0), 1);
                let Taken::Admitted(level) = taken else { panic!("{taken:?}") };
                assert_eq!(level.remaining, 5 - spent);
            }
            assert_eq!(
                table.take(key(number), &quota(), now(0), 1),
                Taken::Refused(Refused { retry_after: Some(Duration::from_secs(1)) })
            );
            assert!(is_admitted(table.take(key(number), &quota(), now(1_000), 1)));
        }
    });
}

#[test]
fn to_look_spends_nothing_and_what_is_given_back_can_be_spent() {
    on_both(|shards| {
        let table = Table::new(shards, CAPACITY);
        for _ in 0..10 {
            assert!(is_admitted(table.peek(key(0), &quota(), now(0), 5)));
        }
        assert!(is_admitted(table.take(key(0), &quota(), now(0), 5)));
        assert!(!is_admitted(table.peek(key(0), &quota(), now(0), 1)));
        assert!(is_admitted(table.refund(key(0), &quota(), now(0), 5)));
        assert!(is_admitted(table.take(key(0), &quota(), now(0), 5)));
        assert!(is_admitted(table.charge(key(0), &quota(), now(0), 5)));
        assert!(!is_admitted(table.take(key(0), &quota(), now(5_000), 1)));
        assert!(is_admitted(table.take(key(0), &quota(), now(6_000), 1)));
    });
}

#[test]
fn workers_share_one_quota() {
    let (host, keys) = (FakeHost::default(), SharedShards::keys(CAPACITY));
    SharedShards::prepare(&host, &keys);
    let workers: Vec<_> = (0..4).map(|_| SharedShards::new(&host, &keys)).collect();
    let admitted = (0..100)
        .filter(|turn| {
            let table = Table::new(&workers[turn % 4], CAPACITY);
            is_admitted(table.take(key(0), &quota(), now(0), 1))
        })
        .count();
    assert_eq!(admitted, 5);
    // A worker that starts later finds what was spent.
    SharedShards::prepare(&host, &keys);
    let late = SharedShards::new(&host, &keys);
    assert!(!is_admitted(Table::new(&late, CAPACITY).take(key(0), &quota(), now(0), 1)));
}

#[test]
fn a_flood_of_keys_forgives_nobody_and_gains_the_quota_of_one() {
    on_both(|shards| {
        let table = Table::new(shards, CAPACITY);
        while is_admitted(table.take(key(0), &quota(), now(0), 1)) {}
        let made_up = 100_000;
        let admitted = (1..=made_up)
            .filter(|number| is_admitted(table.take(key(*number), &quota(), now(0), 1)))
            .count();
        assert!(admitted <= CAPACITY - 1 + 5, "{admitted} of {made_up}");
        assert_eq!(table.fill(now(0)), (CAPACITY, CAPACITY));
        assert!(!is_admitted(table.take(key(0), &quota(), now(999), 1)), "it is not forgiven");
        assert!(is_admitted(table.take(key(0), &quota(), now(1_000), 1)), "nor held longer");
        // When all have paid, the table is as good as empty.
        assert_eq!(table.fill(now(20_000)), (0, CAPACITY));
    });
}

#[test]
fn quotas_do_not_pay_for_the_flood_of_another() {
    on_both(|shards| {
        let table = Table::new(shards, CAPACITY);
        for number in 0..100_000 {
            table.take(key(number), &quota(), now(0), 1);
        }
        let other = Fingerprint { quota: 2, ..key(100_001) };
        assert!(is_admitted(table.take(other, &quota(), now(0), 5)));
        assert!(!is_admitted(table.take(other, &quota(), now(0), 1)));
    });
}

#[test]
fn a_host_that_shares_nothing_makes_the_table_unavailable() {
    let keys = SharedShards::keys(CAPACITY);
    SharedShards::prepare(&NoHost, &keys);
    let shards = SharedShards::new(&NoHost, &keys);
    let table = Table::new(&shards, CAPACITY);
    assert_eq!(table.take(key(0), &quota(), now(0), 1), Taken::Unavailable);
    assert_eq!(table.fill(now(0)), (0, CAPACITY));
}

#[test]
fn a_change_by_another_worker_is_not_lost() {
    /// Another worker spends one whenever a shard has been read.
    struct Meddled<'a> {
        shards: SharedShards<'a>,
        other: SharedShards<'a>,
        left: std::cell::Cell<u32>,
    }
    impl Shards for Meddled<'_> {
        fn read(&self, shard: usize) -> Option<(Vec<u8>, Option<mesh_filters_policy::Version>)> {
            let read = self.shards.read(shard);
            if self.left.get() > 0 {
                self.left.set(self.left.get() - 1);
                Table::new(&self.other, CAPACITY).take(key(0), &quota(), now(0), 1);
            }
            read
        }
        fn write(
            &self,
            shard: usize,
            bytes: &[u8],
            read: Option<mesh_filters_policy::Version>,
        ) -> Result<(), mesh_filters_policy::NotShared> {
            self.shards.write(shard, bytes, read)
        }
    }
    let (host, keys) = (FakeHost::default(), SharedShards::keys(CAPACITY));
    SharedShards::prepare(&host, &keys);
    let shards = Meddled {
        shards: SharedShards::new(&host, &keys),
        other: SharedShards::new(&host, &keys),
        left: 3.into(),
    };
    let taken = Table::new(&shards, CAPACITY).take(key(0), &quota(), now(0), 1);
    let Taken::Admitted(level) = taken else { panic!("{taken:?}") };
    assert_eq!(level.remaining, 1, "three by the other, one by this");
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Shards that hold anything at all break nothing.
        #[test]
        fn garbage_in_a_shard_is_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..1_000),
            number in any::<u64>(),
        ) {
            let (host, keys) = (FakeHost::default(), SharedShards::keys(CAPACITY));
            for key in &keys {
                host.share(key, &bytes, None).unwrap();
            }
            let shards = SharedShards::new(&host, &keys);
            let table = Table::new(&shards, CAPACITY);
            let _ = table.take(key(number), &quota(), now(0), 1);
            let _ = table.fill(now(0));
        }
    }
}
