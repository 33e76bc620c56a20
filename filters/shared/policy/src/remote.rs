//! A document that a proxy fetches, keeps fresh, and shares among its workers.
//!
//! Every worker has a [`Remote`] of its own, and all of them meet in two shared
//! values: a record, which says when the document was fetched and when it is due
//! again, and the document itself. Who finds it due takes a lease in the record by
//! compare-and-swap and fetches; the others see the new revision when they next
//! look. A worker that dies with the lease loses it when it runs out.
//!
//! The keys of these values are made of where the document comes from, so filters
//! that need the same one fetch it once, and a new configuration finds it there.
//!
//! | what | when |
//! |---|---|
//! | the first fetch | at once |
//! | a refresh | up to a tenth before `refresh` is over, so that proxies that started together spread |
//! | after a failure | after one second, doubled with each, at most 30; between half and all of it |
//! | on request ([`Remote::refetch`]) | once in [`COOL_DOWN`] for the whole proxy |
//! | an old document | is used for `max_stale` longer than `refresh`, then no more |

use std::cell::RefCell;
use std::time::Duration;

use mesh_filters_config::HttpUri;

use crate::callout::{CalloutError, HttpRequest, HttpResponse};
use crate::host::{Host, NotShared, Shared, Version};
use crate::policy::Env;
use crate::time::Monotonic;

/// How often [`Remote::refetch`] has an effect.
pub const COOL_DOWN: Duration = Duration::from_secs(10);

/// How often a worker looks whether another has fetched.
const LOOK: Duration = Duration::from_secs(1);

/// The same, while a fetch is under way.
const LOOK_OFTEN: Duration = Duration::from_millis(20);

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// A document that is found by following others, such as a key set by way of its
/// issuer's metadata, is at most that far away.
const MAX_STEPS: u32 = 2;

/// What a lease lasts longer than the answers may take.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Where a document is, and how fresh it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster that serves it.
    pub cluster: String,
    /// Its address.
    pub uri: HttpUri,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How old it may become before it is fetched again.
    pub refresh: Duration,
    /// How much older than that it may become if it cannot be fetched.
    pub max_stale: Duration,
    /// How long it may be.
    pub max_bytes: usize,
}

/// What a document of some kind looks like.
pub trait Document {
    /// Reads what an address answered with.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence; it is then not used.
    fn read(&self, body: &[u8], step: u32) -> Result<Step, String>;
}

/// What an answer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The document.
    Found,
    /// Another that says where it is.
    Follow {
        /// The cluster that serves it.
        cluster: String,
        /// Where it is.
        uri: HttpUri,
    },
}

/// A document, as one worker sees it.
pub struct Remote {
    settings: Settings,
    record_key: String,
    document_key: String,
    local: RefCell<Local>,
}

#[derive(Debug, Default)]
struct Local {
    /// The last record seen.
    record: Record,
    /// The revision that was handed out by [`Turn::event`]; zero if none is in use.
    revision: u64,
    /// Whether to fetch although it is not due.
    wanted: bool,
    /// What is awaited, if this worker fetches.
    fetching: Option<Attempt>,
}

/// A fetch under way.
#[derive(Debug, Clone, Copy, Default)]
struct Attempt {
    /// Which answer is awaited.
    step: u32,
    /// The lease that it was begun with.
    lease: u64,
}

/// What came of it, and what is to be done.
#[derive(Debug, Default)]
pub struct Turn {
    /// A request to make. Its answer goes to [`Remote::on_answer`].
    pub request: Option<HttpRequest>,
    /// What happened.
    pub event: Option<Event>,
    /// Whether those who wait for the document may find things changed.
    pub changed: bool,
    /// When to call [`Remote::on_tick`] again.
    pub next_tick: Duration,
}

