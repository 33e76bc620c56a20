//! The policy on a host in memory, with the workers of one proxy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::cell::Cell;
use std::time::Duration;

use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{
    CounterId, Env, Headers, Host, HostRefused, LogLevel, Monotonic, NotShared, Policy, Shared,
    SignatureCheck, Stream, UnixTime, Verdict, VerifySignature, Version,
};
use rate_limit_policy::RateLimit;
use serde_json::{Value, json};

/// A worker of a proxy.
struct Worker<'a> {
    policy: RateLimit,
    counters: Vec<String>,
    host: &'a dyn Host,
}

/// What a client gets.
#[derive(Debug)]
struct Answer {
    detail: &'static str,
    counter: String,
    status: u16,
    headers: Vec<(String, String)>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(it, _)| it == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands there twice: {self:?}");
        value
    }
}

impl<'a> Worker<'a> {
    fn new(host: &'a dyn Host, config: &Value) -> Self {
        let configured = RateLimit::configure(config.to_string().as_bytes(), host);
        let policy = configured.unwrap_or_else(|errors| panic!("{errors}")).policy;
        Self { counters: policy.counters(), policy, host }
    }

    fn answer_to(&self, request: &[(&str, &[u8])], response: &[(&str, &str)]) -> Answer {
        let mut pairs = vec![(":method", &b"GET"[..]), (":path", b"/")];
        pairs.retain(|(name, _)| !request.iter().any(|(it, _)| it == name));
        pairs.extend(request);
        let mut headers: Headers = pairs.into_iter().collect();
        let env = Env { now: UnixTime::from_secs(0), may_wait: false, host: self.host };
        let mut stream = self.policy.stream();
        match stream.on_request_headers(&mut headers, &env) {
            Verdict::Continue(reason) => {
                let pairs = response.iter().map(|(name, value)| (*name, value.as_bytes()));
                let mut headers: Headers = pairs.collect();
                if stream.wants_response_headers() {
                    stream.on_response_headers(&mut headers, &env);
                }
                let value = |name| {
                    let value = headers.first(name)?.to_vec();
                    Some((name.to_owned(), String::from_utf8(value).unwrap()))
                };
                Answer {
                    detail: reason.detail,
                    counter: self.counters[reason.counter.0].clone(),
                    status: 200,
                    headers: TOLD.iter().filter_map(|name| value(name)).collect(),
                }
            }
            Verdict::Reply(reason, reply) => Answer {
                detail: reason.detail,
                counter: self.counters[reason.counter.0].clone(),
                status: reply.status,
                headers: reply
                    .headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.to_string()))
                    .collect(),
            },
            Verdict::Wait(_) => panic!("waits for nothing"),
        }
    }

    fn answer(&self, request: &[(&str, &[u8])]) -> Answer {
        self.answer_to(request, &[])
    }

    fn status(&self, request: &[(&str, &[u8])]) -> u16 {
        self.answer(request).status
    }

    fn of(&self, client: &str) -> Answer {
        self.answer(&[("x-client", client.as_bytes())])
    }

    /// How many of that many requests of a client are admitted.
    fn admitted(&self, client: &str, requests: usize) -> usize {
        (0..requests).filter(|_| self.of(client).status == 200).count()
    }
}

