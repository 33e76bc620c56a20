//! Envoy bootstraps, taken from the files that users run and edited for a test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::repo_root;
use crate::tls::{Authority, Identity};

/// The form in which a filter's configuration stands in the bootstrap; Envoy
/// hands each to the filter in another encoding.
#[derive(Clone, Debug)]
pub enum ConfigForm {
    /// A `google.protobuf.Struct`: reaches the filter as protobuf.
    Struct(Value),
    /// A `google.protobuf.StringValue`: reaches the filter as this text.
    Text(String),
}

/// Whether a listener lets in clients that have no certificate. It asks for one
/// in either case, and refuses one that it cannot trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It does.
    Optional,
    /// It breaks off the TLS handshake.
    Required,
}

/// A bootstrap that can be edited before Envoy gets it.
#[derive(Clone, Debug)]
pub struct Bootstrap(Value);

impl Bootstrap {
    /// Reads a file; the path is relative to the root of the repository.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = repo_root().join(path);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        Self::from_yaml(&text).with_context(|| format!("parsing {}", path.display()))
    }

    /// Reads YAML, or JSON.
    pub fn from_yaml(text: &str) -> Result<Self> {
        let mut value: Value = serde_norway::from_str(text)?;
        ensure!(value.is_object(), "a bootstrap is a mapping");
        visit(&mut value, &mut code_from_root);
        Ok(Self(value))
    }

    /// The bootstrap as it stands.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Any edit.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.0);
        self
    }

    /// Edits the typed config of every `HttpConnectionManager`.
    #[must_use]
    pub fn hcm(mut self, mut edit: impl FnMut(&mut Value)) -> Self {
        visit(&mut self.0, &mut |node| {
            let kind = node.get("@type").and_then(Value::as_str);
            if kind.is_some_and(|kind| kind.ends_with(".HttpConnectionManager")) {
                edit(node);
            }
        });
        self
    }

    /// Lets a static cluster have this one endpoint.
    pub fn cluster_endpoint(mut self, cluster: &str, endpoint: SocketAddr) -> Result<Self> {
        let found = find(&mut self.0, "clusters", cluster)?;
        found["load_assignment"] = load_assignment(cluster, &[endpoint]);
        Ok(self)
    }

    /// Adds a static cluster, which may well have no endpoints, or some where
    /// nobody listens.
    pub fn add_cluster(mut self, name: &str, endpoints: &[SocketAddr]) -> Result<Self> {
        ensure!(find(&mut self.0, "clusters", name).is_err(), "there is a cluster {name:?}");
        let clusters = self.0.pointer_mut("/static_resources/clusters");
        clusters.and_then(Value::as_array_mut).context("no list of clusters")?.push(json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": load_assignment(name, endpoints),
        }));
        Ok(self)
    }

    /// Lets a listener speak TLS alone, with this certificate, and ask for
    /// certificates of the authority `clients`.
    pub fn downstream_tls(
        mut self,
        listener: &str,
        server: &Identity,
        clients: &Authority,
        certificate: ClientCertificate,
    ) -> Result<Self> {
        let transport_socket = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": certificate == ClientCertificate::Required,
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": {"inline_string": server.pem()},
                        "private_key": {"inline_string": server.key_pem()},
                    }],
                    "validation_context": {"trusted_ca": {"inline_string": clients.pem()}},
                },
            },
        });
        for chain in list(find(&mut self.0, "listeners", listener)?, "filter_chains") {
            chain["transport_socket"] = transport_socket.clone();
        }
        Ok(self)
    }

    /// Replaces the configuration of the Wasm HTTP filter of this name,
    /// wherever it stands.
    pub fn filter_config(self, filter: &str, config: ConfigForm) -> Result<Self> {
        let configuration = match config {
            ConfigForm::Struct(value) => json!({
                "@type": "type.googleapis.com/google.protobuf.Struct",
                "value": value,
            }),
            ConfigForm::Text(text) => json!({
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": text,
            }),
        };
        let mut replaced = 0;
        let edited = self.hcm(|hcm| {
            for candidate in list(hcm, "http_filters") {
                if candidate["name"] == filter {
                    candidate["typed_config"]["config"]["configuration"] = configuration.clone();
                    replaced += 1;
                }
            }
        });
        ensure!(replaced > 0, "no HTTP filter {filter:?}");
        Ok(edited)
    }

    /// Lets the kernel choose every port that Envoy listens on, and gives it an
    /// admin interface if it has none.
    #[must_use]
    pub(crate) fn ports_to_zero(mut self) -> Self {
        let any = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        self.0["admin"]["address"] = any;
        if let Some(resources) = self.0.get_mut("static_resources") {
            for listener in list(resources, "listeners") {
                if let Some(socket) = listener.pointer_mut("/address/socket_address") {
                    socket["port_value"] = json!(0);
                }
            }
        }
        self
    }

    /// Writes the bootstrap into a directory; every JSON text is YAML.
    pub(crate) fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("bootstrap.yaml");
        std::fs::write(&path, serde_json::to_vec_pretty(&self.0)?)?;
        Ok(path)
    }
}

/// Envoy looks for a module from its working directory, which tests share.
fn code_from_root(node: &mut Value) {
    if let Some(Value::String(filename)) = node.pointer_mut("/code/local/filename") {
        let absolute = repo_root().join(&*filename);
        *filename = absolute.to_string_lossy().into_owned();
    }
}

fn load_assignment(cluster: &str, endpoints: &[SocketAddr]) -> Value {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            json!({"endpoint": {"address": {"socket_address": {
                "address": endpoint.ip(), "port_value": endpoint.port(),
            }}}})
        })
        .collect();
    json!({"cluster_name": cluster, "endpoints": [{"lb_endpoints": endpoints}]})
}

/// The static resource of this kind and name.
fn find<'a>(bootstrap: &'a mut Value, kind: &str, name: &str) -> Result<&'a mut Value> {
    bootstrap
        .get_mut("static_resources")
        .and_then(|resources| list(resources, kind).find(|candidate| candidate["name"] == name))
        .with_context(|| format!("no {name:?} among the {kind}"))
}

fn visit(node: &mut Value, work: &mut impl FnMut(&mut Value)) {
    work(node);
    match node {
        Value::Object(members) => members.values_mut().for_each(|child| visit(child, work)),
        Value::Array(items) => items.iter_mut().for_each(|child| visit(child, work)),
        _ => {}
    }
}

fn list<'a>(node: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    node.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}
