//! What is in flight: never more than said, and given back whatever happens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::HashMap;
use std::time::Duration;

use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{Env, Headers, Host, NoHost, Policy, Stream, UnixTime, Verdict};
use rate_limit_policy::inflight::{ALIVE, ENTRIES, OWNERS, SharedSlots, Slot};
use rate_limit_policy::{RateLimit, RateLimitStream};

fn env(host: &dyn Host) -> Env<'_> {
    Env { now: UnixTime::from_secs(0), may_wait: false, host }
}

fn worker(host: &FakeHost, config: &str) -> RateLimit {
    RateLimit::configure(config.as_bytes(), host).unwrap().policy
}

fn limits(limits: &str) -> String {
    format!(r#"{{"limits": [{limits}]}}"#)
}

const TWO: &str = r#"{"name": "two", "key": [{"header": "x-client"}], "concurrency": 2}"#;

/// A request that has begun, and what became of it.
fn begin(worker: &RateLimit, host: &FakeHost, client: &str) -> (RateLimitStream, Verdict) {
    let mut stream = worker.stream();
    let mut headers = Headers::from_iter([(":path", "/"), ("x-client", client)]);
    let verdict = stream.on_request_headers(&mut headers, &env(host));
    (stream, verdict)
}

fn detail(verdict: &Verdict) -> &'static str {
    verdict.reason().unwrap().detail
}

fn end(mut stream: RateLimitStream, host: &FakeHost) {
    if stream.wants_end() {
        stream.on_end(&env(host));
    }
}

