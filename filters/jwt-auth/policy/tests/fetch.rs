//! Keys and revocations that are fetched, certificates that tokens are bound to, and
//! what later filters learn: what a policy makes of what its host tells it.
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

use std::time::Duration;

use cases::jwt_auth;
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use jwt_auth_policy::{JwtAuth, JwtStream};
use mesh_filters_config::compile;
use mesh_filters_policy::claims::{self, ClaimMatch, ClaimPath, VerifiedClaims};
use mesh_filters_policy::remote::COOL_DOWN;
use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{
    CalloutError, CalloutId, Env, Headers, Host, HttpRequest, HttpResponse, LogLevel, Policy,
    Stream, UnixTime, Verdict, Work,
};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(2);
const REFRESH: Duration = Duration::from_mins(10);
const CERTIFICATE: &str = "connection.sha256_peer_certificate_digest";

type Answer = Result<HttpResponse, CalloutError>;

#[expect(clippy::unnecessary_wraps, reason = "it stands beside answers that are errors")]
fn ok(body: &Value) -> Answer {
    Ok(HttpResponse { status: 200, body: body.to_string().into_bytes() })
}

/// The public keys with these names.
fn keys(kids: &[&str]) -> Value {
    let all = jwt_auth::jwks();
    let named = all["keys"].as_array().unwrap().iter();
    let named: Vec<_> = named.filter(|key| kids.iter().any(|kid| key["kid"] == **kid)).collect();
    assert_eq!(named.len(), kids.len());
    json!({ "keys": named })
}

fn token(name: &str) -> String {
    jwt_auth::tokens()[name]["token"].as_str().unwrap().into()
}

/// A token of that `kid`, which no key has; what signed it is never looked at.
fn of_kid(kid: &str) -> String {
    let good = token("good-rs256");
    let (_, rest) = good.split_once('.').unwrap();
    let header = json!({"alg": "RS256", "kid": kid}).to_string();
    format!("{}.{rest}", Base64UrlSafeNoPadding::encode_to_string(header).unwrap())
}

fn remote() -> Value {
    json!({"remote": {"cluster": "idp", "uri": "https://idp.example.com/keys"}})
}

fn provider(name: &str, issuer: &str, jwks: &Value) -> Value {
    json!({"name": name, "issuer": issuer, "jwks": jwks})
}

fn corp(jwks: &Value) -> Value {
    let mut corp = provider("corp", "https://idp.example.com/", jwks);
    corp["claims_to_headers"] = json!([{"claim": "sub", "header": "x-user-id"}]);
    corp
}

fn partner(jwks: &Value) -> Value {
    provider("partner", "https://partner.example.com/", jwks)
}

fn config(providers: &[Value], require: &Value) -> Value {
    json!({
        "providers": providers,
        "rules": [
            {"match": {"path": {"prefix": "/public"}}, "allow": "anonymous"},
            {"match": {}, "require": require},
        ],
    })
}

/// A configuration of one provider, with its keys from there.
fn of_corp(jwks: &Value) -> Value {
    config(&[corp(jwks)], &json!({"provider": "corp"}))
}

fn request(headers: &[(&str, &str)]) -> Headers {
    [(":path", "/orders")].iter().chain(headers).map(|(name, value)| (*name, *value)).collect()
}

fn bearer(token: &str) -> Headers {
    request(&[("authorization", &format!("Bearer {token}"))])
}

/// What became of a request.
#[derive(Debug, PartialEq)]
enum Outcome {
    Passed(String),
    Refused(u16, String),
    /// It waits for so long at most.
    Waits(Duration),
}

fn passed(reason: &str) -> Outcome {
    Outcome::Passed(reason.into())
}

fn refused(status: u16, reason: &str) -> Outcome {
    Outcome::Refused(status, reason.into())
}

/// A proxy whose workers have this filter.
struct Proxy {
    host: FakeHost,
    workers: Vec<JwtAuth>,
}

impl Proxy {
    fn new(workers: usize, config: &Value) -> Self {
        let host = FakeHost::default();
        // No machine has just been started when its proxy starts.
        host.advance(Duration::from_secs(1000));
        let configure = |_| JwtAuth::configure(config.to_string().as_bytes(), &host);
        let workers = (0..workers).map(|index| configure(index).unwrap().policy).collect();
        Self { host, workers }
    }

