//! HTTP clients: well-behaved ones for both versions, and a [`raw`] one.
//!
//! Every call opens a connection of its own, so that no test inherits the state
//! another one left, and every call has a deadline.

mod raw;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

pub use raw::{raw, raw_until_close, status_of};

use crate::headers::{self, Headers};
use crate::tls::{ClientTls, SERVER_NAME};

/// How long a call may take unless the request says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A request, with as little decided for the caller as possible.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Headers,
    body: Bytes,
    deadline: Duration,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
            deadline: DEADLINE,
        }
    }

    /// A `GET`.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A `POST` with a body.
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self::new("POST", path).body(body)
    }

    /// Adds a header; a name may be added several times. `host` becomes the
    /// authority in HTTP/2.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds `authorization: Bearer <token>`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the time the whole call may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn authority(&self) -> String {
        headers::first(&self.headers, "host").unwrap_or_else(|| "localhost".to_owned())
    }

    fn build(&self, uri: Uri, headers: &Headers) -> Result<http::Request<Full<Bytes>>> {
        let mut request = http::Request::builder()
            .method(self.method.as_str())
            .uri(uri)
            .body(Full::new(self.body.clone()))?;
        *request.headers_mut() = headers::to_map(headers)?;
        Ok(request)
    }

    fn for_h1(&self) -> Result<http::Request<Full<Bytes>>> {
        let mut headers = self.headers.clone();
        if headers::first(&headers, "host").is_none() {
            headers.insert(0, ("host".to_owned(), self.authority().into_bytes()));
        }
        self.build(self.path.parse()?, &headers)
    }

    fn for_h2(&self) -> Result<http::Request<Full<Bytes>>> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.authority())
            .path_and_query(self.path.as_str())
            .build()?;
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
        self.build(uri, &headers)
    }
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in order.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// The trailers, empty when there were none.
    pub trailers: Headers,
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        headers::first(&self.headers, name)
    }

    /// Every value of a header.
    pub fn header_all(&self, name: &str) -> Vec<String> {
        headers::all(&self.headers, name)
    }

    /// The body as text, bytes that are not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON, status {}: {}", self.status, self.text()))
    }

    async fn read(response: http::Response<Incoming>) -> Result<Self> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.context("reading the body")?;
        let trailers = body.trailers().map(headers::from_map).unwrap_or_default();
        Ok(Self {
            status: parts.status.as_u16(),
            headers: headers::from_map(&parts.headers),
            body: body.to_bytes(),
            trailers,
        })
    }
}

/// One request over HTTP/1.1.
pub async fn h1(addr: SocketAddr, request: Request) -> Result<Response> {
    let http = request.for_h1()?;
    within(&request, addr, async { h1_over(TcpStream::connect(addr).await?, http).await }).await
}

/// One request over HTTP/1.1 and TLS. A server that refuses the certificate, or
/// the lack of one, is an error.
pub async fn h1_tls(addr: SocketAddr, tls: &ClientTls, request: Request) -> Result<Response> {
    let http = request.for_h1()?;
    let connector = TlsConnector::from(tls.0.clone());
    within(&request, addr, async {
        let stream = TcpStream::connect(addr).await?;
        let stream = connector.connect(ServerName::try_from(SERVER_NAME)?, stream).await?;
        h1_over(stream, http).await
    })
    .await
}

async fn h1_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: http::Request<Full<Bytes>>,
) -> Result<Response> {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // In a set of its own the task that drives the connection ends with the
    // call, whichever way that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Response::read(sender.send_request(request).await?).await
}

/// One request over HTTP/2 without TLS, version known beforehand.
pub async fn h2(addr: SocketAddr, request: Request) -> Result<Response> {
    let http = request.for_h2()?;
    within(&request, addr, async {
        let io = TokioIo::new(TcpStream::connect(addr).await?);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
        // As in HTTP/1.1.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Response::read(sender.send_request(http).await?).await
    })
    .await
}

async fn within(
    request: &Request,
    addr: SocketAddr,
    call: impl Future<Output = Result<Response>>,
) -> Result<Response> {
    let what = || format!("{} {} at {addr}", request.method, request.path);
    tokio::time::timeout(request.deadline, call)
        .await
        .map_err(|_| anyhow!("no answer in {:?}", request.deadline))
        .and_then(|answer| answer)
        .with_context(what)
}
