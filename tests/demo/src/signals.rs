//! The user who has seen enough.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals by which a terminal or a supervisor ends the demo. They are
/// caught because Envoy, in a process group of its own, would outlive it.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches the signals from now on.
    pub fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them and gives the exit code that shells know it by.
    pub async fn came(&mut self) -> u8 {
        tokio::select! {
            _ = self.hangup.recv() => 129,
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