    fn env(&self, may_wait: bool) -> Env<'_> {
        Env { now: UnixTime::from_secs(1_800_000_000), may_wait, host: &self.host }
    }

    fn tick(&self, worker: usize) -> Work {
        self.workers[worker].on_tick(&self.env(false))
    }

    fn asks(&self, worker: usize) -> Vec<(CalloutId, HttpRequest)> {
        self.tick(worker).callouts
    }

    fn answer(&self, worker: usize, id: CalloutId, answer: Answer) -> Work {
        self.workers[worker].on_callout(id, answer, &self.env(false))
    }

    /// Has a worker make the one request that is due, and answers it.
    fn fetch(&self, worker: usize, answer: Answer) -> Work {
        let callouts = self.asks(worker);
        let [(id, _)] = callouts.as_slice() else { panic!("not one request: {callouts:?}") };
        self.answer(worker, *id, answer)
    }

    fn decide(&self, stream: &mut JwtStream, request: &mut Headers, may_wait: bool) -> Outcome {
        let verdict = stream.on_request_headers(request, &self.env(may_wait));
        let reason = verdict.reason().map(|reason| {
            let label = reason.detail.strip_prefix("jwt_auth{").unwrap().strip_suffix('}').unwrap();
            // The counter and the detail say the same.
            let counters = self.workers[0].counters();
            assert!(counters[reason.counter.0].ends_with(&format!(".reason.{label}")));
            label.to_owned()
        });
        match verdict {
            Verdict::Continue(_) => Outcome::Passed(reason.unwrap()),
            Verdict::Reply(_, reply) => Outcome::Refused(reply.status, reason.unwrap()),
            Verdict::Wait(until) => Outcome::Waits(until.since(self.host.monotonic())),
        }
    }

    fn judge(&self, worker: usize, mut request: Headers, may_wait: bool) -> Outcome {
        self.decide(&mut self.workers[worker].stream(), &mut request, may_wait)
    }

    /// What becomes of a request with this token that may wait.
    fn of(&self, worker: usize, token: &str) -> Outcome {
        self.judge(worker, bearer(token), true)
    }

    fn counted(&self, name: &str) -> u64 {
        let counters = self.workers[0].counters();
        let place = counters.iter().position(|it| it == name);
        self.host.counted(place.unwrap_or_else(|| panic!("no counter {name}")))
    }

    fn has_logged(&self, level: LogLevel, line: &str) -> bool {
        self.host.log.borrow().iter().any(|(at, logged)| *at == level && logged == line)
    }
}

#[test]
fn a_request_waits_for_the_first_keys_and_is_then_judged() {
    let proxy = Proxy::new(2, &of_corp(&remote()));
    let mut streams: Vec<_> = proxy.workers.iter().map(Policy::stream).collect();
    let good = token("good-es256");
    for stream in &mut streams {
        let waits = proxy.decide(stream, &mut bearer(&good), true);
        assert_eq!(waits, Outcome::Waits(TIMEOUT));
    }
    let callouts = proxy.asks(0);
    assert_eq!(callouts.len(), 1);
    let (id, asked) = &callouts[0];
    assert_eq!(
        (asked.cluster.as_str(), asked.authority.as_str(), asked.path.as_str(), asked.timeout),
        ("idp", "idp.example.com", "/keys", TIMEOUT)
    );
    assert!(proxy.asks(1).is_empty(), "one fetches for all");
    assert_eq!(proxy.of(0, &good), Outcome::Waits(TIMEOUT));

    assert!(proxy.answer(0, *id, ok(&keys(&["p-256"]))).resume);
    assert!(proxy.tick(1).resume);
    for stream in &mut streams {
        let mut request = bearer(&good);
        assert_eq!(proxy.decide(stream, &mut request, true), passed("ok"));
        assert_eq!(request.first("x-user-id"), Some(b"alice".as_slice()));
    }
    assert_eq!(proxy.counted("jwt_auth.key_fetches.provider.corp.result.ok"), 1);
    assert_eq!(proxy.counted("jwt_auth.key_fetches.provider.corp.result.failed"), 0);
    assert!(proxy.has_logged(LogLevel::Info, "keys of provider corp: fetched"));
}

