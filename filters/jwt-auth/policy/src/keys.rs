//! The keys of a provider: as configured, or fetched and kept fresh.

use std::cell::{Ref, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use mesh_filters_config::{Errors, HttpUri, json};
use mesh_filters_policy::remote::{Document, Event, Remote, Settings, Step, Turn};
use mesh_filters_policy::{CalloutError, Env, Host, HttpResponse, Monotonic};
use serde::Deserialize;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::config::{DiscoveryConfig, JwksConfig, RemoteConfig};
use crate::jwk::{KeySet, ReadKeySet};
use crate::native::NativeAlgorithms;

/// For how long a `kid` that was looked for in vain is not looked for again.
const UNKNOWN_KID_LIFE: Duration = Duration::from_mins(1);

/// How many of them are remembered. When it is full the oldest one goes; whoever
/// makes up more can have no more fetched than once in
/// [`mesh_filters_policy::remote::COOL_DOWN`].
const MAX_ASKED_FOR: usize = 256;

/// A longer `kid` is never looked for.
const MAX_KID_BYTES: usize = 256;

/// Where the keys of a provider come from.
pub(crate) enum Keys {
    Inline(KeySet),
    Fetched(Box<FetchedKeys>),
}

/// Keys that are fetched.
pub(crate) struct FetchedKeys {
    remote: Remote,
    kind: Kind,
    /// `None` before the first arrive, and when they have become too old.
    current: RefCell<Option<KeySet>>,
    asked_for: RefCell<AskedFor>,
}

/// Reads answers, for the provider that needs the keys.
struct Kind {
    algorithms: Vec<Algorithm>,
    native: Rc<NativeAlgorithms>,
    discovery: Option<Discovery>,
}

struct Discovery {
    issuer: String,
    uri: HttpUri,
    cluster: String,
    jwks_cluster: Option<String>,
}

/// The members of an issuer's metadata that matter here (`OpenID` Connect Discovery
/// 1.0 section 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Keys {
    /// Compiles the keys that stand at `path`, for a provider of that issuer which
    /// accepts `algorithms`.
    pub fn compile(
        config: &JwksConfig,
        (issuer, algorithms, native): (&str, &[Algorithm], &Rc<NativeAlgorithms>),
        path: &str,
        errors: &Errors,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let kind = |discovery| Kind {
            algorithms: algorithms.to_vec(),
            native: Rc::clone(native),
            discovery,
        };
        // What one provider can use may be of no use to another, and must not be kept
        // from it for that.
        let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
        let names = names.join(",");
        match (&config.inline, &config.remote, &config.discovery) {
            (Some(inline), None, None) => {
                let path = format!("{path}.inline");
                match KeySet::read(&inline.0, algorithms, native) {
                    Ok(ReadKeySet { keys, unusable }) => {
                        let left_out = unusable.iter().map(|key| format!("{path}.{key}; left out"));
                        warnings.extend(left_out);
                        Some(Self::Inline(keys))
                    }
                    Err(problem) => {
                        errors.add(path, problem);
                        None
                    }
                }
            }
            (None, Some(remote), None) => {
                let remote = Remote::new(&format!("jwks/{names}"), settings_of_remote(remote));
                Some(Self::Fetched(Box::new(FetchedKeys::new(remote, kind(None)))))
            }
            (None, None, Some(discovery)) => {
                let jwks_cluster = discovery.jwks_cluster.as_ref().map(|it| it.to_string());
                let kind_name = format!("openid-configuration/{names}/{issuer}/{jwks_cluster:?}");
                let remote = Remote::new(&kind_name, settings_of_discovery(discovery));
                let discovery = Discovery {
                    issuer: issuer.into(),
                    uri: discovery.uri.clone(),
                    cluster: discovery.cluster.to_string(),
                    jwks_cluster,
                };
                Some(Self::Fetched(Box::new(FetchedKeys::new(remote, kind(Some(discovery))))))
            }
            _ => {
                errors.add_about_fields(path, "must have exactly one of inline, remote, discovery");
                None
            }
        }
    }

    /// The keys, if there are any now.
    pub fn current(&self) -> Option<KeysRef<'_>> {
        match self {
            Self::Inline(keys) => Some(KeysRef::Inline(keys)),
            Self::Fetched(fetched) => {
                Ref::filter_map(fetched.current.borrow(), Option::as_ref).ok().map(KeysRef::Fetched)
            }
        }
    }

    /// The keys, if they are fetched.
    pub fn fetched(&self) -> Option<&FetchedKeys> {
        match self {
            Self::Inline(_) => None,
            Self::Fetched(fetched) => Some(fetched),
        }
    }
}

