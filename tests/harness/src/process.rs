//! A child process and all it starts, ended together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

/// How long a process may take to end when asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of a log [`tail`] gives.
const LOG_LINES: usize = 60;

/// The groups that run and their directories, for [`kill_all`].
static RUNNING: Mutex<BTreeMap<i32, PathBuf>> = Mutex::new(BTreeMap::new());

/// The leader of a process group. Envoy may be the child of a launcher, and a
/// signal to the launcher alone could leave it behind.
#[derive(Debug)]
pub(crate) struct Process {
    group: Pid,
    exited: watch::Receiver<Option<ExitStatus>>,
}

/// The ends of a child's pipes, those that its command asks for.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
}

impl Process {
    /// Starts a process that works in `dir`, which its owner removes.
    pub(crate) fn spawn(command: Command, dir: &Path) -> Result<Self> {
        Ok(Self::spawn_with_pipes(command, dir)?.0)
    }

    /// Like [`Process::spawn`], and returns what the command pipes.
    pub(crate) fn spawn_with_pipes(mut command: Command, dir: &Path) -> Result<(Self, Pipes)> {
        // Held over the start, so that no process runs without being known.
        let mut running = running();
        let mut child = command
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let id = i32::try_from(child.id().context("a new child has an id")?)?;
        running.insert(id, dir.to_path_buf());
        drop(running);
        let pipes = Pipes { stdin: child.stdin.take(), stdout: child.stdout.take() };
        let (sender, exited) = watch::channel(None);
        // Reaps the child as soon as it exits, so that everybody can see it.
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                // A launcher may end before Envoy does.
                let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
                forget(id);
                sender.send_replace(Some(status));
            }
        });
        Ok((Self { group: Pid::from_raw(id), exited }, pipes))
    }

    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exited.borrow()
    }

    pub(crate) async fn end(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        if self.wait().await.is_err() {
            self.signal(Signal::SIGKILL)?;
            self.wait().await?;
        }
        Ok(())
    }

    async fn wait(&self) -> Result<()> {
        let mut exited = self.exited.clone();
        let gone = exited.wait_for(Option::is_some);
        let gone = tokio::time::timeout(PATIENCE, gone).await;
        ensure!(matches!(gone, Ok(Ok(_))), "{} did not end", self.group);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // The id of a process that was reaped may belong to somebody else.
        if self.exit_status().is_some() {
            return Ok(());
        }
        match killpg(self.group, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("{signal} to {}", self.group)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to be told of an error.
        drop(self.signal(Signal::SIGKILL));
        forget(self.group.as_raw());
    }
}

/// Kills every process that this test binary started, for when it is interrupted: a group
/// of its own does not hear the terminal's Ctrl-C. None can be started after.
pub(crate) fn kill_all() {
    let running = running();
    for (group, dir) in &*running {
        // The exit that follows matters more than any error here.
        let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
        drop(std::fs::remove_dir_all(dir));
    }
    std::mem::forget(running);
}

/// The end of a process's log, which is where it says what went wrong.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn forget(group: i32) {
    running().remove(&group);
}

fn running() -> MutexGuard<'static, BTreeMap<i32, PathBuf>> {
    RUNNING.lock().expect("no holder of the lock panics")
}
