//! jwt-auth in a real Envoy: the table of cases, its metrics, its two encodings.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cases::{Case, Group};
use e2e::{Gateway, MARK, SOON, jwt_auth, token};
use harness::bootstrap::{ClientCertificate, ConfigForm};
use harness::client::{self, Request};
use harness::envoy::Options;
use harness::issuer::{ISSUER, Issuer};
use harness::tls::{Authority, ClientTls};
use harness::trial::{Cx, Suite};
use serde_json::{Value, json};

/// How a group's configuration reaches the filter and its requests reach Envoy.
#[derive(Debug, Clone, Copy)]
enum Run {
    /// Plain YAML, which Envoy hands over as protobuf; HTTP/1.1.
    StructH1,
    /// JSON text, as Istio sends it; HTTP/2.
    TextH2,
}

async fn gateway(group: &Group, run: Run) -> Result<Gateway> {
    let config = match run {
        Run::StructH1 => ConfigForm::Struct(group.config.clone()),
        Run::TextH2 => ConfigForm::Text(group.config.to_string()),
    };
    let raw_paths = group.raw_paths;
    let bootstrap = jwt_auth(config)?.hcm(|hcm| {
        if raw_paths {
            hcm["normalize_path"] = json!(false);
            hcm["merge_slashes"] = json!(false);
            hcm["path_with_escaped_slashes_action"] = json!("KEEP_UNCHANGED");
        }
    });
    Gateway::start(bootstrap, Options::default()).await
}

/// What the client saw: the status and the challenge.
async fn send(
    gateway: &Gateway,
    case: &Case,
    run: Run,
    mark: &str,
) -> Result<(u16, Option<String>)> {
    let addr = gateway.envoy.listener("ingress");
    if matches!(run, Run::TextH2) {
        let mut request = Request::new(&case.request.method, &case.request.path)
            .header("host", &case.request.host)
            .header(MARK, mark);
        for (name, value) in case.request.headers() {
            request = request.header(&name, value);
        }
        let response = client::h2(addr, request).await?;
        return Ok((response.status, response.header("www-authenticate")));
    }
    let answer = e2e::send(addr, &case.request, mark).await?;
    let challenge = answer.values("www-authenticate").first().map(|it| (*it).to_owned());
    Ok((answer.status, challenge))
}

async fn check(
    cx: &Cx,
    name: &'static str,
    group: Arc<Group>,
    index: usize,
    run: Run,
) -> Result<()> {
    let gateway =
        cx.shared(&format!("{name} {run:?}"), async || gateway(&group, run).await).await?;
    let case = &group.cases[index];
    let mark = format!("{name}-{index}");
    let (status, challenge) = send(&gateway, case, run, &mark).await?;
    ensure!(status == case.expect.status, "the status is {status}");
    ensure!(
        challenge == case.expect.challenge,
        "the challenge is {challenge:?}, should be {:?}",
        case.expect.challenge
    );
    let reached = gateway.upstream.find(|it| it.header(MARK).as_deref() == Some(&mark));
    let Some(headers) = case.expect.upstream() else {
        ensure!(reached.is_none(), "it reached the upstream: {reached:?}");
        let details = gateway.details(&mark).await?;
        let expected = format!("jwt_auth{{{}}}", case.expect.reason);
        ensure!(details == expected, "the details are {details:?}, should be {expected:?}");
        return Ok(());
    };
    let reached = reached.context("it did not reach the upstream")?;
    for (name, expected) in headers {
        let found: Vec<_> = if name == ":path" {
            vec![reached.path.clone().into_bytes()]
        } else {
            let named = reached.headers.iter().filter(|(it, _)| it == name);
            named.map(|(_, value)| value.clone()).collect()
        };
        let expected: Vec<_> = expected.into_iter().collect();
        ensure!(found == expected, "{name} is {found:?} upstream, should be {expected:?}");
    }
    Ok(())
}

/// Not everything that HTTP/1.1 can say can be said in HTTP/2.
fn fits(run: Run, group: &Group, case: &Case) -> bool {
    case.now.is_none() && (matches!(run, Run::StructH1) || !group.raw_paths)
}

