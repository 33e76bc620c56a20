//! The cases of canary-routing.
//!
//! A group is a configuration with its cases, as those of jwt-auth are. `${name}` in a
//! header stands for the text of that name in `signed.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Request, bytes, fill_in};

/// A configuration and the cases that it decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What the cases have in common.
    pub about: String,
    /// The filter's configuration.
    pub config: Value,
    /// The environment of the VM.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One request and what becomes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What a user would say of it.
    pub name: String,
    /// The time in seconds since the epoch. A case with one cannot run in an
    /// Envoy, whose clock is the real one.
    pub now: Option<u64>,
    /// The claims that an earlier filter verified. A case with them needs one in Envoy.
    pub claims: Option<Value>,
    /// Envoy's `source.address`. A case with one cannot run in an Envoy.
    pub address: Option<String>,
    /// What the client sends.
    pub request: Request,
    /// The headers that the upstream answers with.
    #[serde(default)]
    pub answer: Vec<(String, String)>,
    /// What becomes of it.
    pub expect: Expect,
}

/// What becomes of a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    upstream: BTreeMap<String, Option<String>>,
    /// The counters that go up by one, without `canary_routing.`, and no others.
    pub counted: Vec<String>,
    /// Headers of the response, each with all of its values; `None` for one that must
    /// not be there.
    #[serde(default)]
    pub response: BTreeMap<String, Option<String>>,
    /// The `set-cookie` of the response without the cookie's value, as in
    /// `name; Path=/`. Without it, there must be none.
    pub set_cookie: Option<String>,
}

impl Expect {
    /// The headers that must reach the upstream, or must not.
    pub fn upstream(&self) -> BTreeMap<&str, Option<Vec<u8>>> {
        let headers = self.upstream.iter();
        headers.map(|(name, value)| (name.as_str(), value.as_deref().map(bytes))).collect()
    }
}

/// Where clients fall, worked out without the filter's code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignments {
    /// What this is.
    pub about: String,
    /// The salt.
    pub salt: String,
    /// As in a configuration.
    pub weights: Value,
    /// Each client's variant.
    pub clients: BTreeMap<String, String>,
    /// The variant of the cookie in `signed.json`.
    pub bucket: String,
}

/// The table of where clients fall.
pub fn assignments() -> Assignments {
    serde_json::from_str(include_str!("../canary-routing/assignments.json")).unwrap()
}

/// What is signed, by name, as `make_signed.py` makes it.
pub fn signed() -> BTreeMap<String, String> {
    serde_json::from_str(include_str!("../canary-routing/signed.json")).unwrap()
}

const GROUPS: [(&str, &str); 7] = [
    ("checkout", include_str!("../canary-routing/checkout.json")),
    ("cookies", include_str!("../canary-routing/cookies.json")),
    ("rules", include_str!("../canary-routing/rules.json")),
    ("addresses", include_str!("../canary-routing/addresses.json")),
    ("several", include_str!("../canary-routing/several.json")),
    ("vary", include_str!("../canary-routing/vary.json")),
    ("ramp", include_str!("../canary-routing/ramp.json")),
];

/// Every group by its file's name, placeholders filled in.
pub fn groups() -> Vec<(&'static str, Group)> {
    let signed = signed();
    let text_of = |name: &str| signed.get(name).unwrap_or_else(|| panic!("no {name}")).clone();
    let read = |(name, text): (&'static str, &str)| {
        let mut group: Group = serde_json::from_str(text).unwrap();
        for case in &mut group.cases {
            for (_, value) in &mut case.request.headers {
                *value = fill_in(value, &text_of);
            }
        }
        (name, group)
    };
    GROUPS.into_iter().map(read).collect()
}
