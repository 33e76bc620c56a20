//! A real Envoy that proxies without any filter of ours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test calls may fail it"
)]

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use harness::bootstrap::Bootstrap;
use harness::client::{self, Request};
use harness::envoy::{self, Envoy, Options};
use harness::upstream::Upstream;
use serde_json::json;

const PLAIN: &str = include_str!("plain.yaml");
const SOON: Duration = Duration::from_secs(5);

fn plain(upstream: &Upstream) -> Result<Bootstrap> {
    Bootstrap::from_yaml(PLAIN)?.cluster_endpoint("upstream", upstream.addr())
}

/// The processes whose command line holds this text.
fn running(text: &str) -> String {
    let output = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    let all = String::from_utf8_lossy(&output.stdout);
    all.lines().filter(|line| line.contains(text)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn proxies_counts_logs_and_stops() -> Result<()> {
    let upstream = Upstream::start().await?;
    let mark = format!("stopped-{}", std::process::id());
    let options = Options {
        concurrency: 2,
        extra_args: vec!["--service-node".to_owned(), mark.clone()],
        ..Options::default()
    };
    let envoy = Envoy::start(plain(&upstream)?, options).await?;
    assert!(envoy.is_alive());
    assert_ne!(running(&mark), "");

    let ingress = envoy.listener("ingress");
    assert_ne!(ingress.port(), envoy.admin().port());
    for request in [Request::get("/1"), Request::get("/2").header("x-a", "b")] {
        let response = client::h1(ingress, request.clone()).await?;
        assert_eq!(response.status, 200, "{}", envoy.report().await);
        assert_eq!(client::h2(ingress, request).await?.status, 200);
    }
    assert_eq!(upstream.count(), 4);

    let total = "http.ingress.downstream_rq_total";
    assert_eq!(envoy.wait_for_stat(total, |n| n >= 4, SOON).await?, 4);
    assert_eq!(envoy.stat("no.such.stat").await?, None);
    assert_eq!(envoy.stat("server.concurrency").await?, Some(2));
    let short = Duration::from_millis(100);
    let error = envoy.wait_for_stat(total, |n| n > 4, short).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains(total) && error.contains("Some(4)"), "{error}");
    assert!(envoy.prometheus().await?.contains("envoy_http_downstream_rq_total"));
    envoy.wait_for_log("starting main dispatch loop", SOON).await?;
    assert!(!envoy.log_contains("panic"));
    let report = envoy.report().await;
    assert!(report.contains(&format!("{total}: 4")), "{report}");

    envoy.stop().await?;
    assert!(!envoy.is_alive());
    assert_eq!(running(&mark), "");
    assert!(envoy.log_contains("main dispatch loop"));
    assert!(client::h1(ingress, Request::get("/")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn two_run_side_by_side_and_dropping_ends_one() -> Result<()> {
    let upstream = Upstream::start().await?;
    let mark = format!("dropped-{}", std::process::id());
    let options = Options {
        extra_args: vec!["--service-node".to_owned(), mark.clone()],
        ..Options::default()
    };
    let (one, two) = tokio::try_join!(
        Envoy::start(plain(&upstream)?, options),
        Envoy::start(plain(&upstream)?, Options::default()),
    )?;
    assert_ne!(one.listener("ingress"), two.listener("ingress"));
    drop(one);
    harness::wait::until(SOON, "the dropped Envoy to end", async || {
        running(&mark).is_empty().then_some(())
    })
    .await?;
    assert!(two.is_alive());
    two.stop().await
}

#[tokio::test]
async fn a_cluster_can_be_empty_refused_or_well() -> Result<()> {
    let upstream = Upstream::start().await?;
    let bootstrap = Bootstrap::from_yaml(PLAIN)?
        .add_cluster("empty", &[])?
        .add_cluster("idp", &[upstream.addr()])?
        .hcm(|hcm| {
            let route = |prefix, cluster| {
                json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}})
            };
            hcm["route_config"]["virtual_hosts"][0]["routes"] =
                json!([route("/empty", "empty"), route("/idp", "idp")]);
        });
    let envoy = Envoy::start(bootstrap, Options::default()).await?;
    let get = async |path| client::h1(envoy.listener("ingress"), Request::get(path)).await;
    assert!(get("/empty").await?.text().contains("no healthy upstream"));
    assert_eq!(get("/idp").await?.status, 200);
    upstream.stop().await;
    let refused = get("/idp").await?;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("connection"), "{}", refused.text());
    upstream.resume().await?;
    assert_eq!(get("/idp").await?.status, 200);
    assert_eq!(upstream.count_of("/idp"), 2);
    envoy.stop().await
}

#[tokio::test]
async fn an_envoy_that_does_not_start_says_why() -> Result<()> {
    let bootstrap = Bootstrap::from_yaml(PLAIN)?.hcm(|hcm| hcm["no_such_field"] = json!(1));
    let begun = tokio::time::Instant::now();
    let error = Envoy::start(bootstrap, Options::default()).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("ended before it was ready"), "{error}");
    assert!(error.contains("no_such_field"), "{error}");
    assert!(begun.elapsed() < SOON);
    Ok(())
}

/// That the port is in use shows that it was asked for, and nobody else can take
/// it meanwhile.
#[tokio::test]
async fn listens_where_the_bootstrap_says_if_told_to() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let bootstrap = Bootstrap::from_yaml(PLAIN)?.edit(|all| {
        all["admin"]["address"]["socket_address"]["port_value"] = json!(0);
        let listener = &mut all["static_resources"]["listeners"][0];
        listener["address"]["socket_address"]["port_value"] = json!(port);
    });
    let options = Options { keep_ports: true, ..Options::default() };
    let error = Envoy::start(bootstrap.clone(), options).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains(&format!("cannot bind '127.0.0.1:{port}'")), "{error}");
    let envoy = Envoy::start(bootstrap, Options::default()).await?;
    assert_ne!(envoy.listener("ingress").port(), port);
    envoy.stop().await
}

#[tokio::test]
async fn validates() -> Result<()> {
    let good = Bootstrap::from_yaml(PLAIN)?;
    let outcome = envoy::validate(&good).await?;
    assert!(outcome.ok, "{}", outcome.output);
    let outcome = envoy::validate(&good.hcm(|hcm| hcm["no_such_field"] = json!(1))).await?;
    assert!(!outcome.ok);
    assert!(outcome.output.contains("no_such_field"), "{}", outcome.output);
    Ok(())
}