/// Keys that are looked at.
pub(crate) enum KeysRef<'a> {
    Inline(&'a KeySet),
    Fetched(Ref<'a, KeySet>),
}

impl std::ops::Deref for KeysRef<'_> {
    type Target = KeySet;

    fn deref(&self) -> &KeySet {
        match self {
            Self::Inline(keys) => keys,
            Self::Fetched(keys) => keys,
        }
    }
}

fn settings_of_remote(config: &RemoteConfig) -> Settings {
    let RemoteConfig { cluster, uri, timeout, refresh, max_stale, max_bytes } = config;
    Settings {
        cluster: cluster.to_string(),
        uri: uri.clone(),
        timeout: timeout.0,
        refresh: refresh.0,
        max_stale: *max_stale,
        max_bytes: max_bytes.0,
    }
}

fn settings_of_discovery(config: &DiscoveryConfig) -> Settings {
    let DiscoveryConfig { cluster, uri, timeout, refresh, max_stale, max_bytes, .. } = config;
    Settings {
        cluster: cluster.to_string(),
        uri: uri.clone(),
        timeout: timeout.0,
        refresh: refresh.0,
        max_stale: *max_stale,
        max_bytes: max_bytes.0,
    }
}

/// What came of fetching keys.
pub(crate) struct KeysTurn {
    pub turn: Turn,
    /// Whether other keys than before are in use, or none any more.
    pub replaced: bool,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

impl FetchedKeys {
    fn new(remote: Remote, kind: Kind) -> Self {
        Self { remote, kind, current: RefCell::default(), asked_for: RefCell::default() }
    }

    /// To be called when configuring: see [`Remote::prepare`].
    pub fn prepare(&self, host: &dyn Host) {
        self.remote.prepare(host);
    }

    /// How long a request without keys may wait for them; `None` if there is no hope.
    pub fn wait_for_first(&self, host: &dyn Host) -> Option<Monotonic> {
        let now = host.monotonic();
        self.remote.may_come_soon(now).then(|| self.patience(now))
    }

    /// Has the keys fetched anew for a `kid` that is not among them. Returns how long
    /// a request may wait for that; `None` if it will not happen, because the keys
    /// just were or because this `kid` was looked for in vain.
    pub fn wait_for_kid(&self, kid: &str, host: &dyn Host) -> Option<Monotonic> {
        let now = host.monotonic();
        let mut asked_for = self.asked_for.borrow_mut();
        if kid.len() > MAX_KID_BYTES || asked_for.in_vain(kid, now, self.remote.fetched()) {
            return None;
        }
        if !self.remote.refetch(host) {
            return None;
        }
        asked_for.add(kid, now);
        Some(self.patience(now))
    }

    fn patience(&self, now: Monotonic) -> Monotonic {
        now.later(self.remote.settings().timeout)
    }

    /// Does what is due.
    pub fn on_tick(&self, env: &Env<'_>) -> KeysTurn {
        self.take(self.remote.on_tick(env))
    }

    /// Takes the answer to a request of the last turn.
    pub fn on_answer(&self, answer: Result<HttpResponse, CalloutError>, env: &Env<'_>) -> KeysTurn {
        self.take(self.remote.on_answer(answer, &self.kind, env))
    }

