//! One request's passage through the filter.

use std::borrow::Cow;
use std::rc::Rc;

use mesh_filters_policy::{Env, FailureMode, LocalReply, Policy, Stream, Verdict};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::filter::Filter;
use crate::foreign::ProxyHost;
use crate::host::{self, HostError};

/// The response detail of a request that the host failed.
const HOST_FAILURE: &str = "mesh_filters{host_failure}";

pub(crate) struct StreamContext<P: Policy> {
    /// What judges the request. `None` only if the host starts a stream before
    /// it has configured the filter.
    judge: Option<(Rc<Filter<P>>, P::Stream)>,
}

impl<P: Policy> StreamContext<P> {
    pub(crate) fn new(filter: Option<Rc<Filter<P>>>) -> Self {
        Self {
            judge: filter.map(|filter| {
                let stream = filter.policy.stream();
                (filter, stream)
            }),
        }
    }

    /// Judges the request. The action is what the host is to do with it.
    fn judge(filter: &Filter<P>, stream: &mut P::Stream) -> Result<Action, HostError> {
        let mut headers = host::request_headers()?;
        let env = Env { now: host::now()?, host: &ProxyHost };
        let verdict = stream.on_request_headers(&mut headers, &env);
        filter.count(verdict.reason().counter);
        match verdict {
            Verdict::Continue(_) => {
                host::apply(headers.into_edits())?;
                Ok(Action::Continue)
            }
            Verdict::Reply(reason, reply) => {
                host::log(LogLevel::Debug, &format!("{}: replied {}", reason.detail, reply.status));
                host::reply(reason.detail, &reply)?;
                Ok(Action::Pause)
            }
        }
    }
}

/// The one place where a failing host becomes a decision.
fn on_failure(mode: FailureMode) -> Action {
    match mode {
        FailureMode::Open => Action::Continue,
        FailureMode::Closed => {
            let unavailable =
                LocalReply { status: 503, headers: Vec::new(), body: Cow::Borrowed("") };
            // Whether or not the host takes the reply, a paused stream goes nowhere.
            let _ = host::reply(HOST_FAILURE, &unavailable);
            Action::Pause
        }
    }
}

impl<P: Policy> Context for StreamContext<P> {}

impl<P: Policy> HttpContext for StreamContext<P> {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some((filter, stream)) = &mut self.judge else {
            return on_failure(FailureMode::Closed);
        };
        Self::judge(filter, stream).unwrap_or_else(|error| {
            host::log(LogLevel::Warn, &format!("{}: {} failed", P::NAME, error.call));
            filter.count_host_failure();
            on_failure(filter.policy.failure_mode())
        })
    }
}
