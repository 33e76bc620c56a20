//! One request's passage through the filter.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mesh_filters_policy::{
    FailureMode, Host, LocalReply, LogLevel, Monotonic, Policy, Stream, Verdict,
};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use crate::filter::Filter;
use crate::host::{self, HostError};

/// The response detail of a request that the host failed.
const HOST_FAILURE: &str = "mesh_filters{host_failure}";

/// The host's handle of a request.
pub(crate) struct StreamContext<P: Policy> {
    /// `None` only if the host starts a stream before it has configured the filter.
    request: Option<Rc<Request<P>>>,
}

/// A request. Those that wait are known to the filter too.
pub(crate) struct Request<P: Policy> {
    filter: Rc<Filter<P>>,
    stream: RefCell<P::Stream>,
    /// The host's number for it.
    context: u32,
    /// Whether the answer is ours, which is not to be policed again.
    replied: Cell<bool>,
}

/// What is to become of a request now.
enum Outcome {
    Continue,
    /// It has been answered.
    Replied,
    Wait(Monotonic),
}

impl<P: Policy> StreamContext<P> {
    pub fn new(filter: Option<Rc<Filter<P>>>, context: u32) -> Self {
        Self {
            request: filter.map(|filter| {
                let stream = RefCell::new(filter.policy.stream());
                Rc::new(Request { filter, stream, context, replied: Cell::new(false) })
            }),
        }
    }
}

impl<P: Policy> Request<P> {
    /// Judges a request that has just come in.
    fn begin(self: &Rc<Self>) -> Result<Action, HostError> {
        match self.judge(self.filter.waiting.has_room())? {
            Outcome::Continue => Ok(Action::Continue),
            Outcome::Replied => Ok(Action::Pause),
            Outcome::Wait(until) => {
                self.filter.hurry(self.context)?;
                self.filter.waiting.add(self, until);
                Ok(Action::Pause)
            }
        }
    }

    /// Judges a request that has waited. Returns whether it waits no longer.
    pub fn resume(&self, may_wait: bool) -> bool {
        let acted = host::act_for(self.context).and_then(|()| match self.judge(may_wait)? {
            Outcome::Continue => host::continue_request().map(|()| true),
            Outcome::Replied => Ok(true),
            Outcome::Wait(_) => Ok(false),
        });
        acted.unwrap_or_else(|error| {
            if self.fail(error) == Action::Continue {
                // There is nothing else to try with a host that refuses this too.
                let _ = host::continue_request();
            }
            true
        })
    }

    fn judge(&self, may_wait: bool) -> Result<Outcome, HostError> {
        let filter = &self.filter;
        let mut headers = host::headers(MapType::HttpRequestHeaders)?;
        let env = filter.env(may_wait)?;
        let verdict = self.stream.borrow_mut().on_request_headers(&mut headers, &env);
        if let Some(reason) = verdict.reason() {
            filter.count(reason.counter);
        }
        match verdict {
            Verdict::Continue(_) => {
                host::apply(MapType::HttpRequestHeaders, headers.into_edits())?;
                Ok(Outcome::Continue)
            }
            Verdict::Reply(reason, reply) => {
                let line = format!("{}: replied {}", reason.detail, reply.status);
                filter.proxy.log(LogLevel::Debug, &line);
                self.replied.set(true);
                host::reply(reason.detail, &reply)?;
                Ok(Outcome::Replied)
            }
            Verdict::Wait(until) if may_wait => Ok(Outcome::Wait(until)),
            Verdict::Wait(_) => Err(HostError { call: "waiting" }),
        }
    }

    /// The one place where a failing host becomes a decision.
    fn fail(&self, error: HostError) -> Action {
        self.filter.note_host_failure(error);
        let action = on_failure(self.filter.policy.failure_mode());
        self.replied.set(action == Action::Pause);
        action
    }

    fn on_response(&self) -> Result<(), HostError> {
        if self.replied.get() || !self.stream.borrow().wants_response_headers() {
            return Ok(());
        }
        let mut headers = host::headers(MapType::HttpResponseHeaders)?;
        let env = self.filter.env(false)?;
        self.stream.borrow_mut().on_response_headers(&mut headers, &env);
        host::apply(MapType::HttpResponseHeaders, headers.into_edits())
    }

    fn on_end(&self) -> Result<(), HostError> {
        if !self.stream.borrow().wants_end() {
            return Ok(());
        }
        let env = self.filter.env(false)?;
        self.stream.borrow_mut().on_end(&env);
        Ok(())
    }
}

fn on_failure(mode: FailureMode) -> Action {
    match mode {
        FailureMode::Open => Action::Continue,
        FailureMode::Closed => {
            let unavailable = LocalReply {
                status: 503,
                headers: Vec::new(),
                body: Cow::Borrowed(""),
                grpc_status: None,
            };
            // Whether or not the host takes the reply, a paused stream goes nowhere.
            let _ = host::reply(HOST_FAILURE, &unavailable);
            Action::Pause
        }
    }
}

impl<P: Policy> Context for StreamContext<P> {}

impl<P: Policy> HttpContext for StreamContext<P> {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some(request) = &self.request else {
            return on_failure(FailureMode::Closed);
        };
        request.begin().unwrap_or_else(|error| request.fail(error))
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(request) = &self.request
            && let Err(error) = request.on_response()
        {
            // The request was judged; its response is the upstream's to give.
            request.filter.note_host_failure(error);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if let Some(request) = &self.request
            && let Err(error) = request.on_end()
        {
            request.filter.note_host_failure(error);
        }
    }
}
