//! Bytes out, bytes in: for requests that no HTTP library agrees to send.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::DEADLINE;

/// Writes `bytes` and reads until one whole HTTP/1.1 response is there, the
/// other side closes, or the deadline passes; returns what was read until then.
pub async fn raw(addr: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let head_only = bytes.starts_with(b"HEAD ");
    exchange(addr, bytes, |answer| is_whole(answer, head_only)).await
}

/// Like [`raw`], but reads on until the other side closes: for pipelined
/// requests, and for what might have been smuggled in as one.
pub async fn raw_until_close(addr: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    exchange(addr, bytes, |_| false).await
}

/// The code in the status line that these bytes begin with.
pub fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|&byte| byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next()?.strip_prefix("HTTP/1.")?;
    words.next()?.parse().ok()
}

async fn exchange(
    addr: SocketAddr,
    bytes: &[u8],
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>> {
    let stream = TcpStream::connect(addr).await.with_context(|| format!("connecting to {addr}"))?;
    let (mut reader, mut writer) = stream.into_split();
    let mut answer = Vec::new();
    let read = async {
        let mut chunk = vec![0; 16 * 1024];
        // A reset ends the answer like an orderly close does: a server that
        // refuses a request need not read the rest of it.
        while let Ok(count @ 1..) = reader.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..count]);
            if enough(&answer) {
                break;
            }
        }
    };
    // Reading goes on while writing does: a server may answer, and close, long
    // before it was sent everything.
    let write = async {
        drop(writer.write_all(bytes).await);
        std::future::pending::<()>().await;
    };
    let talk = async {
        tokio::select! {
            () = read => {}
            () = write => {}
        }
    };
    // What was read until the deadline is an answer too.
    drop(tokio::time::timeout(DEADLINE, talk).await);
    Ok(answer)
}

fn is_whole(answer: &[u8], head_only: bool) -> bool {
    let Some(end) = find(answer, b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    match status_of(head) {
        Some(101 | 204 | 304) => return true,
        Some(100..200) => return is_whole(body, head_only),
        _ if head_only => return true,
        _ => {}
    }
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    if field("transfer-encoding").is_some() {
        return ends_chunked(body);
    }
    field("content-length")
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: usize| body.len() >= length)
}

fn ends_chunked(mut body: &[u8]) -> bool {
    while let Some(end) = find(body, b"\r\n") {
        let (size, rest) = body.split_at(end);
        let size = String::from_utf8_lossy(size);
        let size = size.split(';').next().unwrap_or_default().trim();
        match usize::from_str_radix(size, 16) {
            Ok(0) => return find(rest, b"\r\n\r\n").is_some(),
            Ok(size) => body = rest.get(size + 4..).unwrap_or_default(),
            Err(_) => return false,
        }
    }
    false
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_status_line() {
        assert_eq!(status_of(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Some(403));
        assert_eq!(status_of(b"HTTP/1.1 200\r\n"), Some(200));
        assert_eq!(status_of(b""), None);
        assert_eq!(status_of(b"\xff\xfe garbage"), None);
    }

    #[test]
    fn knows_when_a_response_is_whole() {
        let whole = |bytes: &[u8]| is_whole(bytes, false);
        assert!(!whole(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na"));
        assert!(whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"));
        assert!(whole(b"HTTP/1.1 204 No Content\r\n\r\n"));
        assert!(!whole(b"HTTP/1.1 100 Continue\r\n\r\n"));
        assert!(!whole(b"HTTP/1.1 200 OK\r\n\r\nuntil close"));
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert!(whole(chunked));
        assert!(!whole(&chunked[..chunked.len() - 2]));
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
        assert!(is_whole(head, true));
    }
}
