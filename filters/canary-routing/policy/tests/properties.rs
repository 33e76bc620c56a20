//! What holds for every client, every weight and every header.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "code of tests"
)]

use std::collections::BTreeMap;

use canary_routing_policy::{CanaryRouting, sign_override};
use cases::canary_routing;
use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{Env, Headers, Policy, Stream, UnixTime};
use proptest::prelude::*;
use serde_json::{Value, json};

/// 2026-12-01T00:00:00Z
const START: u64 = 1_796_083_200;
const HOUR: u64 = 3_600;
const KEY: &str = "canary-routing: a public key of the tests";

fn policy(experiment: &Value) -> CanaryRouting {
    let config = json!({"experiments": [experiment]}).to_string();
    CanaryRouting::configure(config.as_bytes(), &FakeHost::default()).unwrap().policy
}

/// The variant that a request with this header gets.
fn variant(policy: &CanaryRouting, now: u64, name: &str, value: &[u8]) -> String {
    let mut request: Headers = [(":path", b"/".as_slice()), (name, value)].into_iter().collect();
    let host = FakeHost::default();
    let env = Env { now: UnixTime::from_secs(now), may_wait: false, host: &host };
    let _ = policy.stream().on_request_headers(&mut request, &env);
    String::from_utf8(request.first("x-mesh-variant").unwrap().into()).unwrap()
}

fn of_user(policy: &CanaryRouting, now: u64, user: usize) -> String {
    variant(policy, now, "x-user-id", format!("user-{user}").as_bytes())
}

fn sticky(salt: &str, weights: &[(&str, f64)]) -> Value {
    let weights: Vec<_> =
        weights.iter().map(|(name, it)| json!({"variant": name, "weight": it})).collect();
    json!({
        "name": "e", "weights": weights,
        "sticky": {"by": [{"header": "x-user-id"}], "salt": salt},
    })
}

#[test]
fn a_ramp_only_moves_clients_to_the_canary() {
    let mut experiment = sticky("ramp", &[("blue", 30.0), ("canary", 1.0), ("stable", 69.0)]);
    experiment["ramp"] = json!({
        "variant": "canary", "from": 1, "to": 60, "start": "2026-12-01T00:00:00Z", "over": "10h",
    });
    let policy = policy(&experiment);
    let mut before: Vec<String> = Vec::new();
    for hour in 0..=10 {
        let now: Vec<_> =
            (0..100_000).map(|user| of_user(&policy, START + hour * HOUR, user)).collect();
        for (user, (before, now)) in before.iter().zip(&now).enumerate() {
            assert!(before == now || now == "canary", "user-{user}, hour {hour}: {before}, {now}");
        }
        let count = now.iter().filter(|it| *it == "canary").count() as f64;
        let expected = 1_000.0 + 5_900.0 * hour as f64;
        // Four standard deviations of a binomial distribution.
        let spread = 4.0 * (expected * (1.0 - expected / 100_000.0)).sqrt();
        assert!((count - expected).abs() < spread, "hour {hour}: {count} of {expected}");
        before = now;
    }
}

/// The statistic of Pearson's test, for counts with these shares.
fn chi_square(counts: &[usize], shares: &[f64]) -> f64 {
    let total: usize = counts.iter().sum();
    let terms = counts.iter().zip(shares).map(|(count, share)| {
        let expected = share * total as f64;
        (*count as f64 - expected).powi(2) / expected
    });
    terms.sum()
}

#[test]
fn clients_are_distributed_by_the_weights() {
    let weights = [("a", 0.5), ("b", 9.5), ("c", 30.0), ("d", 60.0)];
    for salt in ["one", "two", "three"] {
        let policy = policy(&sticky(salt, &weights));
        let mut counts = [0; 4];
        for user in 0..100_000 {
            let variant = of_user(&policy, START, user);
            counts[weights.iter().position(|(name, _)| *name == variant).unwrap()] += 1;
        }
        // 99.9 % of what chance alone does stays below this, with 3 degrees of freedom.
        let statistic = chi_square(&counts, &weights.map(|(_, weight)| weight / 100.0));
        assert!(statistic < 16.27, "{salt}: {counts:?}: {statistic}");
    }
}

