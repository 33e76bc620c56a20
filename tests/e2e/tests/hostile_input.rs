//! What a hostile client sends gets an answer, Envoy's worker goes on serving,
//! and no secret ends up in the log.
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
use e2e::{Gateway, jwt_auth, token};
use harness::bootstrap::ConfigForm;
use harness::client::{self, Request};
use harness::envoy::Options;
use harness::trial::{Cx, Suite};
use serde_json::json;

/// A gateway whose filter logs all that it ever logs, and which takes headers
/// far beyond Envoy's default of 60 KiB.
async fn gateway(cx: &Cx) -> Result<Arc<Gateway>> {
    cx.shared("hostile", async || {
        let config = e2e::jwt_auth_group("readme")?.config;
        let bootstrap = jwt_auth(ConfigForm::Struct(config))?.hcm(|hcm| {
            hcm["max_request_headers_kb"] = json!(8192);
            hcm["common_http_protocol_options"] = json!({"max_headers_count": 10_000});
        });
        let extra_args = vec!["--component-log-level".into(), "wasm:trace".into()];
        Gateway::start(bootstrap, Options { extra_args, ..Options::default() }).await
    })
    .await
}

async fn status(gateway: &Gateway, head: &[u8]) -> Result<u16> {
    let bytes = [b"GET /orders HTTP/1.1\r\nhost: orders\r\n", head, b"\r\n"].concat();
    let answer = client::raw(gateway.envoy.listener("ingress"), &bytes).await?;
    client::status_of(&answer).context("no answer")
}

/// The one worker still lets a good token in, and only with one.
async fn still_serves(gateway: &Gateway) -> Result<()> {
    let addr = gateway.envoy.listener("ingress");
    let good = client::h1(addr, Request::get("/orders").bearer(&token("good-rs256"))).await?;
    ensure!(good.status == 200, "a good token afterwards: {good:?}");
    let without = client::h1(addr, Request::get("/orders")).await?;
    ensure!(without.status == 401, "no token afterwards: {without:?}");
    ensure!(gateway.envoy.is_alive(), "Envoy is gone");
    Ok(())
}

async fn refused(cx: &Cx, head: Vec<u8>, expected: u16) -> Result<()> {
    let gateway = gateway(cx).await?;
    let status = status(&gateway, &head).await?;
    ensure!(status == expected, "the status is {status}, should be {expected}");
    still_serves(&gateway).await
}

fn bearer(token: &[u8]) -> Vec<u8> {
    [b"authorization: Bearer ", token, b"\r\n"].concat()
}

async fn nothing_secret_is_logged(cx: &Cx) -> Result<()> {
    let gateway = gateway(cx).await?;
    let addr = gateway.envoy.listener("ingress");
    let names = ["good-rs256", "expired", "tampered-payload", "unknown-kid", "sub-line-break"];
    for name in names {
        client::h1(addr, Request::get("/orders").bearer(&token(name))).await?;
    }
    let log = gateway.envoy.log();
    // The log is one in which the filter has spoken.
    ensure!(log.contains("jwt_auth{signature}: replied 401"), "no line of the filter:\n{log}");
    for name in names {
        let token = token(name);
        for part in token.split('.').filter(|part| part.len() > 20) {
            ensure!(!log.contains(part), "a part of the token {name} is in the log");
        }
    }
    let jwks = cases::jwt_auth::jwks();
    for key in jwks["keys"].as_array().context("keys")? {
        for member in ["n", "x", "y", "k"] {
            if let Some(value) = key[member].as_str() {
                ensure!(!log.contains(value), "a key is in the log");
            }
        }
    }
    Ok(())
}

/// Envoy's own limit answers before the filter is asked.
async fn a_1_mib_token_meets_envoys_own_limit(cx: &Cx) -> Result<()> {
    let config = e2e::jwt_auth_group("readme")?.config;
    let gateway = cx
        .shared("default limits", async || {
            Gateway::start(jwt_auth(ConfigForm::Struct(config))?, Options::default()).await
        })
        .await?;
    let status = status(&gateway, &bearer(&vec![b'A'; 1 << 20])).await?;
    ensure!(status == 431, "the status is {status}");
    still_serves(&gateway).await
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let good = token("good-rs256");
    let long_parts = [vec![b'A'; 1 << 19], vec![b'A'; 1 << 18], vec![b'A'; 1 << 18]].join(&b'.');
    let long_header = format!("{}.e30.AA", "e".repeat(60_000));
    let deep = format!("{}.e30.AA", "W1tb".repeat(10_000));
    let table: Vec<(&str, Vec<u8>, u16)> = vec![
        ("a token of 1 MiB", bearer(&vec![b'A'; 1 << 20]), 401),
        ("a token of 1 MiB in three parts", bearer(&long_parts), 401),
        ("a JOSE header of 60 KB", bearer(long_header.as_bytes()), 401),
        ("a JOSE header of lists in lists", bearer(deep.as_bytes()), 401),
        ("a token of three empty parts", bearer(b".."), 401),
        ("a token of dots", bearer(&[b'.'; 10_000]), 401),
        ("bytes that are no UTF-8 for a token", bearer(b"\xff\xfe\x80"), 401),
        (
            "a header name for a token",
            b"authorization: \xff\xff\xff\xff\xff\xff\xff\r\n".into(),
            401,
        ),
        ("two Authorization headers", bearer(good.as_bytes()).repeat(2), 400),
        ("a thousand Authorization headers", bearer(b"a").repeat(1_000), 400),
        (
            "a good token and bytes that are no UTF-8 elsewhere",
            [bearer(good.as_bytes()), b"x-name: \xff\xfe\r\n".into()].concat(),
            200,
        ),
        ("no token among a thousand headers", b"x-noise: 1\r\n".repeat(1_000), 401),
        (
            "no token and a header of 1 MiB",
            [b"x-noise: ", &vec![b'a'; 1 << 20][..], b"\r\n"].concat(),
            401,
        ),
    ];
    for (name, head, expected) in table {
        suite.trial(name, async move |cx| refused(cx, head, expected).await);
    }
    suite.trial("nothing secret is logged", nothing_secret_is_logged);
    suite.trial("a token of 1 MiB meets Envoy's own limit", a_1_mib_token_meets_envoys_own_limit);
    suite.run()
}