const TOLD: [&str; 5] = [
    "ratelimit-policy",
    "ratelimit",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// One request each ten seconds, and that many at once.
fn limit(name: &str, burst: u64) -> Value {
    json!({
        "name": name, "key": [{"header": "x-client"}],
        "rate": {"requests": 6, "per": "1m", "burst": burst},
    })
}

fn one(limit: &Value) -> Value {
    json!({"limits": [limit]})
}

fn with(name: &str, burst: u64, field: &str, value: Value) -> Value {
    let mut limit = limit(name, burst);
    limit[field] = value;
    one(&limit)
}

/// How often a counter went up for what the policy counts itself, beside the reason of
/// the verdict.
fn counted(worker: &Worker<'_>, host: &FakeHost, counter: &str) -> u64 {
    let place = worker.counters.iter().position(|it| it == counter).unwrap();
    host.counted(place)
}

#[test]
fn workers_count_together() {
    let host = FakeHost::default();
    let config = one(&limit("all", 10));
    let workers: Vec<_> = (0..4).map(|_| Worker::new(&host, &config)).collect();
    let admitted: usize = workers.iter().map(|worker| worker.admitted("alice", 7)).sum();
    assert_eq!(admitted, 10);
    host.advance(Duration::from_millis(9_999));
    assert_eq!(workers[2].of("alice").status, 429, "not before");
    host.advance(Duration::from_millis(1));
    assert_eq!(workers[3].of("alice").status, 200, "exactly at");
    assert_eq!(workers[0].of("alice").status, 429);
}

#[test]
fn each_worker_counts_for_itself_if_told_to() {
    let host = FakeHost::default();
    let config = with("all", 3, "scope", json!("worker"));
    let workers: Vec<_> = (0..2).map(|_| Worker::new(&host, &config)).collect();
    for worker in &workers {
        assert_eq!(worker.admitted("alice", 5), 3);
    }
}

#[test]
fn what_one_limit_refuses_is_not_taken_from_another() {
    let host = FakeHost::default();
    let config = json!({"limits": [limit("wide", 5), limit("tight", 2)]});
    let worker = Worker::new(&host, &config);
    assert_eq!(worker.admitted("alice", 10), 2);
    let wide = Worker::new(&host, &one(&limit("wide", 5)));
    assert_eq!(wide.admitted("alice", 10), 3);
}

#[test]
fn a_shadow_limit_refuses_nobody_and_is_told_nobody() {
    let host = FakeHost::default();
    let worker = Worker::new(&host, &with("new", 1, "shadow", json!(true)));
    for _ in 0..3 {
        let answer = worker.of("alice");
        assert!(answer.status == 200 && answer.headers.is_empty(), "{answer:?}");
    }
    assert_eq!(counted(&worker, &host, "rate_limit.requests.limit.new.outcome.allowed"), 1);
    assert_eq!(counted(&worker, &host, "rate_limit.requests.limit.new.outcome.shadow_limited"), 2);

    // Nor is it in what a refused client is told about the others.
    let mut shadow = limit("new", 1);
    shadow["shadow"] = json!(true);
    let worker = Worker::new(&host, &json!({"limits": [shadow, limit("old", 1)]}));
    assert_eq!(worker.of("bob").status, 200);
    let answer = worker.of("bob");
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("ratelimit-policy"), Some("\"old\";q=6;w=60"));
}

#[test]
fn a_missing_key_is_what_the_limit_says() {
    let host = FakeHost::default();
    for (what, expected) in
        [("deny", [429, 429, 429]), ("skip", [200, 200, 200]), ("share", [200, 429, 429])]
    {
        let worker = Worker::new(&host, &with(what, 1, "missing_key", json!(what)));
        let requests: [&[(&str, &[u8])]; 3] = [&[], &[("x-client", b"")], &[]];
        assert_eq!(requests.map(|it| worker.status(it)), expected, "{what}");
        assert_eq!(worker.of("alice").status, 200, "{what}");
    }
    let worker = Worker::new(&host, &with("deny", 1, "missing_key", json!("deny")));
    let answer = worker.answer(&[]);
    assert_eq!(answer.detail, "rate_limit{missing_key}");
    assert_eq!(answer.counter, "rate_limit.requests.limit.deny.outcome.missing_key");
}

#[test]
fn an_override_is_for_its_key_alone() {
    let host = FakeHost::default();
    host.properties.borrow_mut().insert("source.address".into(), b"10.1.2.3:4000".to_vec());
    let config = json!({
        "limits": [{
            "name": "net", "rate": {"requests": 1, "per": "1h"},
            "key": [{"client_ip": {"ipv4_prefix": 24}}, {"header": "x-client"}],
        }],
        "overrides": [{
            // Another address of the same network.
            "limit": "net", "key": ["10.1.2.200", "partner"],
            "rate": {"requests": 4, "per": "1h"},
        }],
    });
    let worker = Worker::new(&host, &config);
    assert_eq!(worker.admitted("partner", 9), 4);
    assert_eq!(worker.admitted("other", 9), 1);
}