#[test]
fn without_keys_and_time_to_wait_it_is_503() {
    let proxy = Proxy::new(1, &of_corp(&remote()));
    let mut request = bearer(&token("good-es256"));
    let verdict = proxy.workers[0].stream().on_request_headers(&mut request, &proxy.env(false));
    let Verdict::Reply(reason, reply) = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason.detail, "jwt_auth{keys_unavailable}");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.body, "{\"error\":\"temporarily_unavailable\"}\n");
    let names: Vec<_> = reply.headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["content-type"], "no challenge: another token would not help");
}

#[test]
fn nobody_waits_for_what_will_not_come() {
    let proxy = Proxy::new(1, &of_corp(&remote()));
    let good = token("good-es256");
    let fail = || {
        while proxy.asks(0).is_empty() {
            proxy.host.advance(Duration::from_millis(10));
        }
        proxy.answer(0, CalloutId(0), Err(CalloutError::NoAnswer));
    };
    fail();
    assert_eq!(proxy.of(0, &good), Outcome::Waits(TIMEOUT), "it is tried again within a second");
    // The fourth pause is of four seconds at least.
    (0..3).for_each(|_| fail());
    assert_eq!(proxy.of(0, &good), refused(503, "keys_unavailable"));
    assert_eq!(proxy.counted("jwt_auth.key_fetches.provider.corp.result.failed"), 4);
    let line =
        "keys of provider corp: cannot use https://idp.example.com/keys: there was no answer";
    assert!(proxy.has_logged(LogLevel::Warn, line));
}

#[test]
fn what_is_wrong_without_any_key_is_refused_at_once() {
    let proxy = Proxy::new(1, &of_corp(&remote()));
    for (name, reason) in [
        ("expired", "expired"),
        ("other-issuer", "issuer"),
        ("alg-none", "algorithm"),
        ("crit", "malformed"),
    ] {
        assert_eq!(proxy.of(0, &token(name)), refused(401, reason), "{name}");
    }
    assert_eq!(proxy.judge(0, request(&[]), true), refused(401, "missing"));
    assert_eq!(
        proxy.judge(0, [(":path", "/public")].into_iter().collect(), true),
        passed("anonymous")
    );
}

#[test]
fn an_unknown_kid_is_looked_for_once() {
    let proxy = Proxy::new(2, &of_corp(&remote()));
    proxy.fetch(0, ok(&keys(&["p-256"])));
    proxy.tick(1);
    let unknown = token("unknown-kid");
    assert_eq!(proxy.of(0, &unknown), refused(401, "kid"), "the keys are new");

    proxy.host.advance(COOL_DOWN);
    let mut stream = proxy.workers[0].stream();
    let waits = proxy.decide(&mut stream, &mut bearer(&unknown), true);
    assert_eq!(waits, Outcome::Waits(TIMEOUT));
    proxy.host.advance(Duration::from_millis(20));
    assert!(proxy.fetch(0, ok(&keys(&["p-256"]))).resume);
    assert_eq!(proxy.decide(&mut stream, &mut bearer(&unknown), true), refused(401, "kid"));

    // It is remembered for a minute, by the worker that looked for it.
    proxy.host.advance(COOL_DOWN);
    assert_eq!(proxy.of(0, &unknown), refused(401, "kid"));
    assert!(proxy.asks(0).is_empty());
    assert_eq!(proxy.of(0, &of_kid("another")), Outcome::Waits(TIMEOUT));
    proxy.host.advance(Duration::from_mins(1));
    assert_eq!(proxy.of(0, &unknown), Outcome::Waits(TIMEOUT));
}

#[test]
fn a_request_that_may_not_wait_has_the_keys_fetched_all_the_same() {
    let proxy = Proxy::new(1, &of_corp(&remote()));
    proxy.fetch(0, ok(&keys(&["p-256"])));
    proxy.host.advance(COOL_DOWN);
    let request = bearer(&token("good-rs256"));
    assert_eq!(proxy.judge(0, request, false), refused(401, "kid"));
    proxy.fetch(0, ok(&keys(&["p-256", "rsa-2048"])));
    assert_eq!(proxy.of(0, &token("good-rs256")), passed("ok"));
}

