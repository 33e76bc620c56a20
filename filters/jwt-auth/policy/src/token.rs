//! Where the token of a request is (RFC 6750 section 2.1).

use mesh_filters_policy::Headers;

use crate::reason::Reason;

const HEADER: &str = "authorization";
const SCHEME: &[u8] = b"bearer";

/// Returns the bearer token of a request's `Authorization` header, as the client
/// wrote it.
///
/// # Errors
/// [`Reason::Missing`] without one, [`Reason::Duplicate`] if the header stands
/// there twice: which of two identities counts is not ours to guess.
pub(crate) fn bearer(request: &Headers) -> Result<&[u8], Reason> {
    let mut values = request.values(HEADER);
    let value = values.next().ok_or(Reason::Missing)?;
    if values.next().is_some() {
        return Err(Reason::Duplicate);
    }
    let (scheme, token) = value.split_at_checked(SCHEME.len()).ok_or(Reason::Missing)?;
    // The scheme is not case-sensitive (RFC 9110 section 11.1), and at least one
    // space parts it from the token.
    if !scheme.eq_ignore_ascii_case(SCHEME) || token.first().is_some_and(|byte| *byte != b' ') {
        return Err(Reason::Missing);
    }
    Ok(token.trim_ascii())
}

/// Takes the token out of the request, so that it is not lent to the upstream.
pub(crate) fn strip(request: &mut Headers) {
    request.remove_if(|name| name.eq_ignore_ascii_case(HEADER.as_bytes()));
}
