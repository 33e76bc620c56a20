//! When a guard takes a variant out, for how long, and how it comes back.
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

use canary_routing_policy::{CanaryRouting, sign_override};
use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{Env, Headers, Host, LogLevel, Policy, Stream, UnixTime, Verdict};
use serde_json::{Value, json};

const KEY: &str = "canary-routing: a public key of the tests";
const SECOND: Duration = Duration::from_secs(1);

fn config() -> Value {
    json!({"experiments": [{
        "name": "e",
        "assign": [{"when": {"header": {"name": "x-beta", "present": true}}, "variant": "canary"}],
        "weights": [{"variant": "canary", "weight": 50}, {"variant": "stable", "weight": 50}],
        "sticky": {"by": [{"header": "x-user-id"}], "salt": "s"},
        "guard": {
            "variant": "canary", "compare_to": "stable", "max_error_rate": 5,
            "max_latency_ratio": 2, "min_requests": 50, "window": "30s", "cool_down": "5m",
            "response_header": "x-guard",
        },
        "override": {"header": "x-override", "key": KEY},
    }]})
}

/// Workers of one proxy, with the clock at 1000 s.
struct Proxy {
    host: FakeHost,
    workers: Vec<CanaryRouting>,
}

/// How a request ends, as Envoy tells.
#[derive(Clone, Copy)]
struct End {
    code: u64,
    flags: u64,
    grpc_status: Option<u64>,
    millis: u64,
}

const OK: End = End { code: 200, flags: 0, grpc_status: None, millis: 10 };
const FAILED: End = End { code: 503, ..OK };

impl Proxy {
    fn new(config: &Value, workers: usize) -> Self {
        let host = FakeHost::default();
        host.advance(Duration::from_secs(1000));
        let configure = |_| {
            let config = config.to_string();
            CanaryRouting::configure(config.as_bytes(), &host).unwrap().policy
        };
        Self { workers: (0..workers).map(configure).collect(), host }
    }

    fn env(&self) -> Env<'_> {
        Env { now: UnixTime::from_secs(1_800_000_000), may_wait: false, host: &self.host }
    }

    /// Has a worker handle a request with these headers. Returns the variant, and what
    /// the guard told the response.
    fn send(&self, worker: usize, headers: &[(&str, &str)], end: End) -> (String, Option<String>) {
        let policy = &self.workers[worker];
        let mut request: Headers = headers.iter().copied().chain([(":path", "/")]).collect();
        let mut stream = policy.stream();
        let verdict = stream.on_request_headers(&mut request, &self.env());
        let Verdict::Continue(reason) = verdict else { panic!("{verdict:?}") };
        self.host.count(reason.counter, 1);
        let mut response = Headers::default();
        stream.on_response_headers(&mut response, &self.env());
        let mut properties = self.host.properties.borrow_mut();
        properties.clear();
        let mut set = |name: &str, value: u64| {
            properties.insert(name.into(), value.to_le_bytes().to_vec());
        };
        set("response.code", end.code);
        set("response.flags", end.flags);
        set("request.duration", end.millis * 1_000_000);
        // What Envoy derives from a status of 200 for a request that is not gRPC.
        set("response.grpc_status", end.grpc_status.unwrap_or(2));
        drop(properties);
        if stream.wants_end() {
            stream.on_end(&self.env());
        }
        let text = |value: &[u8]| String::from_utf8(value.into()).unwrap();
        (text(request.first("x-mesh-variant").unwrap()), response.first("x-guard").map(text))
    }

    /// Sends requests of one client after another until each variant has so many.
    fn send_to_both(&self, count: usize, canary: End, stable: End) {
        let (mut canaries, mut stables) = (0, 0);
        for user in 0_usize.. {
            let user = format!("user-{user}");
            let known = [("x-user-id", user.as_str())];
            let worker = (canaries + stables) % self.workers.len();
            let is_canary = variant_at_rest(&user) == "canary";
            if is_canary && canaries < count {
                canaries += 1;
                self.send(worker, &known, canary);
            } else if !is_canary && stables < count {
                stables += 1;
                self.send(worker, &known, stable);
            } else if canaries == count && stables == count {
                return;
            }
        }
    }

    fn tick(&self) {
        for worker in &self.workers {
            let work = worker.on_tick(&self.env());
            assert_eq!(work.next_tick, Some(SECOND));
        }
    }

    /// Lets time pass, with a tick every second.
    fn pass(&self, secs: u64) {
        for _ in 0..secs {
            self.host.advance(SECOND);
            self.tick();
        }
    }

    /// How many of 1000 clients a worker sends to the canary.
    fn canaries(&self, worker: usize) -> usize {
        let users = (0..1000).map(|user| format!("user-{user}"));
        users
            .filter(|user| {
                let mut request: Headers =
                    [(":path", "/"), ("x-user-id", user.as_str())].into_iter().collect();
                let mut stream = self.workers[worker].stream();
                let _ = stream.on_request_headers(&mut request, &self.env());
                request.first("x-mesh-variant") == Some(b"canary")
            })
            .count()
    }

    fn counted(&self, name: &str) -> u64 {
        let counters = self.workers[0].counters();
        let name = format!("canary_routing.{name}");
        self.host.counted(counters.iter().position(|it| *it == name).expect(&name))
    }

    fn events(&self) -> [u64; 3] {
        ["tripped", "trial", "restored"]
            .map(|event| self.counted(&format!("guard.experiment.e.event.{event}")))
    }
}

