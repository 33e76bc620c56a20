//! What trials share: started by the first that needs it, ended after the last.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use tokio::sync::OnceCell;

use crate::envoy::Envoy;

/// Something that trials can share.
pub trait Fixture: Any + Send + Sync {
    /// The Envoys in it: they are ended with it, and speak when a trial fails.
    fn envoys(&self) -> Vec<&Envoy>;
}

impl Fixture for Envoy {
    fn envoys(&self) -> Vec<&Envoy> {
        vec![self]
    }
}

/// A failure is kept as well: what did not start for the first trial would only
/// cost each of the others the same time.
type Slot = Arc<OnceCell<Result<Arc<dyn Fixture>, String>>>;

#[derive(Default)]
pub(super) struct Registry(Mutex<HashMap<String, Slot>>);

impl Registry {
    pub(super) async fn get<T: Fixture>(
        &self,
        key: &str,
        start: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let slot = {
            let mut slots = self.0.lock().expect("no holder of the lock panics");
            slots.entry(key.to_owned()).or_default().clone()
        };
        let started = slot
            .get_or_init(async || match start().await {
                Ok(fixture) => Ok(Arc::new(fixture) as Arc<dyn Fixture>),
                Err(error) => Err(format!("{error:#}")),
            })
            .await;
        let fixture: Arc<dyn Any + Send + Sync> =
            started.clone().map_err(|error| anyhow!("starting {key:?}: {error}"))?;
        fixture.downcast().ok().with_context(|| format!("{key:?} is shared as another type"))
    }

    pub(super) async fn end_all(&self) {
        let slots = std::mem::take(&mut *self.0.lock().expect("no holder of the lock panics"));
        for slot in slots.into_values() {
            if let Some(Ok(fixture)) = slot.get() {
                end(&**fixture).await;
            }
        }
    }
}

pub(super) async fn end(fixture: &dyn Fixture) {
    for envoy in fixture.envoys() {
        if let Err(error) = envoy.stop().await {
            eprintln!("ending an Envoy: {error:#}");
        }
    }
}
