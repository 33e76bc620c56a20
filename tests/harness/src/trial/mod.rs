//! Tests that share Envoys, for binaries with `harness = false`.
//!
//! ```no_run
//! use anyhow::{Result, ensure};
//! use harness::bootstrap::Bootstrap;
//! use harness::client::{self, Request};
//! use harness::envoy::{Envoy, Options};
//! use harness::issuer::Issuer;
//! use harness::trial::{Fixture, Suite};
//! use harness::upstream::Upstream;
//!
//! struct Gateway {
//!     envoy: Envoy,
//!     upstream: Upstream,
//! }
//!
//! impl Fixture for Gateway {
//!     fn envoys(&self) -> Vec<&Envoy> {
//!         vec![&self.envoy]
//!     }
//! }
//!
//! async fn gateway() -> Result<Gateway> {
//!     let upstream = Upstream::start().await?;
//!     let bootstrap = Bootstrap::load("envoy-config/jwt-auth.yaml")?
//!         .cluster_endpoint("upstream", upstream.addr())?;
//!     let envoy = Envoy::start(bootstrap, Options::default()).await?;
//!     Ok(Gateway { envoy, upstream })
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let mut suite = Suite::new();
//!     suite.trial("a good token reaches the upstream", async |cx| {
//!         let gateway = cx.shared("gateway", gateway).await?;
//!         let request = Request::get("/orders").bearer(&Issuer::new().good("alice"));
//!         let response = client::h1(gateway.envoy.listener("ingress"), request).await?;
//!         ensure!(response.status == 200, "{response:?}");
//!         Ok(())
//!     });
//!     suite.run()
//! }
//! ```

mod context;
mod shared;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use shared::Registry;

pub use context::Cx;
pub use shared::Fixture;

use crate::{envoy, process};

/// The trials of one test binary.
pub struct Suite {
    args: Arguments,
    time_limit: Duration,
    host: Arc<Host>,
    trials: Vec<Trial>,
}

/// What the trials have in common.
struct Host {
    runtime: Runtime,
    registry: Registry,
}

impl Default for Suite {
    fn default() -> Self {
        Self::new()
    }
}

impl Suite {
    /// A suite that obeys the arguments of the command line, which are those of
    /// any Rust test binary.
    ///
    /// # Panics
    /// If the system has no threads left.
    pub fn new() -> Self {
        let host =
            Host { runtime: Runtime::new().expect("a runtime"), registry: Registry::default() };
        Self {
            args: Arguments::from_args(),
            time_limit: Duration::from_secs(30),
            host: Arc::new(host),
            trials: Vec::new(),
        }
    }

    /// Sets how long each trial that is added from now on may take.
    pub fn time_limit(&mut self, limit: Duration) {
        self.time_limit = limit;
    }

    /// Adds a trial. It fails by an error, a panic, or by taking too long, and
    /// then tells what the Envoys that it used have to say.
    pub fn trial<F>(&mut self, name: impl Into<String>, body: F)
    where
        F: AsyncFnOnce(&Cx) -> Result<()> + Send + 'static,
    {
        let (host, limit) = (self.host.clone(), self.time_limit);
        let trial = Trial::test(name, move || host.judge(limit, body));
        self.trials.push(trial);
    }

    /// Runs the trials, ends every Envoy and gives the exit code of `main`.
    pub fn run(self) -> ExitCode {
        let Self { args, host, trials, .. } = self;
        if !args.list {
            host.runtime.spawn(die_with_children());
            // Ahead of the trials, because their time should not be spent on a
            // download. If it fails, those that need an Envoy say why.
            drop(host.runtime.block_on(envoy::find()));
        }
        let conclusion = libtest_mimic::run(&args, trials);
        host.runtime.block_on(host.registry.end_all());
        conclusion.exit_code()
    }
}

impl Host {
    fn judge<F>(self: Arc<Self>, limit: Duration, body: F) -> Result<(), Failed>
    where
        F: AsyncFnOnce(&Cx) -> Result<()>,
    {
        let cx = Cx::new(self.clone());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.runtime.block_on(async { tokio::time::timeout(limit, body(&cx)).await })
        }));
        let failure = match outcome {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(error))) => Some(format!("{error:?}")),
            Ok(Err(_)) => Some(format!("took longer than {limit:?}")),
            Err(panic) => Some(message(&*panic)),
        };
        self.runtime.block_on(async {
            let verdict = match failure {
                Some(failure) => Err(format!("{failure}\n{}", cx.report().await).into()),
                None => Ok(()),
            };
            cx.end_own().await;
            verdict
        })
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a message"))
}

/// Ctrl-C reaches this process but not those it started, which are in groups of their own.
async fn die_with_children() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    process::kill_all();
    std::process::exit(code)
}
