//! `rate_limit.wasm`: rate limits for Envoy.
#![allow(missing_docs, reason = "the macro declares the entry point that the ABI asks for")]

use rate_limit_policy::RateLimit;

proxy_wasm::main! {{ mesh_filters_runtime::start::<RateLimit>(); }}
