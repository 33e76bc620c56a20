//! The path of a request as rules see it.
//!
//! A rule that reads a path otherwise than the upstream does is a hole: with
//! `/public` open to all, `/public/%2e%2e/admin` must not pass for public. So a
//! path is decoded once and read only if there is one way to read it; anything
//! that servers are known to read differently is refused:
//!
//! | in the path | why |
//! |---|---|
//! | `.` or `..` as a segment, encoded or not | removed by some, kept by others |
//! | an empty segment, as in `//` | merged by some |
//! | `%2f`, `%5c`, `\` | a separator for some |
//! | `;` | begins a path parameter for Java servers, which drop it: `/..;/` |
//! | `%00` and other control characters; bare ones also in the query | ends the path for some |
//! | `%` without two hex digits | kept, dropped or refused |
//!
//! Envoy's `normalize_path`, `merge_slashes` and
//! `path_with_escaped_slashes_action` turn most of these into one reading
//! before the filter sees them, and then they are not refused.

use std::borrow::Cow;
use std::fmt;

/// A decoded path that has one reading only: no query, no fragment, no encoded
/// byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a>(Cow<'a, [u8]>);

/// The path can be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmbiguousPath;

impl fmt::Display for AmbiguousPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path can be read in more than one way")
    }
}

impl<'a> RequestPath<'a> {
    /// Reads the `:path` of a request.
    ///
    /// # Errors
    /// If servers are known to read it differently.
    pub fn parse(target: &'a [u8]) -> Result<Self, AmbiguousPath> {
        // No part of a target has any (RFC 3986), so the query that a filter writes back
        // has none either.
        if target.iter().any(u8::is_ascii_control) {
            return Err(AmbiguousPath);
        }
        let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let raw = end.and_then(|end| target.get(..end)).unwrap_or(target);
        // `OPTIONS *` asks about the server as a whole (RFC 9110 section 7.1).
        if raw == b"*" {
            return Ok(Self(Cow::Borrowed(raw)));
        }
        let decoded = decode(raw)?;
        let segments = decoded.strip_prefix(b"/").ok_or(AmbiguousPath)?;
        let last = segments.split(|byte| *byte == b'/').count();
        for (index, segment) in segments.split(|byte| *byte == b'/').enumerate() {
            let is_last = index + 1 == last;
            if matches!(segment, b"." | b"..") || (segment.is_empty() && !is_last) {
                return Err(AmbiguousPath);
            }
        }
        Ok(Self(decoded))
    }

    /// The path's bytes, beginning with `/`, or `*`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn decode(raw: &[u8]) -> Result<Cow<'_, [u8]>, AmbiguousPath> {
    let ambiguous = |byte: u8| byte.is_ascii_control() || matches!(byte, b'\\' | b';');
    if !raw.contains(&b'%') {
        return if raw.iter().any(|byte| ambiguous(*byte)) {
            Err(AmbiguousPath)
        } else {
            Ok(Cow::Borrowed(raw))
        };
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            if ambiguous(byte) {
                return Err(AmbiguousPath);
            }
            decoded.push(byte);
            continue;
        }
        let (hex, tail) = rest.split_first_chunk::<2>().ok_or(AmbiguousPath)?;
        rest = tail;
        let byte = hex_byte(*hex).ok_or(AmbiguousPath)?;
        if ambiguous(byte) || byte == b'/' {
            return Err(AmbiguousPath);
        }
        decoded.push(byte);
    }
    Ok(Cow::Owned(decoded))
}

fn hex_byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}
