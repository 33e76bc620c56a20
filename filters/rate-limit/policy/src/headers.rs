//! What a client is told about what it has left.

use std::time::Duration;

use mesh_filters_policy::Headers;

use crate::config::HeadersConfig;
use crate::gcra::Level;
use crate::limit::Rate;

/// A limit that a request was counted by.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub limit: String,
    pub rate: Rate,
    pub level: Level,
}

/// The headers that tell a client about all limits that it was counted by, of which the
/// `tightest` is the one that will stop it first.
pub(crate) fn describe(
    style: HeadersConfig,
    standings: &[Standing],
    tightest: &Standing,
) -> Vec<(&'static str, String)> {
    let reset = seconds(tightest.level.reset);
    let remaining = tightest.level.remaining;
    match style {
        HeadersConfig::None => Vec::new(),
        HeadersConfig::Legacy => vec![
            ("x-ratelimit-limit", tightest.rate.requests.to_string()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-reset", reset.to_string()),
        ],
        // draft-ietf-httpapi-ratelimit-headers-10 sections 3 and 4: lists of strings
        // with parameters (RFC 9651). A limit's name needs no escape in them.
        HeadersConfig::Ietf => {
            let policies: Vec<_> = standings
                .iter()
                .map(|Standing { limit, rate, .. }| {
                    format!("\"{limit}\";q={};w={}", rate.requests, seconds(rate.per))
                })
                .collect();
            vec![
                ("ratelimit-policy", policies.join(", ")),
                ("ratelimit", format!("\"{}\";r={remaining};t={reset}", tightest.limit)),
            ]
        }
    }
}

/// Whole seconds after which that time is surely over.
pub(crate) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The standing of whoever has least of its burst left, in proportion.
pub(crate) fn tightest(standings: &[Standing]) -> Option<&Standing> {
    standings.iter().min_by_key(|standing| {
        // Thousandths, to compare without fractions.
        standing.level.remaining.saturating_mul(1_000) / standing.rate.quota.burst()
    })
}

/// Sets the headers of a response.
pub(crate) fn set(response: &mut Headers, headers: Vec<(&'static str, String)>) {
    for (name, value) in headers {
        response.set(name, value.into_bytes());
    }
}
