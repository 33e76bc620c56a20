//! Makes a signed override for a tester.
//!
//! ```text
//! CANARY_OVERRIDE_KEY=... cargo run -p canary-routing-policy --example sign-override -- \
//!     <experiment> <variant> <hours>
//! ```
#![allow(clippy::disallowed_methods, reason = "runs on a tester's machine, not in the proxy")]

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use canary_routing_policy::sign_override;

const USAGE: &str = "usage: CANARY_OVERRIDE_KEY=<key> sign-override <experiment> <variant> <hours>";

fn sign() -> Result<String, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [experiment, variant, hours] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let hours: u64 = hours.parse().map_err(|_| format!("{hours:?} is no number of hours"))?;
    let key = std::env::var("CANARY_OVERRIDE_KEY").map_err(|_| USAGE)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    let expiry = now.as_secs().saturating_add(hours.saturating_mul(3_600));
    sign_override(experiment, variant, expiry, key.as_bytes())
        .ok_or_else(|| "CANARY_OVERRIDE_KEY must have at least 32 bytes".into())
}

fn main() -> ExitCode {
    match sign() {
        Ok(signed) => {
            println!("{signed}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
