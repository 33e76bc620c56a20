//! rate-limit in a real Envoy: exact over all workers, and what a client is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::{Gateway, MARK, SOON, rate_limit};
use harness::bootstrap::ConfigForm;
use harness::client::{self, Request, Response};
use harness::envoy::Options;
use harness::trial::{Cx, Suite};
use harness::upstream::{ANY_PORT, Reply, Upstream};
use harness::wait;
use serde_json::{Value, json};
use sfv::{BareItem, List, ListEntry, Parser};
use tokio::task::JoinSet;

async fn start(cx: &Cx, name: &str, config: Value, concurrency: u32) -> Result<Arc<Gateway>> {
    cx.shared(name, async || {
        let options = Options { concurrency, ..Options::default() };
        Gateway::start(rate_limit(ConfigForm::Struct(config))?, options).await
    })
    .await
}

fn addr(gateway: &Gateway) -> SocketAddr {
    gateway.envoy.listener("ingress")
}

async fn get(gateway: &Gateway, request: Request) -> Result<Response> {
    client::h1(addr(gateway), request).await
}

/// The statuses of that many requests, one after the other.
async fn statuses(gateway: &Gateway, request: &Request, times: usize) -> Result<Vec<u16>> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(get(gateway, request.clone()).await?.status);
    }
    Ok(statuses)
}

/// A limit of that many at once, which then come back so slowly that no test sees it.
fn once(name: &str, burst: u64) -> Value {
    json!({
        "name": name, "key": [{"header": "x-client"}],
        "rate": {"requests": 1, "per": "1h", "burst": burst},
    })
}

fn of(client: &str) -> Request {
    Request::get("/").header("x-client", client)
}

async fn counted(gateway: &Gateway, limit: &str, outcome: &str, times: u64) -> Result<()> {
    let counter = format!("wasmcustom.rate_limit.requests.limit.{limit}.outcome.{outcome}");
    gateway.envoy.wait_for_stat(&counter, |count| count == times, SOON).await.map(drop)
}

async fn four_workers_admit_exactly_the_burst(cx: &Cx) -> Result<()> {
    const BURST: u64 = 100;
    let gateway = start(cx, "four workers", json!({"limits": [once("all", BURST)]}), 4).await?;
    for client in ["alice", "bob"] {
        let mut requests = JoinSet::new();
        for _ in 0..400 {
            let to = addr(&gateway);
            requests.spawn(async move { client::h1(to, of(client)).await });
        }
        let mut admitted = 0;
        while let Some(answer) = requests.join_next().await {
            let status = answer??.status;
            ensure!([200, 429].contains(&status), "{status}");
            admitted += u64::from(status == 200);
        }
        ensure!(admitted == BURST, "{client}: {admitted}");
    }
    ensure!(gateway.upstream.count() == 2 * BURST);
    counted(&gateway, "all", "allowed", 2 * BURST).await?;
    counted(&gateway, "all", "limited", 800 - 2 * BURST).await?;
    let line = r#"rate_limit_requests{limit="all",outcome="limited"} 600"#;
    let prometheus = gateway.envoy.prometheus().await?;
    ensure!(prometheus.contains(line), "{line} is not in:\n{prometheus}");
    // Every worker had its share, or this says nothing.
    let stats = gateway.envoy.stats().await?;
    for worker in 0..4 {
        let end = format!(".worker_{worker}.downstream_cx_total");
        let connections = stats.iter().find(|(stat, _)| stat.ends_with(&end));
        ensure!(connections.is_some_and(|(_, count)| *count > 0), "{end}: {connections:?}");
    }
    Ok(())
}

async fn time_gives_back_what_the_rate_says(cx: &Cx) -> Result<()> {
    let limit = json!({
        "name": "quick", "key": [{"header": "x-client"}],
        "rate": {"requests": 1, "per": "500ms"},
    });
    let gateway = start(cx, "quick", json!({"limits": [limit]}), 2).await?;
    ensure!(statuses(&gateway, &of("alice"), 2).await? == [200, 429]);
    wait::until(SOON, "the next one", async || {
        (get(&gateway, of("alice")).await.ok()?.status == 200).then_some(())
    })
    .await
}