    fn take(&self, turn: Turn) -> KeysTurn {
        let uri = &self.remote.settings().uri;
        let (document, fetched) = match &turn.event {
            Some(Event::Fetched(document)) => (document, true),
            Some(Event::Received(document)) => (document, false),
            Some(Event::Failed(problem)) => {
                let warnings = vec![problem.clone()];
                return KeysTurn { turn, replaced: false, warnings };
            }
            Some(Event::Expired) => {
                *self.current.borrow_mut() = None;
                let warnings = vec![format!("those of {uri} are too old to be used any longer")];
                return KeysTurn { turn, replaced: true, warnings };
            }
            Some(Event::Unchanged) | None => {
                return KeysTurn { turn, replaced: false, warnings: Vec::new() };
            }
        };
        match self.kind.keys(document) {
            Ok(ReadKeySet { keys, unusable }) => {
                *self.current.borrow_mut() = Some(keys);
                *self.asked_for.borrow_mut() = AskedFor::default();
                // Said once a proxy, by whoever fetched them.
                let unusable = unusable.iter().filter(|_| fetched);
                let warnings = unusable.map(|key| format!("{uri}: {key}; left out")).collect();
                KeysTurn { turn, replaced: true, warnings }
            }
            Err(problem) => {
                let warnings = vec![format!("cannot use {uri}: {problem}")];
                KeysTurn { turn, replaced: false, warnings }
            }
        }
    }
}

impl Kind {
    fn keys(&self, document: &[u8]) -> Result<ReadKeySet, String> {
        let jwks: Value = json(document).map_err(|error| format!("it is no JSON: {error}"))?;
        KeySet::read(&jwks, &self.algorithms, &self.native)
            .map_err(|problem| format!("it {problem}"))
    }
}

impl Document for Kind {
    fn read(&self, body: &[u8], step: u32) -> Result<Step, String> {
        match &self.discovery {
            Some(discovery) if step == 0 => discovery.read(body),
            _ => self.keys(body).map(|_| Step::Found),
        }
    }
}

impl Discovery {
    fn read(&self, body: &[u8]) -> Result<Step, String> {
        let Metadata { issuer, jwks_uri } = serde_json::from_slice(body)
            .map_err(|error| format!("it is no metadata of an issuer: {error}"))?;
        if issuer != self.issuer {
            // OpenID Connect Discovery 1.0 section 4.3: it must be the same.
            return Err(format!("its issuer is {issuer:?}, not {:?}", self.issuer));
        }
        let Some(uri) = HttpUri::parse(&jwks_uri) else {
            return Err(format!("its jwks_uri is no address: {jwks_uri:?}"));
        };
        let same_host =
            uri.scheme() == self.uri.scheme() && uri.authority() == self.uri.authority();
        let cluster = match &self.jwks_cluster {
            Some(cluster) => cluster,
            None if same_host => &self.cluster,
            None => {
                return Err(format!(
                    "its jwks_uri {uri} is on another host; name the cluster that serves it as \
                     jwks_cluster"
                ));
            }
        };
        Ok(Step::Follow { cluster: cluster.clone(), uri })
    }
}

/// Values of `kid` that keys were fetched for.
#[derive(Default)]
struct AskedFor {
    /// When.
    at: HashMap<String, Monotonic>,
    /// Oldest first. Holds exactly the keys of `at`.
    order: VecDeque<String>,
}

impl AskedFor {
    /// Whether keys were fetched since this one was asked for, and not long ago. (If
    /// it had been among them, nothing would be known of it here.)
    fn in_vain(&self, kid: &str, now: Monotonic, fetched: Monotonic) -> bool {
        self.at.get(kid).is_some_and(|at| *at < fetched && now < at.later(UNKNOWN_KID_LIFE))
    }

    fn add(&mut self, kid: &str, now: Monotonic) {
        if self.at.insert(kid.into(), now).is_none() {
            self.order.push_back(kid.into());
        }
        if self.order.len() > MAX_ASKED_FOR
            && let Some(oldest) = self.order.pop_front()
        {
            self.at.remove(&oldest);
        }
    }
}
