//! The bytes as the block in which a host hands over headers, and as a path.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::LazyLock;

use cases::jwt_auth;
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{Headers, NoHost, RequestPath};

use crate::Seed;
use crate::gate::{self, TOKENS, env, passes};
use crate::wire::{self, Pairs, apply, block, pairs, request_pairs, spelled};

/// The header that the policies of the cases set.
const USER_ID: &str = "x-user-id";

/// Whom the tokens of the cases are about.
static USERS: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| TOKENS.values().filter_map(|it| it["claims"]["sub"].as_str()).collect());

thread_local! {
    static POLICIES: Vec<JwtAuth> =
        jwt_auth::groups().iter().map(|(_, group)| gate::policy(&group.config)).collect();
}

/// Whatever the host hands over is read or refused, no client says who it is, and
/// what later policies see is what the host makes of the edits.
pub fn run(data: &[u8]) {
    path(data);
    let Ok(headers) = Headers::from_block(data.to_vec()) else { return };
    let pairs = pairs(&headers);
    assert_eq!(pairs, wire::pairs(&Headers::from_block(block(&pairs)).expect("a block")));
    POLICIES.with(|policies| policies.iter().for_each(|policy| judge(policy, data, &pairs)));
}

fn judge(policy: &JwtAuth, data: &[u8], before: &Pairs) {
    use mesh_filters_policy::{Policy, Stream};
    let mut request = Headers::from_block(data.to_vec()).expect("it was read before");
    let verdict = policy.stream().on_request_headers(&mut request, &env(&NoHost));
    let after = pairs(&request);
    let mut applied = before.clone();
    for edit in request.into_edits() {
        apply(edit, &mut applied);
    }
    assert_eq!(after, applied, "the policy and the host see different headers");
    if passes(&verdict) {
        for (name, value) in after {
            let user = std::str::from_utf8(&value).unwrap_or_default();
            assert!(
                spelled(&name) != USER_ID || USERS.contains(user),
                "a client says who it is: {user:?}"
            );
        }
    }
}

/// A path that is read has one reading, and is read the same when it is encoded.
fn path(target: &[u8]) {
    let Ok(path) = RequestPath::parse(target) else { return };
    let path = path.as_bytes();
    if path == b"*" {
        return;
    }
    let segments = path.strip_prefix(b"/").expect("a path begins with a slash");
    assert!(!segments.split(|byte| *byte == b'/').any(|it| matches!(it, b"." | b"..")));
    assert!(!path.iter().any(|byte| byte.is_ascii_control() || matches!(byte, b'\\' | b';')));
    let mut encoded = String::new();
    for byte in path {
        match byte {
            b'/' => encoded.push('/'),
            byte => write!(encoded, "%{byte:02X}").expect("a String takes all"),
        }
    }
    let again = RequestPath::parse(encoded.as_bytes()).expect("it was read before");
    assert_eq!(again.as_bytes(), path);
}

/// A request for each outcome of each group of cases, and every path among them.
pub fn seeds() -> Vec<Seed> {
    let (mut seeds, mut paths, mut outcomes) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (group, it) in jwt_auth::groups() {
        for case in it.cases {
            let request = case.request;
            if group == "paths" && paths.insert(request.path.clone()) {
                seeds.push((format!("path-{}", paths.len()), request.path.clone().into_bytes()));
            }
            if outcomes.insert((group, case.expect.reason.clone())) {
                let pairs = request_pairs(&request);
                seeds.push((format!("{group}-{}", case.expect.reason), block(&pairs)));
            }
        }
    }
    seeds
}
