//! The tour as data: what is sent, and what it has to lead to.

use crate::tokens::Token;

/// One request, why it is worth a look, and what must come of it.
pub struct Step {
    /// The headline.
    pub title: &'static str,
    /// What the client sends.
    pub ask: Ask,
    /// What must come of it.
    pub expect: Expect,
}

/// A request.
pub struct Ask {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// Sent as `authorization: Bearer <token>`.
    pub token: Option<Token>,
    /// One more header.
    pub header: Option<(&'static str, &'static str)>,
    /// The body.
    pub body: &'static str,
}

/// What must come of a request.
pub enum Expect {
    /// The issuer, not Envoy, is asked, and gives a token.
    Token,
    /// The filter answers, and nothing reaches the upstream.
    Refused {
        /// What it answers.
        answer: Answer,
        /// What it counts.
        reason: &'static str,
    },
    /// The upstream gets the request, with this user or none, but no token.
    Passed {
        /// The value of `x-user-id`.
        user: Option<&'static str>,
        /// What the filter counts.
        reason: &'static str,
    },
}

/// An answer of the filter, status 401.
pub struct Answer {
    /// The header `www-authenticate`.
    pub challenge: &'static str,
    /// The body, without the newline at its end.
    pub body: &'static str,
}

const TOKEN_REQUIRED: Answer =
    Answer { challenge: r#"Bearer realm="corp""#, body: r#"{"error":"token_required"}"# };

const INVALID_TOKEN: Answer = Answer {
    challenge: r#"Bearer realm="corp", error="invalid_token""#,
    body: r#"{"error":"invalid_token"}"#,
};

const fn get(path: &'static str) -> Ask {
    Ask { method: "GET", path, token: None, header: None, body: "" }
}

const fn with(token: Token) -> Ask {
    Ask { token: Some(token), ..get("/orders") }
}

/// The tour.
pub const STEPS: &[Step] = &[
    Step {
        title: "No token: nobody gets in without one",
        ask: get("/orders"),
        expect: Expect::Refused { answer: TOKEN_REQUIRED, reason: "missing" },
    },
    Step {
        title: "A token from the issuer, got as any client gets its own",
        ask: Ask { method: "POST", body: r#"{"sub":"alice"}"#, ..get("/token") },
        expect: Expect::Token,
    },
    Step {
        title: "A good token: the upstream learns who it is, and never sees the token",
        ask: with(Token::Good),
        expect: Expect::Passed { user: Some("alice"), reason: "ok" },
    },
    Step {
        title: "An expired token: what was stolen long ago is worth nothing",
        ask: with(Token::Expired),
        expect: Expect::Refused { answer: INVALID_TOKEN, reason: "expired" },
    },
    Step {
        title: "A tampered token: nobody becomes root by editing their own",
        ask: with(Token::Tampered),
        expect: Expect::Refused { answer: INVALID_TOKEN, reason: "signature" },
    },
    Step {
        title: "alg: none: a token has no say in whether it is checked",
        ask: with(Token::Unsigned),
        expect: Expect::Refused { answer: INVALID_TOKEN, reason: "algorithm" },
    },
    Step {
        title: "A spoofed x-user-id: only the token says who it is",
        ask: Ask { header: Some(("x-user-id", "root")), ..with(Token::Good) },
        expect: Expect::Passed { user: Some("alice"), reason: "ok" },
    },
    Step {
        title: "The same on an open path: no token asked for, no name believed",
        ask: Ask { header: Some(("x-user-id", "root")), ..get("/public") },
        expect: Expect::Passed { user: None, reason: "anonymous" },
    },
];
