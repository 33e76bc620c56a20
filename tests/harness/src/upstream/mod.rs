//! A real HTTP server behind the proxy, which keeps what reached it.

mod record;
mod reply;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use record::Records;
use reply::ReplyBody;

pub use record::Recorded;
pub use reply::Reply;

use crate::headers;

type Script = dyn Fn(&Recorded) -> Reply + Send + Sync;

/// The address that lets the kernel choose the port.
pub const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A server for HTTP/1.1 and HTTP/2 without TLS. It stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    records: Arc<Records>,
    accepting: AbortHandle,
}

impl Upstream {
    /// Starts a server that answers every request with [`Reply::echo`].
    pub async fn start() -> Result<Self> {
        Self::scripted(Reply::echo).await
    }

    /// Starts a server that answers as `script` says.
    pub async fn scripted(
        script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::scripted_on(ANY_PORT, script).await
    }

    /// Like [`Upstream::scripted`], on a chosen address.
    pub async fn scripted_on(
        addr: SocketAddr,
        script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(addr).await.with_context(|| format!("binding {addr}"))?;
        let addr = listener.local_addr()?;
        let records = Arc::new(Records::default());
        let accepting =
            tokio::spawn(accept(listener, records.clone(), Arc::new(script))).abort_handle();
        Ok(Self { addr, records, accepting })
    }

    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The latest requests, oldest first (at most [`Upstream::KEPT`]).
    pub fn requests(&self) -> Vec<Recorded> {
        self.records.all()
    }

    /// Like [`Upstream::requests`], and forgets them.
    pub fn take(&self) -> Vec<Recorded> {
        self.records.take()
    }

    /// How many requests have come since the start.
    pub fn count(&self) -> u64 {
        self.records.count()
    }

    /// The latest request that fits: tests that share an upstream find their
    /// own by a header that only they sent.
    pub fn find(&self, fits: impl Fn(&Recorded) -> bool) -> Option<Recorded> {
        self.records.find(fits)
    }

    /// How many requests are kept: a demo or a load test runs for long, and
    /// its upstream should not grow with it.
    pub const KEPT: usize = record::KEPT;
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, records: Arc<Records>, script: Arc<Script>) {
    // Owned by this task, so that ending it ends the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("accepting a connection");
                connections.spawn(converse(stream, records.clone(), script.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, records: Arc<Records>, script: Arc<Script>) {
    let service = service_fn(move |request| answer(request, records.clone(), script.clone()));
    // A connection that the proxy tears down is everyday business.
    drop(
        auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn answer(
    request: http::Request<Incoming>,
    records: Arc<Records>,
    script: Arc<Script>,
) -> Result<http::Response<ReplyBody>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?;
    let recorded = Recorded {
        version: parts.version,
        method: parts.method.to_string(),
        path: parts
            .uri
            .path_and_query()
            .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
        authority: parts.uri.authority().map(ToString::to_string),
        headers: headers::from_map(&parts.headers),
        trailers: body.trailers().map(headers::from_map).unwrap_or_default(),
        body: body.to_bytes(),
    };
    records.add(recorded.clone());
    script(&recorded).send().await
}
