//! `canary_routing.wasm`: canary routing for Envoy.
#![allow(missing_docs, reason = "the macro declares the entry point that the ABI asks for")]

use canary_routing_policy::CanaryRouting;

proxy_wasm::main! {{ mesh_filters_runtime::start::<CanaryRouting>(); }}
