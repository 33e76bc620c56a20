//! What the end-to-end tests have in common: an Envoy with a filter in it, an
//! upstream behind it, and a log of why each request ended as it did.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::bootstrap::{Bootstrap, ConfigForm};
use harness::client::{self, Request};
use harness::envoy::{Envoy, Options};
use harness::trial::{Cx, Fixture};
use harness::upstream::Upstream;
use harness::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a test waits for something that takes milliseconds.
pub const SOON: Duration = Duration::from_secs(10);

/// The header by which a test finds its own request again, in the upstream's
/// records and in the access log.
pub const MARK: &str = "x-test-case";

/// An Envoy with a filter, and an upstream behind it.
pub struct Gateway {
    /// The proxy.
    pub envoy: Envoy,
    /// What is behind it.
    pub upstream: Upstream,
    log: TempDir,
}

impl Fixture for Gateway {
    fn envoys(&self) -> Vec<&Envoy> {
        vec![&self.envoy]
    }
}

impl Gateway {
    /// Starts the upstream, and Envoy with what `bootstrap` becomes.
    pub async fn start(bootstrap: Bootstrap, options: Options) -> Result<Self> {
        Self::before(Upstream::start().await?, &["upstream"], bootstrap, options).await
    }

    /// Starts Envoy with what `bootstrap` becomes, before an upstream that is all of
    /// these clusters.
    pub async fn before(
        upstream: Upstream,
        clusters: &[&str],
        mut bootstrap: Bootstrap,
        mut options: Options,
    ) -> Result<Self> {
        // The default is ten seconds.
        options.extra_args.extend(["--file-flush-interval-msec".into(), "20".into()]);
        let log = TempDir::new()?;
        for cluster in clusters {
            bootstrap = bootstrap.cluster_endpoint(cluster, upstream.addr())?;
        }
        let bootstrap = with_access_log(bootstrap, &log.path().join("access"));
        let envoy = Envoy::start(bootstrap, options).await?;
        Ok(Self { envoy, upstream, log })
    }

    /// The response code details of the request with this mark, once it is done.
    pub async fn details(&self, mark: &str) -> Result<String> {
        let path = self.log.path().join("access");
        wait::until(SOON, &format!("{mark:?} in the access log"), async || {
            let log = fs::read_to_string(&path).ok()?;
            log.lines()
                .find_map(|line| Some(line.split_once('\t')?).filter(|it| it.0 == mark))
                .map(|(_, details)| details.to_owned())
        })
        .await
    }
}

/// An Envoy that reads its listeners from a file.
pub struct Reloadable {
    /// The proxy.
    pub envoy: Arc<Envoy>,
    /// Kept for as long as Envoy may send to it.
    _upstream: Upstream,
    dir: TempDir,
}

impl Reloadable {
    /// Starts Envoy with two workers, and with the listeners of `bootstrap`.
    pub async fn start(cx: &Cx, bootstrap: Bootstrap) -> Result<Self> {
        let dir = TempDir::new()?;
        let upstream = Upstream::start().await?;
        let mut bootstrap = bootstrap.cluster_endpoint("upstream", upstream.addr())?;
        move_into_place(dir.path(), &listeners(&bootstrap))?;
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

    /// Gives Envoy the listeners of `bootstrap`.
    pub fn update(&self, bootstrap: &Bootstrap) -> Result<()> {
        move_into_place(self.dir.path(), &listeners(bootstrap))
    }

    /// The status that a request gets.
    pub async fn status(&self, request: Request) -> Result<u16> {
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
fn move_into_place(dir: &Path, content: &Value) -> Result<()> {
    let new = dir.join("lds.new");
    fs::write(&new, content.to_string())?;
    fs::rename(new, dir.join("lds.json")).context("moving the file into place")
}

fn with_access_log(bootstrap: Bootstrap, path: &Path) -> Bootstrap {
    bootstrap.hcm(|hcm| {
        hcm["access_log"] = json!([{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": path,
                "log_format": {"text_format_source": {
                    "inline_string": format!("%REQ({MARK})%\t%RESPONSE_CODE_DETAILS%\n"),
                }},
            },
        }]);
    })
}

/// The project's own bootstrap for jwt-auth, with this configuration in it.
pub fn jwt_auth(config: ConfigForm) -> Result<Bootstrap> {
    Bootstrap::load("envoy-config/jwt-auth.yaml")?.filter_config("jwt-auth", config)
}

/// The project's own bootstrap for canary-routing, with this configuration in it and
/// this environment of the VM.
pub fn canary_routing(
    config: ConfigForm,
    environment: &BTreeMap<String, String>,
) -> Result<Bootstrap> {
    let bootstrap = Bootstrap::load("envoy-config/canary-routing.yaml")?;
    let bootstrap = bootstrap.hcm(|hcm| {
        let vm = &mut hcm["http_filters"][0]["typed_config"]["config"]["vm_config"];
        vm["environment_variables"] = json!({"key_values": environment});
    });
    bootstrap.filter_config("canary-routing", config)
}

/// What a client got that sent one of a table's requests.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Answer {
    /// The values of a header.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(it, _)| it == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// Sends one of a table's requests with a mark: by hand, because no client library
/// sends every one of these bytes.
pub async fn send(addr: SocketAddr, request: &cases::Request, mark: &str) -> Result<Answer> {
    let cases::Request { method, host, path, .. } = request;
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{MARK}: {mark}\r\n").into_bytes();
    for (name, value) in request.headers() {
        bytes.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    let answer = client::raw(addr, &bytes).await?;
    let status = client::status_of(&answer).context("no answer")?;
    let text = String::from_utf8_lossy(&answer);
    let headers = text
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Ok(Answer { status, headers })
}

/// The project's own bootstrap for rate-limit, with this configuration in it.
pub fn rate_limit(config: ConfigForm) -> Result<Bootstrap> {
    Bootstrap::load("envoy-config/rate-limit.yaml")?.filter_config("rate-limit", config)
}

/// The table's own group of that name: its configuration and its cases.
pub fn jwt_auth_group(name: &str) -> Result<cases::Group> {
    let mut groups = cases::jwt_auth::groups().into_iter();
    let (_, group) = groups.find(|(it, _)| *it == name).context("no such group")?;
    Ok(group)
}

/// A token of the table.
pub fn token(name: &str) -> String {
    let tokens = cases::jwt_auth::tokens();
    let token = tokens.get(name).and_then(|entry| entry.get("token")).and_then(Value::as_str);
    token.unwrap_or_else(|| panic!("no token {name}")).to_owned()
}