/// Where a client falls that no guard keeps from it.
fn variant_at_rest(user: &str) -> String {
    let proxy = Proxy::new(&config(), 1);
    proxy.send(0, &[("x-user-id", user)], OK).0
}

#[test]
fn a_failing_variant_is_left_out_by_every_worker_and_comes_back() {
    let proxy = Proxy::new(&config(), 3);
    proxy.tick();
    let all = proxy.canaries(0);
    assert!((400..600).contains(&all), "{all}");
    proxy.send_to_both(60, FAILED, OK);
    assert_eq!(proxy.canaries(0), all, "before the tick");
    proxy.tick();
    proxy.tick();
    for worker in 0..3 {
        assert_eq!(proxy.canaries(worker), 0, "worker {worker}");
    }
    // One worker tells of it, not all.
    assert_eq!(proxy.events(), [1, 0, 0]);
    let log = proxy.host.log.borrow().clone();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0].0, LogLevel::Warn);
    assert_eq!(
        log[0].1,
        "e: canary, compared to stable, failed 60 of 60 requests, the other 0 of 60: left out for \
         300s"
    );
    // Until just before the end of the cool-down.
    proxy.pass(299);
    assert_eq!((proxy.canaries(1), proxy.events()), (0, [1, 0, 0]));
    // Then with more in each window.
    let mut before = 0;
    for (window, share) in [10, 20, 40, 80, 100].into_iter().enumerate() {
        proxy.pass(if window == 0 { 1 } else { 30 });
        let now = proxy.canaries(2);
        let expected = all * share / 100;
        assert!(now > before, "window {window}: {now} after {before}");
        assert!(now.abs_diff(expected) <= 30, "window {window}: {now}, {expected} expected");
        before = now;
    }
    assert_eq!(before, all);
    assert_eq!(proxy.events(), [1, 1, 1]);
    assert_eq!(proxy.host.log.borrow().len(), 3);
}

#[test]
fn who_is_kept_from_the_canary_is_counted_and_told() {
    let proxy = Proxy::new(&config(), 1);
    let user = (0..1_000).map(|n| format!("user-{n}")).find(|it| variant_at_rest(it) == "canary");
    let user = user.unwrap();
    let known = [("x-user-id", user.as_str())];
    assert_eq!(proxy.send(0, &known, OK), ("canary".into(), None));
    proxy.send_to_both(60, FAILED, OK);
    proxy.tick();
    assert_eq!(proxy.counted("decisions.experiment.e.variant.stable.cause.guard"), 0);
    assert_eq!(proxy.send(0, &known, OK), ("stable".into(), Some("tripped".into())));
    assert_eq!(proxy.counted("decisions.experiment.e.variant.stable.cause.guard"), 1);
    proxy.pass(300);
    assert_eq!(proxy.send(0, &known, OK).1, Some("trial".into()));
    proxy.pass(120);
    assert_eq!(proxy.send(0, &known, OK), ("canary".into(), None));
}

#[test]
fn rules_and_overrides_still_reach_a_variant_that_is_left_out() {
    let proxy = Proxy::new(&config(), 1);
    proxy.send_to_both(60, FAILED, OK);
    proxy.tick();
    assert_eq!(proxy.send(0, &[("x-beta", "1")], OK).0, "canary");
    let signed = sign_override("e", "canary", 1_800_000_001, KEY.as_bytes()).unwrap();
    assert_eq!(proxy.send(0, &[("x-override", &signed)], OK).0, "canary");
    // And do not keep it out for longer.
    for _ in 0..100 {
        proxy.send(0, &[("x-beta", "1")], FAILED);
    }
    proxy.pass(300);
    assert_eq!(proxy.events(), [1, 1, 0]);
}

#[test]
fn a_variant_that_fails_in_its_trial_is_left_out_anew() {
    let proxy = Proxy::new(&config(), 2);
    proxy.send_to_both(60, FAILED, OK);
    proxy.pass(301);
    assert_eq!(proxy.events(), [1, 1, 0]);
    proxy.send_to_both(60, OK, OK);
    // Few clients fall to the canary in a trial; a rule sends more there.
    for _ in 0..60 {
        proxy.send(0, &[("x-beta", "1")], FAILED);
    }
    proxy.tick();
    assert_eq!(proxy.events(), [2, 1, 0]);
    proxy.pass(299);
    assert_eq!(proxy.canaries(1), 0);
    proxy.pass(1);
    assert!(proxy.canaries(1) > 0);
}

