//! The tokens of the issuer, seen by a library that shares no code with it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test calls may fail it"
)]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::client::{self, Request, Response};
use harness::issuer::{self, ALGORITHMS, Issuer, IssuerServer, KEYS_PATH, METADATA_PATH};
use harness::upstream::Reply;
use jwt_simple::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Claims = JWTClaims<NoCustomClaims>;

fn verify(issuer: &Issuer, kid: &str, alg: &str, token: &str) -> Result<Claims, jwt_simple::Error> {
    let secret = || issuer.secret();
    let jwk = || issuer.public_jwk(kid).to_string();
    match alg {
        "RS256" => RS256PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "RS384" => RS384PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "RS512" => RS512PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "PS256" => PS256PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "PS384" => PS384PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "PS512" => PS512PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "ES256" => ES256PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "ES384" => ES384PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "EdDSA" => Ed25519PublicKey::from_jwk(&jwk())?.verify_token(token, None),
        "HS256" => HS256Key::from_bytes(&secret()).verify_token(token, None),
        "HS384" => HS384Key::from_bytes(&secret()).verify_token(token, None),
        "HS512" => HS512Key::from_bytes(&secret()).verify_token(token, None),
        _ => panic!("{alg}"),
    }
}

fn part(token: &str, index: usize) -> Vec<u8> {
    let text = token.split('.').nth(index).unwrap();
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&part(token, 0)).unwrap()
}

#[test]
fn every_algorithm_is_verified_by_another_library() {
    let issuer = Issuer::new();
    for (alg, kid) in ALGORITHMS {
        let token = issuer.sign(kid, alg, &json!({}), &issuer.claims("alice"));
        let claims = verify(&issuer, kid, alg, &token).unwrap_or_else(|e| panic!("{alg}: {e}"));
        assert_eq!(claims.subject.as_deref(), Some("alice"), "{alg}");
        assert_eq!(header(&token)["kid"], kid);
    }
}

#[test]
fn the_header_can_lie() {
    let issuer = Issuer::new();
    let extra = json!({"alg": "ES256", "kid": null, "crit": ["b64"]});
    let token = issuer.sign("rsa-2048", "RS256", &extra, &json!([1]));
    assert_eq!(header(&token), json!({"alg": "ES256", "typ": "JWT", "crit": ["b64"]}));
    assert_eq!(part(&token, 1), b"[1]");
    assert_eq!(part(&token, 2).len(), 256);
}

#[test]
fn none_has_an_empty_signature() {
    let issuer = Issuer::new();
    let token = issuer.sign("rsa-2048", "none", &json!({}), &issuer.claims("mallory"));
    assert!(token.ends_with('.'), "{token}");
    assert_eq!(header(&token)["alg"], "none");
}

#[test]
fn the_public_rsa_key_can_serve_as_a_secret() {
    let pem = Issuer::new().rsa_public_pem();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"), "{pem}");
    let token =
        issuer::compact(r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"sub":"mallory"}"#, |message| {
            issuer::hmac(pem.as_bytes(), "HS256", message).unwrap()
        });
    let key = HS256Key::from_bytes(pem.as_bytes());
    assert!(key.verify_token::<NoCustomClaims>(&token, None).is_ok());
}

#[test]
fn the_jwks_is_public() {
    let jwks = Issuer::new().jwks();
    let keys = jwks["keys"].as_array().unwrap();
    let kids: Vec<_> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, ["rsa-2048", "p-256", "p-384", "ed25519"]);
    for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
        assert!(keys.iter().all(|key| key.get(private).is_none()));
    }
}

#[tokio::test]
async fn serves_keys_metadata_and_tokens() {
    let server = issuer::serve().await.unwrap();
    let keys = client::h1(server.addr(), Request::get("/keys")).await.unwrap();
    assert_eq!(keys.json().unwrap(), Issuer::new().jwks());

    let path = "/.well-known/openid-configuration";
    let request = Request::get(path).header("host", server.addr().to_string());
    let metadata = client::h1(server.addr(), request).await.unwrap().json().unwrap();
    assert_eq!(metadata["jwks_uri"], format!("http://{}/keys", server.addr()));

    let wish = json!({"sub": "bob", "exp_in": 60, "alg": "ES256"});
    let request = Request::post("/token", wish.to_string());
    let answer = client::h1(server.addr(), request).await.unwrap().json().unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let claims = verify(&Issuer::new(), "p-256", "ES256", token).unwrap();
    let (issued, expires) = (claims.issued_at.unwrap(), claims.expires_at.unwrap());
    assert!((expires - issued).as_secs().abs_diff(60) <= 1);

    let request = Request::post("/token", r#"{"sub": "bob", "alg": "XS256"}"#);
    let refused = client::h1(server.addr(), request).await.unwrap();
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("XS256"), "{}", refused.text());
    assert_eq!(server.requests().len(), 4);
}

