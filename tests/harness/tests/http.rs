//! The clients and the upstream, against each other.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test calls may fail it"
)]

use std::time::Duration;

use anyhow::Result;
use harness::client::{self, Request};
use harness::upstream::{Reply, Upstream};
use serde_json::json;

fn request() -> Request {
    Request::post("/a/b?c=d", "hello")
        .header("x-marker", "one")
        .header("x-twice", "1")
        .header("x-twice", "2")
        .header("x-bytes", [b'a', 0xff, 0xfe])
}

#[tokio::test]
async fn echoes_and_records_in_both_versions() -> Result<()> {
    let upstream = Upstream::start().await?;
    let h1 = client::h1(upstream.addr(), request()).await?;
    let h2 = client::h2(upstream.addr(), request()).await?;
    for response in [&h1, &h2] {
        assert_eq!(response.status, 200);
        let echo = response.json()?;
        assert_eq!(echo["method"], "POST");
        assert_eq!(echo["path"], "/a/b?c=d");
        assert_eq!(echo["body"], "hello");
        let headers = echo["headers"].as_array().unwrap();
        assert!(headers.contains(&json!(["x-twice", "2"])), "{echo}");
    }
    let records = upstream.take();
    assert_eq!(records[0].version, http::Version::HTTP_11);
    assert_eq!(records[1].version, http::Version::HTTP_2);
    assert_eq!(records[0].header("host").as_deref(), Some("localhost"));
    assert_eq!(records[1].authority.as_deref(), Some("localhost"));
    for record in &records {
        assert_eq!(record.header_all("X-Twice"), ["1", "2"]);
        let kept = (String::from("x-bytes"), vec![b'a', 0xff, 0xfe]);
        assert!(record.headers.contains(&kept), "{record:?}");
    }
    assert_eq!((upstream.requests().len(), upstream.count()), (0, 2));
    Ok(())
}

#[tokio::test]
async fn finds_the_request_of_one_test() -> Result<()> {
    let upstream = Upstream::start().await?;
    for marker in ["one", "two", "three"] {
        let request = Request::get("/").header("x-marker", marker);
        client::h1(upstream.addr(), request).await?;
    }
    let found = upstream.find(|r| r.header("x-marker").as_deref() == Some("two"));
    assert!(found.is_some());
    assert!(upstream.find(|r| r.path == "/other").is_none());
    Ok(())
}

#[tokio::test]
async fn answers_as_the_script_says() -> Result<()> {
    let upstream = Upstream::scripted(|request| match request.path.as_str() {
        "/reset" => Reply::reset(),
        "/slow" => Reply::status(200).delay(Duration::from_mins(1)),
        _ => Reply::status(418)
            .header("x-made-of", b"clay\xff")
            .body("short")
            .trailer("x-checked", "yes"),
    })
    .await?;

    let teapot = client::h2(upstream.addr(), Request::get("/")).await?;
    assert_eq!((teapot.status, teapot.text().as_str()), (418, "short"));
    assert_eq!(teapot.headers[0].1, b"clay\xff");
    assert_eq!(teapot.trailers, [("x-checked".to_owned(), b"yes".to_vec())]);

    assert!(client::h1(upstream.addr(), Request::get("/reset")).await.is_err());
    assert!(client::h2(upstream.addr(), Request::get("/reset")).await.is_err());

    let slow = Request::get("/slow").deadline(Duration::from_millis(50));
    let error = client::h1(upstream.addr(), slow).await.unwrap_err();
    assert!(format!("{error:#}").contains("no answer in 50ms"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn raw_sends_what_no_library_would() -> Result<()> {
    let upstream = Upstream::start().await?;
    let bytes = b"GET /raw HTTP/1.1\r\nhost: a\r\nauthorization: x\r\n\
                  authorization: y\xff\r\n\r\n";
    let answer = client::raw(upstream.addr(), bytes).await?;
    assert_eq!(client::status_of(&answer), Some(200));
    let seen = upstream.find(|r| r.path == "/raw").unwrap();
    assert_eq!(seen.header_all("authorization").len(), 2);

    let two = b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n\
                GET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = client::raw_until_close(upstream.addr(), two).await?;
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");

    let head = b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = client::raw(upstream.addr(), head).await?;
    assert!(answer.ends_with(b"\r\n\r\n"));
    Ok(())
}

#[tokio::test]
async fn raw_gets_an_answer_that_comes_before_the_end_of_the_request() -> Result<()> {
    let upstream = Upstream::start().await?;
    let mut bytes = b"GET / HTTP/1.1\r\nhost: a\r\nx-long: ".to_vec();
    bytes.resize(8 * 1024 * 1024, b'a');
    let answer = client::raw(upstream.addr(), &bytes).await?;
    assert_eq!(client::status_of(&answer), Some(431));
    Ok(())
}
