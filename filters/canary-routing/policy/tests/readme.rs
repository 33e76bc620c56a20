//! What the README says is so: its configurations are accepted, and its tables name
//! every field and every cause, and none that is not there.
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

use canary_routing_policy::{CanaryRouting, Config};
use cases::canary_routing;
use documents::readme::{self, Elsewhere};
use mesh_filters_policy::Policy;
use mesh_filters_policy::testing::FakeHost;

const FILTER: &str = include_str!("../../README.md");

/// Conditions hold conditions, so they have a chapter of their own.
const ELSEWHERE: Elsewhere<'_> = &[("Condition", Some("condition"))];

fn host() -> FakeHost {
    let host = FakeHost::default();
    let key = "canary-routing: a public key of the tests";
    for name in ["CANARY_COOKIE_KEY", "CANARY_OVERRIDE_KEY"] {
        host.environment.borrow_mut().insert(name.into(), key.into());
    }
    host
}

#[test]
fn every_config_is_accepted() {
    let configs = readme::configs(FILTER, "experiments");
    assert_eq!(configs.len(), 4, "one for a tour, and three for who comes from elsewhere");
    for config in configs {
        if let Err(errors) = CanaryRouting::configure(config.to_string().as_bytes(), &host()) {
            panic!("{errors}\n{config:#}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    readme::assert_links_lead_somewhere(&root, "filters/canary-routing/README.md");
}

#[test]
fn every_field_has_its_row_and_every_row_its_field() {
    readme::assert_tables_name_every_field::<Config>(FILTER, ELSEWHERE);
}

#[test]
fn every_cause_has_its_row_and_every_row_its_cause() {
    let mut counters = Vec::new();
    let groups = canary_routing::groups().into_iter().map(|(_, group)| group.config);
    for config in groups.chain(readme::configs(FILTER, "experiments")) {
        let policy = CanaryRouting::configure(config.to_string().as_bytes(), &host()).unwrap();
        counters.extend(policy.policy.counters());
    }
    let causes: BTreeSet<_> = counters
        .iter()
        .filter_map(|counter| counter.split_once(".cause."))
        .map(|(_, cause)| cause.to_owned())
        .collect();
    let rows = readme::rows_of_chapter(FILTER, "## Metrics and logs");
    assert_eq!(rows.into_keys().collect::<BTreeSet<_>>(), causes);
}