#[test]
fn a_failed_fetch_does_not_count_as_looking() {
    let proxy = Proxy::new(1, &of_corp(&remote()));
    proxy.fetch(0, ok(&keys(&["p-256"])));
    proxy.host.advance(COOL_DOWN);
    let unknown = token("good-rs256");
    assert_eq!(proxy.of(0, &unknown), Outcome::Waits(TIMEOUT));
    assert!(proxy.fetch(0, Err(CalloutError::Timeout)).resume);
    assert_eq!(proxy.of(0, &unknown), refused(401, "kid"));
    proxy.host.advance(COOL_DOWN);
    assert_eq!(proxy.of(0, &unknown), Outcome::Waits(TIMEOUT));
    proxy.fetch(0, ok(&keys(&["rsa-2048"])));
    assert_eq!(proxy.of(0, &unknown), passed("ok"));
}

#[test]
fn few_kids_are_remembered_and_none_that_is_long() {
    let proxy = Proxy::new(1, &of_corp(&remote()));
    proxy.fetch(0, ok(&keys(&["p-256"])));
    proxy.host.advance(COOL_DOWN);
    assert_eq!(proxy.of(0, &of_kid(&"k".repeat(257))), refused(401, "kid"));
    assert!(proxy.asks(0).is_empty(), "a long one is not looked for");
    for number in 0..257 {
        assert_eq!(proxy.of(0, &of_kid(&number.to_string())), Outcome::Waits(TIMEOUT));
    }
    proxy.host.advance(Duration::from_millis(20));
    proxy.fetch(0, ok(&keys(&["p-256"])));
    proxy.host.advance(COOL_DOWN);
    for number in 1..257 {
        assert_eq!(proxy.of(0, &of_kid(&number.to_string())), refused(401, "kid"));
    }
    assert!(proxy.asks(0).is_empty());
    assert_eq!(proxy.of(0, &of_kid("0")), Outcome::Waits(TIMEOUT), "the oldest one is forgotten");
}

#[test]
fn a_known_token_is_forgotten_with_its_key() {
    let proxy = Proxy::new(2, &of_corp(&remote()));
    proxy.fetch(0, ok(&keys(&["p-256", "rsa-2048"])));
    proxy.tick(1);
    let (kept, lost) = (token("good-es256"), token("good-rs256"));
    for worker in [0, 1] {
        assert_eq!(proxy.of(worker, &kept), passed("ok"));
        assert_eq!(proxy.of(worker, &lost), passed("ok"));
    }
    proxy.host.advance(REFRESH);
    proxy.fetch(0, ok(&keys(&["p-256"])));
    proxy.tick(1);
    for worker in [0, 1] {
        assert_eq!(proxy.of(worker, &kept), passed("ok"));
        assert_eq!(proxy.of(worker, &lost), refused(401, "kid"), "by worker {worker}");
    }
}

#[test]
fn a_known_token_is_forgotten_when_the_keys_are_too_old() {
    let mut jwks = remote();
    jwks["remote"]["max_stale"] = json!("1h");
    let proxy = Proxy::new(1, &of_corp(&jwks));
    proxy.fetch(0, ok(&keys(&["p-256"])));
    let good = token("good-es256");
    assert_eq!(proxy.of(0, &good), passed("ok"));
    proxy.host.advance(REFRESH + Duration::from_hours(1));
    proxy.fetch(0, Err(CalloutError::NoAnswer));
    assert_eq!(proxy.of(0, &good), passed("ok"), "stale keys serve");
    proxy.host.advance(Duration::from_secs(1));
    let id = proxy.asks(0)[0].0;
    assert_eq!(proxy.judge(0, bearer(&good), false), refused(503, "keys_unavailable"));
    let line = "keys of provider corp: those of https://idp.example.com/keys are too old to be \
                used any longer";
    assert!(proxy.has_logged(LogLevel::Warn, line));
    // The same keys are good again.
    proxy.answer(0, id, ok(&keys(&["p-256"])));
    assert_eq!(proxy.of(0, &good), passed("ok"));
}

#[test]
fn two_providers_of_one_key_server_share_a_fetch() {
    let either = json!({"any": [{"provider": "corp"}, {"provider": "partner"}]});
    let proxy = Proxy::new(1, &config(&[corp(&remote()), partner(&remote())], &either));
    proxy.fetch(0, ok(&keys(&["p-256"])));
    assert!(proxy.asks(0).is_empty());
    for name in ["good-es256", "partner"] {
        assert_eq!(proxy.of(0, &token(name)), passed("ok"), "{name}");
    }
    // Counted for who fetched.
    assert_eq!(proxy.counted("jwt_auth.key_fetches.provider.corp.result.ok"), 1);
    assert_eq!(proxy.counted("jwt_auth.key_fetches.provider.partner.result.ok"), 0);
}