#[test]
fn a_request_costs_what_it_says() {
    let host = FakeHost::default();
    let cost = json!({"request_header": "x-cost", "default": 2, "max": 6});
    let worker = Worker::new(&host, &with("cost", 10, "cost", cost));
    for (index, (cost, left)) in [
        (&b"3"[..], 7),
        (b" 3 ", 7),
        (b"", 8),
        (b"0", 8),
        (b"-5", 8),
        (b"+5", 8),
        (b"1e3", 8),
        (b"2.5", 8),
        (b"\xff", 8),
        (b"6", 4),
        (b"7", 4),
        (b"18446744073709551616", 4),
    ]
    .into_iter()
    .enumerate()
    {
        let client = index.to_string();
        let answer = worker.answer(&[("x-client", client.as_bytes()), ("x-cost", cost)]);
        let told = format!("\"cost\";r={left};t={}", (10 - left) * 10);
        assert_eq!(answer.header("ratelimit"), Some(told.as_str()), "{cost:?}");
    }
    // One that can never be admitted is not told to come back.
    let cost = json!({"request_header": "x-cost", "max": 100});
    let worker = Worker::new(&host, &with("never", 10, "cost", cost));
    let answer = worker.answer(&[("x-client", b"a"), ("x-cost", b"11")]);
    assert!(answer.status == 429 && answer.header("retry-after").is_none(), "{answer:?}");
    assert_eq!(worker.of("a").status, 200);
}

#[test]
fn what_a_response_used_is_charged() {
    let host = FakeHost::default();
    let charge = json!({"header": "x-used", "max": 100});
    let worker = Worker::new(&host, &with("tokens", 10, "charge_response", charge));
    let using = |client: &str, used: &str| {
        worker.answer_to(&[("x-client", client.as_bytes())], &[("x-used", used)])
    };
    assert_eq!(using("alice", "5").header("ratelimit"), Some("\"tokens\";r=4;t=60"));
    // More than was left: what is owed is at most one burst.
    assert_eq!(using("alice", "50").header("ratelimit"), Some("\"tokens\";r=0;t=200"));
    let refused = using("alice", "0");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("110"));
    for nonsense in ["", "-1", "ten", "1.5", "0"] {
        let answer = using(&format!("client {nonsense}"), nonsense);
        assert_eq!(answer.header("ratelimit"), Some("\"tokens\";r=9;t=10"), "{nonsense:?}");
    }
}

#[test]
fn a_client_is_told_what_it_has_left() {
    let host = FakeHost::default();
    let both = json!([limit("tight", 3), limit("wide", 100)]);
    let worker = Worker::new(&host, &json!({"limits": both}));
    let answer = worker.of("alice");
    assert_eq!((answer.detail, answer.status), ("rate_limit{allowed}", 200));
    assert_eq!(answer.counter, "rate_limit.requests.limit.tight.outcome.allowed");
    let policy = "\"tight\";q=6;w=60, \"wide\";q=6;w=60";
    assert_eq!(answer.header("ratelimit-policy"), Some(policy));
    assert_eq!(answer.header("ratelimit"), Some("\"tight\";r=2;t=10"));
    assert_eq!(counted(&worker, &host, "rate_limit.requests.limit.wide.outcome.allowed"), 1);
    assert_eq!(worker.admitted("alice", 2), 2);
    // Of the ten seconds to the next, a part has passed: what is told is rounded up.
    for (passed, after) in [(0, "10"), (1, "10"), (998, "10"), (1, "9"), (8_999, "1")] {
        host.advance(Duration::from_millis(passed));
        let refused = worker.of("alice");
        assert_eq!((refused.detail, refused.status), ("rate_limit{limited}", 429));
        assert_eq!(refused.counter, "rate_limit.requests.limit.tight.outcome.limited");
        assert_eq!(refused.header("retry-after"), Some(after));
        assert_eq!(refused.header("content-type"), Some("application/json"));
        let told = format!("\"tight\";r=0;t={after}");
        assert_eq!(refused.header("ratelimit"), Some(told.as_str()));
    }

    let worker = Worker::new(&host, &json!({"limits": both, "headers": "legacy"}));
    let answer = worker.of("bob");
    let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
    assert_eq!(told.map(|it| answer.header(it)), [Some("6"), Some("2"), Some("10")]);
    assert_eq!(answer.headers.len(), 3);
    assert_eq!(worker.admitted("bob", 2), 2);
    let refused = worker.of("bob");
    assert_eq!(told.map(|it| refused.header(it)), [Some("6"), Some("0"), Some("10")]);
    assert_eq!(refused.header("retry-after"), Some("10"));

    let worker = Worker::new(&host, &json!({"limits": both, "headers": "none"}));
    assert!(worker.of("carol").headers.is_empty());
    assert_eq!(worker.admitted("carol", 2), 2);
    let refused = worker.of("carol");
    let names: Vec<_> = refused.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "retry-after"]);
}

