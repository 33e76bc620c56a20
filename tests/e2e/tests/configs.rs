//! Configurations, checked by Envoy: the ones that the project ships, and wrong
//! ones, for which the operator is told what to do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use e2e::jwt_auth;
use harness::bootstrap::{Bootstrap, ConfigForm};
use harness::envoy;
use harness::tls::Authority;
use harness::trial::Suite;
use serde_json::{Value, json};

/// Every file under `envoy-config/`, relative to the root.
fn shipped() -> Vec<PathBuf> {
    let root = harness::repo_root();
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join("envoy-config"))
        .unwrap()
        .map(|entry| entry.unwrap().path().strip_prefix(&root).unwrap().to_owned())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml" || it == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "there are bootstraps to check");
    files
}

async fn takes(path: PathBuf) -> Result<()> {
    let outcome = envoy::validate(&Bootstrap::load(path)?).await?;
    ensure!(outcome.ok, "{}", outcome.output);
    Ok(())
}

/// What the filter's README shows of Envoy's own configuration: its filter for JSON
/// Web Tokens, and the cluster that keys are fetched from.
async fn takes_what_the_readme_shows() -> Result<()> {
    let readme = std::fs::read_to_string(harness::repo_root().join("filters/jwt-auth/README.md"))?;
    let blocks = readme.split("```yaml\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    let shown = |key: &str| {
        let block = blocks.iter().find(|block| block.starts_with(key)).expect("such a block");
        Bootstrap::from_yaml(block).map(|block| block.value()[key].clone())
    };
    let (filters, clusters) = (shown("http_filters")?, shown("clusters")?);
    let bootstrap = Bootstrap::load("envoy-config/jwt-auth.yaml")?
        .hcm(|hcm| hcm["http_filters"][0] = filters[0].clone())
        .edit(|bootstrap| {
            let mut idp = clusters[0].clone();
            // Where this machine has its authorities does not matter here.
            let trusted = "/transport_socket/typed_config/common_tls_context/validation_context";
            let authority = Authority::new("an authority").unwrap().pem();
            idp.pointer_mut(trusted).unwrap()["trusted_ca"] = json!({"inline_string": authority});
            bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(idp);
        });
    let outcome = envoy::validate(&bootstrap).await?;
    ensure!(outcome.ok, "{}", outcome.output);
    Ok(())
}

async fn refuses(config: ConfigForm, messages: Vec<String>) -> Result<()> {
    let outcome = envoy::validate(&jwt_auth(config)?).await?;
    ensure!(!outcome.ok, "it was taken:\n{}", outcome.output);
    for message in messages {
        ensure!(outcome.output.contains(&message), "{message:?} is not in:\n{}", outcome.output);
    }
    Ok(())
}

fn readme() -> Value {
    e2e::jwt_auth_group("readme").unwrap().config
}

fn with(edit: impl FnOnce(&mut Value)) -> Value {
    let mut config = readme();
    edit(&mut config);
    config
}

fn with_keys(keys: &Value) -> Value {
    with(|config| config["providers"][0]["jwks"]["inline"]["keys"] = keys.clone())
}

/// An RSA key with a modulus of that many bits. Its bytes are 0xC3, in base64url.
fn rsa(bits: usize) -> Value {
    let n = "w8PD".repeat(bits / 24) + ["", "ww", "w8M"][bits / 8 % 3];
    json!({"kty": "RSA", "kid": "odd", "e": "AQAB", "n": n})
}

fn wrong() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    vec![
        ("nothing in it", json!({}), vec!["providers: is missing", "rules: is missing"]),
        (
            "an unknown field",
            with(|config| config["providers"][0]["audience"] = json!("a")),
            vec!["providers[0].audience: unknown field; known here: name, issuer, audiences"],
        ),
        (
            "a wrong type",
            with(|config| config["providers"][0]["issuer"] = json!(["a"])),
            vec!["providers[0].issuer: must be a string, not a list"],
        ),
        (
            "several mistakes",
            with(|config| {
                config["providers"][0]["clock_skew"] = json!(30);
                config["rules"][0]["allow"] = json!("everybody");
                config["rules"][1]["require"]["provider"] = json!("crop");
                config["colour"] = json!("red");
            }),
            vec![
                "providers[0].clock_skew: must be a duration such as",
                "rules[0].allow: must be \"anonymous\"",
                "rules[1].require.provider: there is no provider \"crop\"; known: corp",
                "colour: unknown field; known here: providers, rules",
            ],
        ),
        (
            "a key set with no usable key",
            with_keys(&json!([{"kty": "RSA", "kid": "broken", "n": "AQAB", "e": "AQAB"}, {}])),
            vec![
                "providers[0].jwks.inline: has no usable key: keys[0] (kid \"broken\") is an RSA key of 17 bits",
                "keys[1] is no JSON Web Key",
            ],
        ),
        (
            "an RSA key under 2048 bits",
            with_keys(&json!([rsa(1024)])),
            vec!["is an RSA key of 1024 bits; 2048 to 8192"],
        ),
        (
            "an RSA key over 8192 bits",
            with_keys(&json!([rsa(8200)])),
            vec!["is an RSA key of 8200 bits; 2048 to 8192"],
        ),
    ]
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for path in shipped() {
        suite.trial(format!("Envoy takes {}", path.display()), async |_| takes(path).await);
    }
    suite.trial("Envoy takes what the README shows", async |_| takes_what_the_readme_shows().await);
    for (name, config, messages) in wrong() {
        let messages: Vec<String> = messages.into_iter().map(Into::into).collect();
        let text = ConfigForm::Text(config.to_string());
        for (form, config) in [("Struct", ConfigForm::Struct(config)), ("text", text)] {
            let messages = messages.clone();
            suite.trial(format!("Envoy refuses {name}, as {form}"), async move |_| {
                refuses(config, messages).await
            });
        }
    }
    for (name, text, message) in [
        ("an empty text", "", "providers: is missing"),
        ("what is no JSON", "providers: []", "neither JSON text nor a google.protobuf.Struct"),
        ("a list", "[]", "must be an object, not a list"),
        ("a field twice", r#"{"rules": [], "rules": []}"#, "\"rules\" stands there twice"),
    ] {
        suite.trial(format!("Envoy refuses {name}"), async move |_| {
            refuses(ConfigForm::Text(text.into()), vec![message.into()]).await
        });
    }
    suite.run()
}
