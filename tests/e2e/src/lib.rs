//! What the end-to-end tests have in common: an Envoy with a filter in it, an
//! upstream behind it, and a log of why each request ended as it did.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::time::Duration;

use anyhow::{Context, Result};
use harness::bootstrap::{Bootstrap, ConfigForm};
use harness::envoy::{Envoy, Options};
use harness::trial::Fixture;
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
        Self::start_with(bootstrap, options, Upstream::start().await?).await
    }

    /// Starts Envoy with what `bootstrap` becomes, before that upstream.
    pub async fn start_with(
        bootstrap: Bootstrap,
        mut options: Options,
        upstream: Upstream,
    ) -> Result<Self> {
        // The default is ten seconds.
        options.extra_args.extend(["--file-flush-interval-msec".into(), "20".into()]);
        let log = TempDir::new()?;
        let bootstrap = with_access_log(bootstrap, &log.path().join("access"))
            .cluster_endpoint("upstream", upstream.addr())?;
        let envoy = Envoy::start(bootstrap, options).await?;
        Ok(Self { envoy, upstream, log })
    }

    /// The response code details of the request with this mark, once it is done.
    pub async fn details(&self, mark: &str) -> Result<String> {
        let path = self.log.path().join("access");
        wait::until(SOON, &format!("{mark:?} in the access log"), async || {
            let log = std::fs::read_to_string(&path).ok()?;
            log.lines()
                .find_map(|line| Some(line.split_once('\t')?).filter(|it| it.0 == mark))
                .map(|(_, details)| details.to_owned())
        })
        .await
    }
}

fn with_access_log(bootstrap: Bootstrap, path: &std::path::Path) -> Bootstrap {
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
