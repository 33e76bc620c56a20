//! What a client is known by.

use std::borrow::Cow;

use mesh_filters_config::{Errors, HeaderField};
use mesh_filters_policy::claims::ClaimPath;
use mesh_filters_policy::matcher::RequestView;
use mesh_filters_policy::pairs::{cookies, value_of};
use mesh_filters_policy::{Env, Host};
use serde_json::Value;

use crate::config::{StickyConfig, StickyKeyConfig};
use crate::cookie::{self, Cookie};
use crate::shares::KeyedHash;

#[derive(Debug)]
enum Source {
    Claim(ClaimPath),
    Header(HeaderField),
    /// A cookie that others set.
    Cookie(String),
    OwnCookie,
}

/// Compiled stickiness of one experiment.
#[derive(Debug)]
pub(crate) struct Sticky {
    by: Vec<Source>,
    pub hash: KeyedHash,
    cookie: Option<Cookie>,
}

/// A key that a request has, and the cookie that renews it.
type Found<'a> = (Cow<'a, [u8]>, Option<Vec<u8>>);

/// What is known of a client.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    /// What it is known by, or will be; `None` if by nothing.
    pub key: Option<Cow<'a, [u8]>>,
    /// Whether it was known before.
    pub is_known: bool,
    /// The cookie that it is to get.
    pub set_cookie: Option<Vec<u8>>,
    /// Whether it sent a cookie that was not accepted.
    pub cookie_was_rejected: bool,
}

impl Sticky {
    /// Compiles the stickiness that stands at `path`.
    pub fn compile(
        config: &StickyConfig,
        experiment: &str,
        path: &str,
        host: &dyn Host,
        errors: &Errors,
    ) -> Self {
        let cookie = config.cookie.as_ref().and_then(|it| {
            Cookie::compile(it, experiment, &format!("{path}.cookie"), host, errors)
        });
        let own = config.cookie.as_ref().map(|it| it.name.as_str());
        let compile = |(index, it)| source(it, own, &format!("{path}.by[{index}]"), errors);
        let by: Vec<_> = config.by.iter().enumerate().filter_map(compile).collect();
        if let Some(name) = own
            && !config.by.iter().any(|it| it.cookie.as_ref().is_some_and(|it| it.as_str() == name))
        {
            errors.add(
                format_args!("{path}.by"),
                format!("must name the cookie \"{name}\" too, or it is never read"),
            );
        }
        Self { by, hash: KeyedHash::new(&config.salt), cookie }
    }

    /// The filter's own cookie.
    pub fn cookie_name(&self) -> Option<&str> {
        self.cookie.as_ref().map(Cookie::name)
    }

    /// The request headers that clients are known by, in lower case.
    pub fn request_headers(&self) -> impl Iterator<Item = &str> {
        self.by.iter().filter_map(|source| match source {
            Source::Claim(_) => None,
            Source::Header(header) => Some(header.as_str()),
            Source::Cookie(_) | Source::OwnCookie => Some("cookie"),
        })
    }

    /// Who the client is. One that is known by nothing gets the cookie, if there is
    /// one to get.
    pub fn client<'a>(&'a self, request: &RequestView<'a>, env: &Env<'_>) -> Client<'a> {
        let mut rejected = false;
        for source in &self.by {
            if let Some((key, set_cookie)) = self.look(source, request, env, &mut rejected) {
                return Client {
                    key: Some(key),
                    is_known: true,
                    set_cookie,
                    cookie_was_rejected: rejected,
                };
            }
        }
        let new = self.cookie.as_ref().map(|cookie| {
            let id = Cookie::new_id(env);
            (Cow::Owned(id.to_vec()), cookie.issue(&id, env.now))
        });
        let (key, set_cookie) = new.unzip();
        Client { key, is_known: false, set_cookie, cookie_was_rejected: rejected }
    }

    fn look<'a>(
        &'a self,
        source: &'a Source,
        request: &RequestView<'a>,
        env: &Env<'_>,
        rejected: &mut bool,
    ) -> Option<Found<'a>> {
        let key = match source {
            Source::Claim(path) => request.claims().find(path).and_then(text).map(Cow::Owned),
            Source::Header(header) => {
                let mut values = request.headers.values(header.as_str());
                values.find(|value| !value.is_empty()).map(Cow::Borrowed)
            }
            Source::Cookie(name) => {
                let mut values =
                    cookies(request.headers).filter_map(|pair| value_of(pair, name.as_bytes()));
                values.find(|value| !value.is_empty()).map(Cow::Borrowed)
            }
            Source::OwnCookie => {
                let cookie = self.cookie.as_ref()?;
                return match cookie.find(request.headers, env.now) {
                    cookie::Found::Good { id, is_stale } => {
                        let set_cookie = is_stale.then(|| cookie.issue(&id, env.now));
                        Some((Cow::Owned(id.to_vec()), set_cookie))
                    }
                    cookie::Found::Rejected => {
                        *rejected = true;
                        None
                    }
                    cookie::Found::None => None,
                };
            }
        };
        key.map(|key| (key, None))
    }
}

fn source(
    config: &StickyKeyConfig,
    own_cookie: Option<&str>,
    path: &str,
    errors: &Errors,
) -> Option<Source> {
    let StickyKeyConfig { claim, claim_path, header, cookie } = config;
    match (claim.is_some() || claim_path.is_some(), header, cookie) {
        (true, None, None) => {
            let path = ClaimPath::compile(claim.as_ref(), claim_path.as_ref(), path, errors);
            path.map(Source::Claim)
        }
        (false, Some(header), None) => Some(Source::Header(header.clone())),
        (false, None, Some(name)) if own_cookie == Some(name) => Some(Source::OwnCookie),
        (false, None, Some(name)) => Some(Source::Cookie(name.to_string())),
        _ => {
            errors.add_about_fields(
                path,
                "must have exactly one of claim, claim_path, header, cookie",
            );
            None
        }
    }
}

/// The text of a claim; lists and objects are nobody's name.
fn text(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone().into_bytes()),
        Value::Number(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}
