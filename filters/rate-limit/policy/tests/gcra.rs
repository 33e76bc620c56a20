//! The algorithm: not before, exactly at, whatever the clock does.
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

use mesh_filters_policy::Monotonic;
use rate_limit_policy::gcra::{Quota, Refused, Tat};

const SECOND: u64 = 1_000_000_000;

/// When the world begins; not at zero, so that time can also go back.
const START: u64 = 1_000 * SECOND;

fn at(nanos: u64) -> Monotonic {
    Monotonic::from_nanos(nanos)
}

fn quota(requests: u64, seconds: u64, burst: u64) -> Quota {
    Quota::new(requests, Duration::from_secs(seconds), burst).unwrap()
}

/// How many of so many requests at these moments are admitted.
fn admitted(quota: &Quota, moments: impl Iterator<Item = u64>) -> u64 {
    let mut tat = Tat::default();
    let mut admitted = 0;
    for moment in moments {
        if let Ok(new) = quota.admit(tat, at(moment), 1) {
            tat = new;
            admitted += 1;
        }
    }
    admitted
}

#[test]
fn a_burst_is_how_many_may_come_at_once() {
    for (requests, seconds, burst) in [(1, 1, 1), (100, 60, 20), (10, 1, 10), (5, 1, 50)] {
        let quota = quota(requests, seconds, burst);
        assert_eq!(admitted(&quota, std::iter::repeat_n(START, 1_000)), burst);
    }
}

#[test]
fn the_next_one_is_admitted_not_before_and_exactly_at() {
    // 100 a minute is one each 0.6 s.
    let quota = quota(100, 60, 20);
    let mut tat = Tat::default();
    for _ in 0..20 {
        tat = quota.admit(tat, at(START), 1).unwrap();
    }
    let wait = 600_000_000;
    for early in [0, 1, wait - 1] {
        let left = Duration::from_nanos(wait - early);
        assert_eq!(
            quota.admit(tat, at(START + early), 1),
            Err(Refused { retry_after: Some(left) }),
            "{early} ns later"
        );
    }
    assert!(quota.admit(tat, at(START + wait), 1).is_ok());
}

#[test]
fn a_cost_is_that_many_requests_at_once() {
    let quota = quota(10, 1, 10);
    let tat = quota.admit(Tat::default(), at(START), 7).unwrap();
    assert_eq!(quota.level(tat, at(START)).remaining, 3);
    assert!(quota.admit(tat, at(START), 4).is_err());
    assert!(quota.admit(tat, at(START), 3).is_ok());
    // What is more than the burst can never be admitted, and says so.
    assert_eq!(quota.admit(Tat::default(), at(START), 11), Err(Refused { retry_after: None }));
    assert_eq!(
        quota.admit(Tat::default(), at(START), u64::MAX),
        Err(Refused { retry_after: None })
    );
}

#[test]
fn what_is_charged_afterwards_must_be_earned_first() {
    let quota = quota(10, 1, 10);
    let tat = quota.charge(Tat::default(), at(START), 15);
    // Five more than the burst: half a second of debt, then a tenth for the next one.
    assert!(quota.admit(tat, at(START + SECOND * 6 / 10 - 1), 1).is_err());
    assert!(quota.admit(tat, at(START + SECOND * 6 / 10), 1).is_ok());
    // However large, a debt is paid in two windows.
    let tat = quota.charge(Tat::default(), at(START), u64::MAX);
    assert!(quota.admit(tat, at(START + SECOND * 11 / 10 - 1), 1).is_err());
    assert!(quota.admit(tat, at(START + SECOND * 11 / 10), 1).is_ok());
}

#[test]
fn no_quota_is_made_of_nothing() {
    let second = Duration::from_secs(1);
    assert_eq!(Quota::new(0, second, 1), None);
    assert_eq!(Quota::new(1, second, 0), None);
    assert_eq!(Quota::new(1, Duration::ZERO, 1), None);
    assert_eq!(Quota::new(SECOND + 1, second, 1), None, "more than one a nanosecond");
    assert_eq!(Quota::new(1, Duration::from_secs(u64::MAX), 1), None);
    assert_eq!(Quota::new(1, Duration::from_secs(1 << 20), u64::MAX), None);
    assert!(Quota::new(SECOND, second, 1).is_some());
}

#[test]
fn a_clock_that_jumps_back_costs_at_most_two_windows() {
    let quota = quota(10, 1, 10);
    let mut tat = Tat::default();
    for _ in 0..10 {
        tat = quota.admit(tat, at(START), 1).unwrap();
    }
    let earlier = START - 500 * SECOND;
    let Err(Refused { retry_after: Some(wait) }) = quota.admit(tat, at(earlier), 1) else {
        panic!("it is refused")
    };
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
}

#[test]
fn a_clock_that_jumps_ahead_forgives_no_more_than_a_pause_would() {
    let quota = quota(10, 1, 10);
    let spent = std::iter::repeat_n(START, 100);
    let later = std::iter::repeat_n(START + 1_000 * SECOND, 100);
    assert_eq!(admitted(&quota, spent.chain(later)), 20);
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In any stretch of time no more is admitted than the burst and what that time
        /// earns; and whoever is refused is admitted exactly when told.
        #[test]
        fn no_more_than_the_burst_and_what_time_earns(
            requests in 1_u64..1_000,
            seconds in 1_u64..100,
            burst in 1_u64..100,
            gaps in prop::collection::vec((0_u64..SECOND, 1_u64..5), 1..200),
        ) {
            let quota = quota(requests, seconds, burst);
            let mut tat = Tat::default();
            let mut now = START;
            let mut spent: Vec<(u64, u64)> = Vec::new();
            for (gap, cost) in gaps {
                now += gap;
                match quota.admit(tat, at(now), cost) {
                    Ok(new) => {
                        tat = new;
                        spent.push((now, cost));
                    }
                    Err(Refused { retry_after: Some(wait) }) => {
                        let wait = u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(quota.admit(tat, at(now + wait - 1), cost).is_err());
                        prop_assert!(quota.admit(tat, at(now + wait), cost).is_ok());
                    }
                    Err(Refused { retry_after: None }) => prop_assert!(cost > burst),
                }
            }
            for (index, (from, _)) in spent.iter().enumerate() {
                let mut sum = 0;
                for (to, cost) in &spent[index..] {
                    sum += cost;
                    let earned = u128::from(to - from) * u128::from(requests)
                        / (u128::from(seconds) * u128::from(SECOND));
                    prop_assert!(u128::from(sum) <= u128::from(burst) + earned);
                }
            }
        }

        /// What is given back can be spent again, and a quota tells what it has.
        #[test]
        fn what_remains_can_be_spent_and_no_more(
            requests in 1_u64..1_000,
            burst in 1_u64..100,
            spent in 0_u64..100,
        ) {
            let quota = quota(requests, 60, burst);
            let spent = spent.min(burst);
            let tat = quota.admit(Tat::default(), at(START), spent).unwrap();
            let left = quota.level(tat, at(START)).remaining;
            prop_assert_eq!(left, burst - spent);
            prop_assert!(quota.admit(tat, at(START), left).is_ok());
            prop_assert!(quota.admit(tat, at(START), left + 1).is_err());
            let back = quota.refund(tat, spent);
            prop_assert_eq!(quota.level(back, at(START)).remaining, burst);
        }
    }
}
