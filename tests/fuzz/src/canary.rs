//! The bytes as the block in which a host hands over headers, of the request and of its
//! response; and in each place of a request from which canary-routing reads.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use canary_routing_policy::CanaryRouting;
use cases::canary_routing;
use mesh_filters_policy::claims::{PROPERTY, property_value};
use mesh_filters_policy::pairs::cookies;
use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{Headers, Policy, Stream, Verdict};
use serde_json::{Value, json};

use crate::Seed;
use crate::gate::env;
use crate::wire::{Pairs, apply, block, pairs, request_pairs, spelled};

const ROUTE_HEADER: &str = "x-mesh-variant";
const OFFICE_HEADER: &str = "x-office";
const OVERRIDE_HEADER: &str = "x-canary-override";
const COOKIE: &str = "mesh_bucket";
const VARIANTS: [&str; 2] = ["canary", "stable"];

/// An experiment with one of everything, and one that knows nobody.
pub fn config() -> Value {
    json!({"experiments": [{
        "name": "checkout",
        "match": {"all": [
            {"host": {"exact": "shop.example.com"}},
            {"not": {"path": {"prefix": "/elsewhere"}}},
        ]},
        "assign": [
            {"when": {"header": {"name": "x-beta", "exact": "true"}}, "variant": "canary"},
            {"when": {"cookie": {"name": "region", "in": ["kr", "jp"]}}, "variant": "canary"},
            {"when": {"query": {"name": "variant", "exact": "stable"}}, "variant": "stable"},
            {"when": {"user_agent": {"regex": "Android 1[45]"}}, "variant": "canary"},
            {"when": {"claim": {"claim": "groups", "contains": "beta"}}, "variant": "canary"},
            {"when": {"client_ip": {"in": ["10.0.0.0/8", "fd00::/8"], "trusted_hops": 1}},
             "variant": "canary"},
        ],
        "weights": [{"variant": "canary", "weight": 50}, {"variant": "stable", "weight": 50}],
        "sticky": {
            "by": [{"claim": "sub"}, {"header": "x-user-id"}, {"cookie": COOKIE}],
            "salt": "checkout-2026",
            "cookie": {"name": COOKIE, "key_env": "CANARY_COOKIE_KEY"},
        },
        "guard": {
            "variant": "canary", "compare_to": "stable", "max_error_rate": 5,
            "max_latency_ratio": 2, "min_requests": 1, "window": "1s", "cool_down": "1s",
            "response_header": "x-guard",
        },
        "override": {"header": OVERRIDE_HEADER, "key_env": "CANARY_OVERRIDE_KEY"},
        "response_header": "x-variant",
    }, {
        "name": "office", "header": OFFICE_HEADER,
        "match": {"client_ip": {"in": ["10.0.0.0/8"]}},
        "weights": [{"variant": "canary", "weight": 50}, {"variant": "stable", "weight": 50}],
    }]})
}

/// The keys that the cases are signed with.
static ENVIRONMENT: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    canary_routing::groups().into_iter().flat_map(|(_, group)| group.environment).collect()
});

/// A host that has these.
pub fn host() -> FakeHost {
    let host = FakeHost::default();
    host.environment.borrow_mut().extend(ENVIRONMENT.clone());
    host
}

/// What somebody with the key has signed, and is good for what it is sent as.
static SIGNED_COOKIE: LazyLock<String> =
    LazyLock::new(|| format!("{COOKIE}={}", canary_routing::signed()["cookie"]));
static SIGNED_OVERRIDES: LazyLock<[String; 2]> =
    LazyLock::new(|| VARIANTS.map(|name| canary_routing::signed()[name].clone()));

/// A request, and what the host knows of it.
#[derive(Default, Clone)]
struct Sent {
    headers: Pairs,
    claims: Vec<u8>,
    address: Vec<u8>,
}

impl Sent {
    /// A request for the shop with one more header.
    fn with(name: &str, value: &[u8]) -> Self {
        let headers = [(":authority", b"shop.example.com".as_slice()), (name, value)];
        let headers = headers.map(|(name, value)| (name.into(), value.into())).into();
        Self { headers, ..Self::default() }
    }

