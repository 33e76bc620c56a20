//! Conditions that are made of conditions.

use std::collections::BTreeSet;

use mesh_filters_config::{Decode, Node, NonEmpty};

use super::client_ip::ClientIpMatch;
use super::named::{CookieMatch, QueryMatch};
use super::value::ValueMatch;
use super::view::RequestView;
use super::{HeaderMatch, HostMatch, MethodMatch, PathMatch};
use crate::claims::ClaimCondition;

/// Conditions in conditions beyond that depth are refused: a request is judged by
/// recursion, and the stack of a VM is small.
const MAX_DEPTH: usize = 16;

/// More conditions in one are refused: each may cost a look at every header.
const MAX_SIZE: usize = 256;

/// A condition on a request: `{}`, which every request meets, or exactly one of the
/// [kinds](KINDS).
#[derive(Debug, Clone)]
pub struct Condition(Option<Tree>);

#[derive(Debug, Clone)]
enum Tree {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Header(HeaderMatch),
    Cookie(CookieMatch),
    Query(QueryMatch),
    Path(PathMatch),
    Method(MethodMatch),
    Host(HostMatch),
    UserAgent(ValueMatch),
    ClientIp(ClientIpMatch),
    Claim(ClaimCondition),
}

/// The kinds of conditions, as configured.
const KINDS: &str =
    "all, any, not, header, cookie, query, path, method, host, user_agent, client_ip, claim";

impl Condition {
    /// Whether the request meets it.
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        match &self.0 {
            None => true,
            Some(Tree::All(all)) => all.iter().all(|it| it.matches(request)),
            Some(Tree::Any(any)) => any.iter().any(|it| it.matches(request)),
            Some(Tree::Not(not)) => !not.matches(request),
            Some(Tree::Header(header)) => header.matches(request.headers),
            Some(Tree::Cookie(cookie)) => cookie.matches(request),
            Some(Tree::Query(query)) => query.matches(request),
            Some(Tree::Path(path)) => request.path().is_some_and(|it| path.matches(it)),
            Some(Tree::Method(method)) => method.matches(request.headers),
            Some(Tree::Host(host)) => host.matches(request.headers),
            Some(Tree::UserAgent(value)) => value.matches_any(request.headers.values("user-agent")),
            Some(Tree::ClientIp(client_ip)) => client_ip.matches(request),
            Some(Tree::Claim(claim)) => request.claims().meet(claim),
        }
    }

    /// Adds the names of the request headers that it looks at, in lower case: what the
    /// `Vary` of a response names that depends on it (RFC 9110 section 12.5.5).
    pub fn add_request_headers(&self, names: &mut BTreeSet<String>) {
        match &self.0 {
            Some(Tree::All(list) | Tree::Any(list)) => {
                for condition in list {
                    condition.add_request_headers(names);
                }
            }
            Some(Tree::Not(not)) => not.add_request_headers(names),
            Some(Tree::Header(header)) => {
                names.insert(header.name().into());
            }
            Some(Tree::Cookie(_)) => {
                names.insert("cookie".into());
            }
            Some(Tree::UserAgent(_)) => {
                names.insert("user-agent".into());
            }
            // The rest is part of what a response is stored under anyway, or is not
            // in a header.
            _ => {}
        }
    }

    fn children(&self) -> &[Self] {
        match &self.0 {
            Some(Tree::All(list) | Tree::Any(list)) => list,
            Some(Tree::Not(not)) => std::slice::from_ref(not),
            _ => &[],
        }
    }

    fn depth(&self) -> usize {
        1 + self.children().iter().map(Self::depth).max().unwrap_or_default()
    }

    fn size(&self) -> usize {
        1 + self.children().iter().map(Self::size).sum::<usize>()
    }
}

impl Decode for Condition {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let found = [
            object.optional("all").map(|it: NonEmpty<Vec<Self>>| Tree::All(it.to_vec())),
            object.optional("any").map(|it: NonEmpty<Vec<Self>>| Tree::Any(it.to_vec())),
            object.optional("not").map(|it: Self| Tree::Not(Box::new(it))),
            object.optional("header").map(Tree::Header),
            object.optional("cookie").map(Tree::Cookie),
            object.optional("query").map(Tree::Query),
            object.optional("path").map(Tree::Path),
            object.optional("method").map(Tree::Method),
            object.optional("host").map(Tree::Host),
            object.optional("user_agent").map(Tree::UserAgent),
            object.optional("client_ip").map(Tree::ClientIp),
            object.optional("claim").map(Tree::Claim),
        ];
        object.finish();
        let mut found = found.into_iter().flatten();
        let condition = match (found.next(), found.next()) {
            (None, None) if node.value().as_object().is_some_and(serde_json::Map::is_empty) => {
                Self(None)
            }
            (Some(tree), None) => Self(Some(tree)),
            _ => {
                return node.refuse_fields(format!("must be {{}}, or have exactly one of {KINDS}"));
            }
        };
        // Those inside are within the bounds, or they were refused: this goes no deeper
        // than one step beyond.
        if condition.depth() > MAX_DEPTH {
            return node.refuse(format!("must not be more than {MAX_DEPTH} conditions deep"));
        }
        if condition.size() > MAX_SIZE {
            return node.refuse(format!("must not hold more than {MAX_SIZE} conditions"));
        }
        Some(condition)
    }
}