/// What happened to a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It was fetched, and is what it was before.
    Unchanged,
    /// It was fetched, and is this.
    Fetched(Vec<u8>),
    /// Another worker has fetched it, and it is this.
    Received(Vec<u8>),
    /// It has become too old to be used.
    Expired,
    /// It could not be fetched; why, as a sentence.
    Failed(String),
}

/// What the workers know of a document. Times are [`Monotonic`] nanoseconds; zero
/// is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Record {
    /// Goes up when the document changes.
    revision: u64,
    fetched: u64,
    /// When the last attempt was over.
    tried: u64,
    failures: u64,
    /// When the next attempt is due.
    due: u64,
    /// Until when somebody is at it.
    lease: u64,
}

impl Record {
    const FIELDS: usize = 6;

    fn encode(self) -> Vec<u8> {
        let Self { revision, fetched, tried, failures, due, lease } = self;
        [revision, fetched, tried, failures, due, lease].map(u64::to_le_bytes).concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.as_chunks::<8>().0.iter().map(|field| u64::from_le_bytes(*field));
        let mut next = || fields.next();
        let record = Self {
            revision: next()?,
            fetched: next()?,
            tried: next()?,
            failures: next()?,
            due: next()?,
            lease: next()?,
        };
        (bytes.len() == Self::FIELDS * 8).then_some(record)
    }

    fn is_leased(&self, now: Monotonic) -> bool {
        now.as_nanos() < self.lease
    }

    /// The lease, if it is another than this one, which is given back.
    fn lease_without(&self, own: u64) -> u64 {
        if self.lease == own { 0 } else { self.lease }
    }

    fn may_refetch(&self, now: Monotonic) -> bool {
        now >= Monotonic::from_nanos(self.tried).later(COOL_DOWN)
    }
}

impl Remote {
    /// A document of that kind. The kind keeps apart what different readers make of
    /// one address.
    pub fn new(kind: &str, settings: Settings) -> Self {
        let place = format!("mesh-filters/{kind}/{}/{}", settings.cluster, settings.uri);
        Self {
            record_key: format!("{place}#record"),
            document_key: format!("{place}#document"),
            settings,
            local: RefCell::default(),
        }
    }

    /// Makes the shared record if there is none. To be called when configuring:
    /// that happens in one thread before the workers start, and afterwards all
    /// changes are by compare-and-swap.
    pub fn prepare(&self, host: &dyn Host) {
        if host.shared(&self.record_key).is_none() {
            // A host that does not share has each worker fetch for itself.
            let _ = host.share(&self.record_key, &Record::default().encode(), None);
        }
    }

    /// Where the document comes from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When it was last fetched; the first moment if never.
    pub fn fetched(&self) -> Monotonic {
        Monotonic::from_nanos(self.local.borrow().record.fetched)
    }

    fn is_expired(&self, record: Record, now: Monotonic) -> bool {
        let Settings { refresh, max_stale, .. } = self.settings;
        now > Monotonic::from_nanos(record.fetched).later(refresh).later(max_stale)
    }

    /// Whether it may become usable within the time that an answer may take: not if
    /// the last attempt failed and the next one is later than that.
    pub fn may_come_soon(&self, now: Monotonic) -> bool {
        let record = self.local.borrow().record;
        record.is_leased(now)
            || Monotonic::from_nanos(record.due) <= now.later(self.settings.timeout)
    }

    /// Asks for the document anew, though it is not due. Returns whether an answer
    /// is to be expected: not within [`COOL_DOWN`] of the last attempt, whoever
    /// made it.
    pub fn refetch(&self, host: &dyn Host) -> bool {
        let now = host.monotonic();
        let mut local = self.local.borrow_mut();
        let record = self.record(host, &local).0;
        if record.revision != local.revision || record.is_leased(now) {
            return true;
        }
        // What was wanted before and may not be fetched now has been fetched.
        local.wanted = record.may_refetch(now);
        local.wanted
    }

