//! Starting Envoy and learning where it listens.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::{Envoy, admin, find};
use crate::bootstrap::Bootstrap;
use crate::process::{Process, tail};
use crate::wait;

/// Usual is 150 ms; a cold machine that compiles a large module needs more.
const DEADLINE: Duration = Duration::from_secs(20);

/// How Envoy is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number of worker threads.
    pub concurrency: u32,
    /// The level of the log, such as `info` or `debug`.
    pub log_level: String,
    /// Listens where the bootstrap says, for people who know those ports. Off,
    /// every listener and the admin interface get a free port.
    pub keep_ports: bool,
    /// More arguments for Envoy.
    pub extra_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 1,
            log_level: "info".to_owned(),
            keep_ports: false,
            extra_args: Vec::new(),
        }
    }
}

impl Envoy {
    /// Starts Envoy and waits until it is ready. If Envoy exits first, the error
    /// holds the end of its log.
    pub async fn start(bootstrap: Bootstrap, options: Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("envoy-").tempdir()?;
        let bootstrap = if options.keep_ports { bootstrap } else { bootstrap.ports_to_zero() };
        let config = bootstrap.write(dir.path())?;
        let (log, address) = (dir.path().join("log"), dir.path().join("admin-address"));
        let out = File::create(&log)?;
        let mut command = find().await?.command();
        command
            .arg("-c")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&address)
            .arg("--concurrency")
            .arg(options.concurrency.to_string())
            .args(["--log-level", &options.log_level, "--use-dynamic-base-id"])
            .args(&options.extra_args)
            .stdin(std::process::Stdio::null())
            // Not --log-path: it would miss what is said before the log is
            // open, and the last words of a crash.
            .stdout(out.try_clone()?)
            .stderr(out);
        let process = Process::spawn(command, dir.path())?;
        let ready = wait::until(DEADLINE, "Envoy to be ready", async || {
            if let Some(status) = process.exit_status() {
                return Some(Err(anyhow!("Envoy ended before it was ready: {status}")));
            }
            probe(&address).await.map(Ok)
        })
        .await
        .and_then(|outcome| outcome);
        let (admin, listeners) = ready.with_context(|| format!("its log:\n{}", tail(&log)))?;
        Ok(Self { process, admin, listeners, log, _dir: dir })
    }
}

async fn probe(address: &Path) -> Option<(std::net::SocketAddr, admin::Listeners)> {
    let address = std::fs::read_to_string(address).ok()?;
    // Caught half-written it does not parse, or nobody answers there.
    let admin = address.trim().parse().ok()?;
    admin::get(admin, "/ready").await.ok()?;
    Some((admin, admin::listeners(admin).await.ok()?))
}