#[test]
fn workers_share_slots_and_each_worker_can_have_its_own() {
    for (scope, expected) in [("host", 2), ("worker", 4)] {
        let host = FakeHost::default();
        let config = limits(
            &TWO.replace("\"concurrency\"", &format!(r#""scope": "{scope}", "concurrency""#)),
        );
        let workers = [worker(&host, &config), worker(&host, &config)];
        let begun: Vec<_> = (0..8).map(|turn| begin(&workers[turn % 2], &host, "alice")).collect();
        let allowed = begun.iter().filter(|it| detail(&it.1) == "rate_limit{allowed}").count();
        assert_eq!(allowed, expected, "{scope}");
        let (_, refused) = &begun[7];
        let Verdict::Reply(reason, reply) = refused else { panic!("{refused:?}") };
        assert_eq!((reason.detail, reply.status), ("rate_limit{concurrency}", 429));
        assert!(reply.headers.iter().all(|(name, _)| *name == "content-type"), "{reply:?}");
        let other = begin(&workers[0], &host, "bob");
        assert_eq!(detail(&other.1), "rate_limit{allowed}");
        for (stream, _) in begun {
            end(stream, &host);
        }
        assert_eq!(detail(&begin(&workers[1], &host, "alice").1), "rate_limit{allowed}");
    }
}

#[test]
fn what_another_limit_refuses_holds_no_slot() {
    let host = FakeHost::default();
    let once = r#"{"name": "once", "key": [{"header": "x-client"}], "rate": {"requests": 1, "per": "1h"}}"#;
    let single = TWO.replace("\"two\"", "\"one\"").replace(": 2", ": 1");
    let worker = worker(&host, &limits(&format!("{TWO}, {once}, {single}")));
    let (stream, first) = begin(&worker, &host, "alice");
    assert_eq!(detail(&first), "rate_limit{allowed}");
    // The slot of "two" is given back where "one" refuses.
    for _ in 0..5 {
        assert_eq!(detail(&begin(&worker, &host, "alice").1), "rate_limit{concurrency}");
    }
    end(stream, &host);
    // And where the rate does.
    for _ in 0..5 {
        assert_eq!(detail(&begin(&worker, &host, "alice").1), "rate_limit{limited}");
    }
}

#[test]
fn shadow_counts_and_an_override_is_for_its_key() {
    let host = FakeHost::default();
    let shadow = worker(&host, &limits(&TWO.replace(": 2", r#": 2, "shadow": true"#)));
    let begun: Vec<_> = (0..3).map(|_| begin(&shadow, &host, "alice")).collect();
    assert!(begun.iter().all(|it| matches!(it.1, Verdict::Continue(_))));
    assert_eq!(host.counted(2), 1, "shadow_limited");
    let host = FakeHost::default();
    let given = format!(
        r#"{{"limits": [{TWO}], "overrides": [{{"limit": "two", "key": ["partner"], "concurrency": 3}}]}}"#
    );
    let worker = worker(&host, &given);
    for (client, expected) in [("partner", 3), ("other", 2)] {
        let begun: Vec<_> = (0..5).map(|_| begin(&worker, &host, client)).collect();
        let allowed = begun.iter().filter(|it| matches!(it.1, Verdict::Continue(_))).count();
        assert_eq!(allowed, expected, "{client}");
    }
}

#[test]
fn a_worker_that_died_gives_back_after_its_time_and_not_before() {
    let host = FakeHost::default();
    let (dying, living) = (worker(&host, &limits(TWO)), worker(&host, &limits(TWO)));
    let kept = begin(&living, &host, "alice");
    drop(begin(&dying, &host, "alice"));
    drop(dying);
    let tick = |by| {
        host.advance(by);
        living.on_tick(&env(&host));
    };
    for _ in 0..4 {
        tick(Duration::from_secs(1));
    }
    tick(Duration::from_nanos(999_999_999));
    assert_eq!(detail(&begin(&living, &host, "alice").1), "rate_limit{concurrency}");
    tick(Duration::from_nanos(1));
    let late = begin(&living, &host, "alice");
    assert_eq!(detail(&late.1), "rate_limit{allowed}");
    // Its own were never lost.
    assert_eq!(detail(&begin(&living, &host, "alice").1), "rate_limit{concurrency}");
    end(kept.0, &host);
    end(late.0, &host);
}

#[test]
fn where_there_is_no_room_nobody_is_refused() {
    // More owners than there is room for, until one has died.
    let host = FakeHost::default();
    let owner = |number: u64| {
        let slots = SharedSlots::new(number);
        slots.prepare(&host);
        slots
    };
    for number in 1..=OWNERS as u64 {
        assert_eq!(owner(number).take(&host, number << 32, 1), Slot::Taken);
    }
    let late = owner(9_999);
    assert_eq!(late.take(&host, 7, 1), Slot::Unavailable);
    host.advance(ALIVE);
    assert_eq!(late.take(&host, 7, 1), Slot::Taken);

    // A shard that is full, until a request ends.
    let host = FakeHost::default();
    let slots = SharedSlots::new(1);
    slots.prepare(&host);
    for key in 1..=ENTRIES as u64 {
        assert_eq!(slots.take(&host, key, 1), Slot::Taken);
    }
    assert_eq!(slots.take(&host, 1_000, 1), Slot::Unavailable);
    assert_eq!(slots.take(&host, 1, 1), Slot::Over, "whoever is in it is still counted");
    slots.give_back(&host, 1);
    assert_eq!(slots.take(&host, 1_000, 1), Slot::Taken);
    assert_eq!(SharedSlots::new(1).take(&NoHost, 1, 1), Slot::Unavailable);
}

#[test]
fn a_host_that_shares_nothing_refuses_nobody() {
    let policy = RateLimit::configure(limits(TWO).as_bytes(), &NoHost).unwrap().policy;
    let mut headers = Headers::from_iter([("x-client", "a")]);
    for _ in 0..5 {
        let verdict = policy.stream().on_request_headers(&mut headers, &env(&NoHost));
        assert_eq!(detail(&verdict), "rate_limit{unlimited}");
    }
}

#[test]
fn every_mistake_is_told() {
    let told = |config: &str| {
        let refused = RateLimit::configure(config.as_bytes(), &NoHost).err().unwrap();
        refused.to_string()
    };
    let rate = r#""rate": {"requests": 1, "per": "1s"}"#;
    for (fields, problem) in [
        (String::new(), "limits[0]"),
        (format!(r#", {rate}, "concurrency": 1"#), "exactly one of"),
        (r#", "concurrency": 0"#.into(), "limits[0].concurrency"),
        (
            r#", "concurrency": 1, "cost": {"request_header": "x", "max": 2}"#.into(),
            "limits[0].cost",
        ),
        (
            r#", "concurrency": 1, "charge_response": {"header": "x", "max": 2}"#.into(),
            "limits[0].charge_response",
        ),
    ] {
        let error = told(&limits(&format!(r#"{{"name": "a"{fields}}}"#)));
        assert!(error.contains(problem), "{problem}: {error}");
    }
    let given = format!(
        r#"{{"limits": [{TWO}], "overrides": [{{"limit": "two", "key": ["a"], {rate}}}]}}"#
    );
    assert!(told(&given).contains("overrides[0]"));
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_more_than_said_and_nothing_taken_when_all_have_ended(
            most in 1_u64..5,
            turns in prop::collection::vec((0_usize..3, 0_u64..4, any::<bool>(), 0_u64..2_000), 1..200),
        ) {
            let host = FakeHost::default();
            let workers: Vec<_> = (1..=3).map(SharedSlots::new).collect();
            workers[0].prepare(&host);
            let mut held: HashMap<u64, Vec<usize>> = HashMap::new();
            for (worker, key, begins, millis) in turns {
                let holders = held.entry(key).or_default();
                if begins {
                    let slot = workers[worker].take(&host, key, most);
                    let room = (holders.len() as u64) < most;
                    prop_assert_eq!(slot, if room { Slot::Taken } else { Slot::Over });
                    if room {
                        holders.push(worker);
                    }
                } else if let Some(worker) = holders.pop() {
                    workers[worker].give_back(&host, key);
                }
                host.advance(Duration::from_millis(millis));
                for worker in &workers {
                    worker.on_tick(&host);
                }
            }
            for (key, holders) in held {
                for worker in holders {
                    workers[worker].give_back(&host, key);
                }
                for _ in 0..most {
                    prop_assert_eq!(workers[0].take(&host, key, most), Slot::Taken);
                }
            }
        }

        /// Shards that hold anything at all break nothing.
        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..1_000), key in any::<u64>()) {
            let host = FakeHost::default();
            let shard = (key >> 32) % 256;
            for name in [shard.to_string(), "owners".into()] {
                host.share(&format!("mesh-filters/rate-limit/in-flight/{name}"), &bytes, None).unwrap();
            }
            let slots = SharedSlots::new(1);
            let _ = slots.take(&host, key, 1);
            slots.give_back(&host, key);
        }
    }
}
