//! How a request ended, as far as a guard cares.

use mesh_filters_policy::Host;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether what is behind the proxy failed it.
    pub failed: bool,
    /// How long it took in nanoseconds, if that says something.
    pub nanos: Option<u64>,
}

/// The bits of Envoy's `response.flags` (`CoreResponseFlag` in
/// `envoy/stream_info/stream_info.h`) for what is wrong behind the proxy, also once
/// the response has begun.
const UPSTREAM_FAILED: u64 = 1 << 1 // NoHealthyUpstream
    | 1 << 2 // UpstreamRequestTimeout
    | 1 << 3 // LocalReset
    | 1 << 4 // UpstreamRemoteReset
    | 1 << 5 // UpstreamConnectionFailure
    | 1 << 6 // UpstreamConnectionTermination
    | 1 << 7 // UpstreamOverflow
    | 1 << 23; // UpstreamProtocolError

/// The bits for a client that has gone.
const CLIENT_GONE: u64 = 1 << 14 // DownstreamConnectionTermination
    | 1 << 28; // DownstreamRemoteReset

/// The gRPC statuses that stand for an HTTP status of 500 and more: `UNKNOWN`,
/// `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS`.
const GRPC_FAILURES: [u64; 6] = [2, 4, 12, 13, 14, 15];

const SWITCHING_PROTOCOLS: u64 = 101;

impl Outcome {
    /// How the request that `host` has just finished ended; `None` if its client went
    /// away before there was an answer.
    pub fn of_request(host: &dyn Host, is_grpc: bool) -> Option<Self> {
        let code = number(host, &["response", "code"]).unwrap_or_default();
        let flags = number(host, &["response", "flags"]).unwrap_or_default();
        let client_gone = flags & CLIENT_GONE != 0;
        let failed = code >= 500 || (!client_gone && flags & UPSTREAM_FAILED != 0);
        if code == 0 && !failed {
            return None;
        }
        // For other requests Envoy derives one from the HTTP status, in which 200 is
        // `UNKNOWN`.
        let grpc = is_grpc.then(|| number(host, &["response", "grpc_status"])).flatten();
        let failed = failed || grpc.is_some_and(|status| GRPC_FAILURES.contains(&status));
        // Failing fast is not being quick, and how long a client stays is its own.
        let says_something = !failed && !client_gone && code != SWITCHING_PROTOCOLS;
        let nanos = says_something.then(|| number(host, &["request", "duration"])).flatten();
        Some(Self { failed, nanos })
    }
}

/// Envoy hands over integers as 8 bytes, and durations as nanoseconds ("Attributes").
fn number(host: &dyn Host, path: &[&str]) -> Option<u64> {
    Some(u64::from_le_bytes(*host.property(path)?.first_chunk()?))
}
