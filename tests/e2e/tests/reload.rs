//! Updates of a running Envoy: a bad one is refused and changes nothing, a good
//! one takes effect, on every worker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::{SOON, jwt_auth, token};
use harness::bootstrap::{Bootstrap, ConfigForm};
use harness::client::{self, Request};
use harness::envoy::{Envoy, Options};
use harness::trial::{Cx, Suite};
use harness::upstream::Upstream;
use harness::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An Envoy that reads its listeners from a file.
struct Reloadable {
    envoy: Arc<Envoy>,
    /// Kept for as long as Envoy may send to it.
    _upstream: Upstream,
    dir: TempDir,
}

impl Reloadable {
    async fn start(cx: &Cx, config: &Value) -> Result<Self> {
        let dir = TempDir::new()?;
        let upstream = Upstream::start().await?;
        let mut bootstrap = jwt_auth(ConfigForm::Struct(config.clone()))?
            .cluster_endpoint("upstream", upstream.addr())?;
        write(dir.path(), &listeners(&bootstrap))?;
        bootstrap = bootstrap.edit(|bootstrap| {
            bootstrap["static_resources"].as_object_mut().unwrap().remove("listeners");
            bootstrap["node"] = json!({"id": "test", "cluster": "test"});
            bootstrap["dynamic_resources"] = json!({"lds_config": {
                "resource_api_version": "V3",
                "path_config_source": {"path": dir.path().join("lds.json")},
            }});
        });
        let options = Options { concurrency: 2, ..Options::default() };
        let envoy = cx.envoy(bootstrap, options).await?;
        Ok(Self { envoy, _upstream: upstream, dir })
    }

    fn update(&self, config: &Value) -> Result<()> {
        write(self.dir.path(), &listeners(&jwt_auth(ConfigForm::Struct(config.clone()))?))
    }

    async fn status(&self, request: Request) -> Result<u16> {
        Ok(client::h1(self.address(), request).await?.status)
    }

    fn address(&self) -> SocketAddr {
        self.envoy.listener("ingress")
    }
}

/// The listeners of a bootstrap, on a port that stays the same through updates.
fn listeners(bootstrap: &Bootstrap) -> Value {
    let mut listeners = bootstrap.value()["static_resources"]["listeners"].clone();
    for listener in listeners.as_array_mut().unwrap() {
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        listener["address"]["socket_address"]["port_value"] = json!(0);
    }
    json!({"resources": listeners})
}

/// Envoy watches for a file that is moved into place.
fn write(dir: &Path, content: &Value) -> Result<()> {
    let new: PathBuf = dir.join("lds.new");
    fs::write(&new, content.to_string())?;
    fs::rename(new, dir.join("lds.json")).context("moving the file into place")
}

async fn a_bad_update_changes_nothing(cx: &Cx) -> Result<()> {
    let good = e2e::jwt_auth_group("readme")?.config;
    let reloadable = Reloadable::start(cx, &good).await?;
    let envoy = &reloadable.envoy;
    let bearer = || Request::get("/orders").bearer(&token("good-rs256"));
    ensure!(reloadable.status(bearer()).await? == 200, "before the update");

    let mut bad = good.clone();
    bad["providers"][0]["issuer"] = json!("");
    bad["rules"][1]["require"]["provider"] = json!("crop");
    reloadable.update(&bad)?;
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
    reloadable.update(&other)?;
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
    let reloadable = Reloadable::start(cx, &config).await?;
    let bearer = Request::get("/orders").bearer(&token("good-rs256"));
    ensure!(reloadable.status(bearer).await? == 200, "the good keys work");
    let warning = "jwt-auth: providers[0].jwks.inline.keys[5] (kid \"broken\") is an RSA key of \
                   17 bits; 2048 to 8192 are accepted; left out";
    reloadable.envoy.wait_for_log(warning, SOON).await
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    suite.trial("a bad update changes nothing", a_bad_update_changes_nothing);
    suite.trial("an unusable key is named in a warning", an_unusable_key_is_named_in_a_warning);
    suite.run()
}
