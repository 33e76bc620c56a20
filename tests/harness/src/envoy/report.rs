//! What helps to understand a failure.

use std::fmt::Write;

use super::Envoy;
use crate::process::tail;

pub(super) async fn report(envoy: &Envoy) -> String {
    let mut report = format!("Envoy's log ends with:\n{}\n", tail(&envoy.log));
    if let Some(status) = envoy.process.exit_status() {
        writeln!(report, "Envoy is gone: {status}").expect("writing to a String");
        return report;
    }
    match envoy.stats().await {
        Ok(stats) => {
            report.push_str("Stats that are not zero:\n");
            for (name, value) in stats {
                if value != 0 && tells(&name) {
                    writeln!(report, "  {name}: {value}").expect("writing to a String");
                }
            }
        }
        Err(error) => writeln!(report, "No stats: {error:#}").expect("writing to a String"),
    }
    report
}

fn tells(stat: &str) -> bool {
    (stat.contains("wasm") || stat.starts_with("http.") || stat.starts_with("listener."))
        // What the admin interface does for the tests.
        && !stat.contains("admin")
}
