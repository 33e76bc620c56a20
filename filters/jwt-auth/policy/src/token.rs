//! Where the token of a request is (RFC 6750 section 2.1).

use mesh_filters_policy::Headers;

use crate::reason::Reason;

const HEADER: &str = "authorization";
const SCHEME: &[u8] = b"bearer";

/// Returns the bearer token of a request's `Authorization` header, as the client
/// wrote it.
///
/// # Errors
/// [`Reason::Missing`] without one, [`Reason::Duplicate`] if there are other
/// credentials beside it: which of two identities counts is not ours to guess.
pub(crate) fn bearer(request: &Headers) -> Result<&[u8], Reason> {
    // Envoy joins several Authorization headers into one, with commas. No token
    // holds a comma.
    let mut credentials =
        request.values(HEADER).flat_map(|value| value.split(|byte| *byte == b',')).map(token_of);
    match (credentials.next(), credentials.next()) {
        (Some(Some(token)), None) => Ok(token),
        (None | Some(None), None) => Err(Reason::Missing),
        (first, second) => {
            let any = first.flatten().or(second.flatten()).is_some()
                || credentials.any(|it| it.is_some());
            Err(if any { Reason::Duplicate } else { Reason::Missing })
        }
    }
}

/// The token, if these credentials are of the scheme `Bearer`. The scheme is not
/// case-sensitive (RFC 9110 section 11.1), and a space parts it from the token.
fn token_of(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.trim_ascii().split_at_checked(SCHEME.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && matches!(token, [] | [b' ', ..]);
    is_bearer.then(|| token.trim_ascii())
}

/// Takes the token out of the request, so that it is not lent to the upstream.
pub(crate) fn strip(request: &mut Headers) {
    request.remove_if(|name| name.eq_ignore_ascii_case(HEADER.as_bytes()));
}