/// The parameters of the members of a list (RFC 9651), by the string that each is.
fn list(response: &Response, header: &str) -> Result<BTreeMap<String, BTreeMap<String, i64>>> {
    let text = response.header(header).unwrap_or_default();
    let list: List = Parser::new(&text).parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut members = BTreeMap::new();
    for entry in list {
        let ListEntry::Item(item) = entry else { anyhow::bail!("an inner list in {text}") };
        let BareItem::String(name) = item.bare_item else { anyhow::bail!("no string: {text}") };
        let params = item.params.into_iter().map(|(key, value)| {
            let BareItem::Integer(number) = value else { panic!("no integer in {text}") };
            (key.to_string(), i64::from(number))
        });
        members.insert(name.to_string(), params.collect());
    }
    Ok(members)
}

fn params(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

async fn a_client_is_told_what_it_has_left(cx: &Cx) -> Result<()> {
    let config = json!({"limits": [
        {"name": "tight", "key": [{"header": "x-client"}],
         "rate": {"requests": 60, "per": "1h", "burst": 3}},
        {"name": "wide", "key": [{"header": "x-client"}],
         "rate": {"requests": 1000, "per": "1h"}},
    ]});
    let gateway = start(cx, "headers", config, 1).await?;
    let policies = BTreeMap::from([
        ("tight".to_owned(), params(&[("q", 60), ("w", 3600)])),
        ("wide".to_owned(), params(&[("q", 1000), ("w", 3600)])),
    ]);
    for (left, reset) in [(2, 60), (1, 120), (0, 180)] {
        let answer = get(&gateway, of("alice")).await?;
        ensure!(answer.status == 200);
        ensure!(list(&answer, "ratelimit-policy")? == policies, "{answer:?}");
        let told = list(&answer, "ratelimit")?;
        ensure!(told.len() == 1 && told["tight"]["r"] == left, "{answer:?}");
        ensure!((reset - 5..=reset).contains(&told["tight"]["t"]), "{answer:?}");
        ensure!(answer.header("retry-after").is_none(), "{answer:?}");
    }
    let refused = get(&gateway, of("alice").header(MARK, "refused")).await?;
    ensure!(refused.status == 429);
    ensure!(refused.json()? == json!({"error": "rate limited"}), "{refused:?}");
    let after: i64 = refused.header("retry-after").unwrap().parse()?;
    ensure!((55..=60).contains(&after), "{refused:?}");
    ensure!(list(&refused, "ratelimit")?["tight"]["r"] == 0, "{refused:?}");
    ensure!(gateway.details("refused").await? == "rate_limit{limited}");
    // What one refuses is not taken from another.
    let answer = get(&gateway, Request::get("/").header("x-client", "bob")).await?;
    ensure!(answer.status == 200);
    counted(&gateway, "tight", "limited", 1).await?;
    counted(&gateway, "wide", "limited", 0).await
}

async fn the_older_headers_are_there_if_asked_for(cx: &Cx) -> Result<()> {
    let config = json!({"limits": [once("all", 2)], "headers": "legacy"});
    let gateway = start(cx, "legacy", config, 1).await?;
    for (status, left) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = get(&gateway, of("alice")).await?;
        ensure!(answer.status == status, "{answer:?}");
        ensure!(answer.header("x-ratelimit-limit").as_deref() == Some("1"), "{answer:?}");
        ensure!(answer.header("x-ratelimit-remaining").as_deref() == Some(left), "{answer:?}");
        let reset: u64 = answer.header("x-ratelimit-reset").unwrap().parse()?;
        ensure!((3_590..=7_200).contains(&reset), "{answer:?}");
        ensure!(answer.header("ratelimit").is_none(), "{answer:?}");
    }
    Ok(())
}

