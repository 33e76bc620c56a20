//! What the filter counted during the tour.

use std::collections::BTreeMap;

use crate::steps::{Expect, Step};

const NAME: &str = "jwt_auth_requests{";

/// Requests by the reason why they passed or were refused.
pub type Counts = BTreeMap<String, u64>;

/// What these steps have to be counted as.
pub fn expected(steps: &[Step]) -> Counts {
    let mut counts = Counts::new();
    for step in steps {
        match step.expect {
            Expect::Token => {}
            Expect::Refused { reason, .. } | Expect::Passed { reason, .. } => {
                *counts.entry(reason.to_owned()).or_default() += 1;
            }
        }
    }
    counts
}

/// The filter's own lines of what Envoy tells Prometheus, but for the zeros.
pub fn lines(prometheus: &str) -> Vec<&str> {
    let ours = prometheus.lines().filter(|line| line.starts_with(NAME));
    ours.filter(|line| value(line) != Some(0)).collect()
}

/// What these lines say.
pub fn counts(lines: &[&str]) -> Counts {
    let mut counts = Counts::new();
    for line in lines {
        *counts.entry(reason(line).to_owned()).or_default() += value(line).unwrap_or_default();
    }
    counts
}

/// What a reader makes out at a glance.
pub fn text(counts: &Counts) -> String {
    let words: Vec<_> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    words.join(", ")
}

fn value(line: &str) -> Option<u64> {
    line.rsplit(' ').next()?.parse().ok()
}

fn reason(line: &str) -> &str {
    let value = line.split_once("reason=\"").and_then(|(_, rest)| rest.split_once('"'));
    value.map_or("", |(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMETHEUS: &str = r#"# TYPE jwt_auth_requests counter
jwt_auth_requests{provider="corp",reason="ok"} 2
jwt_auth_requests{provider="other",reason="ok"} 1
jwt_auth_requests{provider="corp",reason="kid"} 0
jwt_auth_requests{reason="anonymous"} 1
envoy_server_uptime{} 3
"#;

    #[test]
    fn zeros_and_what_others_count_is_left_out() {
        assert_eq!(
            lines(PROMETHEUS),
            [
                r#"jwt_auth_requests{provider="corp",reason="ok"} 2"#,
                r#"jwt_auth_requests{provider="other",reason="ok"} 1"#,
                r#"jwt_auth_requests{reason="anonymous"} 1"#,
            ]
        );
    }

    #[test]
    fn counts_of_a_reason_are_added() {
        let expected = [("anonymous".to_owned(), 1), ("ok".to_owned(), 3)];
        assert_eq!(counts(&lines(PROMETHEUS)), expected.into());
    }
}
