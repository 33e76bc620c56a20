//! Where the token of a request is, and how it is taken out of there.

use mesh_filters_config::{Errors, HeaderField};
use mesh_filters_policy::pairs::{cookies, query, value_of};
use mesh_filters_policy::{Headers, is_field_value};

use crate::config::SourceConfig;
use crate::reason::Reason;

/// A place that may hold a token.
#[derive(Debug)]
pub(crate) enum Source {
    /// A header, and what stands before the token in it.
    Header(HeaderField, Option<Prefix>),
    /// A cookie.
    Cookie(Vec<u8>),
    /// A query parameter.
    Query(Vec<u8>),
}

/// What stands before a token, such as a scheme and a space.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// Without the spaces at its end.
    word: Vec<u8>,
    /// Whether a space parts the word from the token.
    spaced: bool,
}

impl Source {
    /// Compiles the source that stands at `path`.
    pub fn compile(config: &SourceConfig, path: &str, errors: &Errors) -> Option<Self> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        match (&config.header, &config.cookie, &config.query) {
            (Some(header), None, None) => {
                let prefix = config.prefix.as_ref().map(|prefix| Prefix {
                    word: bytes(prefix.trim_end()),
                    spaced: prefix.ends_with(' '),
                });
                Some(Self::Header(header.clone(), prefix))
            }
            (None, Some(cookie), None) if config.prefix.is_none() => {
                Some(Self::Cookie(bytes(cookie)))
            }
            (None, None, Some(query)) if config.prefix.is_none() => Some(Self::Query(bytes(query))),
            _ => {
                errors.add_about_fields(
                    path,
                    "must have exactly one of header, cookie, query; a prefix goes with a header",
                );
                None
            }
        }
    }

    /// The token that this place holds, as the client wrote it.
    ///
    /// # Errors
    /// [`Reason::Missing`] if there is none, [`Reason::Duplicate`] if there is
    /// something else beside it: which of two identities counts is not ours to
    /// guess.
    pub fn find<'a>(&'a self, request: &'a Headers) -> Result<&'a [u8], Reason> {
        match self {
            // Envoy joins several Authorization headers into one, with commas. No
            // token holds a comma.
            Self::Header(name, prefix) => only(
                request
                    .values(name.as_str())
                    .flat_map(|value| value.split(|byte| *byte == b','))
                    .map(|value| Prefix::strip(prefix.as_ref(), value.trim_ascii())),
            ),
            Self::Cookie(name) => {
                only(cookies(request).filter_map(|it| value_of(it, name)).map(Some))
            }
            Self::Query(name) => only(
                query(request.first(":path").unwrap_or_default())
                    .filter_map(|it| value_of(it, name))
                    .map(Some),
            ),
        }
    }

    /// Takes the token out of the request, so that it is not lent to the upstream.
    pub fn strip(&self, request: &mut Headers) {
        match self {
            Self::Header(header, _) => {
                request.remove_if(|name| name.eq_ignore_ascii_case(header.as_str().as_bytes()));
            }
            Self::Cookie(name) => {
                // What is no field value must not be written back, see `Headers::set`.
                let kept: Vec<_> = cookies(request)
                    .filter(|it| value_of(it, name).is_none() && is_field_value(it))
                    .collect();
                let kept = kept.join(b"; ".as_slice());
                if kept.is_empty() {
                    request.remove_if(|name| name.eq_ignore_ascii_case(b"cookie"));
                } else {
                    request.set("cookie", kept);
                }
            }
            Self::Query(name) => {
                let target = request.first(":path").unwrap_or_default();
                let kept: Vec<_> =
                    query(target).filter(|it| value_of(it, name).is_none()).collect();
                let mut path =
                    target.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
                if !kept.is_empty() {
                    path.push(b'?');
                    path.extend(kept.join(b"&".as_slice()));
                }
                request.set(":path", path);
            }
        }
    }
}

impl Prefix {
    /// The token behind the prefix, which is not case-sensitive, as an
    /// authentication scheme is not (RFC 9110 section 11.1). `None` if the value
    /// does not begin with it.
    fn strip<'a>(prefix: Option<&Self>, value: &'a [u8]) -> Option<&'a [u8]> {
        let Some(Self { word, spaced }) = prefix else {
            return Some(value).filter(|value| !value.is_empty());
        };
        let (found, token) = value.split_at_checked(word.len())?;
        let parted = !spaced || matches!(token, [] | [b' ', ..]);
        (found.eq_ignore_ascii_case(word) && parted).then(|| token.trim_ascii())
    }
}

/// The one token among all that stands there.
fn only<'a>(mut found: impl Iterator<Item = Option<&'a [u8]>>) -> Result<&'a [u8], Reason> {
    match (found.next(), found.next()) {
        (Some(Some(token)), None) => Ok(token),
        (None | Some(None), None) => Err(Reason::Missing),
        (first, second) => {
            let among_the_first = first.flatten().or(second.flatten()).is_some();
            let any = among_the_first || found.any(|it| it.is_some());
            Err(if any { Reason::Duplicate } else { Reason::Missing })
        }
    }
}
