//! What a policy does between requests: its ticks, and requests of its own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use mesh_filters_policy::Host;
use mesh_filters_policy::{
    CalloutError, CalloutId, HttpRequest, HttpResponse, LogLevel, Monotonic, Policy, Work,
};
use proxy_wasm::types::{BufferType, MapType};

use crate::filter::Filter;
use crate::host::{self, HostError};

/// The shortest time between two ticks. Also the time between a policy's knowing
/// more and a waiting request's going on.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

/// How long after its timeout a callout is given up without the host's word. With
/// no healthy endpoint a host may never give it.
const GRACE: Duration = Duration::from_millis(100);

/// The ticks and callouts of one filter in one VM.
pub(crate) struct Background {
    root: u32,
    callouts: RefCell<Vec<Callout>>,
    /// When the policy wants its next tick.
    next_tick: Cell<Option<Duration>>,
    /// The period that the host was told.
    period: Cell<Option<Duration>>,
}

/// A request that was made and has no answer yet.
struct Callout {
    token: u32,
    id: CalloutId,
    deadline: Monotonic,
    max_response_bytes: usize,
}

impl Background {
    pub fn new(root: u32) -> Self {
        Self {
            root,
            callouts: RefCell::default(),
            next_tick: Cell::new(None),
            period: Cell::new(None),
        }
    }

    /// Has the host tick soon, from within a request of the filter's.
    fn hurry(&self, request: u32) -> Result<(), HostError> {
        if self.period.get().is_some_and(|period| period <= SHORTEST_TICK) {
            return Ok(());
        }
        host::act_for(self.root)?;
        self.set_period(Some(SHORTEST_TICK));
        host::act_for(request)
    }

    /// A period that is set anew begins anew, so one that stands is left alone.
    fn set_period(&self, period: Option<Duration>) {
        if self.period.get() != period && host::set_tick_period(period).is_ok() {
            self.period.set(period);
        }
    }

    /// The token of a callout whose time is over.
    fn take_overdue(&self, now: Monotonic) -> Option<Callout> {
        let mut callouts = self.callouts.borrow_mut();
        let overdue = callouts.iter().position(|callout| callout.deadline <= now)?;
        Some(callouts.swap_remove(overdue))
    }

    fn take_answered(&self, token: u32) -> Option<Callout> {
        let mut callouts = self.callouts.borrow_mut();
        let answered = callouts.iter().position(|callout| callout.token == token)?;
        Some(callouts.swap_remove(answered))
    }

    fn make(&self, id: CalloutId, request: &HttpRequest) -> Result<(), HostError> {
        let token = host::call(request)?;
        let deadline = host::monotonic().later(request.timeout).later(GRACE);
        let max_response_bytes = request.max_response_bytes;
        self.callouts.borrow_mut().push(Callout { token, id, deadline, max_response_bytes });
        Ok(())
    }
}

impl<P: Policy> Filter<P> {
    /// Begins the background work.
    pub fn start(&self) {
        self.background.set_period(Some(SHORTEST_TICK));
    }

    /// Has the waiting requests looked at soon, from within one of them.
    ///
    /// # Errors
    /// If the host will not tick.
    pub fn hurry(&self, request: u32) -> Result<(), HostError> {
        self.background.hurry(request)
    }

    /// Does what is due.
    pub fn tick(&self) {
        let now = host::monotonic();
        let mut work = Work::default();
        while let Some(Callout { id, .. }) = self.background.take_overdue(now) {
            work = work.and(self.answer(id, Err(CalloutError::Timeout)));
        }
        if let Some(env) = self.quiet_env() {
            work = work.and(self.policy.on_tick(&env));
        }
        self.perform(work, now);
    }

    /// Takes the host's answer to a callout.
    pub fn on_answer(&self, token: u32, headers: usize, body_size: usize) {
        // One that comes after its deadline has been answered for already.
        let Some(callout) = self.background.take_answered(token) else {
            return;
        };
        let answer = read_answer(&callout, headers, body_size);
        let work = self.answer(callout.id, answer);
        self.perform(work, host::monotonic());
    }

    fn answer(&self, id: CalloutId, answer: Result<HttpResponse, CalloutError>) -> Work {
        match self.quiet_env() {
            Some(env) => self.policy.on_callout(id, answer, &env),
            None => Work::default(),
        }
    }

    /// The surroundings of what is no request.
    fn quiet_env(&self) -> Option<mesh_filters_policy::Env<'_>> {
        self.env(false).map_err(|error| self.note_host_failure(error)).ok()
    }

    fn perform(&self, work: Work, now: Monotonic) {
        let Work { callouts, mut resume, mut next_tick } = work;
        let mut callouts = VecDeque::from(callouts);
        while let Some((id, request)) = callouts.pop_front() {
            if let Err(error) = self.background.make(id, &request) {
                self.proxy.log(LogLevel::Debug, &format!("{} failed", error.call));
                let more = self.answer(id, Err(CalloutError::Refused));
                callouts.extend(more.callouts);
                resume |= more.resume;
                next_tick = next_tick.into_iter().chain(more.next_tick).min();
            }
        }
        self.background.next_tick.set(next_tick);
        self.waiting.judge_anew(now, resume);
        // The requests were acted for in between.
        if host::act_for(self.background.root).is_ok() {
            self.background.set_period(self.period(now));
        }
    }

    /// How long from now on nothing is due.
    fn period(&self, now: Monotonic) -> Option<Duration> {
        let waiting = (!self.waiting.is_empty()).then_some(SHORTEST_TICK);
        let callouts = self.background.callouts.borrow();
        let deadline = callouts.iter().map(|callout| callout.deadline.since(now)).min();
        let due = [waiting, deadline, self.background.next_tick.get()].into_iter().flatten().min();
        due.map(|due| due.max(SHORTEST_TICK))
    }
}

fn read_answer(
    callout: &Callout,
    headers: usize,
    body_size: usize,
) -> Result<HttpResponse, CalloutError> {
    if headers == 0 {
        return Err(CalloutError::NoAnswer);
    }
    if body_size > callout.max_response_bytes {
        return Err(CalloutError::TooLong);
    }
    let headers =
        host::headers(MapType::HttpCallResponseHeaders).map_err(|_| CalloutError::NoAnswer)?;
    let status = headers.first(":status").and_then(|it| std::str::from_utf8(it).ok());
    let status = status.and_then(|it| it.parse().ok()).ok_or(CalloutError::NoAnswer)?;
    let body = match body_size {
        0 => Vec::new(),
        size => host::buffer(BufferType::HttpCallResponseBody, size)
            .map_err(|_| CalloutError::NoAnswer)?,
    };
    Ok(HttpResponse { status, body })
}