#[test]
fn a_request_that_no_limit_is_about_is_unlimited() {
    let host = FakeHost::default();
    let config = with("api", 1, "match", json!({"path": {"prefix": "/api"}}));
    let worker = Worker::new(&host, &config);
    let answer = worker.of("alice");
    assert_eq!(answer.detail, "rate_limit{unlimited}");
    assert_eq!(answer.counter, "rate_limit.requests.outcome.unlimited");
    assert!(answer.headers.is_empty());
    // A path that can be read in more than one way does not get around a limit.
    let request = |path: &'static [u8]| [("x-client", &b"alice"[..]), (":path", path)];
    assert_eq!(worker.status(&request(b"/api")), 200);
    assert_eq!(worker.status(&request(b"/x/..//api")), 429);
}

#[test]
fn a_query_parameter_is_read_as_servers_read_it() {
    let host = FakeHost::default();
    let config = with("key", 1, "key", json!([{"query": "api_key"}]));
    let worker = Worker::new(&host, &config);
    let padded = format!("/?{}api_key=alice", "a&".repeat(2_000));
    for (path, expected) in [
        ("/?api_key=alice", 200),
        ("/?api_key=%61lice", 429),
        ("/?api%5fkey=alice", 429),
        ("/?b=c&api_key=alice#x", 429),
        (&padded, 429),
        ("/?api_key=alice&api_key=bob", 200),
        ("/?api_key=bob", 200),
        ("/?api_key=a+b", 200),
        ("/?api_key=a%20b", 429),
    ] {
        assert_eq!(worker.status(&[(":path", path.as_bytes())]), expected, "{path}");
    }
}

#[test]
fn a_cookie_cannot_be_pushed_out_of_sight() {
    let host = FakeHost::default();
    let worker = Worker::new(&host, &with("key", 1, "key", json!([{"cookie": "session"}])));
    let padded = format!("{}session=alice", "a=b; ".repeat(2_000));
    assert_eq!(worker.status(&[("cookie", b"session=alice")]), 200);
    assert_eq!(worker.status(&[("cookie", padded.as_bytes())]), 429);
}

#[test]
fn what_clients_make_large_or_strange_is_a_key_like_any() {
    let host = FakeHost::default();
    host.properties.borrow_mut().insert("source.address".into(), b"192.0.2.1:1".to_vec());
    let worker = Worker::new(&host, &one(&limit("all", 1)));
    for value in [&b"\xff\xfe"[..], b"\x80", &vec![b'a'; 1 << 20], "ü".as_bytes()] {
        let request = [("x-client", value)];
        assert_eq!([worker.status(&request), worker.status(&request)], [200, 429]);
    }
    let config = with("ip", 1, "key", json!([{"client_ip": {"trusted_hops": 2}}]));
    let worker = Worker::new(&host, &config);
    let many = format!("{}203.0.113.9,10.0.0.1", "x,".repeat(10_000));
    assert_eq!(worker.status(&[("x-forwarded-for", many.as_bytes())]), 200);
    assert_eq!(worker.status(&[("x-forwarded-for", b"203.0.113.9,10.0.0.1")]), 429);
    assert_eq!(worker.status(&[("x-forwarded-for", b"203.0.113.9")]), 200, "the connection's");
}

#[test]
fn a_new_configuration_forgives_only_what_it_changes() {
    let host = FakeHost::default();
    let old = json!({"limits": [limit("a", 2), limit("b", 2)]});
    assert_eq!(Worker::new(&host, &old).admitted("alice", 5), 2);
    // What else changes does not matter, nor does the order.
    let mut same = limit("a", 2);
    same["match"] = json!({"path": {"prefix": "/"}});
    let new = json!({"limits": [limit("c", 9), same], "headers": "none"});
    assert_eq!(Worker::new(&host, &new).of("alice").status, 429);
    for (what, changed) in [
        ("the name", limit("c", 2)),
        ("the burst", limit("a", 3)),
        (
            "the key",
            with("a", 2, "key", json!([{"cookie": "x"}, {"header": "x-client"}]))["limits"][0]
                .clone(),
        ),
        (
            "the rate",
            with("a", 2, "rate", json!({"requests": 5, "per": "1m"}))["limits"][0].clone(),
        ),
    ] {
        let worker = Worker::new(&host, &one(&changed));
        let request = [("x-client", &b"alice"[..]), ("cookie", b"x=y")];
        assert_eq!(worker.status(&request), 200, "{what}");
    }
    // The same value of another header is another client.
    let other = with("a", 2, "key", json!([{"header": "x-other"}]));
    assert_eq!(Worker::new(&host, &other).status(&[("x-other", b"alice")]), 200);
}

