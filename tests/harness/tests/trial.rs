//! A suite whose trials fail on purpose, run by a suite that looks at its output.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test calls may fail it"
)]

use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::bootstrap::Bootstrap;
use harness::client::{self, Request};
use harness::envoy::{Envoy, Options};
use harness::trial::{Cx, Suite};
use harness::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

/// Set for the suite that fails; its value marks the Envoys that it starts.
const INNER: &str = "HARNESS_INNER_SUITE";

/// The inner trial that waits for the interrupt.
const HANGS: &str = "hangs";

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    if std::env::var(INNER).is_ok() { failing() } else { looking() }
}

fn plain() -> Result<Bootstrap> {
    Bootstrap::from_yaml(include_str!("plain.yaml"))
}

fn marked() -> Result<Options> {
    Ok(Options {
        extra_args: vec!["--service-node".to_owned(), std::env::var(INNER)?],
        ..Options::default()
    })
}

/// Without an upstream every request is answered with 503, which is enough here.
async fn ask(envoy: &Envoy) -> Result<()> {
    let response = client::h1(envoy.listener("ingress"), Request::get("/")).await?;
    ensure!(response.status == 503);
    Ok(())
}

fn failing() -> ExitCode {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    async fn shared(cx: &Cx) -> Result<()> {
        let start = async || {
            ensure!(STARTED.fetch_add(1, Ordering::Relaxed) == 0, "started twice");
            Envoy::start(plain()?, marked()?).await
        };
        ask(&*cx.shared("plain", start).await?).await
    }

    let mut suite = Suite::new();
    suite.trial("passes one", shared);
    suite.trial("passes two", shared);
    suite.trial("fails by an error", async |cx| {
        let envoy = cx.envoy(plain()?, marked()?).await?;
        ask(&envoy).await?;
        bail!("on purpose")
    });
    suite.trial("fails by a panic", async |cx| {
        shared(cx).await?;
        panic!("with the number {}", 7)
    });
    suite.trial("fails to start", async |cx| {
        let start = async || -> Result<Envoy> { bail!("no such thing") };
        cx.shared("broken", start).await?;
        Ok(())
    });
    suite.trial(HANGS, async |cx| {
        let _envoy = cx.envoy(plain()?, marked()?).await?;
        std::future::pending().await
    });
    suite.time_limit(Duration::from_millis(50));
    suite.trial("fails by taking long", async |_| std::future::pending().await);
    suite.run()
}

fn looking() -> ExitCode {
    let mut suite = Suite::new();
    suite.trial("failures are told and nothing is left behind", async |_| {
        let mark = format!("failing-suite-{}", std::process::id());
        let output = inner(&mark).args(["--skip", HANGS]).output().await?;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.code() == Some(101), "{said}");
        for expected in [
            "2 passed; 4 failed",
            "on purpose",
            "panicked: with the number 7",
            "took longer than 50ms",
            "starting \"broken\": no such thing",
            "Envoy's log ends with:",
            "http.ingress.downstream_rq_5xx: 1",
        ] {
            ensure!(said.contains(expected), "{expected:?} is not in:\n{said}");
        }
        ensure!(!runs(&mark).await, "an Envoy is left behind");
        Ok(())
    });
    suite.trial("an interrupt ends the Envoys too", async |_| {
        let mark = format!("hanging-suite-{}", std::process::id());
        let mut child = inner(&mark).arg(HANGS).kill_on_drop(true).spawn()?;
        wait::until(SOON, "its Envoy", async || runs(&mark).await.then_some(())).await?;
        let id = child.id().context("it runs")?;
        kill(Pid::from_raw(id.try_into()?), Signal::SIGINT)?;
        let status = child.wait().await?;
        ensure!(status.code() == Some(130), "{status}");
        wait::until(SOON, "its end", async || (!runs(&mark).await).then_some(())).await
    });
    suite.run()
}

fn inner(mark: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(INNER, mark).stdout(Stdio::piped());
    command
}

/// Whether a process has this text on its command line.
async fn runs(text: &str) -> bool {
    let output = Command::new("ps").args(["-eo", "args"]).output().await;
    String::from_utf8_lossy(&output.unwrap().stdout).contains(text)
}