#[test]
fn keys_of_no_use_to_one_provider_still_serve_another() {
    let mut picky = corp(&remote());
    picky["algorithms"] = json!(["EdDSA"]);
    let either = json!({"any": [{"provider": "corp"}, {"provider": "partner"}]});
    let proxy = Proxy::new(1, &config(&[picky, partner(&remote())], &either));
    for (id, _) in proxy.asks(0) {
        proxy.answer(0, id, ok(&keys(&["p-256"])));
    }
    assert_eq!(proxy.of(0, &token("partner")), passed("ok"));
    let missing = proxy.judge(0, bearer(&token("good-eddsa")), false);
    assert_eq!(missing, refused(503, "keys_unavailable"));
}

#[test]
fn any_passes_by_a_provider_whose_keys_are_there() {
    let either = json!({"any": [{"provider": "corp"}, {"provider": "partner"}]});
    let there = json!({"inline": keys(&["p-256"])});
    let proxy = Proxy::new(1, &config(&[corp(&remote()), partner(&there)], &either));
    assert_eq!(proxy.of(0, &token("partner")), passed("ok"));
    assert_eq!(proxy.of(0, &token("good-es256")), Outcome::Waits(TIMEOUT));
    let in_vain = proxy.judge(0, bearer(&token("good-es256")), false);
    assert_eq!(in_vain, refused(503, "keys_unavailable"));
}

#[test]
fn all_refuses_at_once_what_another_token_decides() {
    let both = json!({"all": [{"provider": "corp"}, {"provider": "partner"}]});
    let mut other = partner(&json!({"inline": keys(&["p-256"])}));
    other["from"] = json!([{"header": "x-partner"}]);
    let proxy = Proxy::new(1, &config(&[corp(&remote()), other], &both));
    let with = |name: &str| {
        let good = format!("Bearer {}", token("good-es256"));
        request(&[("authorization", &good), ("x-partner", &token(name))])
    };
    assert_eq!(proxy.judge(0, with("partner-expired"), true), refused(401, "expired"));
    assert_eq!(proxy.of(0, &token("good-es256")), refused(401, "incomplete"));
    assert_eq!(proxy.judge(0, with("partner"), true), Outcome::Waits(TIMEOUT));
    proxy.fetch(0, ok(&keys(&["p-256"])));
    assert_eq!(proxy.judge(0, with("partner"), true), passed("ok"));
}

#[test]
fn open_lets_pass_what_cannot_be_judged_and_nothing_else() {
    let mut config = of_corp(&remote());
    config["failure_mode"] = json!("open");
    let proxy = Proxy::new(1, &config);
    let good = token("good-es256");
    assert_eq!(proxy.of(0, &good), Outcome::Waits(TIMEOUT), "it waits all the same");
    let authorization = format!("Bearer {good}");
    let mut unjudged = request(&[("authorization", &authorization), ("x-user-id", "admin")]);
    let stream = &mut proxy.workers[0].stream();
    assert_eq!(proxy.decide(stream, &mut unjudged, false), passed("keys_unavailable"));
    assert!(unjudged.first("x-user-id").is_none(), "it is nobody's");
    assert!(unjudged.first("authorization").is_some(), "the token was not taken");
    assert!(VerifiedClaims::of_request(&proxy.host) == VerifiedClaims::default());
    for (name, reason) in [("expired", "expired"), ("other-issuer", "issuer")] {
        assert_eq!(proxy.judge(0, bearer(&token(name)), false), refused(401, reason));
    }
    assert_eq!(proxy.judge(0, request(&[]), false), refused(401, "missing"));
}

fn metadata(issuer: &str, jwks_uri: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": jwks_uri, "scopes_supported": ["openid"]})
}

const METADATA: &str = "https://idp.example.com/.well-known/openid-configuration";

