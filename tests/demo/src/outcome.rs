//! What came of a request, beside what had to.

use harness::client::Response;
use harness::upstream::Recorded;
use http::StatusCode;

use crate::steps::Expect;
use crate::tokens::shortened;

/// Something to see of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// The status of the response.
    Status,
    /// The header `www-authenticate` of the response.
    Challenge,
    /// The body of the response.
    Body,
    /// What reached the upstream.
    Upstream,
}

impl Aspect {
    /// What stands before its value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Status | Self::Body => "< ",
            Self::Challenge => "< www-authenticate: ",
            Self::Upstream => "the upstream saw ",
        }
    }
}

/// What is to be seen of an aspect; nothing of a header that is not there.
pub type Fact = (Aspect, Option<String>);

impl Expect {
    /// What has to be seen.
    pub fn facts(&self) -> Vec<Fact> {
        match self {
            Self::Token => vec![
                status(StatusCode::OK),
                body(r#"{"access_token":"eyJhbG...","token_type":"Bearer"}"#),
            ],
            Self::Refused { answer, .. } => vec![
                status(StatusCode::UNAUTHORIZED),
                (Aspect::Challenge, Some(answer.challenge.to_owned())),
                body(answer.body),
                (Aspect::Upstream, Some("nothing".to_owned())),
            ],
            Self::Passed { user, .. } => vec![
                status(StatusCode::OK),
                (Aspect::Challenge, None),
                upstream(user.as_slice(), &[]),
            ],
        }
    }
}

/// What came of a request.
pub struct Outcome {
    /// What the client got.
    pub response: Response,
    /// What the upstream got, if anything.
    pub seen: Option<Recorded>,
}

impl Outcome {
    /// What is to be seen of this aspect.
    pub fn fact(&self, aspect: Aspect) -> Fact {
        match aspect {
            Aspect::Status => match StatusCode::from_u16(self.response.status) {
                Ok(code) => status(code),
                Err(_) => (aspect, Some(self.response.status.to_string())),
            },
            Aspect::Challenge => (aspect, self.response.header("www-authenticate")),
            Aspect::Body => body(self.response.text().trim_end()),
            Aspect::Upstream => match &self.seen {
                Some(seen) => {
                    upstream(&seen.header_all("x-user-id"), &seen.header_all("authorization"))
                }
                None => (aspect, Some("nothing".to_owned())),
            },
        }
    }
}

fn status(code: StatusCode) -> Fact {
    (Aspect::Status, Some(code.to_string()))
}

fn body(text: &str) -> Fact {
    (Aspect::Body, Some(shortened(text)))
}

fn upstream(users: &[impl AsRef<str>], credentials: &[String]) -> Fact {
    let (user, credential) = (header("x-user-id", users), header("authorization", credentials));
    (Aspect::Upstream, Some(shortened(&format!("{user}, {credential}"))))
}

fn header(name: &str, values: &[impl AsRef<str>]) -> String {
    if values.is_empty() {
        return format!("no {name}");
    }
    let lines: Vec<_> = values.iter().map(|value| format!("{name}: {}", value.as_ref())).collect();
    lines.join(", ")
}
