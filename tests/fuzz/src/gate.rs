//! A configured policy, and requests that come to it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cases::jwt_auth;
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{
    Edit, Env, Headers, Host, HttpResponse, NoHost, Policy, Stream, UnixTime, Verdict, Work,
};
use serde_json::Value;

/// The issuer of the tokens of the cases.
pub const ISSUER: &str = "https://idp.example.com/";

/// The time of every request. Most tokens of the cases are good then.
pub const NOW: u64 = 1_800_000_000;

/// The tokens of the cases, by name.
pub static TOKENS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(jwt_auth::tokens);

/// A key of the cases.
pub fn key(kid: &str) -> Value {
    let jwks = jwt_auth::jwks();
    jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap().clone()
}

/// The token of that name, signed.
pub fn token(name: &str) -> &'static str {
    TOKENS[name]["token"].as_str().unwrap()
}

pub fn policy(config: &Value) -> JwtAuth {
    policy_on(config, &NoHost)
}

pub fn policy_on(config: &Value, host: &dyn Host) -> JwtAuth {
    JwtAuth::configure(config.to_string().as_bytes(), host).unwrap().policy
}

pub fn env(host: &dyn Host) -> Env<'_> {
    Env { now: UnixTime::from_secs(NOW), may_wait: false, host }
}

/// What becomes of a request, and how it is edited.
pub fn judge(policy: &impl Policy, mut request: Headers, host: &dyn Host) -> (Verdict, Vec<Edit>) {
    let verdict = policy.stream().on_request_headers(&mut request, &env(host));
    (verdict, request.into_edits())
}

pub fn passes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Continue(_))
}

/// A request for `/` with that token.
pub fn bearer(token: impl AsRef<[u8]>) -> Headers {
    let value = [b"Bearer ", token.as_ref()].concat();
    [(":path", b"/".to_vec()), ("authorization", value)].into_iter().collect()
}

/// Has the policy fetch what is due, and answers each of its requests, and those
/// that follow from the answer, by `answer` of their path.
pub fn serve(policy: &JwtAuth, host: &dyn Host, answer: impl Fn(&str) -> Vec<u8>) {
    let Work { mut callouts, .. } = policy.on_tick(&env(host));
    while let Some((id, request)) = callouts.pop() {
        // No answer may lead the proxy elsewhere.
        assert_eq!((&*request.cluster, &*request.authority), ("idp", "idp.example.com"));
        let answer = HttpResponse { status: 200, body: answer(&request.path) };
        callouts.extend(policy.on_callout(id, Ok(answer), &env(host)).callouts);
    }
    let _ = policy.on_tick(&env(host));
}