async fn get(server: &IssuerServer, path: &str) -> Result<Response, anyhow::Error> {
    let request = Request::get(path).deadline(Duration::from_millis(500));
    client::h1(server.addr(), request).await
}

#[tokio::test]
async fn serves_other_keys_when_told() {
    let server = issuer::serve().await.unwrap();
    for kids in [["p-256"].as_slice(), &["ed25519", "rsa-2048"]] {
        let jwks = Issuer::new().jwks_of(kids);
        server.set_keys(&jwks);
        assert_eq!(get(&server, KEYS_PATH).await.unwrap().json().unwrap(), jwks);
    }
    server.reply_as_usual(KEYS_PATH);
    let usual = get(&server, KEYS_PATH).await.unwrap().json().unwrap();
    assert_eq!(usual, Issuer::new().jwks());
    get(&server, &format!("{METADATA_PATH}?a=b")).await.unwrap();
    assert_eq!((server.count_of(KEYS_PATH), server.count_of(METADATA_PATH)), (3, 1));
}

#[tokio::test]
async fn fails_in_every_way() {
    let server = issuer::serve().await.unwrap();
    server.reply(KEYS_PATH, Reply::status(500));
    assert_eq!(get(&server, KEYS_PATH).await.unwrap().status, 500);
    server.reply(KEYS_PATH, Reply::status(200).body("{\"keys\": ["));
    assert!(get(&server, KEYS_PATH).await.unwrap().json().is_err());
    server.reply(KEYS_PATH, Reply::status(200).body(vec![b' '; 4 << 20]));
    assert_eq!(get(&server, KEYS_PATH).await.unwrap().body.len(), 4 << 20);
    let hello = Reply::status(200).body("hello");
    for reply in [Reply::never(), hello.clone().stalling(), hello.repeating()] {
        server.reply(KEYS_PATH, reply);
        let error = get(&server, KEYS_PATH).await.unwrap_err();
        assert!(format!("{error:#}").contains("no answer"), "{error:#}");
    }
    server.reply(KEYS_PATH, Reply::reset());
    let error = get(&server, KEYS_PATH).await.unwrap_err();
    assert!(!format!("{error:#}").contains("no answer"), "{error:#}");
    // A path that nobody changed answers throughout.
    assert_eq!(get(&server, METADATA_PATH).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_without_end_begins() {
    let server = issuer::serve().await.unwrap();
    for (reply, begin) in [
        (Reply::status(200).body("begun").stalling(), "begun"),
        (Reply::status(200).body("again").repeating(), "again\r\n5\r\nagain"),
    ] {
        server.reply(KEYS_PATH, reply);
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(b"GET /keys HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let read = async {
            let mut answer = Vec::new();
            while !String::from_utf8_lossy(&answer).contains(begin) {
                assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
            }
        };
        tokio::time::timeout(client::DEADLINE, read).await.unwrap();
    }
}

#[tokio::test]
async fn stops_and_comes_back_on_its_port() {
    let server = issuer::serve().await.unwrap();
    server.resume().await.unwrap();
    let mut open = TcpStream::connect(server.addr()).await.unwrap();
    get(&server, KEYS_PATH).await.unwrap();
    for _ in 0..3 {
        server.stop().await;
        server.stop().await;
        let error = get(&server, KEYS_PATH).await.unwrap_err();
        assert!(format!("{error:#}").contains("refused"), "{error:#}");
        server.resume().await.unwrap();
        get(&server, KEYS_PATH).await.unwrap();
    }
    assert!(matches!(open.read(&mut [0]).await, Ok(0) | Err(_)), "the connection is broken off");
    assert_eq!(server.count_of(KEYS_PATH), 4);
}
