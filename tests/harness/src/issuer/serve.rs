//! The issuer as a server: its keys, its metadata, and tokens for the asking.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{ALGORITHMS, ISSUER, Issuer, now};
use crate::upstream::{ANY_PORT, Recorded, Reply, Upstream};

/// An HTTP server with `GET /keys`, `GET /.well-known/openid-configuration` and
/// `POST /token`. It stops when dropped.
#[derive(Debug)]
pub struct IssuerServer(Upstream);

impl IssuerServer {
    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// The requests that came, such as those of a filter that fetches keys.
    pub fn requests(&self) -> Vec<Recorded> {
        self.0.requests()
    }
}

/// Starts the server on a free port.
pub async fn serve() -> Result<IssuerServer> {
    serve_on(ANY_PORT).await
}

/// Starts the server on a chosen address.
pub async fn serve_on(addr: SocketAddr) -> Result<IssuerServer> {
    let issuer = Issuer::new();
    let server = Upstream::scripted_on(addr, move |request| answer(&issuer, request)).await?;
    Ok(IssuerServer(server))
}

fn answer(issuer: &Issuer, request: &Recorded) -> Reply {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/keys") => Reply::json(&issuer.jwks()),
        ("GET", "/.well-known/openid-configuration") => Reply::json(&metadata(request)),
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
        "jwks_uri": format!("{base}/keys"),
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