async fn a_refused_request_uses_up_nothing_of_the_others(cx: &Cx) -> Result<()> {
    let mut by_path = once("by-path", 1);
    by_path["match"] = json!({"path": {"prefix": "/rare"}});
    let config = json!({"limits": [once("all", 3), by_path]});
    let gateway = start(cx, "several", config, 2).await?;
    let rare = Request::get("/rare").header("x-client", "alice");
    ensure!(statuses(&gateway, &rare, 5).await? == [200, 429, 429, 429, 429]);
    ensure!(statuses(&gateway, &of("alice"), 3).await? == [200, 200, 429]);
    Ok(())
}

async fn several_rates_of_one_limit_all_hold(cx: &Cx) -> Result<()> {
    let limit = json!({
        "name": "both", "key": [{"header": "x-client"}],
        "rates": [{"requests": 100, "per": "1h"}, {"requests": 2, "per": "1d"}],
    });
    let gateway = start(cx, "rates", json!({"limits": [limit]}), 1).await?;
    ensure!(statuses(&gateway, &of("alice"), 3).await? == [200, 200, 429]);
    counted(&gateway, "both", "allowed", 2).await
}

async fn a_shadow_limit_counts_and_refuses_nobody(cx: &Cx) -> Result<()> {
    let mut shadow = once("new", 1);
    shadow["shadow"] = json!(true);
    let gateway = start(cx, "shadow", json!({"limits": [shadow]}), 1).await?;
    for _ in 0..3 {
        let answer = get(&gateway, of("alice")).await?;
        ensure!(answer.status == 200 && answer.header("ratelimit").is_none(), "{answer:?}");
    }
    counted(&gateway, "new", "allowed", 1).await?;
    counted(&gateway, "new", "shadow_limited", 2).await
}

async fn a_missing_key_is_what_the_limit_says(cx: &Cx) -> Result<()> {
    for (what, expected) in
        [("deny", [429, 429, 429]), ("skip", [200, 200, 200]), ("share", [200, 429, 429])]
    {
        let mut limit = once("keyed", 1);
        limit["missing_key"] = json!(what);
        let name = format!("missing {what}");
        let gateway = start(cx, &name, json!({"limits": [limit]}), 1).await?;
        let seen = statuses(&gateway, &Request::get("/"), 3).await?;
        ensure!(seen == expected, "{what}: {seen:?}");
        let empty = Request::get("/").header("x-client", "");
        let seen = get(&gateway, empty).await?.status;
        ensure!(seen == expected[2], "an empty value with {what}: {seen}");
        ensure!(get(&gateway, of("alice")).await?.status == 200, "{what}");
    }
    Ok(())
}

async fn an_address_is_that_of_a_trusted_hop(cx: &Cx) -> Result<()> {
    let by_ip = |trusted_hops| {
        json!({
            "limits": [{"name": "ip", "key": [{"client_ip": {"trusted_hops": trusted_hops}}],
                        "rate": {"requests": 1, "per": "1h"}}],
        })
    };
    let xff = |value: &str| Request::get("/").header("x-forwarded-for", value);
    // Envoy has added the address of the connection, which is the first hop.
    let gateway = start(cx, "two hops", by_ip(2), 1).await?;
    for (value, expected) in [
        ("203.0.113.1", 200),
        ("203.0.113.1", 429),
        // The client wrote what is on the left.
        ("10.0.0.1, 203.0.113.1", 429),
        ("10.0.0.2,203.0.113.2", 200),
        // A port is not who it is.
        ("203.0.113.2:1234", 429),
        // Neighbours in an IPv6 network are one client.
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("2001:db8:0:1::1", 200),
        ("::ffff:203.0.113.1", 429),
    ] {
        let status = get(&gateway, xff(value)).await?.status;
        ensure!(status == expected, "{value}: {status}");
    }
    // A header with fewer entries is not believed.
    let gateway = start(cx, "three hops", by_ip(3), 1).await?;
    ensure!(get(&gateway, xff("203.0.113.1")).await?.status == 200);
    ensure!(get(&gateway, xff("203.0.113.2")).await?.status == 429);
    let many = vec!["203.0.113.9"; 2_000].join(",");
    ensure!(get(&gateway, xff(&many)).await?.status == 200);
    ensure!(get(&gateway, xff("203.0.113.9,203.0.113.1")).await?.status == 429);
    for hops in [0, 1] {
        let gateway = start(cx, &format!("{hops} hops"), by_ip(hops), 1).await?;
        ensure!(get(&gateway, xff("203.0.113.1")).await?.status == 200);
        ensure!(get(&gateway, xff("203.0.113.2")).await?.status == 429);
    }
    Ok(())
}

