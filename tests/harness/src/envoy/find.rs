//! Which Envoy to run.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::repo_root;

/// The command that runs Envoy: Envoy itself, or a launcher and what it wants
/// to hear before Envoy's own arguments.
#[derive(Clone, Debug)]
pub struct EnvoyCommand {
    words: Vec<String>,
}

impl EnvoyCommand {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }
}

/// Asks `tests/tools/find-envoy`, once a process: it may have to download one.
pub async fn find() -> Result<EnvoyCommand> {
    static FOUND: OnceCell<Result<EnvoyCommand, String>> = OnceCell::const_new();
    let found = FOUND.get_or_init(async || ask().await.map_err(|error| format!("{error:#}"))).await;
    found.clone().map_err(anyhow::Error::msg)
}

async fn ask() -> Result<EnvoyCommand> {
    let script = repo_root().join("tests/tools/find-envoy");
    // Not output(), which would keep the line about what was found from the console.
    let child = Command::new(&script)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("running {}", script.display()))?;
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{} ended with {}", script.display(), output.status);
    let words: Vec<_> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
    ensure!(!words.is_empty(), "{} named no Envoy", script.display());
    Ok(EnvoyCommand { words })
}