    /// What the workers know now; this worker's own knowledge where nothing that can
    /// be read is shared.
    fn record(&self, host: &dyn Host, local: &Local) -> (Record, Option<Version>) {
        match host.shared(&self.record_key) {
            Some(Shared { value, version }) => {
                (Record::decode(&value).unwrap_or(local.record), Some(version))
            }
            None => (local.record, None),
        }
    }

    /// Looks whether there is a new document, or a need to fetch one.
    pub fn on_tick(&self, env: &Env<'_>) -> Turn {
        let now = env.host.monotonic();
        let mut local = self.local.borrow_mut();
        let (record, version) = self.record(env.host, &local);
        let mut turn = Turn { changed: record != local.record, ..Turn::default() };
        local.record = record;
        local.wanted &= record.may_refetch(now);
        if self.is_expired(record, now) {
            if local.revision != 0 {
                local.revision = 0;
                turn.event = Some(Event::Expired);
            }
        } else if record.revision != local.revision {
            turn.event = self.receive(env.host, &mut local);
        }
        if self.is_due(now, &local) && self.lease(env.host, now, version, &mut local) {
            local.wanted = false;
            local.fetching = Some(Attempt { step: 0, lease: local.record.lease });
            let Settings { cluster, uri, .. } = &self.settings;
            turn.request = Some(self.request(cluster.clone(), uri));
        }
        let record = local.record;
        turn.next_tick = if record.is_leased(now) {
            LOOK_OFTEN
        } else {
            Monotonic::from_nanos(record.due).since(now).clamp(LOOK_OFTEN, LOOK)
        };
        turn
    }

    /// Takes over the document that another worker has shared.
    fn receive(&self, host: &dyn Host, local: &mut Local) -> Option<Event> {
        let shared = host.shared(&self.document_key)?.value;
        let (revision, document) = shared.split_first_chunk::<8>()?;
        let revision = u64::from_le_bytes(*revision);
        if revision == local.revision {
            return None;
        }
        local.revision = revision;
        Some(Event::Received(document.to_vec()))
    }

    fn is_due(&self, now: Monotonic, local: &Local) -> bool {
        let Local { record, wanted, fetching, .. } = local;
        if fetching.is_some() || record.is_leased(now) {
            return false;
        }
        let due = if record.failures == 0 && record.fetched != 0 {
            // Who needs it fresher than the one who fetched it.
            let own = Monotonic::from_nanos(record.fetched).later(self.settings.refresh);
            own.min(Monotonic::from_nanos(record.due))
        } else {
            Monotonic::from_nanos(record.due)
        };
        now >= due || (*wanted && record.may_refetch(now))
    }

    fn lease(
        &self,
        host: &dyn Host,
        now: Monotonic,
        version: Option<Version>,
        local: &mut Local,
    ) -> bool {
        let lease = now.later(self.settings.timeout * MAX_STEPS).later(LEASE_MARGIN);
        let leased = Record { lease: lease.as_nanos(), ..local.record };
        match host.share(&self.record_key, &leased.encode(), version) {
            Err(NotShared::Changed) => false,
            Ok(()) | Err(NotShared::Refused) => {
                local.record = leased;
                true
            }
        }
    }

    fn request(&self, cluster: String, uri: &HttpUri) -> HttpRequest {
        HttpRequest {
            cluster,
            method: "GET",
            scheme: uri.scheme(),
            authority: uri.authority().into(),
            path: uri.path_and_query().into(),
            headers: vec![("accept", "application/json".into())],
            body: Vec::new(),
            timeout: self.settings.timeout,
            max_response_bytes: self.settings.max_bytes,
        }
    }

