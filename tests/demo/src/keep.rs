//! What a user needs to try things alone.

use std::net::SocketAddr;

use crate::screen::Screen;
use crate::stage::{BOOTSTRAP, Stage};

/// Says where everything is, and how to use it.
pub fn explain(stage: &Stage, screen: &Screen) {
    let (ingress, admin) = (stage.envoy.listener("ingress"), stage.envoy.admin());
    let issuer = stage.issuer.addr();
    screen.title("All of it runs until Ctrl-C:");
    screen.detail(&format!("Envoy     http://{ingress}{}", remark(ingress, stage.written.ingress)));
    screen.detail(&format!("admin     http://{admin}{}", remark(admin, stage.written.admin)));
    screen.detail(&format!("upstream  http://{}", stage.upstream.addr()));
    screen.detail(&format!("issuer    http://{issuer}"));
    screen.title("Get a token, call with it and without, and read the counters:");
    screen.line(&format!(
        r#"
TOKEN=$(curl -s http://{issuer}/token -d '{{"sub":"alice"}}' |
  sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
curl -i http://{ingress}/orders -H "authorization: Bearer $TOKEN"
curl -i http://{ingress}/orders
curl -s http://{admin}/stats/prometheus | grep '^jwt_auth_requests.* [1-9]'
"#
    ));
}

fn remark(is: SocketAddr, written: SocketAddr) -> String {
    if is == written {
        format!("  (as in {BOOTSTRAP})")
    } else {
        format!("  ({} is in use)", written.port())
    }
}
