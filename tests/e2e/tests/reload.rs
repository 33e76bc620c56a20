//! Updates of a running Envoy: a bad one is refused and changes nothing, a good
//! one takes effect, on every worker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::process::ExitCode;

use anyhow::{Result, ensure};
use e2e::{Reloadable, SOON, jwt_auth, rate_limit, token};
use harness::bootstrap::{Bootstrap, ConfigForm};
use harness::client::Request;
use harness::trial::{Cx, Suite};
use harness::wait;
use serde_json::{Value, json};

fn with_jwt_auth(config: &Value) -> Result<Bootstrap> {
    jwt_auth(ConfigForm::Struct(config.clone()))
}

fn with_rate_limit(config: &Value) -> Result<Bootstrap> {
    rate_limit(ConfigForm::Struct(config.clone()))
}

async fn a_bad_update_changes_nothing(cx: &Cx) -> Result<()> {
    let good = e2e::jwt_auth_group("readme")?.config;
    let reloadable = Reloadable::start(cx, with_jwt_auth(&good)?).await?;
    let envoy = &reloadable.envoy;
    let bearer = || Request::get("/orders").bearer(&token("good-rs256"));
    ensure!(reloadable.status(bearer()).await? == 200, "before the update");

    let mut bad = good.clone();
    bad["providers"][0]["issuer"] = json!("");
    bad["rules"][1]["require"]["provider"] = json!("crop");
    reloadable.update(&with_jwt_auth(&bad)?)?;
    envoy.wait_for_stat("listener_manager.lds.update_rejected", |it| it == 1, SOON).await?;
    envoy.wait_for_log("providers[0].issuer: must not be empty", SOON).await?;
    // Both workers have a VM of their own: enough requests to meet each.
    for _ in 0..20 {
        ensure!(reloadable.status(bearer()).await? == 200, "after a bad update");
        ensure!(reloadable.status(Request::get("/orders")).await? == 401, "after a bad update");
    }

    let mut other = good;
    other["providers"][0]["audiences"] = json!(["billing-api"]);
    other["rules"][0]["match"]["path"]["prefix"] = json!("/open");
    reloadable.update(&with_jwt_auth(&other)?)?;
    wait::until(SOON, "the good update to take effect", async || {
        let open = Request::get("/open");
        (reloadable.status(open).await.ok()? == 200).then_some(())
    })
    .await?;
    for _ in 0..20 {
        ensure!(reloadable.status(bearer()).await? == 401, "the audience is another now");
        let other = Request::get("/orders").bearer(&token("other-audience"));
        ensure!(reloadable.status(other).await? == 200, "the audience is another now");
    }
    Ok(())
}

async fn an_unusable_key_is_named_in_a_warning(cx: &Cx) -> Result<()> {
    let mut config = e2e::jwt_auth_group("readme")?.config;
    let keys = config["providers"][0]["jwks"]["inline"]["keys"].as_array_mut().unwrap();
    keys.push(json!({"kty": "RSA", "kid": "broken", "n": "AQAB", "e": "AQAB"}));
    let reloadable = Reloadable::start(cx, with_jwt_auth(&config)?).await?;
    let bearer = Request::get("/orders").bearer(&token("good-rs256"));
    ensure!(reloadable.status(bearer).await? == 200, "the good keys work");
    let warning = "jwt-auth: providers[0].jwks.inline.keys[5] (kid \"broken\") is an RSA key of \
                   17 bits; 2048 to 8192 are accepted; left out";
    reloadable.envoy.wait_for_log(warning, SOON).await
}

async fn an_update_forgives_only_what_it_changes(cx: &Cx) -> Result<()> {
    // So slow that nothing comes back while the test runs.
    let limit = |name: &str, burst: u64| {
        json!({
            "name": name, "key": [{"header": "x-client"}],
            "rate": {"requests": 1, "per": "1h", "burst": burst},
        })
    };
    let config = json!({"limits": [limit("kept", 3)]});
    let reloadable = Reloadable::start(cx, with_rate_limit(&config)?).await?;
    let of = |client: &str| Request::get("/").header("x-client", client);
    for expected in [200, 200, 200, 429] {
        ensure!(reloadable.status(of("alice")).await? == expected, "before the update");
    }
    // The status of the reply tells when the update has taken effect.
    let mut config = json!({"limits": [limit("kept", 3)], "reply": {"status": 503}});
    reloadable.update(&with_rate_limit(&config)?)?;
    wait::until(SOON, "the update to take effect", async || {
        (reloadable.status(of("alice")).await.ok()? == 503).then_some(())
    })
    .await?;
    for _ in 0..20 {
        ensure!(reloadable.status(of("alice")).await? != 200, "alice was forgiven");
    }
    config["limits"][0]["rate"]["burst"] = json!(4);
    reloadable.update(&with_rate_limit(&config)?)?;
    wait::until(SOON, "another burst to start afresh", async || {
        (reloadable.status(of("alice")).await.ok()? == 200).then_some(())
    })
    .await
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    suite.trial("a bad update changes nothing", a_bad_update_changes_nothing);
    suite.trial("an unusable key is named in a warning", an_unusable_key_is_named_in_a_warning);
    suite.trial("an update forgives only what it changes", an_update_forgives_only_what_it_changes);
    suite.run()
}
