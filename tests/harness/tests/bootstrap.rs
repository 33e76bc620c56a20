//! Edits of bootstraps.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test calls may fail it"
)]

use harness::bootstrap::{Bootstrap, ClientCertificate, ConfigForm};
use harness::repo_root;
use harness::tls::Authority;
use serde_json::{Value, json};

const FILE: &str = "envoy-config/jwt-auth.yaml";
const LISTENER: &str = "/static_resources/listeners/0";

fn filter(bootstrap: &Bootstrap) -> Value {
    let mut found = Vec::new();
    let _ = bootstrap.clone().hcm(|hcm| found.push(hcm["http_filters"][0].clone()));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["name"], "jwt-auth");
    found.remove(0)["typed_config"]["config"].take()
}

#[test]
fn a_module_is_found_from_the_root() {
    let config = filter(&Bootstrap::load(FILE).unwrap());
    let module = repo_root().join("dist/jwt_auth.wasm");
    assert_eq!(config["vm_config"]["code"]["local"]["filename"], json!(module));
}

#[test]
fn an_absolute_module_stays() {
    let text = r#"{"vm_config": {"code": {"local": {"filename": "/opt/a.wasm"}}}}"#;
    let bootstrap = Bootstrap::from_yaml(text).unwrap();
    assert_eq!(
        bootstrap.value().pointer("/vm_config/code/local/filename"),
        Some(&json!("/opt/a.wasm"))
    );
}

#[test]
fn a_filter_takes_a_struct_or_a_text() {
    let configured = |form| {
        let bootstrap = Bootstrap::load(FILE).unwrap();
        filter(&bootstrap.filter_config("jwt-auth", form).unwrap())["configuration"].take()
    };
    let value = json!({"providers": []});
    assert_eq!(
        configured(ConfigForm::Struct(value.clone())),
        json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": value})
    );
    assert_eq!(
        configured(ConfigForm::Text("{".to_owned())),
        json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{"})
    );
}

#[test]
fn a_cluster_gets_another_endpoint() {
    let bootstrap = Bootstrap::load(FILE).unwrap();
    let bootstrap =
        bootstrap.cluster_endpoint("upstream", "127.0.0.1:4321".parse().unwrap()).unwrap();
    let endpoint = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0\
                    /endpoint/address/socket_address";
    assert_eq!(
        bootstrap.value().pointer(endpoint),
        Some(&json!({"address": "127.0.0.1", "port_value": 4321}))
    );
}

#[test]
fn clusters_can_be_added() {
    let (one, two) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
    let bootstrap = Bootstrap::load(FILE).unwrap();
    let bootstrap = bootstrap.add_cluster("idp", &[one, two]).unwrap();
    let bootstrap = bootstrap.add_cluster("empty", &[]).unwrap();
    let clusters = bootstrap.value()["static_resources"]["clusters"].as_array().unwrap();
    let endpoints = |cluster: &Value| {
        let all = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"];
        all.as_array().unwrap().len()
    };
    assert_eq!((&clusters[1]["name"], endpoints(&clusters[1])), (&json!("idp"), 2));
    assert_eq!((&clusters[2]["name"], endpoints(&clusters[2])), (&json!("empty"), 0));
    assert!(bootstrap.add_cluster("idp", &[]).is_err());
}

#[test]
fn what_does_not_exist_is_not_edited_in_silence() {
    let bootstrap = Bootstrap::load(FILE).unwrap();
    let addr = "127.0.0.1:1".parse().unwrap();
    assert!(bootstrap.clone().cluster_endpoint("nobody", addr).is_err());
    let authority = Authority::new("a").unwrap();
    let server = authority.server().unwrap();
    let tls = bootstrap.clone().downstream_tls(
        "nobody",
        &server,
        &authority,
        ClientCertificate::Optional,
    );
    assert!(tls.is_err());
    let text = ConfigForm::Text(String::new());
    assert!(bootstrap.filter_config("nobody", text).is_err());
    assert!(Bootstrap::load("envoy-config/nothing.yaml").is_err());
    assert!(Bootstrap::from_yaml("[]").is_err());
}

#[test]
fn any_edit_is_possible() {
    let bootstrap = Bootstrap::load(FILE).unwrap();
    let bootstrap = bootstrap.edit(|root| root["node"] = json!({"id": "a", "cluster": "b"}));
    assert_eq!(bootstrap.value()["node"]["id"], "a");
    let name = format!("{LISTENER}/name");
    assert_eq!(bootstrap.value().pointer(&name), Some(&json!("ingress")));
}
