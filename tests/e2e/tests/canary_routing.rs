//! canary-routing in a real Envoy: the table of cases, two upstreams of which one
//! fails and recovers, and clients that keep their variant.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "code of tests"
)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use cases::canary_routing::{Case, Group, assignments, groups};
use e2e::{Gateway, MARK, SOON, canary_routing};
use harness::bootstrap::{Bootstrap, ConfigForm};
use harness::client::{self, Request, Response};
use harness::envoy::{Envoy, Options};
use harness::issuer::{ISSUER, Issuer};
use harness::trial::{Cx, Fixture, Suite};
use harness::upstream::{ANY_PORT, Reply, Upstream};
use harness::wait;
use serde_json::{Value, json};

/// What the upstream answers a marked request with.
type Answers = Arc<Mutex<HashMap<String, Vec<(String, String)>>>>;

/// A group's Envoy. For cases about claims, jwt-auth is ahead of the filter.
async fn gateway(group: &Group, answers: Answers, with_claims: bool) -> Result<Gateway> {
    let upstream = Upstream::scripted_on(ANY_PORT, move |request| {
        let mark = request.header(MARK).unwrap_or_default();
        let answer = answers.lock().unwrap().get(&mark).cloned().unwrap_or_default();
        let reply = Reply::status(200);
        answer.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
    })
    .await?;
    let config = ConfigForm::Struct(group.config.clone());
    // The filter is to see the header and the path as the case has them.
    let mut bootstrap = canary_routing(config, &group.environment)?.hcm(|hcm| {
        hcm["use_remote_address"] = json!(false);
        hcm["normalize_path"] = json!(false);
        hcm["merge_slashes"] = json!(false);
        hcm["path_with_escaped_slashes_action"] = json!("KEEP_UNCHANGED");
    });
    if with_claims {
        bootstrap = behind_jwt_auth(bootstrap)?;
    }
    Gateway::before(upstream, &["stable", "canary"], bootstrap, Options::default()).await
}

/// Puts jwt-auth first, which lets pass who has no token.
fn behind_jwt_auth(bootstrap: Bootstrap) -> Result<Bootstrap> {
    let config = json!({
        "providers": [{
            "name": "corp", "issuer": ISSUER, "jwks": {"inline": Issuer::new().jwks()},
        }],
        "rules": [{"match": {}, "require": {"provider": "corp", "allow_missing": true}}],
    });
    let jwt_auth = e2e::jwt_auth(ConfigForm::Struct(config))?;
    let filter = jwt_auth.value()["static_resources"]["listeners"][0]["filter_chains"][0]
        ["filters"][0]["typed_config"]["http_filters"][0]
        .clone();
    Ok(bootstrap.hcm(|hcm| {
        hcm["http_filters"].as_array_mut().unwrap().insert(0, filter.clone());
    }))
}

/// A case as Envoy can have it: its claims are a token's.
fn with_token(case: &Case) -> cases::Request {
    let Some(claims) = &case.claims else {
        return case.request.clone();
    };
    let issuer = Issuer::new();
    let mut all = issuer.claims("nobody");
    all.as_object_mut().unwrap().remove("sub");
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let token = issuer.sign("p-256", "ES256", &json!({}), &all);
    case.request.clone().with_header("authorization", &format!("Bearer {token}"))
}

const COUNTERS: &str = "wasmcustom.canary_routing.";

async fn counters(gateway: &Gateway) -> Result<BTreeMap<String, u64>> {
    let stats = gateway.envoy.stats().await?.into_iter();
    Ok(stats
        .filter_map(|(name, value)| Some((name.strip_prefix(COUNTERS)?.to_owned(), value)))
        .collect())
}

/// What is wrong with how Envoy dealt with a case.
async fn mistakes(gateway: &Gateway, case: &Case, mark: &str) -> Result<Vec<String>> {
    let before = counters(gateway).await?;
    let addr = gateway.envoy.listener("ingress");
    let answer = e2e::send(addr, &with_token(case), mark).await?;
    let mut mistakes = Vec::new();
    let mut check = |what: &str, is: String, should: String| {
        if is != should {
            mistakes.push(format!("{}: {what} is {is}, should be {should}", case.name));
        }
    };
    check("the status", answer.status.to_string(), "200".into());
    let reached = gateway.upstream.find(|it| it.header(MARK).as_deref() == Some(mark));
    let reached = reached.with_context(|| format!("{} did not reach the upstream", case.name))?;
    for (name, value) in case.expect.upstream() {
        let named = reached.headers.iter().filter(|(it, _)| it == name);
        let found: Vec<_> = named.map(|(_, value)| value).collect();
        check(name, format!("{found:?}"), format!("{:?}", value.iter().collect::<Vec<_>>()));
    }
    for (name, value) in &case.expect.response {
        let should: Vec<_> = value.iter().collect();
        let found = answer.values(name);
        check(&format!("the response's {name}"), format!("{found:?}"), format!("{should:?}"));
    }
    let cookies: Vec<_> = answer.values("set-cookie").into_iter().map(without_value).collect();
    let should: Vec<_> = case.expect.set_cookie.iter().cloned().collect();
    check("set-cookie", format!("{cookies:?}"), format!("{should:?}"));

    let mut counted = Vec::new();
    for (name, value) in counters(gateway).await? {
        let more = value - before.get(&name).copied().unwrap_or_default();
        counted.extend(vec![name; usize::try_from(more)?]);
    }
    let mut expected = case.expect.counted.clone();
    expected.sort();
    check("what is counted", format!("{counted:?}"), format!("{expected:?}"));
    Ok(mistakes)
}