#[test]
fn an_issuer_is_discovered_and_then_asked_for_its_keys() {
    let issuer = "https://idp.example.com/";
    for (jwks_cluster, jwks_uri, cluster) in [
        (None, "https://idp.example.com/k?v=1", "idp"),
        (Some("keys"), "https://keys.example.com:8443/k?v=1", "keys"),
    ] {
        let mut jwks = json!({"discovery": {"cluster": "idp", "uri": METADATA}});
        if let Some(cluster) = jwks_cluster {
            jwks["discovery"]["jwks_cluster"] = json!(cluster);
        }
        let proxy = Proxy::new(2, &of_corp(&jwks));
        let work = proxy.fetch(0, ok(&metadata(issuer, jwks_uri)));
        assert_eq!(proxy.of(0, &token("good-es256")), Outcome::Waits(TIMEOUT));
        let [(id, asked)] = work.callouts.as_slice() else { panic!("{work:?}") };
        assert_eq!((asked.cluster.as_str(), asked.path.as_str()), (cluster, "/k?v=1"));
        proxy.answer(0, *id, ok(&keys(&["p-256"])));
        proxy.tick(1);
        for worker in [0, 1] {
            assert_eq!(proxy.of(worker, &token("good-es256")), passed("ok"));
        }
    }
}

#[test]
fn metadata_that_cannot_be_followed_give_no_keys() {
    let ours = "https://idp.example.com/";
    let here = "https://idp.example.com/keys";
    for (answer, problem) in [
        (
            metadata("https://idp.example.com", here),
            "its issuer is \"https://idp.example.com\", not \"https://idp.example.com/\"",
        ),
        (
            metadata(ours, "https://keys.example.com/keys"),
            "its jwks_uri https://keys.example.com/keys is on another host; name the cluster that \
             serves it as jwks_cluster",
        ),
        (
            metadata(ours, "http://idp.example.com/keys"),
            "its jwks_uri http://idp.example.com/keys is on another host; name the cluster that \
             serves it as jwks_cluster",
        ),
        (metadata(ours, "/keys"), "its jwks_uri is no address: \"/keys\""),
        (metadata(ours, ""), "its jwks_uri is no address: \"\""),
    ] {
        let jwks = json!({"discovery": {"cluster": "idp", "uri": METADATA}});
        let proxy = Proxy::new(1, &of_corp(&jwks));
        let work = proxy.fetch(0, ok(&answer));
        assert!(work.callouts.is_empty());
        let line = format!("keys of provider corp: cannot use {METADATA}: {problem}");
        assert!(proxy.has_logged(LogLevel::Warn, &line), "{line} in {:?}", proxy.host.log);
        let unjudged = proxy.judge(0, bearer(&token("good-es256")), false);
        assert_eq!(unjudged, refused(503, "keys_unavailable"));
    }
}

#[test]
fn a_fetched_key_that_cannot_be_used_is_named_once_a_proxy() {
    let proxy = Proxy::new(2, &of_corp(&remote()));
    let mut some = keys(&["p-256"]);
    some["keys"].as_array_mut().unwrap().push(json!({"kty": "DSA", "kid": "old"}));
    proxy.fetch(0, ok(&some));
    proxy.tick(1);
    let log = proxy.host.log.borrow();
    let warnings: Vec<_> = log.iter().filter(|(level, _)| *level == LogLevel::Warn).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let start = "keys of provider corp: https://idp.example.com/keys: keys[1] (kid \"old\") has";
    assert!(warnings[0].1.starts_with(start), "{warnings:?}");
    drop(log);
    for worker in [0, 1] {
        assert_eq!(proxy.of(worker, &token("good-es256")), passed("ok"));
    }
}

fn denying() -> Value {
    let mut config = of_corp(&json!({"inline": keys(&["p-256", "rsa-2048"])}));
    config["deny"] =
        json!({"cluster": "idp", "uri": "https://idp.example.com/revoked", "jti": ["8f14e45f"]});
    config
}

#[test]
fn without_the_first_deny_list_nobody_passes() {
    let proxy = Proxy::new(1, &denying());
    let good = token("good-es256");
    assert_eq!(proxy.of(0, &good), Outcome::Waits(TIMEOUT));
    assert_eq!(proxy.judge(0, bearer(&good), false), refused(503, "deny_list_unavailable"));
    // What is wrong anyway is refused for that.
    assert_eq!(proxy.of(0, &token("revoked-jti")), refused(401, "revoked"));
    assert_eq!(proxy.of(0, &token("expired")), refused(401, "expired"));

    let mut open = denying();
    open["failure_mode"] = json!("open");
    let proxy = Proxy::new(1, &open);
    assert_eq!(proxy.judge(0, bearer(&good), false), passed("deny_list_unavailable"));
    assert_eq!(proxy.of(0, &token("revoked-jti")), refused(401, "revoked"));
}

