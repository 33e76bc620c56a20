//! Documents that the workers of a proxy fetch and share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::cell::Cell;
use std::time::Duration;

use mesh_filters_config::HttpUri;
use mesh_filters_policy::remote::{COOL_DOWN, Document, Event, Remote, Settings, Step, Turn};
use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{
    CalloutError, CounterId, Env, Host, HostRefused, HttpResponse, LogLevel, Monotonic, NotShared,
    Shared, SignatureCheck, UnixTime, Version,
};

const TIMEOUT: Duration = Duration::from_secs(2);
const REFRESH: Duration = Duration::from_secs(100);
const MAX_STALE: Duration = Duration::from_secs(1000);
const A_MOMENT: Duration = Duration::from_millis(10);
const NANO: Duration = Duration::from_nanos(1);

type Answer = Result<HttpResponse, CalloutError>;

/// A document is `v` and something. `see` and an address leads to another.
struct Kind;

impl Document for Kind {
    fn read(&self, body: &[u8], _: u32) -> Result<Step, String> {
        if let Some(uri) = body.strip_prefix(b"see ") {
            let uri = HttpUri::parse(std::str::from_utf8(uri).unwrap()).unwrap();
            return Ok(Step::Follow { cluster: "other".into(), uri });
        }
        if body.starts_with(b"v") { Ok(Step::Found) } else { Err("it is no version".into()) }
    }
}

