//! Who is limited: the parts of a request that tell clients apart.

use std::net::IpAddr;

use ipnet::IpNet;
use mesh_filters_config::Errors;
use mesh_filters_policy::claims::ClaimPath;
use mesh_filters_policy::matcher::RequestView;
use mesh_filters_policy::pairs;
use serde_json::Value;

use crate::config::{ClientIpConfig, KeyPartConfig};

/// A part of a key.
#[derive(Debug)]
pub(crate) enum KeyPart {
    ClientIp { trusted_hops: usize, ipv4_prefix: u8, ipv6_prefix: u8 },
    Header(String),
    Cookie(Vec<u8>),
    Query(Vec<u8>),
    Claim(ClaimPath),
}

impl KeyPart {
    /// Compiles the part that stands at `at`.
    pub fn compile(config: &KeyPartConfig, at: &str, errors: &Errors) -> Option<Self> {
        let KeyPartConfig { client_ip, header, cookie, query, claim } = config;
        let found = [
            client_ip.as_ref().map(Self::client_ip),
            header.as_ref().map(|name| Self::Header(name.as_str().into())),
            cookie.as_ref().map(|name| Self::Cookie(name.as_bytes().to_vec())),
            query.as_ref().map(|name| Self::Query(name.as_bytes().to_vec())),
            claim.as_ref().and_then(|claim| {
                ClaimPath::compile(Some(claim), None, at, errors).map(Self::Claim)
            }),
        ];
        let mut found = found.into_iter().flatten();
        if let (Some(part), None) = (found.next(), found.next()) {
            return Some(part);
        }
        let problem = "must have exactly one of client_ip, header, cookie, query, claim";
        errors.add_about_fields(at, problem);
        None
    }

    fn client_ip(config: &ClientIpConfig) -> Self {
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        Self::ClientIp {
            trusted_hops: usize::try_from(config.trusted_hops.get()).unwrap_or(usize::MAX),
            ipv4_prefix: small(config.ipv4_prefix.get()),
            ipv6_prefix: small(config.ipv6_prefix.get()),
        }
    }

    /// What this part is in a request; `None` if it is missing or empty. Of several
    /// values of one name all count, in their order: were it only the first, a client
    /// could be another by sending one more.
    pub fn of(&self, request: &RequestView<'_>) -> Option<Vec<u8>> {
        let value = match self {
            Self::ClientIp { trusted_hops, ipv4_prefix, ipv6_prefix } => {
                let address = request.client_ip(*trusted_hops)?;
                network(address, *ipv4_prefix, *ipv6_prefix)?.into_bytes()
            }
            Self::Header(name) => joined(request.headers.values(name)),
            // All pairs are looked at, however many: a client that could push the one
            // that counts out of sight would not be limited.
            Self::Cookie(name) => joined(
                pairs::cookies(request.headers).filter_map(|pair| pairs::value_of(pair, name)),
            ),
            Self::Query(name) => {
                joined(pairs::form(request.headers.first(":path").unwrap_or_default(), name))
            }
            Self::Claim(path) => match request.claims().find(path)? {
                Value::String(text) => text.clone().into_bytes(),
                Value::Null => return None,
                other => other.to_string().into_bytes(),
            },
        };
        Some(value).filter(|value| !value.is_empty())
    }

    /// What this part is of a client that an operator names: an address stands for
    /// the network that it is in.
    ///
    /// # Errors
    /// What would be right.
    pub fn named(&self, text: &str) -> Result<Vec<u8>, &'static str> {
        if text.is_empty() {
            return Err("must not be empty");
        }
        let Self::ClientIp { ipv4_prefix, ipv6_prefix, .. } = self else {
            return Ok(text.into());
        };
        let network = text
            .parse::<IpAddr>()
            .ok()
            .and_then(|it| network(it.to_canonical(), *ipv4_prefix, *ipv6_prefix));
        network.map(String::into_bytes).ok_or("must be an address such as \"10.1.2.3\"")
    }
}

fn joined<T: AsRef<[u8]>>(values: impl Iterator<Item = T>) -> Vec<u8> {
    let mut joined = Vec::new();
    for (index, value) in values.enumerate() {
        if index > 0 {
            joined.push(b',');
        }
        joined.extend_from_slice(value.as_ref());
    }
    joined
}

/// The network that the address is in, without its length: `10.1.2.3`, `2001:db8::`.
fn network(address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Option<String> {
    let prefix = if address.is_ipv4() { ipv4_prefix } else { ipv6_prefix };
    Some(IpNet::new(address, prefix).ok()?.network().to_string())
}
