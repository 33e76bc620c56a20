//! All that runs for the tour.

use anyhow::{Context, Result, anyhow, ensure};
use harness::bootstrap::Bootstrap;
use harness::envoy::{self, Envoy, Options};
use harness::issuer::{self, IssuerServer};
use harness::repo_root;
use harness::upstream::Upstream;

use crate::ports::Written;

/// The bootstrap that the README tells users to start from.
pub const BOOTSTRAP: &str = "envoy-config/jwt-auth.yaml";
const MODULE: &str = "dist/jwt_auth.wasm";

/// Where Envoy listens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// On free ports, so that demos never collide.
    Free,
    /// Where the bootstrap says if that is free, for those who type the port.
    Written,
}

/// Envoy with the filter, and those it stands between.
pub struct Stage {
    /// The proxy.
    pub envoy: Envoy,
    /// It answers with what reached it.
    pub upstream: Upstream,
    /// The issuer of the tokens that the filter is told to trust.
    pub issuer: IssuerServer,
    /// Where Envoy would listen if the user had started it.
    pub written: Written,
}

impl Stage {
    /// Starts all of it.
    pub async fn start(ports: Ports) -> Result<Self> {
        ensure!(repo_root().join(MODULE).is_file(), "{MODULE} is missing, run `make wasm` first");
        // The script has said why on its own.
        envoy::find().await.map_err(|_| anyhow!("there is no Envoy to run, see above"))?;
        let upstream = Upstream::start().await.context("the upstream")?;
        let issuer = issuer::serve().await.context("the issuer")?;
        let mut bootstrap =
            Bootstrap::load(BOOTSTRAP)?.cluster_endpoint("upstream", upstream.addr())?;
        let written = Written::of(&bootstrap)?;
        let keep_ports = ports == Ports::Written;
        if keep_ports {
            bootstrap = written.or_free(bootstrap);
        }
        let options = Options { keep_ports, ..Options::default() };
        let envoy = Envoy::start(bootstrap, options).await.context("Envoy")?;
        Ok(Self { envoy, upstream, issuer, written })
    }
}
