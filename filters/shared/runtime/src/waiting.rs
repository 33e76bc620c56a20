//! Requests that are held until their policy knows more.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use mesh_filters_policy::{Monotonic, Policy};

use crate::stream::Request;

/// More requests than that do not wait in one worker: each holds memory of the
/// proxy's, and whoever keeps a policy from knowing more can make them many.
const MAX_WAITING: usize = 1024;

/// The requests of one worker that wait.
pub(crate) struct Waiting<P: Policy>(RefCell<Vec<Waiter<P>>>);

struct Waiter<P: Policy> {
    /// Gone when the client has given up.
    request: Weak<Request<P>>,
    until: Monotonic,
}

impl<P: Policy> Default for Waiting<P> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<P: Policy> Waiting<P> {
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Whether one more may wait.
    pub fn has_room(&self) -> bool {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() >= MAX_WAITING {
            waiting.retain(|waiter| waiter.request.strong_count() > 0);
        }
        waiting.len() < MAX_WAITING
    }

    pub fn add(&self, request: &Rc<Request<P>>, until: Monotonic) {
        self.0.borrow_mut().push(Waiter { request: Rc::downgrade(request), until });
    }

    /// Judges those anew whose time is over, and all of them if things have
    /// `changed`.
    pub fn judge_anew(&self, now: Monotonic, changed: bool) {
        let waiting = std::mem::take(&mut *self.0.borrow_mut());
        for waiter in waiting {
            let Some(request) = waiter.request.upgrade() else {
                continue;
            };
            let in_time = now < waiter.until;
            let keeps_waiting = if changed || !in_time { !request.resume(in_time) } else { true };
            if keeps_waiting {
                self.0.borrow_mut().push(waiter);
            }
        }
    }
}