    fn host(&self) -> FakeHost {
        let host = host();
        let claims = property_value([("corp", self.claims.as_slice())].into_iter());
        let mut properties = host.properties.borrow_mut();
        properties.insert(PROPERTY.into(), claims);
        properties.insert("source.address".into(), self.address.clone());
        drop(properties);
        host
    }

    fn headers(&self) -> Headers {
        Headers::from_block(block(&self.headers)).expect("a block")
    }

    /// Whether it says who it is from, other than by the filter's own cookie.
    fn names_a_user(&self) -> bool {
        let claims: Value = serde_json::from_slice(&self.claims).unwrap_or_default();
        let sub = &claims["sub"];
        sub.is_string()
            || sub.is_number()
            || self.headers().values("x-user-id").any(|it| !it.is_empty())
    }
}

/// A request that was decided about.
struct Judged {
    detail: &'static str,
    headers: Pairs,
    /// The cookie that its client gets, as it will send it back.
    cookie: Option<Vec<u8>>,
}

impl Judged {
    fn values(&self, name: &str) -> Vec<&[u8]> {
        let found = self.headers.iter().filter(|(it, _)| spelled(it) == name);
        found.map(|(_, value)| value.as_slice()).collect()
    }
}

/// What a client sends is never taken for what the filter decides, and who is known
/// stays where it is.
pub fn run(data: &[u8]) {
    let policy = CanaryRouting::configure(config().to_string().as_bytes(), &host());
    let policy = policy.expect("a configuration").policy;
    let block = Headers::from_block(data.to_vec()).ok();
    let block = block.map(|it| Sent { headers: pairs(&it), ..Sent::default() });
    let places = [
        Sent::with(":path", data),
        Sent::with("cookie", &[COOKIE.as_bytes(), b"=", data].concat()),
        Sent::with(OVERRIDE_HEADER, data),
        Sent { claims: data.into(), ..Sent::with(":path", b"/") },
        Sent { address: data.into(), ..Sent::with("x-forwarded-for", data) },
    ];
    let requests: Vec<Sent> = block.into_iter().chain(places).collect();
    for sent in &requests {
        check(&policy, sent, data);
    }
    // Then the guard may leave a variant out, and no longer is all as it was.
    for sent in &requests {
        end(&policy, sent, data);
    }
}

fn check(policy: &CanaryRouting, sent: &Sent, data: &[u8]) {
    let host = sent.host();
    let judged = judge(policy, sent, data, &host);
    assert!(judged.values(OVERRIDE_HEADER).is_empty(), "an override reaches the upstream");
    for name in [ROUTE_HEADER, OFFICE_HEADER] {
        let values = judged.values(name);
        let is_variant = |it: &&[u8]| VARIANTS.iter().any(|name| name.as_bytes() == *it);
        assert!(values.len() <= 1 && values.iter().all(is_variant), "{name}: {values:?}");
    }
    let known_by_cookie = cookies(&sent.headers()).any(|it| it == SIGNED_COOKIE.as_bytes());
    match judged.detail {
        "canary_routing{sticky}" => {
            assert!(sent.names_a_user() || known_by_cookie, "known, and nobody says by what");
            let again = judge(policy, sent, data, &host);
            assert_eq!(judged.values(ROUTE_HEADER), again.values(ROUTE_HEADER), "judged again");
        }
        "canary_routing{override}" => {
            let text = sent.headers().values(OVERRIDE_HEADER).collect::<Vec<_>>().concat();
            let text = String::from_utf8_lossy(&text);
            assert!(SIGNED_OVERRIDES.iter().any(|it| text.contains(it)), "nobody signed {text:?}");
        }
        "canary_routing{no_experiment}" => assert!(judged.values(ROUTE_HEADER).is_empty()),
        _ => {}
    }
    if let Some(cookie) = &judged.cookie {
        // Ahead of others of its name, of which the first four are looked at.
        let mut sent = sent.clone();
        sent.headers.insert(0, (b"cookie".into(), cookie.clone()));
        let next = judge(policy, &sent, data, &host);
        assert_eq!(next.detail, "canary_routing{sticky}", "its own cookie is not taken");
        assert_eq!(judged.values(ROUTE_HEADER), next.values(ROUTE_HEADER), "with its cookie");
    }
    // A new host draws the same numbers.
    let mut without = sent.clone();
    without.headers.retain(|(name, _)| spelled(name) != ROUTE_HEADER);
    let without = judge(policy, &without, data, &sent.host());
    assert_eq!(judged.headers, without.headers, "it matters what the client says of its route");
}