async fn an_override_is_for_its_key_alone(cx: &Cx) -> Result<()> {
    let config = json!({
        "limits": [once("per-client", 1)],
        "overrides": [{"limit": "per-client", "key": ["partner"],
                       "rate": {"requests": 3, "per": "1h"}}],
    });
    let gateway = start(cx, "override", config, 1).await?;
    ensure!(statuses(&gateway, &of("partner"), 4).await? == [200, 200, 200, 429]);
    ensure!(statuses(&gateway, &of("other"), 2).await? == [200, 429]);
    Ok(())
}

async fn a_request_costs_what_it_says(cx: &Cx) -> Result<()> {
    let mut limit = once("cost", 10);
    limit["cost"] = json!({"request_header": "x-cost", "default": 2, "max": 6});
    let gateway = start(cx, "cost", json!({"limits": [limit]}), 1).await?;
    for (index, (cost, left)) in [
        ("3", 7),
        ("", 8),
        ("0", 8),
        ("-5", 8),
        ("1e3", 8),
        ("6", 4),
        ("7", 4),
        ("99999999999999999999999999", 4),
    ]
    .into_iter()
    .enumerate()
    {
        let request = of(&format!("client-{index}")).header("x-cost", cost);
        let answer = get(&gateway, request).await?;
        ensure!(answer.status == 200, "{cost:?}");
        ensure!(list(&answer, "ratelimit")?["cost"]["r"] == left, "{cost:?}: {answer:?}");
    }
    let alice = of("alice").header("x-cost", "6");
    ensure!(statuses(&gateway, &alice, 2).await? == [200, 429]);
    ensure!(get(&gateway, of("alice").header("x-cost", "4")).await?.status == 200);
    Ok(())
}

async fn what_a_response_used_is_charged(cx: &Cx) -> Result<()> {
    let mut limit = once("tokens", 10);
    limit["charge_response"] = json!({"header": "x-tokens-used", "max": 100});
    let gateway = cx
        .shared("charge", async || {
            let config = ConfigForm::Struct(json!({"limits": [limit]}));
            let upstream = Upstream::scripted_on(ANY_PORT, |request| {
                let used = request.header("x-use").unwrap_or_default();
                Reply::status(200).header("x-tokens-used", used)
            })
            .await?;
            Gateway::before(upstream, &["upstream"], rate_limit(config)?, Options::default()).await
        })
        .await?;
    let using = |client: &str, tokens: &str| of(client).header("x-use", tokens);
    let answer = get(&gateway, using("alice", "5")).await?;
    ensure!(list(&answer, "ratelimit")?["tokens"]["r"] == 4, "{answer:?}");
    // More than is left: the next ones pay for it.
    let answer = get(&gateway, using("alice", "50")).await?;
    ensure!(answer.status == 200 && list(&answer, "ratelimit")?["tokens"]["r"] == 0);
    ensure!(get(&gateway, using("alice", "0")).await?.status == 429);
    for nonsense in ["", "-1", "ten", "1.5"] {
        let answer = get(&gateway, using(nonsense, nonsense)).await?;
        ensure!(answer.status == 200, "{nonsense:?}");
    }
    let answer = get(&gateway, using("bob", "ten")).await?;
    ensure!(list(&answer, "ratelimit")?["tokens"]["r"] == 9, "{answer:?}");
    Ok(())
}

