//! A real `OpenID` provider, seen by its clients.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what a test calls may fail it")]

use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::client::{self, Request};
use harness::issuer::{AUDIENCE, ISSUER, Issuer};
use harness::openid_provider::OpenIdProvider;
use harness::wait;
use jwt_simple::prelude::*;
use serde_json::{Value, json};
use tokio::net::TcpStream;

fn part(token: &str, index: usize) -> Result<Value> {
    let text = token.split('.').nth(index).context("a part of the token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text)?)?)
}

async fn served_kids(provider: &OpenIdProvider) -> Result<Vec<Value>> {
    let metadata = provider.metadata().await?;
    let uri: http::Uri = metadata["jwks_uri"].as_str().context("no jwks_uri")?.parse()?;
    assert_eq!(uri.authority().unwrap().as_str(), provider.addr().to_string());
    let jwks = client::h1(provider.addr(), Request::get(uri.path())).await?.json()?;
    Ok(jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect())
}

#[tokio::test]
async fn signs_with_the_first_key_and_rotates() -> Result<()> {
    let issuer = Issuer::new();
    let provider = OpenIdProvider::start(&issuer.private_jwks_of(&["rsa-2048", "p-256"])).await?;
    assert_eq!(provider.metadata().await?["issuer"], provider.issuer());
    assert_eq!(served_kids(&provider).await?, ["rsa-2048", "p-256"]);

    let token = provider.token(AUDIENCE).await?;
    assert_eq!(part(&token, 0)?, json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa-2048"}));
    let claims = part(&token, 1)?;
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(provider.issuer()), &json!(AUDIENCE)));
    let key = RS256PublicKey::from_jwk(&issuer.public_jwk("rsa-2048").to_string())?;
    key.verify_token::<NoCustomClaims>(&token, None)?;

    let at = provider.addr();
    for (kid, alg) in [("p-256", "ES256"), ("ed25519", "EdDSA")] {
        provider.rotate(&issuer.private_jwks_of(&[kid])).await?;
        let header = part(&provider.token(AUDIENCE).await?, 0)?;
        assert_eq!((&header["kid"], &header["alg"]), (&json!(kid), &json!(alg)));
        assert_eq!(served_kids(&provider).await?, [kid]);
    }
    assert_eq!(provider.addr(), at);

    provider.stop().await?;
    provider.stop().await?;
    assert!(provider.token(AUDIENCE).await.is_err());
    Ok(())
}

#[tokio::test]
async fn any_issuer_and_any_audience() -> Result<()> {
    let keys = Issuer::new().private_jwks_of(&["p-256"]);
    let provider = OpenIdProvider::start_as(ISSUER, &keys).await?;
    assert_eq!(provider.metadata().await?["issuer"], ISSUER);
    let audience = "https://orders.example.com/a?b=c&d";
    let claims = part(&provider.token(audience).await?, 1)?;
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(audience)));
    Ok(())
}

#[tokio::test]
async fn dropping_ends_it() -> Result<()> {
    let provider = OpenIdProvider::start(&Issuer::new().private_jwks_of(&["p-256"])).await?;
    let addr = provider.addr();
    drop(provider);
    wait::until(Duration::from_secs(5), "the dropped provider to end", async || {
        TcpStream::connect(addr).await.is_err().then_some(())
    })
    .await
}

#[tokio::test]
async fn one_that_does_not_start_says_why() {
    let error = OpenIdProvider::start(&json!({"keys": [{"kty": "RSA"}]})).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("the provider refused"), "{error}");
    assert!(error.contains("the provider said"), "{error}");
}
