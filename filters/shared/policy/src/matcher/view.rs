//! A request as conditions see it.

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};

use crate::claims::VerifiedClaims;
use crate::headers::Headers;
use crate::host::Host;
use crate::path::RequestPath;

/// A request with what is known about it. What costs a call into the proxy is asked
/// for once, when the first condition needs it.
pub struct RequestView<'a> {
    /// The headers.
    pub headers: &'a Headers,
    path: Option<RequestPath<'a>>,
    host: &'a dyn Host,
    claims: OnceCell<VerifiedClaims>,
    peer: OnceCell<Option<IpAddr>>,
}

impl<'a> RequestView<'a> {
    /// The request with these headers, which `host` is handling.
    pub fn new(headers: &'a Headers, host: &'a dyn Host) -> Self {
        let path = headers.first(":path").and_then(|target| RequestPath::parse(target).ok());
        Self { headers, path, host, claims: OnceCell::new(), peer: OnceCell::new() }
    }

    /// The path; `None` if it can be read in more than one way.
    pub fn path(&self) -> Option<&RequestPath<'a>> {
        self.path.as_ref()
    }

    /// The claims that an earlier filter has verified.
    pub fn claims(&self) -> &VerifiedClaims {
        self.claims.get_or_init(|| VerifiedClaims::of_request(self.host))
    }

    /// The address of the client, behind `trusted_hops` proxies of one's own: that
    /// entry of `x-forwarded-for`, counted from the right, where each proxy adds the
    /// address that it was called from. With 0, or where there are fewer entries, the
    /// address that Envoy has for the connection. `None` if that is no IP address.
    pub fn client_ip(&self, trusted_hops: usize) -> Option<IpAddr> {
        let Some(nth) = trusted_hops.checked_sub(1) else {
            return self.peer();
        };
        let values: Vec<_> = self.headers.values("x-forwarded-for").collect();
        let entries = values.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        match entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()).nth(nth) {
            Some(entry) => address(entry),
            None => self.peer(),
        }
    }

    fn peer(&self) -> Option<IpAddr> {
        *self.peer.get_or_init(|| address(&self.host.property(&["source", "address"])?))
    }
}

/// An address, with or without a port; an IPv6 address that has one stands in
/// brackets. IPv4 in IPv6 (RFC 4291 section 2.5.5.2) is taken for IPv4.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(IpAddr::to_canonical(&address))
}
