//! The tokens that clients show: the issuer's, and what an attacker makes of one.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::issuer::{Issuer, now};
use serde_json::{Value, json};

/// How much of a token is shown.
const SHOWN: usize = 6;

/// What a client shows for a token.
#[derive(Clone, Copy)]
pub enum Token {
    /// The one that the issuer gave out in the tour.
    Good,
    /// One like it, too old.
    Expired,
    /// The good one, with another subject under the same signature.
    Tampered,
    /// The good one with another subject, which says that it needs no signature.
    Unsigned,
}

impl Token {
    /// What the reader should know of it.
    pub fn note(self) -> &'static str {
        match self {
            Self::Good => "alice's",
            Self::Expired => "alice's, expired a minute ago",
            Self::Tampered => "alice's, its sub changed to root",
            Self::Unsigned => "alg none, sub root, no signature",
        }
    }

    /// The token itself, made from the `good` one as far as an attacker can.
    pub fn text(self, good: &str) -> Result<String> {
        match self {
            Self::Good => Ok(good.to_owned()),
            Self::Expired => Ok(expired()),
            Self::Tampered => tampered(good),
            Self::Unsigned => unsigned(good),
        }
    }
}

/// As much of the tokens in this text as tells them from other words.
pub fn shortened(text: &str) -> String {
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut short = String::new();
    for piece in text.split_inclusive(|c| !of_token(c)) {
        let word = piece.trim_end_matches(|c| !of_token(c));
        // How the base64 of an object with any first member begins.
        if word.starts_with("eyJ") && word.contains('.') {
            short.extend(word.chars().take(SHOWN));
            short.push_str("...");
            short.extend(piece.strip_prefix(word));
        } else {
            short.push_str(piece);
        }
    }
    short
}

fn expired() -> String {
    let issuer = Issuer::new();
    let mut claims = issuer.claims("alice");
    if let Some(exp) = claims.get_mut("exp") {
        *exp = json!(now() - 60);
    }
    issuer.sign("rsa-2048", "RS256", &json!({}), &claims)
}

fn tampered(good: &str) -> Result<String> {
    let (header, payload, signature) = parts(good)?;
    Ok(format!("{header}.{}.{signature}", as_root(payload)?))
}

fn unsigned(good: &str) -> Result<String> {
    let (_, payload, _) = parts(good)?;
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    Ok(format!("{header}.{}.", as_root(payload)?))
}

fn parts(token: &str) -> Result<(&str, &str, &str)> {
    let parts = token.split_once('.').and_then(|(header, rest)| {
        let (payload, signature) = rest.split_once('.')?;
        Some((header, payload, signature))
    });
    parts.context("a token has three parts")
}

fn as_root(payload: &str) -> Result<String> {
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    *claims.get_mut("sub").context("a token has a subject")? = json!("root");
    Ok(URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn tampering_changes_the_subject_alone() {
        let good = Issuer::new().good("alice");
        let forged = Token::Tampered.text(&good).unwrap();
        let (before, after) = (parts(&good).unwrap(), parts(&forged).unwrap());
        assert_eq!((before.0, before.2), (after.0, after.2));
        let mut expected = decoded(before.1);
        expected["sub"] = json!("root");
        assert_eq!(decoded(after.1), expected);
    }

    #[test]
    fn a_token_without_signature_ends_with_a_dot() {
        let forged = Token::Unsigned.text(&Issuer::new().good("alice")).unwrap();
        let (header, payload, signature) = parts(&forged).unwrap();
        assert_eq!(decoded(header)["alg"], "none");
        assert_eq!(decoded(payload)["sub"], "root");
        assert_eq!(signature, "");
    }

    #[test]
    fn no_token_is_shown_whole() {
        let good = Issuer::new().good("alice");
        assert_eq!(shortened(&good), "eyJhbG...");
        let answer = json!({"access_token": good, "token_type": "Bearer"}).to_string();
        assert_eq!(shortened(&answer), r#"{"access_token":"eyJhbG...","token_type":"Bearer"}"#);
        let other = "any words. are left (127.0.0.1:80) eyJ";
        assert_eq!(shortened(other), other);
    }
}
