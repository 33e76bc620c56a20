//! The issuer as a server: its keys, its metadata, and tokens for the asking.
//! What it answers can be changed while it runs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{ALGORITHMS, ISSUER, Issuer, now};
use crate::upstream::{ANY_PORT, Recorded, Reply, Upstream};

/// Where the server has its JWK Set.
pub const KEYS_PATH: &str = "/keys";
/// Where the server has its metadata, as `OpenID` Connect Discovery wants it.
pub const METADATA_PATH: &str = "/.well-known/openid-configuration";

/// An HTTP server with `GET` [`KEYS_PATH`], `GET` [`METADATA_PATH`] and
/// `POST /token`. It stops when dropped.
#[derive(Debug)]
pub struct IssuerServer {
    upstream: Upstream,
    replies: Arc<Mutex<Replies>>,
}

/// What is answered at a path, whatever the method, in place of the usual.
type Replies = HashMap<String, Reply>;

impl IssuerServer {
    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.upstream.addr()
    }

    /// The requests that came, such as those of a filter that fetches keys.
    pub fn requests(&self) -> Vec<Recorded> {
        self.upstream.requests()
    }

    /// How many of the latest requests had this path.
    pub fn count_of(&self, path: &str) -> usize {
        self.upstream.count_of(path)
    }

    /// Answers at this path with `reply` from now on.
    pub fn reply(&self, path: &str, reply: Reply) {
        self.replies(|replies| replies.insert(path.to_owned(), reply));
    }

    /// Answers at this path as it did at the start.
    pub fn reply_as_usual(&self, path: &str) {
        self.replies(|replies| replies.remove(path));
    }

    /// Serves this JWK Set at [`KEYS_PATH`] from now on.
    pub fn set_keys(&self, jwks: &Value) {
        self.reply(KEYS_PATH, Reply::json(jwks));
    }

    /// Breaks off every connection and refuses new ones, until
    /// [`IssuerServer::resume`].
    pub async fn stop(&self) {
        self.upstream.stop().await;
    }

    /// Listens again on the same port, if it was stopped.
    pub async fn resume(&self) -> Result<()> {
        self.upstream.resume().await
    }

    fn replies<T>(&self, work: impl FnOnce(&mut Replies) -> T) -> T {
        work(&mut self.replies.lock().expect("no holder of the lock panics"))
    }
}

/// Starts the server on a free port.
pub async fn serve() -> Result<IssuerServer> {
    serve_on(ANY_PORT).await
}

/// Starts the server on a chosen address.
pub async fn serve_on(addr: SocketAddr) -> Result<IssuerServer> {
    let issuer = Issuer::new();
    let replies = Arc::new(Mutex::new(Replies::new()));
    let changed = replies.clone();
    let upstream = Upstream::scripted_on(addr, move |request| {
        let changed = changed.lock().expect("no holder of the lock panics");
        let reply = changed.get(request.path_only()).cloned();
        reply.unwrap_or_else(|| answer(&issuer, request))
    })
    .await?;
    Ok(IssuerServer { upstream, replies })
}

fn answer(issuer: &Issuer, request: &Recorded) -> Reply {
    match (request.method.as_str(), request.path_only()) {
        ("GET", KEYS_PATH) => Reply::json(&issuer.jwks()),
        ("GET", METADATA_PATH) => Reply::json(&metadata(request)),
        ("POST", "/token") => match token(issuer, &request.body) {
            Ok(token) => Reply::json(&json!({"access_token": token, "token_type": "Bearer"})),
            Err(error) => Reply::status(400).body(format!("{error:#}\n")),
        },
        _ => Reply::status(404),
    }
}

fn metadata(request: &Recorded) -> Value {
    let host = request.header("host").or(request.authority.clone());
    let base = format!("http://{}", host.unwrap_or_default());
    let algorithms: Vec<_> = ALGORITHMS.iter().map(|(alg, _)| alg).collect();
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{base}{KEYS_PATH}"),
        "token_endpoint": format!("{base}/token"),
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    })
}

fn token(issuer: &Issuer, body: &[u8]) -> Result<String> {
    let wish: Value = serde_json::from_slice(body).context("the body is not JSON")?;
    let sub = wish["sub"].as_str().context("`sub` is missing")?;
    let mut claims = issuer.claims(sub);
    if let Some(seconds) = wish.get("exp_in") {
        let seconds = seconds.as_i64().context("`exp_in` is not whole seconds")?;
        claims["exp"] = json!(now().saturating_add(seconds));
    }
    let alg = match wish.get("alg") {
        Some(alg) => alg.as_str().context("`alg` is not a string")?,
        None => "RS256",
    };
    let (alg, kid) = ALGORITHMS
        .iter()
        .find(|(known, _)| *known == alg)
        .with_context(|| format!("`alg` {alg:?} is unknown"))?;
    Ok(issuer.sign(kid, alg, &json!({}), &claims))
}
