//! `jwt_auth.wasm`: JSON Web Token authentication for Envoy.
#![allow(missing_docs, reason = "the macro declares the entry point that the ABI asks for")]

use jwt_auth_policy::JwtAuth;

proxy_wasm::main! {{ mesh_filters_runtime::start::<JwtAuth>(); }}
