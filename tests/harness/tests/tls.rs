//! TLS between a client and a real Envoy that asks for certificates.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what a test calls may fail it")]

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::bootstrap::{Bootstrap, ClientCertificate};
use harness::client::{self, Request};
use harness::envoy::{Envoy, Options};
use harness::tls::{Authority, ClientTls};
use harness::upstream::Upstream;
use serde_json::json;

/// Where Envoy tells the upstream the SHA-256 of the client's certificate, in hex.
const FINGERPRINT: &str = "x-fingerprint";

struct Gateway {
    envoy: Envoy,
    upstream: Upstream,
    servers: Authority,
    clients: Authority,
}

impl Gateway {
    async fn start(certificate: ClientCertificate) -> Result<Self> {
        let upstream = Upstream::start().await?;
        let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
        let bootstrap = Bootstrap::from_yaml(include_str!("plain.yaml"))?
            .cluster_endpoint("upstream", upstream.addr())?
            .downstream_tls("ingress", &servers.server()?, &clients, certificate)?
            .hcm(|hcm| {
                hcm["route_config"]["request_headers_to_add"] = json!([{"header": {
                    "key": FINGERPRINT, "value": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
                }}]);
            });
        let envoy = Envoy::start(bootstrap, Options::default()).await?;
        Ok(Self { envoy, upstream, servers, clients })
    }

    async fn status(&self, tls: &ClientTls) -> Result<u16> {
        let ingress = self.envoy.listener("ingress");
        Ok(client::h1_tls(ingress, tls, Request::get("/")).await?.status)
    }

    /// What Envoy told of the latest client; nothing if it had no certificate.
    fn fingerprint(&self) -> Option<Vec<u8>> {
        let hex = self.upstream.take().last()?.header(FINGERPRINT)?;
        hex.as_bytes()
            .chunks(2)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).ok()?, 16).ok())
            .collect()
    }
}

#[tokio::test]
async fn a_certificate_can_be_left_to_the_client() -> Result<()> {
    let gateway = Gateway::start(ClientCertificate::Optional).await?;
    let alice = gateway.clients.client("alice")?;

    assert_eq!(gateway.status(&ClientTls::identified(&gateway.servers, &alice)?).await?, 200);
    assert_eq!(gateway.fingerprint(), Some(URL_SAFE_NO_PAD.decode(alice.thumbprint())?));

    assert_eq!(gateway.status(&ClientTls::anonymous(&gateway.servers)?).await?, 200);
    assert_eq!(gateway.fingerprint(), None);

    let stranger = Authority::new("clients")?.client("alice")?;
    assert!(gateway.status(&ClientTls::identified(&gateway.servers, &stranger)?).await.is_err());
    assert_eq!(gateway.upstream.count(), 2);
    gateway.envoy.stop().await
}

#[tokio::test]
async fn a_certificate_can_be_required() -> Result<()> {
    let gateway = Gateway::start(ClientCertificate::Required).await?;
    let alice = gateway.clients.client("alice")?;
    assert_eq!(gateway.status(&ClientTls::identified(&gateway.servers, &alice)?).await?, 200);
    assert!(gateway.status(&ClientTls::anonymous(&gateway.servers)?).await.is_err());
    assert_eq!(gateway.upstream.count(), 1);
    gateway.envoy.stop().await
}

#[tokio::test]
async fn a_client_trusts_only_its_authority() -> Result<()> {
    let gateway = Gateway::start(ClientCertificate::Optional).await?;
    let other = ClientTls::anonymous(&Authority::new("servers")?)?;
    let error = gateway.status(&other).await.unwrap_err();
    assert!(format!("{error:#}").contains("certificate"), "{error:#}");
    let plain = client::h1(gateway.envoy.listener("ingress"), Request::get("/")).await;
    assert!(plain.is_err());
    assert_eq!(gateway.upstream.count(), 0);
    gateway.envoy.stop().await
}
