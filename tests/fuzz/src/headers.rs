//! The bytes as the block in which a host hands over headers, and as a path.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::LazyLock;

use cases::jwt_auth;
use jwt_auth_policy::JwtAuth;
use mesh_filters_policy::{Edit, Headers, NoHost, RequestPath};

use crate::Seed;
use crate::gate::{self, TOKENS, env, passes};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

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
    assert_eq!(pairs, self::pairs(&Headers::from_block(block(&pairs)).expect("a block")));
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
            let name = name.to_ascii_lowercase();
            let spelled = String::from_utf8_lossy(&name).replace('_', "-");
            let user = std::str::from_utf8(&value).unwrap_or_default();
            assert!(
                spelled != USER_ID || USERS.contains(user),
                "a client says who it is: {user:?}"
            );
        }
    }
}

/// What Envoy does with an edit.
fn apply(edit: Edit, pairs: &mut Pairs) {
    match edit {
        Edit::Set(name, value) => {
            pairs.retain(|(it, _)| !it.eq_ignore_ascii_case(name.as_bytes()));
            pairs.push((name.into_bytes(), value));
        }
        Edit::Append(name, value) => pairs.push((name.into_bytes(), value)),
        Edit::Remove(name) => pairs.retain(|(it, _)| !it.eq_ignore_ascii_case(&name)),
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

fn pairs(headers: &Headers) -> Pairs {
    headers.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The block that a host makes of such headers.
fn block(pairs: &Pairs) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("a length").to_le_bytes();
    let mut block = number(pairs.len()).to_vec();
    for (name, value) in pairs {
        block.extend([number(name.len()), number(value.len())].concat());
    }
    for (name, value) in pairs {
        block.extend([name, b"\0".as_slice(), value, b"\0"].concat());
    }
    block
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
                let mut headers = vec![
                    (":method".to_owned(), request.method.clone().into_bytes()),
                    (":path".to_owned(), request.path.clone().into_bytes()),
                    (":authority".to_owned(), request.host.clone().into_bytes()),
                ];
                headers.extend(request.headers());
                let pairs = headers.into_iter().map(|(name, it)| (name.into_bytes(), it)).collect();
                seeds.push((format!("{group}-{}", case.expect.reason), block(&pairs)));
            }
        }
    }
    seeds
}