/// Decides about a request and tells its response, whose headers are the bytes too if
/// they can be.
fn judge(policy: &CanaryRouting, sent: &Sent, data: &[u8], host: &FakeHost) -> Judged {
    let mut stream = policy.stream();
    let mut request = sent.headers();
    let verdict = stream.on_request_headers(&mut request, &env(host));
    let Verdict::Continue(reason) = verdict else { panic!("it refuses: {verdict:?}") };
    let headers = as_both_see(sent.headers.clone(), request);

    let mut response = Headers::from_block(data.to_vec()).unwrap_or_default();
    let answered = pairs(&response);
    let before = response.values("set-cookie").count();
    stream.on_response_headers(&mut response, &env(host));
    let cookies: Vec<Vec<u8>> = response.values("set-cookie").map(Into::into).collect();
    let after = as_both_see(answered, response);
    let variants = after.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"x-variant"));
    assert!(reason.detail.contains("no_experiment") || variants.count() == 1);
    let added = cookies.get(before..).expect("no cookie of the upstream's is lost");
    assert!(added.len() <= 1, "{added:?}");
    let cookie = added.first().map(|it| it.split(|byte| *byte == b';').next().unwrap().to_vec());
    Judged { detail: reason.detail, headers, cookie }
}

/// The headers after the edits, which the policy and the host must see alike.
fn as_both_see(mut before: Pairs, edited: Headers) -> Pairs {
    let seen = pairs(&edited);
    edited.into_edits().into_iter().for_each(|edit| apply(edit, &mut before));
    assert_eq!(seen, before, "the policy and the host see different headers");
    seen
}

/// The request ends as the bytes say, and the guard draws its conclusions.
fn end(policy: &CanaryRouting, sent: &Sent, data: &[u8]) {
    let host = sent.host();
    let mut stream = policy.stream();
    let _ = stream.on_request_headers(&mut sent.headers(), &env(&host));
    for (index, name) in
        ["response.code", "response.flags", "request.duration"].into_iter().enumerate()
    {
        let value = data.get(index..).unwrap_or_default().into();
        host.properties.borrow_mut().insert(name.into(), value);
    }
    stream.on_end(&env(&host));
    let next = policy.on_tick(&env(&host)).next_tick.expect("a guard has a next tick");
    host.advance(next);
    let _ = policy.on_tick(&env(&host));
}

/// A request for each outcome of each group of cases, the claims among them, and what
/// is signed.
pub fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    for (group, it) in canary_routing::groups() {
        let mut outcomes = Vec::new();
        for case in it.cases {
            if outcomes.contains(&case.expect.counted) {
                continue;
            }
            outcomes.push(case.expect.counted);
            let name = format!("{group}-{}", outcomes.len());
            if let Some(claims) = case.claims {
                seeds.push((format!("{name}-claims"), claims.to_string().into_bytes()));
            }
            if let Some(address) = case.address {
                seeds.push((format!("{name}-address"), address.into_bytes()));
            }
            seeds.push((name, block(&request_pairs(&case.request))));
        }
    }
    for (index, name) in ["x_mesh_variant", "X-Mesh-Variant", "x_canary-override", "x_office"]
        .into_iter()
        .enumerate()
    {
        seeds.push((format!("spelled-{index}"), block(&Sent::with(name, b"canary").headers)));
    }
    let signed = canary_routing::signed().into_iter();
    seeds.extend(signed.map(|(name, it)| (format!("signed-{name}"), it.into_bytes())));
    seeds
}