/// A host on which somebody else does something just before one of the reads, and on
/// which nothing may be shared if `shares` is false.
struct Interrupted<'a> {
    host: &'a FakeHost,
    shares: bool,
    reads: Cell<usize>,
    at: usize,
    by: &'a dyn Fn(),
}

impl VerifySignature for Interrupted<'_> {
    fn verify_signature(&self, check: &SignatureCheck<'_>) -> Option<bool> {
        self.host.verify_signature(check)
    }
}

impl Host for Interrupted<'_> {
    fn monotonic(&self) -> Monotonic {
        self.host.monotonic()
    }

    fn random(&self) -> u64 {
        self.host.random()
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.host.property(path)
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostRefused> {
        self.host.set_property(name, value)
    }

    fn shared(&self, key: &str) -> Option<Shared> {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() == self.at {
            (self.by)();
        }
        self.host.shared(key).filter(|_| self.shares)
    }

    fn share(&self, key: &str, value: &[u8], expected: Option<Version>) -> Result<(), NotShared> {
        if self.shares { self.host.share(key, value, expected) } else { Err(NotShared::Refused) }
    }

    fn environment(&self, name: &str) -> Option<String> {
        self.host.environment(name)
    }

    fn count(&self, counter: CounterId, by: u64) {
        self.host.count(counter, by);
    }

    fn log(&self, level: LogLevel, line: &str) {
        self.host.log(level, line);
    }
}

/// Both limits admit the request when they are looked at. Before the second is taken
/// from, somebody else has taken the last of it: the first is given back.
#[test]
fn what_was_taken_is_given_back_if_another_limit_then_refuses() {
    let host = FakeHost::default();
    let rival = Worker::new(&host, &one(&limit("tight", 1)));
    let steal = || assert_eq!(rival.of("alice").status, 200);
    let config = json!({"limits": [limit("wide", 5), limit("tight", 1)]});
    let policy = Worker::new(&host, &config);
    // Two looks, the read of what is taken from `wide`, and that of `tight`.
    let interrupted =
        Interrupted { host: &host, shares: true, reads: Cell::default(), at: 4, by: &steal };
    let answer = Worker { host: &interrupted, ..policy }.of("alice");
    assert_eq!(answer.counter, "rate_limit.requests.limit.tight.outcome.limited");
    assert!(interrupted.reads.get() > 4, "nothing was given back");
    assert_eq!(Worker::new(&host, &one(&limit("wide", 5))).admitted("alice", 9), 5);
}

#[test]
fn what_passes_because_nothing_is_shared_is_counted() {
    let host = FakeHost::default();
    let mute =
        Interrupted { host: &host, shares: false, reads: Cell::default(), at: 0, by: &|| {} };
    let worker = Worker::new(&mute, &one(&limit("all", 1)));
    assert_eq!(worker.admitted("alice", 3), 3);
    assert_eq!(counted(&worker, &host, "rate_limit.requests.limit.all.outcome.error_allowed"), 3);
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whoever sends what, when, to which worker: no more than the burst, and what
        /// the time that has passed gives.
        #[test]
        fn no_more_is_admitted_than_burst_and_time(
            burst in 1u64..8,
            requests in prop::collection::vec((0usize..3, 0usize..3, 0u64..15_000), 1..120),
        ) {
            let host = FakeHost::default();
            let config = one(&limit("all", burst));
            let workers: Vec<_> = (0..3).map(|_| Worker::new(&host, &config)).collect();
            let mut millis = 0;
            let mut admitted = [0; 3];
            for (worker, client, pause) in requests {
                host.advance(Duration::from_millis(pause));
                millis += pause;
                if workers[worker].of(["a", "b", "c"][client]).status == 200 {
                    admitted[client] += 1;
                }
                let most = burst + millis / 10_000;
                prop_assert!(admitted.iter().all(|it| *it <= most), "{:?} of {}", admitted, most);
            }
        }
    }
}
