//! What a trial is handed.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use anyhow::Result;

use super::Host;
use super::shared::{self, Fixture};
use crate::bootstrap::Bootstrap;
use crate::envoy::{Envoy, Options};

/// The context of one trial.
pub struct Cx {
    host: Arc<Host>,
    used: Mutex<Vec<Arc<dyn Fixture>>>,
    own: Mutex<Vec<Arc<dyn Fixture>>>,
}

impl Cx {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Self { host, used: Mutex::default(), own: Mutex::default() }
    }

    /// The fixture of this key, which the first trial that asks for it starts.
    /// Every trial that uses the key gives the same `start`.
    pub async fn shared<T: Fixture>(
        &self,
        key: &str,
        start: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let fixture = self.host.registry.get(key, start).await?;
        push(&self.used, fixture.clone());
        Ok(fixture)
    }

    /// An Envoy for this trial alone, ended with it: for tests that reload,
    /// break or count.
    pub async fn envoy(&self, bootstrap: Bootstrap, options: Options) -> Result<Arc<Envoy>> {
        let envoy = Arc::new(Envoy::start(bootstrap, options).await?);
        push(&self.own, envoy.clone());
        Ok(envoy)
    }

    /// What the Envoys that this trial used have to say.
    pub(super) async fn report(&self) -> String {
        let mut report = String::new();
        for fixture in all(&self.used).iter().chain(&all(&self.own)) {
            for envoy in fixture.envoys() {
                let says = envoy.report().await;
                write!(report, "\n{says}").expect("writing to a String");
            }
        }
        report
    }

    pub(super) async fn end_own(&self) {
        for fixture in all(&self.own) {
            shared::end(&*fixture).await;
        }
    }
}

fn push(list: &Mutex<Vec<Arc<dyn Fixture>>>, fixture: Arc<dyn Fixture>) {
    list.lock().expect("no holder of the lock panics").push(fixture);
}

fn all(list: &Mutex<Vec<Arc<dyn Fixture>>>) -> Vec<Arc<dyn Fixture>> {
    list.lock().expect("no holder of the lock panics").clone()
}