/// Whether a guard trips over requests that end like this.
fn trips(count: usize, canary: End, stable: End) -> bool {
    let proxy = Proxy::new(&config(), 1);
    proxy.send_to_both(count, canary, stable);
    proxy.tick();
    proxy.events() == [1, 0, 0]
}

#[test]
fn a_guard_trips_beyond_its_limits_and_not_at_them() {
    assert!(!trips(49, FAILED, OK), "too few requests");
    assert!(trips(50, FAILED, OK), "enough requests");
    assert!(!trips(100, FAILED, FAILED), "the other fails as much");
    assert!(!trips(50, End { millis: 20, ..OK }, OK), "twice the time");
    assert!(trips(50, End { millis: 21, ..OK }, OK), "more than twice the time");
    assert!(!trips(49, End { millis: 99, ..OK }, OK), "too few times");
    assert!(!trips(50, OK, End { millis: 99, ..OK }), "quicker than the other");
    for failures in [5_usize, 6] {
        let proxy = Proxy::new(&config(), 1);
        proxy.send_to_both(100 - failures, OK, OK);
        proxy.send_to_both(failures, FAILED, OK);
        proxy.tick();
        assert_eq!(proxy.events()[0], u64::from(failures > 5), "{failures} of 100");
    }
}

#[test]
fn each_end_of_a_request_is_what_it_is() {
    let flag = |bit: u64| End { flags: 1 << bit, ..OK };
    for (name, end, fails) in [
        ("500", End { code: 500, ..OK }, true),
        ("499", End { code: 499, ..OK }, false),
        ("404", End { code: 404, ..OK }, false),
        ("a reset by the upstream after 200", flag(4), true),
        ("a connection that ended after 200", flag(6), true),
        ("a timeout without an answer", End { code: 0, ..flag(2) }, true),
        ("a client that went away", End { code: 0, ..flag(14) }, false),
        ("a client that went away after 200", End { flags: 1 << 14 | 1 << 3, ..OK }, false),
        ("a delay that was injected", flag(9), false),
        ("200 with a gRPC status that Envoy made up", End { grpc_status: Some(2), ..OK }, false),
        ("a slow end of a client's", End { millis: 9_999, ..flag(14) }, false),
        ("a long connection", End { code: 101, millis: 9_999, ..OK }, false),
    ] {
        assert_eq!(trips(50, end, OK), fails, "{name}");
    }
}

#[test]
fn a_grpc_status_counts_for_grpc() {
    for (status, fails) in [(0, false), (5, false), (2, true), (13, true), (14, true), (16, false)]
    {
        let proxy = Proxy::new(&config(), 1);
        let end = End { grpc_status: Some(status), ..OK };
        for _ in 0..50 {
            proxy.send(0, &[("x-beta", "1"), ("content-type", "application/grpc+proto")], end);
        }
        proxy.tick();
        assert_eq!(proxy.events()[0], u64::from(fails), "status {status}");
    }
}

#[test]
fn what_happened_in_another_window_is_forgotten() {
    let proxy = Proxy::new(&config(), 1);
    // The windows begin at whole multiples of 30 s: 990, 1020, 1050.
    proxy.send_to_both(49, FAILED, OK);
    proxy.pass(19);
    proxy.pass(1);
    proxy.send_to_both(49, FAILED, OK);
    proxy.pass(29);
    assert_eq!(proxy.events(), [0, 0, 0]);
    proxy.send_to_both(1, FAILED, OK);
    proxy.tick();
    assert_eq!(proxy.events(), [1, 0, 0]);
}

#[test]
fn what_the_workers_count_adds_up() {
    let proxy = Proxy::new(&config(), 2);
    // Each worker alone has too few.
    proxy.send_to_both(60, FAILED, OK);
    for worker in &proxy.workers {
        let _ = worker.on_tick(&proxy.env());
    }
    assert_eq!(proxy.events(), [1, 0, 0]);
}

#[test]
fn a_shadow_watches_nobody() {
    let mut config = config();
    config["experiments"][0]["shadow"] = json!(true);
    let proxy = Proxy::new(&config, 1);
    let mut request: Headers = [(":path", "/"), ("x-beta", "1")].into_iter().collect();
    let mut stream = proxy.workers[0].stream();
    let _ = stream.on_request_headers(&mut request, &proxy.env());
    assert!(!stream.wants_end() && !stream.wants_response_headers());
}

#[test]
fn without_a_guard_there_are_no_ticks() {
    let mut config = config();
    config["experiments"][0].as_object_mut().unwrap().remove("guard");
    let proxy = Proxy::new(&config, 1);
    assert_eq!(proxy.workers[0].on_tick(&proxy.env()).next_tick, None);
}
