//! What the READMEs say is so: their configurations are accepted, and their
//! tables name every field and every reason, and none that is not there.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::collections::BTreeSet;
use std::path::Path;

use cases::jwt_auth;
use documents::readme::{self, Elsewhere, Rows};
use jwt_auth_policy::{Config, JwtAuth};
use mesh_filters_policy::{NoHost, Policy};
use serde_json::Value;

const PROJECT: &str = include_str!("../../../../README.md");
const FILTER: &str = include_str!("../../README.md");

/// What is in a key set is not ours to describe.
const ELSEWHERE: Elsewhere<'_> = &[("JsonWebKeySet", None)];

fn configs(document: &str) -> Vec<Value> {
    readme::configs(document, "providers")
}

/// The table of reasons.
fn reasons() -> Rows {
    readme::rows_of_chapter(FILTER, "## Reasons")
}

#[test]
fn every_config_is_accepted() {
    for (name, document) in [("README.md", PROJECT), ("filters/jwt-auth/README.md", FILTER)] {
        let configs = configs(document);
        assert!(!configs.is_empty(), "{name} shows no configuration");
        for config in configs {
            match JwtAuth::configure(config.to_string().as_bytes(), &NoHost) {
                Ok(configured) => assert!(configured.warnings.is_empty(), "{name}: {config:#}"),
                Err(errors) => panic!("{name}: {errors}\n{config:#}"),
            }
        }
    }
}

/// The table of cases runs the README's configuration in a real Envoy.
#[test]
fn the_first_config_is_the_one_of_the_cases() {
    let groups = jwt_auth::groups();
    let (_, tested) = groups.iter().find(|(name, _)| *name == "readme").unwrap();
    let configs = configs(PROJECT);
    assert!(configs.len() >= 2, "as YAML and as JSON");
    for mut config in configs {
        let keys = "/providers/0/jwks/inline";
        let shown = config.pointer_mut(keys).unwrap();
        let tested_keys = tested.config.pointer(keys).unwrap();
        for key in shown["keys"].as_array().unwrap() {
            assert!(tested_keys["keys"].as_array().unwrap().contains(key), "{key}");
        }
        *shown = tested_keys.clone();
        assert_eq!(config, tested.config);
    }
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "filters/jwt-auth/README.md"] {
        readme::assert_links_lead_somewhere(&root, name);
    }
}

#[test]
fn every_field_has_its_row_and_every_row_its_field() {
    readme::assert_tables_name_every_field::<Config>(FILTER, ELSEWHERE);
}

#[test]
fn every_reason_has_its_row_and_every_row_its_reason() {
    let config = configs(PROJECT).remove(0).to_string();
    let counters = JwtAuth::configure(config.as_bytes(), &NoHost).unwrap().policy.counters();
    let counted: BTreeSet<_> =
        counters.iter().filter_map(|counter| counter.rsplit('.').next()).collect();
    let rows = reasons();
    let told: BTreeSet<_> = rows.keys().map(String::as_str).collect();
    assert_eq!(told, counted, "reasons in the rows and in the counters");
}

#[test]
fn a_case_is_answered_as_the_row_of_its_reason_says() {
    let rows = reasons();
    for (name, group) in jwt_auth::groups() {
        for case in &group.cases {
            let row = &rows[&case.expect.reason];
            let status = match case.expect.status {
                200 => "passes".into(),
                status => status.to_string(),
            };
            assert_eq!(row[0], status, "the status of {name}: {}", case.name);
            let challenge = match case.expect.challenge.as_deref().map(|it| it.split_once("error="))
            {
                None => "–".into(),
                Some(None) => "without error".into(),
                Some(Some((_, error))) => format!("`{}`", error.trim_matches('"')),
            };
            assert_eq!(row[1], challenge, "the challenge of {name}: {}", case.name);
        }
    }
}
