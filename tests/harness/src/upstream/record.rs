//! What reached an upstream.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;

use crate::headers::{self, Headers};

pub(super) const KEPT: usize = 4096;

/// A request as the upstream got it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The protocol's version.
    pub version: http::Version,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The authority of an HTTP/2 request; HTTP/1.1 has a `host` header.
    pub authority: Option<String>,
    /// The headers, bytes kept as they were.
    pub headers: Headers,
    /// The trailers, empty when there were none.
    pub trailers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Recorded {
    /// The path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        headers::first(&self.headers, name)
    }

    /// Every value of a header.
    pub fn header_all(&self, name: &str) -> Vec<String> {
        headers::all(&self.headers, name)
    }
}

#[derive(Debug, Default)]
pub(super) struct Records(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    latest: VecDeque<Recorded>,
    count: u64,
}

impl Records {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().expect("no holder of the lock panics"))
    }

    pub(super) fn add(&self, request: Recorded) {
        self.with(|inner| {
            inner.count += 1;
            if inner.latest.len() == KEPT {
                inner.latest.pop_front();
            }
            inner.latest.push_back(request);
        });
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.with(|inner| inner.latest.iter().cloned().collect())
    }

    pub(super) fn take(&self) -> Vec<Recorded> {
        self.with(|inner| inner.latest.drain(..).collect())
    }

    pub(super) fn count(&self) -> u64 {
        self.with(|inner| inner.count)
    }

    pub(super) fn find(&self, fits: impl Fn(&Recorded) -> bool) -> Option<Recorded> {
        self.all().into_iter().rev().find(fits)
    }
}