fn settings() -> Settings {
    Settings {
        cluster: "idp".into(),
        uri: HttpUri::parse("https://idp.example.com:8443/keys?all=1").unwrap(),
        timeout: TIMEOUT,
        refresh: REFRESH,
        max_stale: MAX_STALE,
        max_bytes: 1000,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside answers that are errors")]
fn with_status(status: u16, body: &str) -> Answer {
    Ok(HttpResponse { status, body: body.into() })
}

fn ok(body: &str) -> Answer {
    with_status(200, body)
}

fn env(host: &dyn Host) -> Env<'_> {
    Env { now: UnixTime::from_secs(0), may_wait: false, host }
}

/// The workers of one proxy.
struct Proxy {
    host: FakeHost,
    workers: Vec<Remote>,
}

impl Proxy {
    fn with(workers: usize, settings: &Settings) -> Self {
        let host = FakeHost::default();
        // No machine has just been started when its proxy starts.
        host.advance(Duration::from_secs(1000));
        let workers: Vec<_> = (0..workers).map(|_| Remote::new("test", settings.clone())).collect();
        for worker in &workers {
            worker.prepare(&host);
        }
        Self { host, workers }
    }

    fn of(workers: usize) -> Self {
        Self::with(workers, &settings())
    }

    fn tick(&self, worker: usize) -> Turn {
        self.workers[worker].on_tick(&env(&self.host))
    }

    /// Ticks, and says whether that makes a request.
    fn asks(&self, worker: usize) -> bool {
        self.tick(worker).request.is_some()
    }

    fn answer(&self, worker: usize, answer: Answer) -> Turn {
        self.workers[worker].on_answer(answer, &Kind, &env(&self.host))
    }

    fn event(&self, worker: usize) -> Option<Event> {
        self.tick(worker).event
    }

    /// Has a worker that is due fetch this.
    fn fetch(&self, worker: usize, answer: Answer) -> Option<Event> {
        assert!(self.asks(worker), "it should be due");
        self.answer(worker, answer).event
    }

    /// How long until a worker makes a request, to a step.
    fn time_to_request(&self, worker: usize, step: Duration) -> Duration {
        for steps in 1..100_000 {
            self.host.advance(step);
            if self.asks(worker) {
                return step * steps;
            }
        }
        panic!("no request is ever made");
    }
}

fn fetched(body: &str) -> Event {
    Event::Fetched(body.into())
}

fn received(body: &str) -> Event {
    Event::Received(body.into())
}

#[test]
fn one_worker_fetches_and_the_others_receive() {
    let proxy = Proxy::of(3);
    let request = proxy.tick(1).request.unwrap();
    assert_eq!((request.cluster.as_str(), request.method), ("idp", "GET"));
    assert_eq!((request.scheme, request.authority.as_str()), ("https", "idp.example.com:8443"));
    assert_eq!(request.path, "/keys?all=1");
    assert_eq!((request.timeout, request.max_response_bytes), (TIMEOUT, 1000));
    for worker in [0, 1, 2] {
        let turn = proxy.tick(worker);
        assert!(turn.request.is_none() && turn.event.is_none());
        assert!(turn.next_tick < Duration::from_millis(50), "looks often: {:?}", turn.next_tick);
    }
    let turn = proxy.answer(1, ok("v1"));
    assert!(turn.changed);
    assert_eq!(turn.event, Some(fetched("v1")));
    for worker in [0, 2] {
        let turn = proxy.tick(worker);
        assert!(turn.changed);
        assert_eq!(turn.event, Some(received("v1")));
        assert!(turn.next_tick <= Duration::from_secs(1));
    }
    for worker in [0, 1, 2] {
        let turn = proxy.tick(worker);
        assert!(!turn.changed && turn.event.is_none() && turn.request.is_none());
    }
}

#[test]
fn a_lease_that_runs_out_is_taken_over() {
    let proxy = Proxy::of(2);
    assert!(proxy.asks(0));
    // Two answers may each take as long as one may, and a second more.
    let lease = TIMEOUT * 2 + Duration::from_secs(1);
    proxy.host.advance(lease.checked_sub(NANO).unwrap());
    assert!(!proxy.asks(1));
    proxy.host.advance(NANO);
    assert!(proxy.asks(1));
    // Who still waits for an answer does not ask again.
    proxy.host.advance(lease * 2);
    assert!(!proxy.asks(0));
    assert_eq!(proxy.answer(1, ok("v1")).event, Some(fetched("v1")));
    assert_eq!(proxy.event(0), Some(received("v1")));
}

#[test]
fn a_failure_that_comes_late_undoes_nothing() {
    let proxy = Proxy::of(3);
    assert_eq!(proxy.fetch(0, ok("v1")), Some(fetched("v1")));
    proxy.host.advance(REFRESH);
    assert!(proxy.asks(0));
    proxy.host.advance(Duration::from_secs(5));
    assert_eq!(proxy.fetch(1, ok("v2")), Some(fetched("v2")));
    assert!(matches!(proxy.answer(0, Err(CalloutError::Timeout)).event, Some(Event::Failed(_))));
    assert_eq!(proxy.event(0), Some(received("v2")));
    assert_eq!(proxy.event(2), Some(received("v2")));
    // Nor has anybody a reason to try again soon.
    proxy.host.advance(REFRESH * 8 / 10);
    assert!((0..3).all(|worker| !proxy.asks(worker)));
}

#[test]
fn a_document_that_comes_late_reaches_everybody() {
    let proxy = Proxy::of(3);
    assert_eq!(proxy.fetch(0, ok("v1")), Some(fetched("v1")));
    proxy.host.advance(REFRESH);
    assert!(proxy.asks(0));
    proxy.host.advance(Duration::from_secs(5));
    assert_eq!(proxy.fetch(1, ok("v2")), Some(fetched("v2")));
    assert_eq!(proxy.answer(0, ok("v3")).event, Some(fetched("v3")));
    assert_eq!(proxy.event(1), Some(received("v3")));
    assert_eq!(proxy.event(2), Some(received("v3")));
}

#[test]
fn it_is_refreshed_up_to_a_tenth_early() {
    let proxy = Proxy::of(1);
    proxy.fetch(0, ok("v1"));
    let step = Duration::from_millis(100);
    let mut waits = Vec::new();
    for _ in 0..50 {
        let wait = proxy.time_to_request(0, step);
        assert!(wait >= REFRESH * 9 / 10 && wait <= REFRESH + step, "{wait:?}");
        waits.push(wait);
        assert_eq!(proxy.answer(0, ok("v1")).event, Some(Event::Unchanged));
    }
    let earliest = waits.iter().min().unwrap();
    let latest = waits.iter().max().unwrap();
    assert!(*latest > *earliest + REFRESH / 20, "they spread: {earliest:?} to {latest:?}");
}

#[test]
fn who_needs_it_fresher_fetches_it_sooner() {
    let proxy = Proxy::of(1);
    let hasty = Remote::new("test", Settings { refresh: REFRESH / 10, ..settings() });
    proxy.fetch(0, ok("v1"));
    assert_eq!(hasty.on_tick(&env(&proxy.host)).event, Some(received("v1")));
    proxy.host.advance(REFRESH / 10);
    assert!(!proxy.asks(0));
    assert!(hasty.on_tick(&env(&proxy.host)).request.is_some());
}

#[test]
fn failures_are_spaced_out_and_a_success_begins_anew() {
    let proxy = Proxy::of(1);
    let step = A_MOMENT;
    let fails = |longest: u64| {
        let wait = proxy.time_to_request(0, step);
        let longest = Duration::from_secs(longest);
        assert!(wait >= longest / 2 && wait <= longest + step, "{wait:?} of {longest:?}");
    };
    assert!(proxy.asks(0));
    for longest in [1, 2, 4, 8, 16, 30, 30, 30, 30] {
        proxy.answer(0, with_status(500, ""));
        fails(longest);
    }
    assert_eq!(proxy.answer(0, ok("v1")).event, Some(fetched("v1")));
    proxy.time_to_request(0, step);
    proxy.answer(0, Err(CalloutError::NoAnswer));
    fails(1);
}

#[test]
fn other_workers_keep_to_the_time_after_a_failure() {
    let proxy = Proxy::of(2);
    assert!(proxy.asks(0));
    proxy.answer(0, Err(CalloutError::Refused));
    proxy.host.advance(Duration::from_millis(499));
    assert!(!proxy.asks(1));
    assert!(proxy.tick(1).next_tick <= Duration::from_secs(1));
    proxy.host.advance(Duration::from_millis(501));
    assert!(proxy.asks(1));
}

#[test]
fn a_bad_answer_keeps_the_document() {
    let place = "cannot use https://idp.example.com:8443/keys?all=1: ";
    let table = [
        (with_status(500, "v2"), "it answered 500"),
        (with_status(304, ""), "it answered 304"),
        (ok("garbage"), "it is no version"),
        (ok(""), "it is no version"),
        (Err(CalloutError::Refused), "Envoy refused the call; is there a cluster of that name?"),
        (Err(CalloutError::NoAnswer), "there was no answer"),
        (Err(CalloutError::Timeout), "there was no answer in time"),
        (Err(CalloutError::TooLong), "the answer is too long"),
    ];
    for (answer, problem) in table {
        let proxy = Proxy::of(2);
        proxy.fetch(0, ok("v1"));
        assert_eq!(proxy.event(1), Some(received("v1")));
        proxy.host.advance(REFRESH);
        let failed = Some(Event::Failed(format!("{place}{problem}")));
        assert_eq!(proxy.fetch(0, answer), failed);
        assert_eq!((proxy.event(0), proxy.event(1)), (None, None));
        let newcomer = Remote::new("test", settings());
        assert_eq!(newcomer.on_tick(&env(&proxy.host)).event, Some(received("v1")));
    }
}

#[test]
fn a_document_too_old_is_used_no_longer_until_it_is_fetched_again() {
    let proxy = Proxy::of(2);
    proxy.fetch(0, ok("v1"));
    assert_eq!(proxy.event(1), Some(received("v1")));
    proxy.host.advance(REFRESH + MAX_STALE);
    assert_eq!((proxy.event(0), proxy.event(1)), (None, None), "still good");
    proxy.host.advance(NANO);
    // The first of them has begun to fetch.
    for worker in [0, 1] {
        let turn = proxy.tick(worker);
        assert_eq!((turn.event, turn.changed), (Some(Event::Expired), false));
        assert_eq!(proxy.event(worker), None, "once");
    }
    let newcomer = Remote::new("test", settings());
    assert_eq!(newcomer.on_tick(&env(&proxy.host)).event, None);
    // The same bytes, and yet news.
    assert_eq!(proxy.answer(0, ok("v1")).event, Some(fetched("v1")));
    assert_eq!(proxy.event(1), Some(received("v1")));
    assert_eq!(newcomer.on_tick(&env(&proxy.host)).event, Some(received("v1")));
}

#[test]
fn some_documents_never_become_too_old() {
    let proxy = Proxy::with(1, &Settings { max_stale: Duration::MAX, ..settings() });
    proxy.fetch(0, ok("v1"));
    proxy.host.advance(Duration::from_hours(100_000));
    assert_eq!(proxy.event(0), None);
}

#[test]
fn it_is_fetched_on_request_once_in_the_cool_down_of_the_proxy() {
    let proxy = Proxy::of(2);
    proxy.fetch(0, ok("v1"));
    proxy.tick(1);
    for wait in [Duration::ZERO, COOL_DOWN.checked_sub(NANO).unwrap()] {
        proxy.host.advance(wait);
        assert!(proxy.workers.iter().all(|worker| !worker.refetch(&proxy.host)));
        assert!(!proxy.asks(0) && !proxy.asks(1));
    }
    proxy.host.advance(NANO);
    assert!(proxy.workers.iter().all(|worker| worker.refetch(&proxy.host)));
    assert!(proxy.asks(1) && !proxy.asks(0));
    assert!(proxy.workers.iter().all(|worker| worker.refetch(&proxy.host)), "under way");
    proxy.answer(1, ok("v1"));
    // Both asked, and one fetch was for both.
    assert!(proxy.workers.iter().all(|worker| !worker.refetch(&proxy.host)));
    proxy.host.advance(Duration::from_secs(1));
    assert!(!proxy.asks(0) && !proxy.asks(1));
    proxy.host.advance(COOL_DOWN);
    assert!(!proxy.asks(0) && !proxy.asks(1));
}

#[test]
fn a_failed_attempt_begins_the_cool_down_too() {
    let proxy = Proxy::of(1);
    proxy.fetch(0, ok("v1"));
    proxy.host.advance(COOL_DOWN);
    assert!(proxy.workers[0].refetch(&proxy.host));
    proxy.fetch(0, Err(CalloutError::NoAnswer));
    assert!(!proxy.workers[0].refetch(&proxy.host));
}

#[test]
fn what_another_worker_just_fetched_is_an_answer_to_expect() {
    let proxy = Proxy::of(2);
    proxy.fetch(0, ok("v1"));
    assert!(proxy.workers[1].refetch(&proxy.host));
    assert_eq!(proxy.event(1), Some(received("v1")));
    assert!(!proxy.workers[1].refetch(&proxy.host));
}

#[test]
fn a_new_configuration_finds_the_document() {
    let proxy = Proxy::of(1);
    proxy.fetch(0, ok("v1"));
    let newcomer = Remote::new("test", settings());
    newcomer.prepare(&proxy.host);
    let turn = newcomer.on_tick(&env(&proxy.host));
    assert_eq!((turn.event, turn.request), (Some(received("v1")), None));
    let elsewhere = HttpUri::parse("https://idp.example.com/keys").unwrap();
    for other in [
        Remote::new("another", settings()),
        Remote::new("test", Settings { cluster: "other".into(), ..settings() }),
        Remote::new("test", Settings { uri: elsewhere, ..settings() }),
    ] {
        other.prepare(&proxy.host);
        let turn = other.on_tick(&env(&proxy.host));
        assert!(turn.event.is_none() && turn.request.is_some(), "another document");
    }
}

#[test]
fn whether_it_may_come_soon_is_a_matter_of_the_timeout() {
    let proxy = Proxy::of(1);
    let soon = || proxy.workers[0].may_come_soon(proxy.host.monotonic());
    assert!(soon(), "before the first tick");
    assert!(proxy.asks(0) && soon());
    // The next attempts are at most one and two seconds away, and then more.
    proxy.answer(0, Err(CalloutError::NoAnswer));
    assert!(soon());
    for _ in 0..3 {
        proxy.time_to_request(0, A_MOMENT);
        proxy.answer(0, Err(CalloutError::NoAnswer));
    }
    assert!(!soon(), "at least four seconds away");
    proxy.time_to_request(0, A_MOMENT);
    assert!(soon(), "under way");
}

#[test]
fn an_answer_may_lead_to_another_but_not_further() {
    let proxy = Proxy::of(2);
    assert!(proxy.asks(0));
    let turn = proxy.answer(0, ok("see https://keys.example.com/v"));
    assert!(turn.event.is_none() && !turn.changed);
    let request = turn.request.unwrap();
    assert_eq!(
        (request.cluster.as_str(), request.authority.as_str(), request.path.as_str()),
        ("other", "keys.example.com", "/v")
    );
    assert!(!proxy.asks(0) && !proxy.asks(1));
    assert_eq!(proxy.answer(0, ok("v1")).event, Some(fetched("v1")));
    assert_eq!(proxy.event(1), Some(received("v1")));

    proxy.host.advance(REFRESH);
    assert!(proxy.asks(0));
    proxy.answer(0, ok("see https://keys.example.com/v"));
    let turn = proxy.answer(0, ok("see https://keys.example.com/w"));
    let problem = "cannot use https://keys.example.com/w: this leads on and on";
    assert_eq!(turn.event, Some(Event::Failed(problem.into())));
    assert!(turn.request.is_none());
}

/// A host that has a clock, and shares nothing.
#[derive(Default)]
struct Alone(Cell<Monotonic>);

impl Host for Alone {
    fn verify_signature(&self, _: &SignatureCheck<'_>) -> Option<bool> {
        None
    }

    fn monotonic(&self) -> Monotonic {
        self.0.get()
    }

    fn random(&self) -> u64 {
        0
    }

    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn set_property(&self, _: &str, _: &[u8]) -> Result<(), HostRefused> {
        Err(HostRefused)
    }

    fn shared(&self, _: &str) -> Option<Shared> {
        None
    }

    fn share(&self, _: &str, _: &[u8], _: Option<Version>) -> Result<(), NotShared> {
        Err(NotShared::Refused)
    }

    fn environment(&self, _: &str) -> Option<String> {
        None
    }

    fn count(&self, _: CounterId, _: u64) {}

    fn log(&self, _: LogLevel, _: &str) {}
}

#[test]
fn where_nothing_is_shared_each_worker_fetches_for_itself() {
    let host = Alone::default();
    let advance = |by| host.0.set(host.0.get().later(by));
    advance(Duration::from_secs(1000));
    let workers = [Remote::new("test", settings()), Remote::new("test", settings())];
    for worker in &workers {
        worker.prepare(&host);
        let env = env(&host);
        assert!(worker.on_tick(&env).request.is_some());
        assert!(worker.on_tick(&env).request.is_none(), "under way");
        assert_eq!(worker.on_answer(ok("v1"), &Kind, &env).event, Some(fetched("v1")));
        let turn = worker.on_tick(&env);
        assert!(turn.request.is_none() && turn.event.is_none());
        assert!(!worker.refetch(&host));

        advance(REFRESH);
        assert!(worker.on_tick(&env).request.is_some());
        let failed = worker.on_answer(with_status(500, ""), &Kind, &env);
        assert!(matches!(failed.event, Some(Event::Failed(_))));
        advance(Duration::from_millis(499));
        assert!(worker.on_tick(&env).request.is_none());
        advance(Duration::from_millis(1));
        assert!(worker.on_tick(&env).request.is_some());
        assert_eq!(worker.on_answer(ok("v2"), &Kind, &env).event, Some(fetched("v2")));

        advance(REFRESH + MAX_STALE + NANO);
        assert_eq!(worker.on_tick(&env).event, Some(Event::Expired));
    }
}

#[test]
fn a_record_that_nobody_can_read_is_written_anew() {
    let proxy = Proxy::of(2);
    proxy.fetch(0, ok("v1"));
    for garbage in [b"".as_slice(), b"garbage", &[0xff; 47], &[0xff; 49]] {
        share_garbage(&proxy.host, "record", garbage);
        // Its own knowledge serves a worker; one without any fetches.
        assert!(!proxy.asks(0));
        let newcomer = Remote::new("test", settings());
        newcomer.prepare(&proxy.host);
        assert!(newcomer.on_tick(&env(&proxy.host)).request.is_some());
        let answer = newcomer.on_answer(ok("v2"), &Kind, &env(&proxy.host));
        assert_eq!(answer.event, Some(fetched("v2")));
        assert_eq!(proxy.event(0), Some(received("v2")));
    }
}

/// Overwrites what the workers share.
fn share_garbage(host: &FakeHost, what: &str, garbage: &[u8]) {
    let key = format!("mesh-filters/test/idp/https://idp.example.com:8443/keys?all=1#{what}");
    assert!(host.shared(&key).is_some(), "the key is another");
    host.share(&key, garbage, None).unwrap();
}

/// Whatever happens in whatever order.
#[cfg(not(target_family = "wasm"))]
mod sequences {
    use proptest::prelude::*;

    use super::*;

    const WORKERS: usize = 3;
    const SHORT: Duration = Duration::from_secs(5);

    #[derive(Debug, Clone)]
    enum Happening {
        Tick(usize),
        Answer(Option<u8>),
        Refetch(usize),
        Passes(Duration),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            4 => (0..WORKERS).prop_map(Happening::Tick),
            3 => prop::option::weighted(0.6, 0_u8..3).prop_map(Happening::Answer),
            1 => (0..WORKERS).prop_map(Happening::Refetch),
            2 => (0_u64..3000).prop_map(|millis| Happening::Passes(Duration::from_millis(millis))),
            1 => (0_u64..40).prop_map(|secs| Happening::Passes(Duration::from_secs(secs))),
        ]
    }

    /// What should be so, by a model that knows of no record.
    struct Model {
        proxy: Proxy,
        /// Who has asked, and by when there is an answer.
        asked: Option<(usize, Monotonic)>,
        /// When the last attempt was over.
        tried: Option<Monotonic>,
        /// What was fetched last, and when.
        fetched: Option<(Vec<u8>, Monotonic)>,
        /// What each worker uses.
        used: [Option<Vec<u8>>; WORKERS],
        /// Which of them have not looked since something was fetched.
        behind: [bool; WORKERS],
    }

    impl Model {
        fn new() -> Self {
            // Short, so that a sequence has all of it in it.
            let settings = Settings { refresh: SHORT, max_stale: SHORT * 4, ..settings() };
            Self {
                proxy: Proxy::with(WORKERS, &settings),
                asked: None,
                tried: None,
                fetched: None,
                used: [const { None }; WORKERS],
                behind: [false; WORKERS],
            }
        }

        fn now(&self) -> Monotonic {
            self.proxy.host.monotonic()
        }

        fn take(&mut self, worker: usize, turn: Turn) {
            match turn.event {
                Some(Event::Fetched(document) | Event::Received(document)) => {
                    self.used[worker] = Some(document);
                }
                Some(Event::Expired) => {
                    assert!(self.used[worker].take().is_some(), "nothing was in use");
                }
                Some(Event::Unchanged | Event::Failed(_)) | None => {}
            }
            if turn.request.is_some() {
                assert!(self.asked.is_none(), "two at once");
                if let Some(tried) = self.tried {
                    let pause = self.now().since(tried);
                    assert!(pause >= Duration::from_millis(500), "again after {pause:?}");
                }
                self.asked = Some((worker, self.now().later(TIMEOUT)));
            }
            assert!(!turn.next_tick.is_zero() && turn.next_tick <= Duration::from_secs(1));
        }

        fn tick(&mut self, worker: usize) {
            let turn = self.proxy.tick(worker);
            self.behind[worker] = false;
            self.take(worker, turn);
        }

        fn answer(&mut self, answer: Answer) {
            let Some((worker, _)) = self.asked.take() else { return };
            self.tried = Some(self.now());
            if let Ok(HttpResponse { body, .. }) = &answer {
                self.fetched = Some((body.clone(), self.now()));
                self.behind = std::array::from_fn(|other| other != worker);
            }
            let turn = self.proxy.answer(worker, answer);
            self.take(worker, turn);
        }

        /// Lets time pass; a request is answered by its deadline.
        fn pass(&mut self, time: Duration) {
            let until = self.now().later(time);
            if let Some((_, deadline)) = self.asked
                && deadline <= until
            {
                self.proxy.host.advance(deadline.since(self.now()));
                self.answer(Err(CalloutError::Timeout));
            }
            self.proxy.host.advance(until.since(self.now()));
        }

        fn happens(&mut self, happening: &Happening) {
            match happening {
                Happening::Tick(worker) => self.tick(*worker),
                Happening::Answer(Some(version)) => self.answer(ok(&format!("v{version}"))),
                Happening::Answer(None) => self.answer(Err(CalloutError::NoAnswer)),
                // Who has no document has nothing to ask for anew.
                Happening::Refetch(worker) if self.used[*worker].is_none() => {}
                Happening::Refetch(worker) => {
                    let expected = self.proxy.workers[*worker].refetch(&self.proxy.host);
                    let cooled = self.tried.is_none_or(|it| self.now() >= it.later(COOL_DOWN));
                    let coming = self.asked.is_some() || self.behind[*worker];
                    assert!(!expected || cooled || coming, "nothing is to be expected");
                }
                Happening::Passes(time) => self.pass(*time),
            }
        }

        /// All workers have looked: what they use is what was fetched last.
        fn settle(&mut self) {
            (0..WORKERS).for_each(|worker| self.tick(worker));
            let too_old = SHORT * 5;
            let expected = self.fetched.clone().filter(|it| self.now() <= it.1.later(too_old));
            for used in &self.used {
                assert_eq!(used.as_ref(), expected.as_ref().map(|it| &it.0));
            }
        }
    }

    proptest! {
        #[test]
        fn one_fetches_at_a_time_and_all_use_what_was_fetched_last(
            happenings in prop::collection::vec(happening(), 1..120),
        ) {
            let mut model = Model::new();
            for happening in &happenings {
                model.happens(happening);
            }
            model.settle();
        }

        #[test]
        fn no_garbage_makes_it_panic(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..8),
            numbers in prop::collection::vec(prop::sample::select(vec![0, 1, u64::MAX - 1, u64::MAX]), 6),
            document in prop::collection::vec(any::<u8>(), 0..32),
        ) {
            let proxy = Proxy::of(2);
            proxy.fetch(0, ok("v1"));
            let readable = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
            for record in records.into_iter().chain([readable]) {
                share_garbage(&proxy.host, "record", &record);
                share_garbage(&proxy.host, "document", &document);
                for worker in [0, 1] {
                    let _ = proxy.workers[worker].refetch(&proxy.host);
                    if proxy.asks(worker) {
                        proxy.answer(worker, ok("v2"));
                    }
                    proxy.answer(worker, Err(CalloutError::NoAnswer));
                    let _ = proxy.workers[worker].may_come_soon(proxy.host.monotonic());
                }
                proxy.host.advance(REFRESH);
            }
        }
    }
}
