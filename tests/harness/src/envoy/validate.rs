//! Having Envoy check a bootstrap, which runs a filter's own configuration check.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::find;
use crate::bootstrap::Bootstrap;

const DEADLINE: Duration = Duration::from_secs(20);

/// What `envoy --mode validate` said.
#[derive(Clone, Debug)]
pub struct ValidateOutcome {
    /// Whether it took the bootstrap.
    pub ok: bool,
    /// Everything it printed.
    pub output: String,
}

/// Runs `envoy --mode validate` on a bootstrap.
pub async fn validate(bootstrap: &Bootstrap) -> Result<ValidateOutcome> {
    let dir = tempfile::tempdir()?;
    let config = bootstrap.write(dir.path())?;
    let mut command = find().await?.command();
    command
        .args(["--mode", "validate", "-c"])
        .arg(&config)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .map_err(|_| anyhow!("`envoy --mode validate` took longer than {DEADLINE:?}"))?
        .context("running `envoy --mode validate`")?;
    let text = [output.stdout, output.stderr].concat();
    Ok(ValidateOutcome {
        ok: output.status.success(),
        output: String::from_utf8_lossy(&text).into_owned(),
    })
}
