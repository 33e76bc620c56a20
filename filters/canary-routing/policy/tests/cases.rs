//! The table of cases, decided by the policy alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use canary_routing_policy::CanaryRouting;
use cases::canary_routing::{self, Case, Group};
use mesh_filters_policy::claims::{PROPERTY, property_value};
use mesh_filters_policy::testing::FakeHost;
use mesh_filters_policy::{Edit, Env, Headers, Host, Policy, Stream, UnixTime, Verdict};
use serde_json::json;

/// 2026-11-20, for cases that name no time of their own.
const NOW: u64 = 1_795_132_800;

fn host(group: &Group, case: &Case) -> FakeHost {
    let host = FakeHost::default();
    host.environment.borrow_mut().extend(group.environment.clone());
    if let Some(claims) = &case.claims {
        let claims = claims.to_string().into_bytes();
        let value = property_value([("corp", claims.as_slice())].into_iter());
        host.properties.borrow_mut().insert(PROPERTY.into(), value);
    }
    if let Some(address) = &case.address {
        host.properties.borrow_mut().insert("source.address".into(), address.clone().into());
    }
    host
}

/// Decides one case and returns what is wrong with the decision.
fn mistakes(group: &Group, case: &Case) -> Vec<String> {
    let host = host(group, case);
    let policy = CanaryRouting::configure(group.config.to_string().as_bytes(), &host);
    let policy = policy.unwrap_or_else(|errors| panic!("{}: {errors}", group.about)).policy;
    let counters = policy.counters();
    let mut pairs = vec![
        (":method".to_owned(), case.request.method.clone().into_bytes()),
        (":authority".to_owned(), case.request.host.clone().into_bytes()),
        (":path".to_owned(), case.request.path.clone().into_bytes()),
    ];
    pairs.extend(case.request.headers());
    let mut request: Headers = pairs.iter().map(|(name, value)| (name, value)).collect();
    let now = UnixTime::from_secs(case.now.unwrap_or(NOW));
    let env = Env { now, may_wait: false, host: &host };
    let mut stream = policy.stream();
    let verdict = stream.on_request_headers(&mut request, &env);

    let mut mistakes = Vec::new();
    let mut check = |what: &str, is: String, should: String| {
        if is != should {
            mistakes.push(format!("{}: {what} is {is}, should be {should}", case.name));
        }
    };
    let Verdict::Continue(reason) = verdict else { panic!("{}: {verdict:?}", case.name) };
    host.count(reason.counter, 1);
    let mut counted: Vec<String> = Vec::new();
    for (counter, times) in host.counts.borrow().iter() {
        let name = counters[*counter].strip_prefix("canary_routing.").unwrap().to_owned();
        counted.extend(vec![name; usize::try_from(*times).unwrap()]);
    }
    counted.sort();
    let mut expected = case.expect.counted.clone();
    expected.sort();
    check("what is counted", format!("{counted:?}"), format!("{expected:?}"));

    let seen_by_envoy = apply(pairs, &request.into_edits());
    for (name, value) in case.expect.upstream() {
        let found: Vec<_> =
            seen_by_envoy.iter().filter(|it| it.0 == name).map(|it| &it.1).collect();
        check(name, format!("{found:?}"), format!("{:?}", value.iter().collect::<Vec<_>>()));
    }

    let mut response: Headers = case.answer.iter().map(|(name, value)| (name, value)).collect();
    if stream.wants_response_headers() {
        stream.on_response_headers(&mut response, &env);
    }
    for (name, value) in &case.expect.response {
        let found: Vec<_> = response.values(name).map(String::from_utf8_lossy).collect();
        let should: Vec<_> = value.iter().collect();
        check(&format!("the response's {name}"), format!("{found:?}"), format!("{should:?}"));
    }
    let cookies: Vec<_> = response.values("set-cookie").map(without_value).collect();
    let should: Vec<_> = case.expect.set_cookie.iter().cloned().collect();
    check("set-cookie", format!("{cookies:?}"), format!("{should:?}"));
    mistakes
}

/// `name=value; Path=/` without the value.
fn without_value(cookie: &[u8]) -> String {
    let cookie = std::str::from_utf8(cookie).unwrap();
    let (name, rest) = cookie.split_once('=').unwrap();
    let (_, attributes) = rest.split_once(';').unwrap();
    format!("{name};{attributes}")
}

/// What Envoy makes of the edits; it has every name in lower case.
fn apply(pairs: Vec<(String, Vec<u8>)>, edits: &[Edit]) -> Vec<(String, Vec<u8>)> {
    let mut pairs: Vec<_> =
        pairs.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    for edit in edits {
        match edit {
            Edit::Remove(name) => {
                pairs.retain(|(it, _)| !it.as_bytes().eq_ignore_ascii_case(name));
            }
            Edit::Set(name, value) => {
                pairs.retain(|(it, _)| it != name);
                pairs.push((name.clone(), value.clone()));
            }
            Edit::Append(name, value) => pairs.push((name.clone(), value.clone())),
        }
    }
    pairs
}

#[test]
fn every_case_is_decided_as_the_table_says() {
    let mut decided = 0;
    let mut wrong = Vec::new();
    for (name, group) in canary_routing::groups() {
        for case in &group.cases {
            wrong.extend(mistakes(&group, case).iter().map(|it| format!("{name}: {it}")));
            decided += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(decided > 150, "only {decided} cases were read");
}

/// The table was worked out in another language, with another `SipHash`.
#[test]
fn every_client_falls_where_the_table_says() {
    let table = canary_routing::assignments();
    let config = json!({"experiments": [{
        "name": "checkout", "weights": table.weights,
        "sticky": {
            "by": [{"header": "x-user-id"}, {"cookie": "mesh_bucket"}], "salt": table.salt,
            "cookie": {"name": "mesh_bucket", "key": "canary-routing: a public key of the tests"},
        },
    }]});
    let host = FakeHost::default();
    let policy = CanaryRouting::configure(config.to_string().as_bytes(), &host).unwrap().policy;
    let env = Env { now: UnixTime::from_secs(NOW), may_wait: false, host: &host };
    let variant = |name: &str, value: &str| {
        let mut request: Headers = [(":path", "/"), (name, value)].into_iter().collect();
        let _ = policy.stream().on_request_headers(&mut request, &env);
        String::from_utf8(request.first("x-mesh-variant").unwrap().into()).unwrap()
    };
    for (client, expected) in &table.clients {
        assert_eq!(variant("x-user-id", client), *expected, "{client}");
    }
    let cookie = format!("mesh_bucket={}", canary_routing::signed()["cookie"]);
    assert_eq!(variant("cookie", &cookie), table.bucket);
}
