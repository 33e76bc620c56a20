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

use cases::{Case, jwt_auth};
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{
    Configured, Edit, Env, Headers, NoHost, Policy, Stream, UnixTime, Verdict,
};

/// 2027-01-15, for cases that name no time of their own.
const NOW: u64 = 1_800_000_000;

/// Decides one case and returns what is wrong with the decision.
fn mistakes(policy: &JwtAuth, counters: &[String], case: &Case) -> Vec<String> {
    let mut pairs = vec![
        (":method".to_owned(), case.request.method.clone().into_bytes()),
        (":authority".to_owned(), case.request.host.clone().into_bytes()),
        (":path".to_owned(), case.request.path.clone().into_bytes()),
    ];
    pairs.extend(case.request.headers());
    let mut headers: Headers = pairs.iter().map(|(name, value)| (name, value)).collect();
    let env =
        Env { now: UnixTime::from_secs(case.now.unwrap_or(NOW)), may_wait: false, host: &NoHost };
    let verdict = policy.stream().on_request_headers(&mut headers, &env);

    let mut mistakes = Vec::new();
    let mut check = |what: &str, is: String, should: String| {
        if is != should {
            mistakes.push(format!("{}: {what} is {is}, should be {should}", case.name));
        }
    };
    let counter = &counters[verdict.reason().unwrap().counter.0];
    let reason = counter.rsplit('.').next().unwrap_or_default();
    check("the reason", reason.into(), case.expect.reason.clone());
    let detail = verdict.reason().unwrap().detail;
    check("the detail", detail.into(), format!("jwt_auth{{{}}}", case.expect.reason));
    match verdict {
        Verdict::Continue(_) => {
            check("the status", "200".into(), case.expect.status.to_string());
            for (name, value) in case.expect.upstream().unwrap_or_default() {
                let found: Vec<_> = headers.values(name).collect();
                let should: Vec<_> = value.iter().map(Vec::as_slice).collect();
                check(name, format!("{found:?}"), format!("{should:?}"));
            }
            let edits = headers.into_edits();
            let seen_by_envoy = apply(pairs, &edits);
            for (name, value) in case.expect.upstream().unwrap_or_default() {
                let found: Vec<_> =
                    seen_by_envoy.iter().filter(|(it, _)| it == name).map(|(_, v)| v).collect();
                check(
                    &format!("{name} after the edits"),
                    format!("{found:?}"),
                    format!("{:?}", value.iter().collect::<Vec<_>>()),
                );
            }
        }
        Verdict::Reply(_, reply) => {
            check("the status", reply.status.to_string(), case.expect.status.to_string());
            check(
                "passing",
                "no".into(),
                if case.expect.upstream().is_some() { "yes" } else { "no" }.into(),
            );
            let challenge = reply.headers.iter().find(|(name, _)| *name == "www-authenticate");
            let challenge = challenge.map(|(_, value)| value.to_string());
            check(
                "the challenge",
                format!("{challenge:?}"),
                format!("{:?}", case.expect.challenge),
            );
        }
        Verdict::Wait(_) => mistakes.push(format!("{}: waits for nothing", case.name)),
    }
    mistakes
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
    for (name, group) in jwt_auth::groups() {
        let config = group.config.to_string();
        let Configured { policy, warnings, .. } = JwtAuth::configure(config.as_bytes(), &NoHost)
            .unwrap_or_else(|errors| panic!("{name}: {errors}"));
        // The shared secret is of no use where no HMAC is listed.
        assert_eq!(warnings.is_empty(), config.contains("HS256"), "{name}: {warnings:?}");
        let counters = policy.counters();
        // A second time with every token known already: a cache changes no answer.
        for case in group.cases.iter().chain(&group.cases) {
            wrong.extend(
                mistakes(&policy, &counters, case).iter().map(|it| format!("{name}: {it}")),
            );
            decided += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(decided > 300, "only {decided} cases were read");
}