    /// Takes the answer to the request of the last turn.
    pub fn on_answer(
        &self,
        answer: Result<HttpResponse, CalloutError>,
        kind: &dyn Document,
        env: &Env<'_>,
    ) -> Turn {
        let mut local = self.local.borrow_mut();
        let Attempt { step, lease } = local.fetching.take().unwrap_or_default();
        let (place, read) = match read(answer, kind, step) {
            Ok((Step::Follow { cluster, uri }, _)) if step + 1 < MAX_STEPS => {
                local.fetching = Some(Attempt { step: step + 1, lease });
                let request = Some(self.request(cluster, &uri));
                return Turn { request, next_tick: LOOK_OFTEN, ..Turn::default() };
            }
            Ok((Step::Follow { uri, .. }, _)) => {
                (uri.to_string(), Err("this leads on and on".into()))
            }
            Ok((Step::Found, document)) => (String::new(), Ok(document)),
            Err(problem) => (self.settings.uri.to_string(), Err(problem)),
        };
        let event = match read {
            Ok(document) => self.publish(document, lease, env.host, &mut local),
            Err(problem) => {
                self.put_off(lease, env.host, &mut local);
                Event::Failed(format!("cannot use {place}: {problem}"))
            }
        };
        Turn { event: Some(event), changed: true, next_tick: LOOK_OFTEN, ..Turn::default() }
    }

    fn publish(&self, document: Vec<u8>, lease: u64, host: &dyn Host, local: &mut Local) -> Event {
        let shared = host.shared(&self.document_key).map(|it| it.value).unwrap_or_default();
        let old = shared.split_first_chunk::<8>().map(|(revision, old)| (*revision, old));
        let old = old.map(|(revision, old)| (u64::from_le_bytes(revision), old));
        let unchanged =
            old.is_some_and(|(revision, old)| old == document && revision == local.revision);
        // As it is now: if the answer came late, another has fetched meanwhile.
        let mut record = self.record(host, local).0;
        if !unchanged {
            let newest = old.map_or(0, |(revision, _)| revision).max(record.revision);
            // Zero would be none.
            record.revision = newest.checked_add(1).unwrap_or(1);
            let shared = [record.revision.to_le_bytes().as_slice(), &document].concat();
            // Kept by this worker at least, if the host does not share it.
            let _ = host.share(&self.document_key, &shared, None);
        }
        let now = host.monotonic();
        let Settings { refresh, .. } = self.settings;
        let tenth = u64::try_from(refresh.as_nanos() / 10).unwrap_or(u64::MAX);
        let sooner = Duration::from_nanos(host.random() % tenth.max(1));
        record = Record {
            fetched: now.as_nanos(),
            tried: now.as_nanos(),
            failures: 0,
            due: now.later(refresh.saturating_sub(sooner)).as_nanos(),
            lease: record.lease_without(lease),
            ..record
        };
        let _ = host.share(&self.record_key, &record.encode(), None);
        local.record = record;
        local.revision = record.revision;
        if unchanged { Event::Unchanged } else { Event::Fetched(document) }
    }

    fn put_off(&self, lease: u64, host: &dyn Host, local: &mut Local) {
        let now = host.monotonic();
        let record = self.record(host, local).0;
        if record.lease != lease {
            // The answer came late, and another is at it or has done it.
            return;
        }
        let doublings = u32::try_from(record.failures).unwrap_or(u32::MAX).min(5);
        let longest = (FIRST_BACK_OFF * 2_u32.pow(doublings)).min(LONGEST_BACK_OFF);
        let half = longest / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let wait = half + Duration::from_nanos(host.random() % nanos.max(1));
        let record = Record {
            tried: now.as_nanos(),
            failures: record.failures.saturating_add(1),
            due: now.later(wait).as_nanos(),
            lease: record.lease_without(lease),
            ..record
        };
        let _ = host.share(&self.record_key, &record.encode(), None);
        local.record = record;
    }
}

fn read(
    answer: Result<HttpResponse, CalloutError>,
    kind: &dyn Document,
    step: u32,
) -> Result<(Step, Vec<u8>), String> {
    let HttpResponse { status, body } = answer.map_err(|error| error.to_string())?;
    if status != 200 {
        return Err(format!("it answered {status}"));
    }
    Ok((kind.read(&body, step)?, body))
}
