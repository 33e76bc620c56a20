//! A real Envoy: found, started, asked, and ended.

mod admin;
mod find;
mod report;
mod start;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::process::Process;
use crate::wait;

pub use find::{EnvoyCommand, find};
pub use start::Options;
pub use validate::{ValidateOutcome, validate};

/// A running Envoy, in a directory and a process group of its own. It is killed
/// when dropped; [`Envoy::stop`] ends it in an orderly way.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    log: PathBuf,
    _dir: TempDir,
}

impl Envoy {
    /// Where the listener of this name accepts connections.
    ///
    /// # Panics
    /// If the bootstrap has no such listener.
    pub fn listener(&self, name: &str) -> SocketAddr {
        *self
            .listeners
            .get(name)
            .unwrap_or_else(|| panic!("no listener {name:?} in {:?}", self.listeners))
    }

    /// Where the admin interface is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Whether the process still runs.
    pub fn is_alive(&self) -> bool {
        self.process.exit_status().is_none()
    }

    /// Counters and gauges.
    pub async fn stats(&self) -> Result<BTreeMap<String, u64>> {
        admin::stats(self.admin).await
    }

    /// One counter or gauge; nothing if Envoy has none of this name.
    pub async fn stat(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.stats().await?.remove(name))
    }

    /// Waits until a counter or gauge exists and fits, and returns it.
    pub async fn wait_for_stat(
        &self,
        name: &str,
        fits: impl Fn(u64) -> bool,
        deadline: Duration,
    ) -> Result<u64> {
        let answer = wait::until(deadline, name, async || {
            let value = self.stat(name).await.ok()??;
            fits(value).then_some(value)
        })
        .await;
        match answer {
            Ok(value) => Ok(value),
            Err(error) => bail!("{error:#}, which is {:?}", self.stat(name).await?),
        }
    }

    /// All stats in the format of Prometheus.
    pub async fn prometheus(&self) -> Result<String> {
        Ok(admin::get(self.admin, "/stats/prometheus").await?.text())
    }

    /// The log so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the log holds this text.
    pub fn log_contains(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Waits until the log holds this text.
    pub async fn wait_for_log(&self, text: &str, deadline: Duration) -> Result<()> {
        wait::until(deadline, &format!("{text:?} in the log"), async || {
            self.log_contains(text).then_some(())
        })
        .await
    }

    /// What a failing test prints: the end of the log and the stats that are not zero.
    pub async fn report(&self) -> String {
        report::report(self).await
    }

    /// Ends Envoy and everything it started: asks, waits, and at last kills. Its
    /// log can still be read, and a second call does nothing.
    pub async fn stop(&self) -> Result<()> {
        self.process.end().await
    }
}
