//! What the README says is so: its configurations are accepted, and its tables name
//! every field and every outcome, and none that is not there.
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

use documents::readme::{self, configs};
use mesh_filters_policy::Policy;
use mesh_filters_policy::testing::FakeHost;
use rate_limit_policy::{Config, RateLimit};
use serde_json::Value;

const FILTER: &str = include_str!("../../README.md");
const ENVOY: &str = include_str!("../../../../envoy-config/rate-limit.yaml");

fn configured(config: &Value) -> RateLimit {
    match RateLimit::configure(config.to_string().as_bytes(), &FakeHost::default()) {
        Ok(configured) => configured.policy,
        Err(errors) => panic!("{errors}\n{config:#}"),
    }
}

#[test]
fn every_config_is_accepted() {
    let configs = configs(FILTER, "limits");
    assert!(configs.len() >= 3, "{configs:#?}");
    for config in configs {
        configured(&config);
    }
}

#[test]
fn the_first_config_is_the_one_that_runs() {
    let shipped = configs(&format!("```yaml\n{ENVOY}```\n"), "limits");
    assert_eq!(configs(FILTER, "limits")[0], shipped[0]);
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    readme::assert_links_lead_somewhere(&root, "filters/rate-limit/README.md");
}

#[test]
fn every_field_has_its_row_and_every_row_its_field() {
    readme::assert_tables_name_every_field::<Config>(FILTER, &[]);
}

#[test]
fn every_outcome_has_its_row_and_every_row_its_outcome() {
    let counters = configured(&configs(FILTER, "limits")[0]).counters();
    let counted: BTreeSet<_> = counters
        .iter()
        .filter_map(|counter| counter.rsplit('.').next())
        .map(ToOwned::to_owned)
        .collect();
    let told = readme::rows_of_chapter(FILTER, "## Metrics").into_keys().collect::<BTreeSet<_>>();
    assert_eq!(told, counted);
}