async fn requests_are_counted_by_provider_and_reason(cx: &Cx) -> Result<()> {
    let config = e2e::jwt_auth_group("readme")?.config;
    let gateway = cx
        .shared("metrics", async || {
            Gateway::start(jwt_auth(ConfigForm::Struct(config))?, Options::default()).await
        })
        .await?;
    let addr = gateway.envoy.listener("ingress");
    for name in ["good-rs256", "expired", "expired", "tampered-payload"] {
        client::h1(addr, Request::get("/orders").bearer(&token(name))).await?;
    }
    client::h1(addr, Request::get("/public")).await?;

    for (counter, expected) in [
        ("provider.corp.reason.ok", 1),
        ("provider.corp.reason.expired", 2),
        ("provider.corp.reason.signature", 1),
        ("provider.corp.reason.missing", 0),
        ("reason.anonymous", 1),
    ] {
        let counter = format!("wasmcustom.jwt_auth.requests.{counter}");
        gateway.envoy.wait_for_stat(&counter, |value| value == expected, SOON).await?;
    }
    let prometheus = gateway.envoy.prometheus().await?;
    for line in [
        r#"jwt_auth_requests{provider="corp",reason="expired"} 2"#,
        r#"jwt_auth_requests{reason="anonymous"} 1"#,
    ] {
        ensure!(prometheus.contains(line), "{line} is not in:\n{prometheus}");
    }
    Ok(())
}

/// The route table sends alice elsewhere, by a header that only the filter sets.
async fn routes_that_depend_on_a_claim_are_chosen_again(cx: &Cx) -> Result<()> {
    let config = e2e::jwt_auth_group("readme")?.config;
    let bootstrap = jwt_auth(ConfigForm::Struct(config))?.hcm(|hcm| {
        let routes = &mut hcm["route_config"]["virtual_hosts"][0]["routes"];
        let alice = json!({
            "match": {"prefix": "/", "headers": [
                {"name": "x-user-id", "string_match": {"exact": "alice"}},
            ]},
            "direct_response": {"status": 299},
        });
        routes.as_array_mut().unwrap().insert(0, alice);
    });
    let gateway =
        cx.shared("routes", async || Gateway::start(bootstrap, Options::default()).await).await?;
    let addr = gateway.envoy.listener("ingress");
    let alice = client::h1(addr, Request::get("/orders").bearer(&token("good-rs256"))).await?;
    ensure!(alice.status == 299, "alice: {alice:?}");
    let zoe = client::h1(addr, Request::get("/orders").bearer(&token("sub-unicode"))).await?;
    ensure!(zoe.status == 200, "another: {zoe:?}");
    // A route that a client chose by a header that is not its to send.
    let spoofed = Request::get("/public").header("x-user-id", "alice");
    let spoofed = client::h1(addr, spoofed).await?;
    ensure!(spoofed.status == 200, "a spoofed header: {spoofed:?}");
    Ok(())
}

/// The table above therefore judges the host's cryptography, and the policy's own
/// tests, with the same table, that of the module.
async fn the_host_checks_what_it_can(cx: &Cx) -> Result<()> {
    let group = e2e::jwt_auth_group("algorithms")?;
    let gateway =
        cx.shared("algorithms StructH1", async || gateway(&group, Run::StructH1).await).await?;
    let line = "jwt-auth: the host checks RS256, RS384, RS512, ES256, ES384 signatures, the module \
                the others";
    gateway.envoy.wait_for_log(line, SOON).await
}

async fn a_grpc_client_gets_a_grpc_status(cx: &Cx) -> Result<()> {
    let group = Arc::new(e2e::jwt_auth_group("readme")?);
    let run = Run::TextH2;
    let gateway = cx.shared("readme TextH2", async || gateway(&group, run).await).await?;
    let request = Request::post("/shop.Orders/List", "").header("content-type", "application/grpc");
    let response = client::h2(gateway.envoy.listener("ingress"), request).await?;
    ensure!(response.status == 200, "{response:?}");
    // UNAUTHENTICATED
    ensure!(response.header("grpc-status").as_deref() == Some("16"), "{response:?}");
    Ok(())
}

async fn a_refusal_says_no_more_than_rfc_6750_has(cx: &Cx) -> Result<()> {
    let group = Arc::new(e2e::jwt_auth_group("readme")?);
    let gateway = cx.shared("readme TextH2", async || gateway(&group, Run::TextH2).await).await?;
    let addr = gateway.envoy.listener("ingress");
    for name in ["expired", "tampered-signature", "unknown-kid", "other-audience", "alg-none"] {
        let response = client::h2(addr, Request::get("/orders").bearer(&token(name))).await?;
        ensure!(response.json()? == json!({"error": "invalid_token"}), "{name}: {response:?}");
        ensure!(response.header("content-type").as_deref() == Some("application/json"), "{name}");
    }
    Ok(())
}

