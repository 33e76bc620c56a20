//! The ports that a bootstrap names, where they can be had.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};
use harness::bootstrap::Bootstrap;
use serde_json::{Value, json};

const INGRESS: &str = "/static_resources/listeners/0/address/socket_address";
const ADMIN: &str = "/admin/address/socket_address";

/// Where the bootstrap wants Envoy to listen.
pub struct Written {
    /// For clients.
    pub ingress: SocketAddr,
    /// For its operator.
    pub admin: SocketAddr,
}

impl Written {
    /// Reads the two addresses.
    pub fn of(bootstrap: &Bootstrap) -> Result<Self> {
        let address = |pointer| {
            let socket = bootstrap.value().pointer(pointer);
            socket.and_then(address).with_context(|| format!("the bootstrap has no {pointer}"))
        };
        Ok(Self { ingress: address(INGRESS)?, admin: address(ADMIN)? })
    }

    /// Leaves the choice to the kernel where somebody else listens.
    pub fn or_free(&self, bootstrap: Bootstrap) -> Bootstrap {
        bootstrap.edit(|all| {
            for (pointer, address) in [(INGRESS, self.ingress), (ADMIN, self.admin)] {
                if let Some(socket) = all.pointer_mut(pointer).filter(|_| is_taken(address)) {
                    socket["port_value"] = json!(0);
                }
            }
        })
    }
}

fn address(socket: &Value) -> Option<SocketAddr> {
    let ip = socket.get("address")?.as_str()?.parse().ok()?;
    let port = socket.get("port_value")?.as_u64()?.try_into().ok()?;
    Some(SocketAddr::new(ip, port))
}

/// Envoy itself would not notice: it shares a port with any other Envoy.
fn is_taken(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_err()
}