async fn a_grpc_client_gets_resource_exhausted(cx: &Cx) -> Result<()> {
    let gateway = start(cx, "grpc", json!({"limits": [once("all", 1)]}), 1).await?;
    let call = || {
        let request = Request::post("/shop.Orders/List", "").header("x-client", "alice");
        client::h2(addr(&gateway), request.header("content-type", "application/grpc"))
    };
    call().await?;
    let refused = call().await?;
    ensure!(refused.status == 200, "{refused:?}");
    ensure!(refused.header("grpc-status").as_deref() == Some("8"), "{refused:?}");
    Ok(())
}

async fn a_flood_of_keys_forgives_nobody(cx: &Cx) -> Result<()> {
    let config = json!({"limits": [once("all", 1)], "capacity": 1024});
    let gateway = start(cx, "flood", config, 2).await?;
    ensure!(statuses(&gateway, &of("victim"), 2).await? == [200, 429]);
    let mut requests = JoinSet::new();
    for worker in 0..8 {
        let to = addr(&gateway);
        requests.spawn(async move {
            let mut admitted = 0;
            for index in 0..500 {
                let status = client::h1(to, of(&format!("{worker}-{index}"))).await?.status;
                admitted += u32::from(status == 200);
            }
            anyhow::Ok(admitted)
        });
    }
    let mut admitted = 0;
    while let Some(part) = requests.join_next().await {
        admitted += part??;
    }
    ensure!(admitted <= 1024, "{admitted} of 4000");
    ensure!(get(&gateway, of("victim")).await?.status == 429);
    Ok(())
}

async fn no_spelling_of_a_path_gets_around_a_limit(cx: &Cx) -> Result<()> {
    let mut limit = once("api", 1);
    limit["match"] = json!({"path": {"prefix": "/api"}});
    let config = json!({"limits": [limit]});
    let gateway = cx
        .shared("paths", async || {
            // As an Envoy that normalises nothing.
            let bootstrap = rate_limit(ConfigForm::Struct(config))?.hcm(|hcm| {
                hcm["normalize_path"] = json!(false);
                hcm["merge_slashes"] = json!(false);
                hcm["path_with_escaped_slashes_action"] = json!("KEEP_UNCHANGED");
            });
            Gateway::start(bootstrap, Options::default()).await
        })
        .await?;
    ensure!(get(&gateway, Request::get("/api").header("x-client", "a")).await?.status == 200);
    for path in
        ["/api", "/%61pi", "/x/../api", "//api", "/api/", "/api/x?y", "/x%2f..%2fapi", "/api;v=1"]
    {
        let status = get(&gateway, Request::get(path).header("x-client", "a")).await?.status;
        ensure!(status == 429, "{path}: {status}");
    }
    ensure!(get(&gateway, Request::get("/other").header("x-client", "a")).await?.status == 200);
    Ok(())
}

async fn hostile_keys_are_keys(cx: &Cx) -> Result<()> {
    let gateway = start(cx, "hostile", json!({"limits": [once("all", 1)]}), 1).await?;
    for value in [&b"\xff\xfe"[..], b"\x80", &vec![b'a'; 50_000]] {
        let request = Request::get("/").header("x-client", value);
        ensure!(statuses(&gateway, &request, 2).await? == [200, 429], "{}", value.len());
    }
    Ok(())
}