#[test]
fn a_deny_list_that_changes_counts_for_known_tokens_too() {
    let proxy = Proxy::new(2, &denying());
    let (alice, mallory) = (token("good-es256"), token("revoked-sub"));
    assert!(proxy.fetch(0, ok(&json!({}))).resume);
    proxy.tick(1);
    for worker in [0, 1] {
        assert_eq!(proxy.of(worker, &alice), passed("ok"));
        assert_eq!(proxy.of(worker, &mallory), passed("ok"));
    }
    proxy.host.advance(Duration::from_mins(1));
    proxy.fetch(0, ok(&json!({"sub": ["mallory"], "jti": ["8f14e45f0"]})));
    proxy.tick(1);
    for worker in [0, 1] {
        assert_eq!(proxy.of(worker, &alice), passed("ok"));
        assert_eq!(proxy.of(worker, &mallory), refused(401, "revoked"));
        assert_eq!(proxy.of(worker, &token("other-jti")), refused(401, "revoked"));
        assert_eq!(proxy.of(worker, &token("revoked-jti")), refused(401, "revoked"));
    }
    // The last list holds for as long as there is no other.
    let answers = [
        Err(CalloutError::NoAnswer),
        Ok(HttpResponse { status: 200, body: Vec::new() }),
        Ok(HttpResponse { status: 404, body: b"{}".to_vec() }),
        ok(&json!([])),
        ok(&json!({"subjects": ["alice"]})),
        ok(&json!({"sub": "alice"})),
    ];
    let failures = answers.len();
    for answer in answers {
        proxy.host.advance(Duration::from_hours(1000));
        proxy.fetch(0, answer);
        assert_eq!(proxy.of(0, &mallory), refused(401, "revoked"));
        assert_eq!(proxy.of(0, &alice), passed("ok"));
    }
    assert_eq!(proxy.counted("jwt_auth.deny_list_fetches.result.ok"), 2);
    assert_eq!(
        proxy.counted("jwt_auth.deny_list_fetches.result.failed"),
        u64::try_from(failures).unwrap()
    );
}

#[test]
fn keys_and_deny_list_are_asked_for_side_by_side() {
    let mut config = denying();
    config["providers"][0]["jwks"] = remote();
    let proxy = Proxy::new(1, &config);
    let callouts = proxy.asks(0);
    let paths: Vec<_> = callouts.iter().map(|(_, asked)| asked.path.as_str()).collect();
    assert_eq!(paths, ["/keys", "/revoked"]);
    proxy.answer(0, callouts[1].0, ok(&json!({"sub": ["mallory"]})));
    assert_eq!(proxy.of(0, &token("revoked-sub")), Outcome::Waits(TIMEOUT));
    proxy.answer(0, callouts[0].0, ok(&keys(&["p-256"])));
    assert_eq!(proxy.of(0, &token("revoked-sub")), refused(401, "revoked"));
    assert_eq!(proxy.of(0, &token("good-es256")), passed("ok"));
}

/// The digest that the token "bound" names: the bytes from 0 to 31.
const BOUND_TO: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[test]
fn a_bound_token_passes_only_with_its_certificate() {
    let mut config = of_corp(&json!({"inline": keys(&["p-256"])}));
    config["providers"][0]["bound_to_certificate"] = json!(true);
    let proxy = Proxy::new(1, &config);
    let with = |certificate: Option<&str>, name: &str| {
        let mut properties = proxy.host.properties.borrow_mut();
        match certificate {
            Some(digest) => properties.insert(CERTIFICATE.into(), digest.into()),
            None => properties.remove(CERTIFICATE),
        };
        drop(properties);
        proxy.of(0, &token(name))
    };
    let other = BOUND_TO.replace("1f", "20");
    // Right first, so that the token is known to the cache afterwards.
    assert_eq!(with(Some(BOUND_TO), "bound"), passed("ok"));
    assert_eq!(with(Some(&BOUND_TO.to_uppercase()), "bound"), passed("ok"));
    for certificate in [None, Some(""), Some(other.as_str()), Some(&BOUND_TO[..62]), Some("no hex")]
    {
        assert_eq!(with(certificate, "bound"), refused(401, "certificate"), "{certificate:?}");
    }
    for name in [
        "good-es256",
        "bound-to-nothing",
        "bound-to-half",
        "bound-to-padded",
        "bound-to-number",
        "bound-to-text",
        "bound-to-key",
    ] {
        for certificate in [None, Some(""), Some(&BOUND_TO[..32]), Some(BOUND_TO)] {
            let outcome = with(certificate, name);
            assert_eq!(outcome, refused(401, "certificate"), "{name} with {certificate:?}");
        }
    }
}

