//! `jwt_auth.wasm`: JSON Web Token authentication for Envoy.

use jwt_auth_policy::JwtAuth;

proxy_wasm::main! {{ mesh_filters_runtime::start::<JwtAuth>(); }}