/// A key set with the largest RSA key that is taken.
async fn a_key_of_8192_bits_verifies(cx: &Cx) -> Result<()> {
    let text = include_str!("../../cases/jwt-auth/rsa-8192.json");
    let large: Value = serde_json::from_str(text)?;
    let mut config = e2e::jwt_auth_group("readme")?.config;
    config["providers"][0]["jwks"]["inline"]["keys"] = json!([large["key"]]);
    config["providers"][0]["algorithms"] = json!(["RS256", "PS512"]);
    let gateway = cx
        .shared("large key", async || {
            Gateway::start(jwt_auth(ConfigForm::Struct(config))?, Options::default()).await
        })
        .await?;
    let addr = gateway.envoy.listener("ingress");
    for member in ["token", "token_ps512"] {
        let good = large[member].as_str().context("a token")?;
        let response = client::h1(addr, Request::get("/orders").bearer(good)).await?;
        ensure!(response.status == 200, "{member}: {response:?}");
    }
    let response = client::h1(addr, Request::get("/orders").bearer(&token("good-rs256"))).await?;
    ensure!(response.status == 401, "{response:?}");
    Ok(())
}

/// RFC 8705 section 3: such a token is of no use to whoever stole it.
async fn a_bound_token_passes_with_its_certificate_only(cx: &Cx) -> Result<()> {
    let issuer = Issuer::new();
    let config = json!({
        "providers": [{
            "name": "corp", "issuer": ISSUER, "jwks": {"inline": issuer.jwks()},
            "bound_to_certificate": true,
        }],
        "rules": [{"match": {}, "require": {"provider": "corp"}}],
    });
    let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
    let bootstrap = jwt_auth(ConfigForm::Struct(config))?.downstream_tls(
        "ingress",
        &servers.server()?,
        &clients,
        ClientCertificate::Optional,
    )?;
    let gateway =
        cx.shared("mTLS", async || Gateway::start(bootstrap, Options::default()).await).await?;
    let (alice, mallory) = (clients.client("alice")?, clients.client("mallory")?);
    let mut claims = issuer.claims("alice");
    claims["cnf"] = json!({"x5t#S256": alice.thumbprint()});
    let bound = issuer.sign("p-256", "ES256", &json!({}), &claims);
    let with_alice = ClientTls::identified(&servers, &alice)?;
    let with_mallory = ClientTls::identified(&servers, &mallory)?;
    let without = ClientTls::anonymous(&servers)?;
    // Known tokens are checked against each connection too, hence twice.
    for _ in 0..2 {
        for (name, tls, token, expected) in [
            ("with its own", &with_alice, &bound, 200),
            ("with another", &with_mallory, &bound, 401),
            ("without any", &without, &bound, 401),
            ("unbound", &with_alice, &issuer.good("alice"), 401),
        ] {
            let request = Request::get("/").bearer(token).header(MARK, name);
            let answer = client::h1_tls(gateway.envoy.listener("ingress"), tls, request).await?;
            ensure!(answer.status == expected, "{name}: {answer:?}");
            if expected == 401 {
                let challenge = answer.header("www-authenticate");
                let expected = "Bearer realm=\"corp\", error=\"invalid_token\"";
                ensure!(challenge.as_deref() == Some(expected), "{name}: {answer:?}");
                ensure!(gateway.details(name).await? == "jwt_auth{certificate}", "{name}");
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for (name, group) in cases::jwt_auth::groups() {
        let group = Arc::new(group);
        for run in [Run::StructH1, Run::TextH2] {
            for (index, case) in group.cases.iter().enumerate() {
                if fits(run, &group, case) {
                    let group = Arc::clone(&group);
                    suite.trial(format!("{name}/{run:?}/{}", case.name), async move |cx| {
                        check(cx, name, group, index, run).await
                    });
                }
            }
        }
    }
    suite.trial(
        "requests are counted by provider and reason",
        requests_are_counted_by_provider_and_reason,
    );
    suite.trial(
        "routes that depend on a claim are chosen again",
        routes_that_depend_on_a_claim_are_chosen_again,
    );
    suite.trial("the host checks what it can", the_host_checks_what_it_can);
    suite.trial("a gRPC client gets a gRPC status", a_grpc_client_gets_a_grpc_status);
    suite.trial(
        "a refusal says no more than RFC 6750 has",
        a_refusal_says_no_more_than_rfc_6750_has,
    );
    suite.trial(
        "a bound token passes with its certificate only",
        a_bound_token_passes_with_its_certificate_only,
    );
    suite.trial("a key of 8192 bits verifies", a_key_of_8192_bits_verifies);
    suite.run()
}
