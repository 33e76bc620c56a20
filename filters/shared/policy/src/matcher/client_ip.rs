//! Conditions on the client's address.

use std::net::IpAddr;

use ipnet::IpNet;
use mesh_filters_config::{Bounded, Decode, Node, NonEmpty, object};

use super::view::RequestView;

object! {
    /// A condition on the client's address.
    pub struct ClientIpMatch {
        /// The address is in one of these networks, such as `10.0.0.0/8`, or is one of
        /// these addresses.
        required r#in: NonEmpty<Vec<Network>>,
        /// How many proxies of one's own stand between the client and this one, each of
        /// which adds an entry to `x-forwarded-for`. With 0, the address is the one that
        /// Envoy has for the connection.
        default trusted_hops: Bounded<0, 16> = 0,
    }
}

impl ClientIpMatch {
    /// Whether the request comes from there. A client without an address is nowhere.
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        let hops = usize::try_from(self.trusted_hops.get()).unwrap_or(usize::MAX);
        let address = request.client_ip(hops);
        address.is_some_and(|it| self.r#in.iter().any(|network| network.0.contains(&it)))
    }
}

/// A network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Decode for Network {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let text = node.string()?;
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let Ok(network) = text.parse().or_else(|_| address()) else {
            return node
                .refuse("must be a network such as \"10.0.0.0/8\" or \"fd00::/8\", or an address");
        };
        // Addresses of IPv4 in IPv6 are taken for IPv4, so this would never match.
        let is_mapped = matches!(network, IpNet::V6(it) if it.addr().to_ipv4_mapped().is_some());
        if is_mapped {
            return node.refuse("must be written as IPv4");
        }
        Some(Self(network))
    }
}