async fn slots_come_back_however_a_request_ends(cx: &Cx) -> Result<()> {
    let config = json!({"limits": [
        {"name": "slots", "key": [{"header": "x-client"}], "concurrency": 1},
    ]});
    let gateway = cx
        .shared("slots", async || {
            let bootstrap = rate_limit(ConfigForm::Struct(config))?.hcm(|hcm| {
                let host = &mut hcm["route_config"]["virtual_hosts"][0];
                host["routes"] = json!([
                    {"match": {"prefix": "/timeout"},
                     "route": {"cluster": "upstream", "timeout": "0.3s"}},
                    {"match": {"prefix": "/direct"}, "direct_response": {"status": 418}},
                    {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
                ]);
            });
            let upstream = Upstream::scripted_on(ANY_PORT, |request| match request.path_only() {
                "/reset" => Reply::reset(),
                "/never" | "/timeout" => Reply::never(),
                "/stalling" => Reply::status(200).body("half").stalling(),
                _ => Reply::status(200),
            })
            .await?;
            let options = Options { concurrency: 2, ..Options::default() };
            Gateway::before(upstream, &["upstream"], bootstrap, options).await
        })
        .await?;
    let to = addr(&gateway);
    for (path, expected) in [
        ("/", Some(200)),
        ("/reset", Some(503)),
        ("/timeout", Some(504)),
        ("/direct", Some(418)),
        // The client gives up.
        ("/never", None),
        ("/stalling", None),
    ] {
        let request = Request::get(path).header("x-client", path);
        let first = tokio::spawn(client::h2(to, request.deadline(SOON / 10)));
        if expected.is_none() {
            wait::until(SOON, "the upstream", async || {
                (gateway.upstream.count_of(path) == 1).then_some(())
            })
            .await?;
            let refused = get(&gateway, of(path).header(MARK, path)).await?;
            ensure!(refused.status == 429, "{path}: {refused:?}");
            ensure!(refused.header("retry-after").is_none(), "{refused:?}");
            ensure!(gateway.details(path).await? == "rate_limit{concurrency}");
        }
        let status = first.await?.ok().map(|answer| answer.status);
        ensure!(status == expected, "{path}: {status:?}");
        // Well before a VM that died would have given it back.
        wait::until(SOON / 5, &format!("the slot of {path}"), async || {
            (get(&gateway, of(path)).await.ok()?.status == 200).then_some(())
        })
        .await?;
    }
    // Each request that was let through had taken a slot.
    counted(&gateway, "slots", "error_allowed", 0).await?;
    counted(&gateway, "slots", "allowed", 12).await
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    suite.trial("slots come back however a request ends", slots_come_back_however_a_request_ends);
    suite.trial("four workers admit exactly the burst", four_workers_admit_exactly_the_burst);
    suite.trial("time gives back what the rate says", time_gives_back_what_the_rate_says);
    suite.trial("a client is told what it has left", a_client_is_told_what_it_has_left);
    suite.trial(
        "the older headers are there if asked for",
        the_older_headers_are_there_if_asked_for,
    );
    suite.trial(
        "a refused request uses up nothing of the others",
        a_refused_request_uses_up_nothing_of_the_others,
    );
    suite.trial("several rates of one limit all hold", several_rates_of_one_limit_all_hold);
    suite.trial(
        "a shadow limit counts and refuses nobody",
        a_shadow_limit_counts_and_refuses_nobody,
    );
    suite.trial("a missing key is what the limit says", a_missing_key_is_what_the_limit_says);
    suite.trial("an address is that of a trusted hop", an_address_is_that_of_a_trusted_hop);
    suite.trial("an override is for its key alone", an_override_is_for_its_key_alone);
    suite.trial("a request costs what it says", a_request_costs_what_it_says);
    suite.trial("what a response used is charged", what_a_response_used_is_charged);
    suite.trial("a gRPC client gets RESOURCE_EXHAUSTED", a_grpc_client_gets_resource_exhausted);
    suite.trial("a flood of keys forgives nobody", a_flood_of_keys_forgives_nobody);
    suite.trial(
        "no spelling of a path gets around a limit",
        no_spelling_of_a_path_gets_around_a_limit,
    );
    suite.trial("hostile keys are keys", hostile_keys_are_keys);
    suite.run()
}
