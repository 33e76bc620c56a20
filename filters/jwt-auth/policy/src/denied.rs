//! Tokens that are refused although they are valid.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use mesh_filters_config::{Errors, NonEmpty, parse};
use mesh_filters_policy::remote::{Document, Event, Remote, Settings, Step, Turn};
use mesh_filters_policy::{CalloutError, Env, Host, HttpResponse, Monotonic};

use crate::claims::Claims;
use crate::config::{DenyConfig, DenyList};
use crate::reason::Reason;

/// What revokes a token.
pub(crate) struct Denied {
    configured: Entries,
    fetched: Option<FetchedList>,
}

/// Looked at on every request, so looking must not take longer with every entry.
struct Entries {
    jti: HashSet<String>,
    sub: HashSet<String>,
}

/// A list that is fetched.
pub(crate) struct FetchedList {
    remote: Remote,
    /// `None` before the first arrives.
    current: RefCell<Option<Entries>>,
}

impl Denied {
    pub fn compile(config: &DenyConfig, errors: &Errors) -> Self {
        let fetched = match (&config.cluster, &config.uri) {
            (Some(cluster), Some(uri)) => {
                let settings = Settings {
                    cluster: cluster.to_string(),
                    uri: uri.clone(),
                    timeout: config.timeout.0,
                    refresh: config.refresh.0,
                    // An old list revokes more than none.
                    max_stale: Duration::MAX,
                    max_bytes: config.max_bytes.0,
                };
                Some(FetchedList {
                    remote: Remote::new("deny", settings),
                    current: RefCell::default(),
                })
            }
            (None, None) => None,
            _ => {
                errors.add_about_fields("deny", "must have both \"cluster\" and \"uri\", or none");
                None
            }
        };
        Self { configured: Entries::new(&config.jti, &config.sub), fetched }
    }

    /// Checks the claims of a valid token.
    ///
    /// # Errors
    /// [`Reason::Revoked`], or [`Reason::DenyListUnavailable`] if nobody can tell yet.
    pub fn check(&self, claims: &Claims) -> Result<(), Reason> {
        self.configured.check(claims)?;
        match &self.fetched {
            None => Ok(()),
            Some(list) => match &*list.current.borrow() {
                Some(entries) => entries.check(claims),
                None => Err(Reason::DenyListUnavailable),
            },
        }
    }

    /// The list, if one is fetched.
    pub fn fetched(&self) -> Option<&FetchedList> {
        self.fetched.as_ref()
    }
}

impl Entries {
    fn new(jti: &[NonEmpty<String>], sub: &[NonEmpty<String>]) -> Self {
        let set = |list: &[NonEmpty<String>]| list.iter().map(|entry| entry.to_string()).collect();
        Self { jti: set(jti), sub: set(sub) }
    }

    fn check(&self, claims: &Claims) -> Result<(), Reason> {
        let holds = |list: &HashSet<String>, name| {
            claims.text(name).is_some_and(|value| list.contains(value))
        };
        if holds(&self.jti, "jti") || holds(&self.sub, "sub") {
            return Err(Reason::Revoked);
        }
        Ok(())
    }
}

impl FetchedList {
    /// To be called when configuring: see [`Remote::prepare`].
    pub fn prepare(&self, host: &dyn Host) {
        self.remote.prepare(host);
    }

    /// How long a request may wait for the first list; `None` if there is no hope.
    pub fn wait_for_first(&self, host: &dyn Host) -> Option<Monotonic> {
        let now = host.monotonic();
        self.remote.may_come_soon(now).then(|| now.later(self.remote.settings().timeout))
    }

    /// Does what is due. Returns what is to be done, and what an operator should
    /// know.
    pub fn on_tick(&self, env: &Env<'_>) -> (Turn, Option<String>) {
        self.take(self.remote.on_tick(env))
    }

    /// Takes the answer to a request of the last turn. Returns the same.
    pub fn on_answer(
        &self,
        answer: Result<HttpResponse, CalloutError>,
        env: &Env<'_>,
    ) -> (Turn, Option<String>) {
        self.take(self.remote.on_answer(answer, &Kind, env))
    }

    fn take(&self, turn: Turn) -> (Turn, Option<String>) {
        let warning = match &turn.event {
            Some(Event::Fetched(document) | Event::Received(document)) => match read(document) {
                Ok(entries) => {
                    *self.current.borrow_mut() = Some(entries);
                    None
                }
                Err(problem) => {
                    Some(format!("cannot use {}: {problem}", self.remote.settings().uri))
                }
            },
            Some(Event::Failed(problem)) => Some(problem.clone()),
            // This list never becomes too old.
            Some(Event::Unchanged | Event::Expired) | None => None,
        };
        (turn, warning)
    }
}

struct Kind;

impl Document for Kind {
    fn read(&self, body: &[u8], _: u32) -> Result<Step, String> {
        read(body).map(|_| Step::Found)
    }
}

fn read(document: &[u8]) -> Result<Entries, String> {
    // An empty configuration would be one; an empty answer is none.
    if document.trim_ascii().is_empty() {
        return Err("it is empty".into());
    }
    let DenyList { jti, sub } = parse(document).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        errors.join("; ")
    })?;
    Ok(Entries::new(&jti, &sub))
}
