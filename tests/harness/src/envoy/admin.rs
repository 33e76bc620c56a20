//! Envoy's admin interface.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::client::{self, Request, Response};

pub(super) type Listeners = BTreeMap<String, SocketAddr>;

pub(super) async fn get(admin: SocketAddr, path: &str) -> Result<Response> {
    let response = client::h1(admin, Request::get(path)).await?;
    ensure!(response.status == 200, "{path} answered {}: {}", response.status, response.text());
    Ok(response)
}

pub(super) async fn listeners(admin: SocketAddr) -> Result<Listeners> {
    let answer = get(admin, "/listeners?format=json").await?.json()?;
    let statuses = answer["listener_statuses"].as_array();
    statuses
        .into_iter()
        .flatten()
        // Those on a Unix socket have no port.
        .filter_map(|status| Some((status, status.pointer("/local_address/socket_address")?)))
        .map(|(status, socket)| {
            let name = status["name"].as_str().unwrap_or_default();
            let ip = socket["address"].as_str().unwrap_or_default();
            let port = socket["port_value"].as_u64().unwrap_or_default();
            let addr = SocketAddr::new(ip.parse()?, port.try_into()?);
            Ok((name.to_owned(), addr))
        })
        .collect::<Result<_>>()
        .with_context(|| format!("reading {answer}"))
}

pub(super) async fn stats(admin: SocketAddr) -> Result<BTreeMap<String, u64>> {
    let answer = get(admin, "/stats?format=json").await?.json()?;
    // Histograms and text readouts have no value that is a number.
    let pair = |stat: &Value| {
        let name = stat.get("name")?.as_str()?;
        Some((name.to_owned(), stat.get("value")?.as_u64()?))
    };
    let stats = answer["stats"].as_array();
    Ok(stats.into_iter().flatten().filter_map(pair).collect())
}
