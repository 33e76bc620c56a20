//! The manifests of the examples fit together: the configuration is accepted with the
//! environment that they give it, and the routes know the filter's header and variants.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::path::{Path, PathBuf};

use canary_routing_policy::CanaryRouting;
use documents::{manifests, readme};
use mesh_filters_policy::Policy;
use mesh_filters_policy::testing::FakeHost;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// An example's resources.
struct Example(Vec<Value>);

impl Example {
    fn read(folder: &str) -> Self {
        readme::assert_links_lead_somewhere(&root(), &format!("{folder}/README.md"));
        Self(manifests::resources(&root().join(folder)))
    }

    fn resource(&self, kind: &str) -> &Value {
        let mut found = self.0.iter().filter(|it| it["kind"] == kind);
        let resource = found.next().unwrap_or_else(|| panic!("no {kind}"));
        assert!(found.next().is_none(), "more than one {kind}");
        &resource["spec"]
    }

    /// Whether there is a resource of that name.
    fn has(&self, kind: &str, name: &Value) -> bool {
        self.0.iter().any(|it| it["kind"] == kind && it["metadata"]["name"] == *name)
    }
}

fn items(list: &Value) -> &Vec<Value> {
    list.as_array().unwrap_or_else(|| panic!("no list: {list}"))
}

/// What the routes must know of a configuration.
#[derive(Debug, PartialEq)]
struct Filter {
    header: String,
    variants: Vec<String>,
}

impl Filter {
    /// Fails unless the filter accepts the configuration with no more than these
    /// variables in its environment.
    fn accepting<'a>(config: &Value, variables: impl Iterator<Item = &'a Value>) -> Self {
        let host = FakeHost::default();
        for name in variables {
            let key = "canary-routing: a public key of the tests";
            host.environment.borrow_mut().insert(name.as_str().unwrap().into(), key.into());
        }
        if let Err(errors) = CanaryRouting::configure(config.to_string().as_bytes(), &host) {
            panic!("{errors}\n{config:#}");
        }
        let [experiment] = items(&config["experiments"]).as_slice() else { panic!("{config}") };
        let weights = items(&experiment["weights"]).iter();
        Self {
            header: config["route_header"].as_str().unwrap_or("x-mesh-variant").into(),
            variants: weights.map(|it| it["variant"].as_str().unwrap().into()).collect(),
        }
    }

    /// Fails unless each variant has a route, of which one is for requests without the
    /// header. A route is the value that it asks of the header, and its variant.
    fn assert_routes_are(&self, routes: &[(Option<&str>, &str)]) {
        let (last, named) = routes.split_last().expect("a route");
        assert_eq!(last.0, None, "the last route is for all requests");
        for (value, variant) in named {
            assert_eq!(*value, Some(*variant), "the header leads to another variant");
        }
        let mut reached: Vec<&str> = routes.iter().map(|(_, variant)| *variant).collect();
        let mut variants: Vec<&str> = self.variants.iter().map(String::as_str).collect();
        reached.sort_unstable();
        variants.sort_unstable();
        assert_eq!(reached, variants);
    }
}

#[test]
fn istio_routes_to_every_variant() {
    let example = Example::read("examples/istio/canary");
    let filter = |wasm: &Value| {
        let variables = items(&wasm["vmConfig"]["env"]).iter().map(|it| &it["name"]);
        Filter::accepting(&wasm["pluginConfig"], variables)
    };
    let plugin = example.resource("WasmPlugin");
    let extension = &example.resource("TrafficExtension")["wasm"];
    assert_eq!(plugin["pluginConfig"], extension["pluginConfig"]);
    assert_eq!(filter(plugin), filter(extension));
    let filter = filter(plugin);

    let subsets = items(&example.resource("DestinationRule")["subsets"]);
    let routes = items(&example.resource("VirtualService")["http"]).iter().map(|it| {
        let subset = &it["route"][0]["destination"]["subset"];
        assert!(subsets.iter().any(|it| it["name"] == *subset), "no subset {subset}");
        (it["match"][0]["headers"][&filter.header]["exact"].as_str(), subset.as_str().unwrap())
    });
    filter.assert_routes_are(&routes.collect::<Vec<_>>());
}

#[test]
fn gateway_api_routes_to_every_variant() {
    let example = Example::read("examples/gateway-api/canary");
    let policy = example.resource("EnvoyExtensionPolicy");
    assert!(example.has("Gateway", &policy["targetRefs"][0]["name"]));
    let wasm = &policy["wasm"][0];
    let variables = items(&wasm["env"]["hostKeys"]);
    let container =
        &example.resource("EnvoyProxy")["provider"]["kubernetes"]["envoyDeployment"]["container"];
    let given: Vec<_> = items(&container["env"]).iter().map(|it| &it["name"]).collect();
    assert_eq!(variables.iter().collect::<Vec<_>>(), given, "what the proxy has to pass on");
    let filter = Filter::accepting(&wasm["config"], variables.iter());

    let routes = items(&example.resource("HTTPRoute")["rules"]).iter().map(|it| {
        let service = &it["backendRefs"][0]["name"];
        assert!(example.has("Service", service), "no Service {service}");
        let header = &it["matches"][0]["headers"][0];
        assert!(header.is_null() || header["name"] == filter.header.as_str(), "{header}");
        let variant = service.as_str().unwrap().strip_prefix("shop-").expect("a variant's name");
        (header["value"].as_str(), variant)
    });
    filter.assert_routes_are(&routes.collect::<Vec<_>>());
}