#[test]
fn experiments_with_two_salts_are_independent() {
    let weights = [("a", 50.0), ("b", 50.0)];
    let (one, two) = (policy(&sticky("one", &weights)), policy(&sticky("two", &weights)));
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for user in 0..100_000 {
        let both = (of_user(&one, START, user), of_user(&two, START, user));
        *counts.entry(both).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_values().collect();
    let statistic = chi_square(&counts, &[0.25; 4]);
    assert!(counts.len() == 4 && statistic < 16.27, "{counts:?}: {statistic}");
    let same = policy(&sticky("one", &weights));
    assert!((0..1_000).all(|user| of_user(&one, START, user) == of_user(&same, START, user)));
}

fn signing() -> CanaryRouting {
    let mut experiment = sticky("s", &[("canary", 50.0), ("stable", 50.0)]);
    experiment["name"] = json!("checkout");
    experiment["sticky"]["by"] = json!([{"cookie": "mesh_bucket"}]);
    experiment["sticky"]["cookie"] = json!({"name": "mesh_bucket", "key": KEY});
    experiment["override"] = json!({"header": "x-override", "key": KEY});
    policy(&experiment)
}

/// How often `canary_routing.<counter>.experiment.checkout` goes up for a request with
/// this header.
fn counted(policy: &CanaryRouting, counter: &str, name: &str, value: &[u8]) -> u64 {
    let mut request: Headers = [(":path", b"/".as_slice()), (name, value)].into_iter().collect();
    let host = FakeHost::default();
    let env = Env { now: UnixTime::from_secs(START), may_wait: false, host: &host };
    let _ = policy.stream().on_request_headers(&mut request, &env);
    let name = format!("canary_routing.{counter}.experiment.checkout");
    host.counted(policy.counters().iter().position(|it| *it == name).unwrap())
}

proptest! {
    #[test]
    fn a_cookie_with_one_byte_changed_is_never_accepted(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let policy = signing();
        let mut cookie = canary_routing::signed()["cookie"].clone().into_bytes();
        let send = |cookie: &[u8]| {
            let header = [b"mesh_bucket=", cookie].concat();
            counted(&policy, "rejected_cookies", "cookie", &header)
        };
        prop_assert_eq!(send(&cookie), 0);
        let at = at.index(cookie.len());
        // These end the value or are no part of it.
        prop_assume!(cookie[at] != byte && byte != b';' && !byte.is_ascii_whitespace());
        cookie[at] = byte;
        prop_assert_eq!(send(&cookie), 1, "byte {} became {:#x}", at, byte);
    }

    #[test]
    fn an_override_with_one_byte_changed_is_never_accepted(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let policy = signing();
        let mut signed = sign_override("checkout", "canary", START + HOUR, KEY.as_bytes())
            .unwrap()
            .into_bytes();
        prop_assert_eq!(counted(&policy, "ignored_overrides", "x-override", &signed), 0);
        let after_name = "checkout.".len();
        let at = after_name + at.index(signed.len() - after_name);
        prop_assume!(signed[at] != byte && byte != b',' && !byte.is_ascii_whitespace());
        signed[at] = byte;
        let ignored = counted(&policy, "ignored_overrides", "x-override", &signed);
        prop_assert_eq!(ignored, 1, "byte {} became {:#x}", at, byte);
    }

    #[test]
    fn no_header_makes_it_panic(
        path in prop::collection::vec(any::<u8>(), 0..64),
        headers in prop::collection::vec(
            (
                "cookie|x-override|x-user-id|x-forwarded-for|user-agent|x-mesh-variant",
                prop::collection::vec(any::<u8>(), 0..256),
            ),
            0..16,
        ),
    ) {
        for (_, group) in canary_routing::groups() {
            let host = FakeHost::default();
            host.environment.borrow_mut().extend(group.environment);
            let config = group.config.to_string();
            let policy = CanaryRouting::configure(config.as_bytes(), &host).unwrap().policy;
            let mut request: Headers = headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_slice()))
                .chain([(b":path".as_slice(), path.as_slice())])
                .collect();
            let env = Env { now: UnixTime::from_secs(START), may_wait: false, host: &host };
            let mut stream = policy.stream();
            let _ = stream.on_request_headers(&mut request, &env);
            stream.on_response_headers(&mut Headers::default(), &env);
            stream.on_end(&env);
        }
    }
}

#[test]
fn thousands_of_cookies_cost_little_and_decide_nothing() {
    let policy = signing();
    let many = b"mesh_bucket=x; ".repeat(10_000);
    assert_eq!(counted(&policy, "rejected_cookies", "cookie", &many), 1);
    let huge = [b"mesh_bucket=".as_slice(), &vec![b'A'; 1 << 20]].concat();
    assert_eq!(counted(&policy, "rejected_cookies", "cookie", &huge), 1);
}

#[test]
fn a_cookie_is_good_until_it_ends_and_is_renewed_half_way() {
    let policy = signing();
    let host = FakeHost::default();
    let cookie_at = |secs: u64, cookie: &str| {
        let env = Env { now: UnixTime::from_secs(secs), may_wait: false, host: &host };
        let mut request: Headers = [(":path", "/"), ("cookie", cookie)].into_iter().collect();
        let mut stream = policy.stream();
        let _ = stream.on_request_headers(&mut request, &env);
        let mut response = Headers::default();
        stream.on_response_headers(&mut response, &env);
        let set = response.first("set-cookie").map(|it| {
            let text = std::str::from_utf8(it).unwrap();
            text.split(';').next().unwrap().to_owned()
        });
        (String::from_utf8(request.first("x-mesh-variant").unwrap().into()).unwrap(), set)
    };
    let (variant, Some(cookie)) = cookie_at(START, "") else { panic!("no cookie") };
    let day = 24 * HOUR;
    assert_eq!(cookie_at(START, &cookie), (variant.clone(), None));
    assert_eq!(cookie_at(START + 15 * day, &cookie), (variant.clone(), None));
    // The same bucket with a later end.
    let (again, Some(renewed)) = cookie_at(START + 15 * day + 1, &cookie) else {
        panic!("not renewed")
    };
    assert_eq!(again, variant);
    assert_ne!(renewed, cookie);
    assert_eq!(cookie_at(START + 40 * day, &renewed).0, variant);
    // Another bucket each, so that some differ from the first.
    let new: Vec<_> = (0..20).map(|_| cookie_at(START + 30 * day, &cookie).0).collect();
    assert!(new.iter().any(|it| *it != variant), "still known after it ended: {new:?}");
    assert_eq!(cookie_at(START + 30 * day - 1, &cookie).0, variant);
}