#[test]
fn where_binding_is_not_asked_for_a_bound_token_is_like_any() {
    let proxy = Proxy::new(1, &of_corp(&json!({"inline": keys(&["p-256"])})));
    assert_eq!(proxy.of(0, &token("bound")), passed("ok"));
}

fn claim(name: &str) -> ClaimPath {
    let text = json!({"claim": name, "present": true}).to_string();
    compile(text.as_bytes(), |it: ClaimMatch, errors| {
        ClaimPath::compile(it.claim.as_ref(), it.claim_path.as_ref(), "", errors)
    })
    .unwrap()
}

#[test]
fn later_filters_read_the_claims_in_the_order_of_the_rule() {
    let inline = json!({"inline": keys(&["p-256"])});
    let mut other = partner(&inline);
    other["from"] = json!([{"header": "x-partner"}]);
    let good = format!("Bearer {}", token("staff"));
    let partner_token = token("partner");
    for (order, first) in [(["corp", "partner"], "alice"), (["partner", "corp"], "pat")] {
        let all: Vec<_> = order.iter().map(|name| json!({ "provider": name })).collect();
        let require = json!({ "all": all });
        let proxy = Proxy::new(1, &config(&[corp(&inline), other.clone()], &require));
        let request = request(&[("authorization", &good), ("x-partner", &partner_token)]);
        assert_eq!(proxy.judge(0, request, true), passed("ok"));
        let claims = VerifiedClaims::of_request(&proxy.host);
        assert_eq!(claims.find(&claim("sub")), Some(&json!(first)));
        // What only one token has is found in that one.
        assert_eq!(claims.find(&claim("groups")), Some(&json!(["dev", "staff"])));
        assert_eq!(claims.find(&claim("nothing")), None);
        let shared = proxy.host.property(&[claims::PROPERTY]).unwrap();
        let shared: Value = serde_json::from_slice(&shared).unwrap();
        let names: Vec<_> = shared.as_array().unwrap().iter().map(|it| &it["provider"]).collect();
        assert_eq!(names, order);
    }
}

#[test]
fn later_filters_learn_nothing_of_who_is_not_known() {
    let mut config = of_corp(&json!({"inline": keys(&["p-256"])}));
    config["rules"][1]["require"]["allow_missing"] = json!(true);
    let proxy = Proxy::new(1, &config);
    let left = || proxy.host.property(&[claims::PROPERTY]);
    assert_eq!(proxy.judge(0, request(&[]), true), passed("anonymous"));
    assert_eq!(left(), None);
    let public = [(":path", "/public".to_owned())].into_iter();
    let authorization = ("authorization", format!("Bearer {}", token("good-es256")));
    assert_eq!(proxy.judge(0, public.chain([authorization]).collect(), true), passed("anonymous"));
    assert_eq!(left(), None);
    assert_eq!(proxy.of(0, &token("tampered-es256")), refused(401, "signature"));
    assert_eq!(left(), None);
    assert_eq!(proxy.of(0, &token("good-es256")), passed("ok"));
    assert!(left().is_some());

    config["filter_state"] = json!(false);
    let proxy = Proxy::new(1, &config);
    assert_eq!(proxy.of(0, &token("good-es256")), passed("ok"));
    assert_eq!(proxy.host.property(&[claims::PROPERTY]), None);
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let proxy = Proxy::new(1, &of_corp(&json!({"inline": keys(&["p-256"])})));
    let work = proxy.tick(0);
    assert!(work.callouts.is_empty() && work.next_tick.is_none());
    for id in [0, 1, usize::MAX] {
        let work = proxy.answer(0, CalloutId(id), ok(&keys(&["rsa-2048"])));
        assert!(work.callouts.is_empty() && !work.resume);
    }
    assert_eq!(proxy.of(0, &token("good-es256")), passed("ok"));
    assert_eq!(proxy.of(0, &token("good-rs256")), refused(401, "kid"));
}