/// `name=value; Path=/` without the value.
fn without_value(cookie: &str) -> String {
    let (name, rest) = cookie.split_once('=').unwrap();
    let (_, attributes) = rest.split_once(';').unwrap();
    format!("{name};{attributes}")
}

/// One after the other, because each is told by what it adds to the counters.
async fn every_case(cx: &Cx, name: &'static str, group: Group) -> Result<()> {
    let answers = Answers::default();
    let mut wrong = Vec::new();
    let mut decided = 0;
    for (index, case) in group.cases.iter().enumerate() {
        // Envoy has a clock of its own, and the address of its own connection; and no
        // token passes whose `sub` is not a text.
        let sub = case.claims.as_ref().and_then(|claims| claims.get("sub"));
        if case.now.is_some() || case.address.is_some() || sub.is_some_and(|it| !it.is_string()) {
            continue;
        }
        let with_claims = case.claims.is_some();
        let gateway = cx
            .shared(&format!("{name}, claims: {with_claims}"), async || {
                gateway(&group, Arc::clone(&answers), with_claims).await
            })
            .await?;
        let mark = format!("{name}-{index}");
        answers.lock().unwrap().insert(mark.clone(), case.answer.clone());
        wrong.extend(mistakes(&gateway, case, &mark).await?);
        decided += 1;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(decided > 0, "no case of {name} can run in an Envoy");
    Ok(())
}

/// An Envoy with a real upstream for each of two variants.
struct TwoUpstreams {
    envoy: Envoy,
    stable: Upstream,
    canary: Upstream,
    /// The status that the canary answers with.
    canary_status: Arc<AtomicU64>,
}

impl Fixture for TwoUpstreams {
    fn envoys(&self) -> Vec<&Envoy> {
        vec![&self.envoy]
    }
}

const KEY: &str = "CANARY_COOKIE_KEY";

impl TwoUpstreams {
    async fn start(experiment: &Value) -> Result<Self> {
        let (stable, canary_status) = (Upstream::start().await?, Arc::new(AtomicU64::new(200)));
        let status = Arc::clone(&canary_status);
        let canary = Upstream::scripted_on(ANY_PORT, move |_| {
            Reply::status(status.load(Ordering::Relaxed).try_into().unwrap())
        })
        .await?;
        let config = ConfigForm::Struct(json!({"experiments": [experiment]}));
        let environment = BTreeMap::from([(KEY.to_owned(), "k".repeat(32))]);
        let bootstrap = canary_routing(config, &environment)?
            .cluster_endpoint("stable", stable.addr())?
            .cluster_endpoint("canary", canary.addr())?;
        let envoy =
            Envoy::start(bootstrap, Options { concurrency: 2, ..Options::default() }).await?;
        Ok(Self { envoy, stable, canary, canary_status })
    }

    fn addr(&self) -> SocketAddr {
        self.envoy.listener("ingress")
    }

    async fn get(&self, request: Request) -> Result<Response> {
        client::h1(self.addr(), request).await
    }

    /// How many of that many requests the canary gets.
    async fn share_of_canary(&self, requests: u64) -> Result<u64> {
        let before = self.canary.count();
        for _ in 0..requests {
            self.get(Request::get("/")).await?;
        }
        Ok(self.canary.count() - before)
    }

    async fn counted(&self, counter: &str, fits: impl Fn(u64) -> bool) -> Result<()> {
        self.envoy.wait_for_stat(&format!("{COUNTERS}{counter}"), fits, SOON).await.map(drop)
    }
}

fn halves() -> Value {
    json!([{"variant": "canary", "weight": 50}, {"variant": "stable", "weight": 50}])
}

async fn the_route_table_follows_the_variant(cx: &Cx) -> Result<()> {
    let experiment = json!({
        "name": "checkout",
        "assign": [{"when": {"header": {"name": "x-beta", "exact": "true"}}, "variant": "canary"}],
        "weights": [{"variant": "canary", "weight": 0}, {"variant": "stable", "weight": 100}],
    });
    let rig = cx.shared("routes", async || TwoUpstreams::start(&experiment).await).await?;
    for _ in 0..10 {
        rig.get(Request::get("/").header("x-beta", "true")).await?;
        rig.get(Request::get("/")).await?;
        // A client's own header chooses nothing, in any spelling.
        rig.get(Request::get("/").header("x-mesh-variant", "canary")).await?;
        rig.get(Request::get("/").header("x_mesh_variant", "canary")).await?;
    }
    ensure!((rig.canary.count(), rig.stable.count()) == (10, 30));
    ensure!(rig.stable.find(|it| it.header("x_mesh_variant").is_some()).is_none());
    let line =
        r#"canary_routing_decisions{cause="rule",experiment="checkout",variant="canary"} 10"#;
    let metrics = rig.envoy.prometheus().await?;
    let is_there = metrics.lines().any(|it| {
        // The order of labels is Envoy's.
        it.starts_with("canary_routing_decisions{")
            && it.ends_with(" 10")
            && [r#"cause="rule""#, r#"experiment="checkout""#, r#"variant="canary""#]
                .iter()
                .all(|label| it.contains(label))
    });
    ensure!(is_there, "no line such as {line} in:\n{metrics}");
    Ok(())
}

fn sticky() -> Value {
    json!({
        "name": "checkout", "weights": halves(),
        "sticky": {
            "by": [{"header": "x-user-id"}, {"cookie": "mesh_bucket"}], "salt": "checkout-2026",
            "cookie": {"name": "mesh_bucket", "key_env": KEY},
        },
        "response_header": "x-variant",
    })
}

async fn a_client_keeps_its_variant_everywhere(cx: &Cx) -> Result<()> {
    let first = cx.shared("sticky", async || TwoUpstreams::start(&sticky()).await).await?;
    // As after a restart, or on another machine.
    let second = cx.shared("sticky again", async || TwoUpstreams::start(&sticky()).await).await?;
    let variant = |answer: &Response| answer.header("x-variant").unwrap();
    let mut seen = BTreeMap::new();
    for user in 0..40 {
        let request = || Request::get("/").header("x-user-id", format!("user-{user}"));
        let given = variant(&first.get(request()).await?);
        for rig in [&first, &second, &first] {
            ensure!(variant(&rig.get(request()).await?) == given, "user-{user}");
        }
        *seen.entry(given).or_insert(0) += 1;
    }
    ensure!(seen.len() == 2 && seen.values().all(|count| *count >= 8), "{seen:?}");

    // Who is known by nothing gets a cookie, by which it is known from then on.
    for _ in 0..20 {
        let answer = first.get(Request::get("/")).await?;
        let cookie = answer.header("set-cookie").context("no cookie")?;
        let pair = cookie.split(';').next().unwrap().to_owned();
        for rig in [&first, &second] {
            let again = rig.get(Request::get("/").header("cookie", &pair)).await?;
            ensure!(variant(&again) == variant(&answer), "{pair}");
            ensure!(again.header("set-cookie").is_none(), "{again:?}");
        }
        // One that was tampered with is none, and is replaced.
        let mut forged = pair.clone();
        let last = if forged.ends_with('A') { 'B' } else { 'A' };
        forged.replace_range(forged.len() - 1.., &last.to_string());
        let replaced = first.get(Request::get("/").header("cookie", &forged)).await?;
        ensure!(replaced.header("set-cookie").is_some(), "{forged}");
    }
    first.counted("rejected_cookies.experiment.checkout", |count| count >= 20).await
}

/// The table was worked out in another language, with another `SipHash`.
async fn clients_fall_where_the_table_says(cx: &Cx) -> Result<()> {
    let table = assignments();
    let mut experiment = sticky();
    experiment["weights"] = table.weights.clone();
    experiment["sticky"]["salt"] = json!(table.salt);
    let rig = cx.shared("table", async || TwoUpstreams::start(&experiment).await).await?;
    for (client, variant) in table.clients.iter().take(200) {
        let answer = rig.get(Request::get("/").header("x-user-id", client)).await?;
        ensure!(answer.header("x-variant").as_ref() == Some(variant), "{client}: {answer:?}");
    }
    Ok(())
}

async fn a_canary_that_fails_is_left_and_comes_back(cx: &Cx) -> Result<()> {
    let experiment = json!({
        "name": "checkout", "weights": halves(),
        "guard": {
            "variant": "canary", "compare_to": "stable", "max_error_rate": 20,
            "min_requests": 10, "window": "2s", "cool_down": "2s", "response_header": "x-guard",
        },
    });
    let rig = cx.shared("guard", async || TwoUpstreams::start(&experiment).await).await?;
    ensure!(rig.share_of_canary(60).await? > 10, "before");
    ensure!(rig.get(Request::get("/")).await?.header("x-guard").is_none());

    rig.canary_status.store(503, Ordering::Relaxed);
    wait::until(SOON, "traffic to leave the canary", async || {
        (rig.share_of_canary(20).await.ok()? == 0).then_some(())
    })
    .await?;
    rig.counted("guard.experiment.checkout.event.tripped", |count| count > 0).await?;
    rig.counted("decisions.experiment.checkout.variant.stable.cause.guard", |count| count > 0)
        .await?;
    let line = "canary-routing: checkout: canary, compared to stable, failed ";
    rig.envoy.wait_for_log(line, SOON).await?;
    // On every worker at once.
    ensure!(rig.share_of_canary(20).await? == 0, "it is left out");

    rig.canary_status.store(200, Ordering::Relaxed);
    wait::until(Duration::from_secs(40), "the canary to have its half again", async || {
        (rig.share_of_canary(60).await.ok()? > 18).then_some(())
    })
    .await?;
    rig.counted("guard.experiment.checkout.event.trial", |count| count > 0).await?;
    rig.counted("guard.experiment.checkout.event.restored", |count| count > 0).await
}

async fn a_ramp_takes_clients_to_the_canary_and_none_back(cx: &Cx) -> Result<()> {
    const CLIENTS: usize = 30;
    #[expect(clippy::disallowed_methods, reason = "a ramp is about the time of day")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let start = timestamp(now + 2);
    let mut experiment = sticky();
    experiment["weights"] =
        json!([{"variant": "canary", "weight": 0}, {"variant": "stable", "weight": 100}]);
    experiment["ramp"] =
        json!({"variant": "canary", "from": 0, "to": 100, "start": start, "over": "6s"});
    let rig = cx.shared("ramp", async || TwoUpstreams::start(&experiment).await).await?;
    let moved = RefCell::new([false; CLIENTS]);
    let (seen_midway, went_back) = (Cell::new(false), Cell::new(None));
    wait::until(Duration::from_secs(30), "all clients on the canary", async || {
        for client in 0..CLIENTS {
            let request = Request::get("/").header("x-user-id", format!("user-{client}"));
            let answer = rig.get(request).await.ok()?;
            let is_canary = answer.header("x-variant").as_deref() == Some("canary");
            let was_canary = std::mem::replace(&mut moved.borrow_mut()[client], is_canary);
            if was_canary && !is_canary {
                went_back.set(Some(client));
            }
        }
        let count = moved.borrow().iter().filter(|moved| **moved).count();
        seen_midway.set(seen_midway.get() || (5..CLIENTS - 5).contains(&count));
        (count == CLIENTS).then_some(())
    })
    .await?;
    ensure!(went_back.get().is_none(), "user-{went_back:?} went back");
    ensure!(seen_midway.get(), "it did not rise, it jumped");
    Ok(())
}

/// RFC 3339, of a moment between 2001 and 2099 (the days of a civil date).
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let mut left = days;
    let is_leap = |year: u64| year.is_multiple_of(4);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", left + 1)
}

async fn thousands_of_cookies_are_survived(cx: &Cx) -> Result<()> {
    let rig = cx.shared("sticky", async || TwoUpstreams::start(&sticky()).await).await?;
    let many: Vec<_> = (0..2_500).map(|index| format!("mesh_bucket=c{index}")).collect();
    let huge = format!("mesh_bucket={}", "A".repeat(50_000));
    for cookies in [many.join("; "), huge, "mesh_bucket".into(), ";;;=;".into()] {
        let answer = rig.get(Request::get("/").header("cookie", &cookies)).await?;
        ensure!(answer.status == 200 && answer.header("set-cookie").is_some(), "{answer:?}");
    }
    let answer = rig.get(Request::get("/").header("x-user-id", b"\xff\xfe")).await?;
    ensure!(answer.status == 200 && answer.header("set-cookie").is_none(), "{answer:?}");
    Ok(())
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for (name, group) in groups() {
        if group.cases.iter().any(|case| case.now.is_none() && case.address.is_none()) {
            suite.trial(format!("every case of {name}"), async move |cx| {
                every_case(cx, name, group).await
            });
        }
    }
    suite.trial("the route table follows the variant", the_route_table_follows_the_variant);
    suite.trial("a client keeps its variant everywhere", a_client_keeps_its_variant_everywhere);
    suite.trial("clients fall where the table says", clients_fall_where_the_table_says);
    suite.trial("thousands of cookies are survived", thousands_of_cookies_are_survived);
    suite.time_limit(Duration::from_mins(2));
    suite.trial(
        "a canary that fails is left and comes back",
        a_canary_that_fails_is_left_and_comes_back,
    );
    suite.trial(
        "a ramp takes clients to the canary and none back",
        a_ramp_takes_clients_to_the_canary_and_none_back,
    );
    suite.run()
}
