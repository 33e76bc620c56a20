//! A real HTTP server behind the proxy, which keeps what reached it.

mod record;
mod reply;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

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
pub struct Upstream {
    addr: SocketAddr,
    records: Arc<Records>,
    script: Arc<Script>,
    accepting: Mutex<Option<Accepting>>,
    /// Bound to the address but never listening: while the server is stopped
    /// nobody else gets the port, and who connects is refused.
    _port: TcpSocket,
}

/// The task that accepts connections. It ends, and they do, when told to or
/// when nobody is left to tell it.
struct Accepting {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
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
        let port = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        port.set_reuseaddr(true)?;
        port.bind(addr).with_context(|| format!("binding {addr}"))?;
        let upstream = Self {
            addr: port.local_addr()?,
            records: Arc::default(),
            script: Arc::new(script),
            accepting: Mutex::default(),
            _port: port,
        };
        upstream.resume().await?;
        Ok(upstream)
    }

    /// Breaks off every connection and refuses new ones, until
    /// [`Upstream::resume`].
    pub async fn stop(&self) {
        let accepting = self.accepting().take();
        if let Some(Accepting { stop, task }) = accepting {
            drop(stop);
            task.await.expect("accepting connections");
        }
    }

    /// Listens again on the same port, if it was stopped.
    pub async fn resume(&self) -> Result<()> {
        if self.accepting().is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.addr)
            .await
            .with_context(|| format!("listening on {}", self.addr))?;
        let (stop, stopped) = oneshot::channel();
        let task =
            tokio::spawn(accept(listener, self.records.clone(), self.script.clone(), stopped));
        *self.accepting() = Some(Accepting { stop, task });
        Ok(())
    }

    fn accepting(&self) -> MutexGuard<'_, Option<Accepting>> {
        self.accepting.lock().expect("no holder of the lock panics")
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

    /// How many of the latest requests had this path, whatever the query.
    pub fn count_of(&self, path: &str) -> usize {
        self.records.all().iter().filter(|request| request.path_only() == path).count()
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

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("addr", &self.addr).finish_non_exhaustive()
    }
}

async fn accept(
    listener: TcpListener,
    records: Arc<Records>,
    script: Arc<Script>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("accepting a connection");
                connections.spawn(converse(stream, records.clone(), script.clone()));
            }
            Some(_) = connections.join_next() => {}
            // An error: the sender is dropped, never used.
            Err(_) = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
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
