//! Keys and revocations that are fetched: by one worker for all, kept fresh, and
//! what becomes of requests while their server is slow, wrong or gone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Gateway, MARK, SOON, jwt_auth};
use harness::bootstrap::ConfigForm;
use harness::client::{self, Request};
use harness::envoy::{Envoy, Options};
use harness::issuer::{self, ISSUER, Issuer, IssuerServer, KEYS_PATH, METADATA_PATH};
use harness::openid_provider::OpenIdProvider;
use harness::trial::{Cx, Fixture, Suite};
use harness::upstream::Reply;
use harness::wait;
use serde_json::{Value, json};

/// Enough requests, each on a connection of its own, to meet each worker.
const ENOUGH: usize = 40;

/// How long a test waits for what the filter does at most every ten seconds.
const COOLED_DOWN: Duration = Duration::from_secs(20);

/// An Envoy whose filter fetches from a server.
struct Rig {
    gateway: Gateway,
    server: IssuerServer,
    issuer: Issuer,
}

impl Fixture for Rig {
    fn envoys(&self) -> Vec<&Envoy> {
        vec![&self.gateway.envoy]
    }
}

/// A configuration with keys from there.
fn config(jwks: &Value) -> Value {
    json!({
        "providers": [{
            "name": "corp", "issuer": ISSUER, "jwks": jwks,
            "claims_to_headers": [{"claim": "sub", "header": "x-user-id"}],
        }],
        "rules": [{"match": {}, "require": {"provider": "corp"}}],
    })
}

/// Keys at their usual place, with what `settings` add.
fn remote(settings: &Value) -> Value {
    let mut remote = json!({"cluster": "idp", "uri": format!("http://idp.example.com{KEYS_PATH}")});
    let fields = settings.as_object().unwrap().clone();
    remote.as_object_mut().unwrap().extend(fields);
    json!({ "remote": remote })
}

impl Rig {
    /// Starts the server, lets `script` change what it answers, and starts Envoy.
    async fn start(
        cx: &Cx,
        name: &str,
        config: Value,
        script: impl FnOnce(&IssuerServer),
    ) -> Result<Arc<Self>> {
        cx.shared(name, async || {
            let server = issuer::serve().await?;
            script(&server);
            let gateway = gateway(&config, &[server.addr()]).await?;
            Ok(Self { gateway, server, issuer: Issuer::new() })
        })
        .await
    }

    fn addr(&self) -> SocketAddr {
        self.gateway.envoy.listener("ingress")
    }

    async fn status(&self, token: &str) -> Result<u16> {
        Ok(client::h1(self.addr(), Request::get("/").bearer(token)).await?.status)
    }

    /// A token that no cache knows.
    fn fresh(&self, kid: &str, alg: &str) -> String {
        let mut claims = self.issuer.claims("alice");
        claims["jti"] = json!(unique().to_string());
        self.issuer.sign(kid, alg, &json!({}), &claims)
    }

    /// A token with a `kid` that no key has.
    fn of_unknown_kid(&self, kid: &str) -> String {
        let claims = self.issuer.claims("mallory");
        self.issuer.sign("rsa-2048", "RS256", &json!({ "kid": kid }), &claims)
    }

    async fn eventually(&self, within: Duration, status: u16, kid: &str, alg: &str) -> Result<()> {
        let what = format!("{status} for a token of {kid}");
        wait::until(within, &what, async || {
            (self.status(&self.fresh(kid, alg)).await.ok()? == status).then_some(())
        })
        .await
    }

    async fn counted(&self, counter: &str, fits: impl Fn(u64) -> bool) -> Result<()> {
        let counter = format!("wasmcustom.jwt_auth.{counter}");
        self.gateway.envoy.wait_for_stat(&counter, fits, SOON).await.map(drop)
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn gateway(config: &Value, idp: &[SocketAddr]) -> Result<Gateway> {
    let bootstrap = jwt_auth(ConfigForm::Struct(config.clone()))?.add_cluster("idp", idp)?;
    let options = Options { concurrency: 2, ..Options::default() };
    Gateway::start(bootstrap, options).await
}

async fn one_worker_fetches_for_all(cx: &Cx) -> Result<()> {
    let rig = Rig::start(cx, "plain", config(&remote(&json!({}))), |_| {}).await?;
    for _ in 0..ENOUGH {
        let token = rig.fresh("rsa-2048", "RS256");
        ensure!(rig.status(&token).await? == 200);
    }
    ensure!(rig.server.count_of(KEYS_PATH) == 1, "{:?}", rig.server.requests());
    let request = &rig.server.requests()[0];
    ensure!(request.header("host").as_deref() == Some("idp.example.com"), "{request:?}");
    rig.counted("key_fetches.provider.corp.result.ok", |count| count == 1).await?;
    rig.gateway.envoy.wait_for_log("jwt-auth: keys of provider corp: fetched", SOON).await
}

async fn a_request_waits_for_the_first_keys(cx: &Cx) -> Result<()> {
    let slow = |server: &IssuerServer| {
        let keys = Reply::json(&Issuer::new().jwks());
        server.reply(KEYS_PATH, keys.delay(Duration::from_secs(1)));
    };
    let rig = Rig::start(cx, "slow", config(&remote(&json!({"timeout": "10s"}))), slow).await?;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..ENOUGH {
        let (rig, token) = (rig.clone(), rig.fresh("p-256", "ES256"));
        requests.spawn(async move { rig.status(&token).await });
    }
    while let Some(status) = requests.join_next().await {
        ensure!(status?? == 200);
    }
    ensure!(rig.server.count_of(KEYS_PATH) == 1);
    Ok(())
}

async fn unavailable(gateway: &Gateway, mark: &str) -> Result<()> {
    let addr = gateway.envoy.listener("ingress");
    let issuer = Issuer::new();
    let good = Request::get("/").bearer(&issuer.good("alice")).header(MARK, mark);
    let answer = client::h1(addr, good).await?;
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(answer.json()? == json!({"error": "temporarily_unavailable"}), "{answer:?}");
    ensure!(answer.header("www-authenticate").is_none(), "{answer:?}");
    let details = gateway.details(mark).await?;
    ensure!(details == "jwt_auth{keys_unavailable}", "{details}");
    ensure!(gateway.upstream.count() == 0);
    // What is wrong without any key needs none to be refused.
    let missing = client::h1(addr, Request::get("/")).await?;
    ensure!(missing.status == 401, "{missing:?}");
    let mut claims = issuer.claims("alice");
    claims["exp"] = json!(1);
    let expired = issuer.sign("rsa-2048", "RS256", &json!({}), &claims);
    let expired = client::h1(addr, Request::get("/").bearer(&expired)).await?;
    ensure!(expired.status == 401, "{expired:?}");
    Ok(())
}

async fn without_keys_it_is_503(cx: &Cx) -> Result<()> {
    let never = |server: &IssuerServer| server.reply(KEYS_PATH, Reply::never());
    let short = config(&remote(&json!({"timeout": "300ms"})));
    let rig = Rig::start(cx, "never", short.clone(), never).await?;
    unavailable(&rig.gateway, "never").await?;
    rig.counted("key_fetches.provider.corp.result.failed", |count| count > 0).await?;
    // It comes back by itself.
    rig.server.reply_as_usual(KEYS_PATH);
    rig.eventually(COOLED_DOWN, 200, "rsa-2048", "RS256").await
}

async fn a_cluster_that_cannot_answer_gives_503(cx: &Cx) -> Result<()> {
    let short = config(&remote(&json!({"timeout": "300ms"})));
    // Port 9 is discard, where nobody listens.
    let closed = SocketAddr::from(([127, 0, 0, 1], 9));
    for (name, endpoints) in [("no endpoint", vec![]), ("nobody listens", vec![closed])] {
        let gateway = cx.shared(name, async || gateway(&short, &endpoints).await).await?;
        unavailable(&gateway, "unanswered").await?;
    }
    let mut unknown = short;
    unknown["providers"][0]["jwks"]["remote"]["cluster"] = json!("pdi");
    let gateway = cx.shared("unknown cluster", async || gateway(&unknown, &[closed]).await).await?;
    unavailable(&gateway, "unknown cluster").await?;
    let line = "cannot use http://idp.example.com/keys: Envoy refused the call; is there a \
                cluster of that name?";
    gateway.envoy.wait_for_log(line, SOON).await
}

async fn made_up_kids_cause_one_fetch(cx: &Cx) -> Result<()> {
    let rig = Rig::start(cx, "kids", config(&remote(&json!({}))), |server| {
        server.set_keys(&Issuer::new().jwks_of(&["p-256"]));
    })
    .await?;
    ensure!(rig.status(&rig.fresh("p-256", "ES256")).await? == 200);
    // Until the filter may ask again, and then for good.
    wait::until(COOLED_DOWN, "a second fetch", async || {
        let token = rig.of_unknown_kid(&format!("made-up-{}", unique()));
        assert_eq!(rig.status(&token).await.unwrap(), 401);
        (rig.server.count_of(KEYS_PATH) == 2).then_some(())
    })
    .await?;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (rig, token) = (rig.clone(), rig.of_unknown_kid(&format!("made-up-{}", unique())));
        requests.spawn(async move { rig.status(&token).await });
    }
    while let Some(status) = requests.join_next().await {
        ensure!(status?? == 401);
    }
    ensure!(rig.server.count_of(KEYS_PATH) == 2, "{:?}", rig.server.count_of(KEYS_PATH));
    rig.counted("requests.provider.corp.reason.kid", |count| count > 200).await
}

async fn a_new_key_is_found_by_its_kid_and_an_old_one_forgotten(cx: &Cx) -> Result<()> {
    let rig = Rig::start(cx, "rotation", config(&remote(&json!({}))), |server| {
        server.set_keys(&Issuer::new().jwks_of(&["rsa-2048"]));
    })
    .await?;
    let old = rig.fresh("rsa-2048", "RS256");
    ensure!(rig.status(&old).await? == 200);
    rig.server.set_keys(&rig.issuer.jwks_of(&["p-256"]));
    rig.eventually(COOLED_DOWN, 200, "p-256", "ES256").await?;
    // Known tokens are forgotten with the key that made them, on every worker.
    wait::until(SOON, "the old token to be refused", async || {
        for _ in 0..ENOUGH {
            if rig.status(&old).await.ok()? != 401 {
                return None;
            }
        }
        Some(())
    })
    .await?;
    ensure!(rig.server.count_of(KEYS_PATH) == 2);
    Ok(())
}

async fn old_keys_serve_while_the_issuer_is_down_but_not_for_ever(cx: &Cx) -> Result<()> {
    let jwks = remote(&json!({"refresh": "1s", "max_stale": "3s"}));
    let rig = Rig::start(cx, "stale", config(&jwks), |_| {}).await?;
    ensure!(rig.status(&rig.fresh("rsa-2048", "RS256")).await? == 200);
    rig.server.stop().await;
    rig.counted("key_fetches.provider.corp.result.failed", |count| count > 0).await?;
    ensure!(rig.status(&rig.fresh("rsa-2048", "RS256")).await? == 200, "stale keys serve");
    let known = rig.fresh("rsa-2048", "RS256");
    ensure!(rig.status(&known).await? == 200, "stale keys serve");
    rig.eventually(SOON, 503, "rsa-2048", "RS256").await?;
    wait::until(SOON, "known tokens to be forgotten too", async || {
        (rig.status(&known).await.ok()? == 503).then_some(())
    })
    .await?;
    rig.gateway.envoy.wait_for_log("are too old to be used any longer", SOON).await?;
    rig.server.resume().await?;
    rig.eventually(COOLED_DOWN, 200, "rsa-2048", "RS256").await
}

async fn an_answer_that_is_no_key_set_changes_nothing(cx: &Cx) -> Result<()> {
    let jwks = remote(&json!({"refresh": "1s", "timeout": "300ms", "max_bytes": "16KiB"}));
    let rig = Rig::start(cx, "garbage", config(&jwks), |_| {}).await?;
    ensure!(rig.status(&rig.fresh("rsa-2048", "RS256")).await? == 200);
    let many: Vec<_> = (0..101).map(|_| rig.issuer.public_jwk("ed25519")).collect();
    for (reply, line) in [
        (Reply::status(200).body("<html>maintenance</html>"), "it is no JSON"),
        (Reply::json(&json!({"keys": []})), "it has no usable key"),
        (Reply::json(&json!({"keys": many})), "it has 101 keys; at most 100 are read"),
        (Reply::json(&json!({"keys": [{"kty": "RSA"}]})), "it has no usable key: keys[0]"),
        (Reply::status(200).body(vec![b' '; 17 << 10]), "the answer is too long"),
        (Reply::status(200).body("{\"keys\":").stalling(), "there was no answer"),
        (Reply::status(500), "it answered 500"),
        (Reply::status(302).header("location", "http://evil.example.com/"), "it answered 302"),
        (Reply::reset(), "there was no answer"),
    ] {
        rig.server.reply(KEYS_PATH, reply);
        let line = format!("cannot use http://idp.example.com/keys: {line}");
        rig.gateway.envoy.wait_for_log(&line, COOLED_DOWN).await?;
        ensure!(rig.status(&rig.fresh("rsa-2048", "RS256")).await? == 200, "after: {line}");
        // Failures are spaced out; begin anew.
        rig.server.reply_as_usual(KEYS_PATH);
        let fetched = rig.server.count_of(KEYS_PATH);
        wait::until(COOLED_DOWN, "another fetch", async || {
            (rig.server.count_of(KEYS_PATH) > fetched).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// A real provider, whose metadata, keys and tokens are its own, and whose keys are
/// then others.
async fn keys_of_an_openid_provider_rotate(cx: &Cx) -> Result<()> {
    let keys = Issuer::new();
    let provider = OpenIdProvider::start(&keys.private_jwks_of(&["rsa-2048"])).await?;
    let uri = format!("{}{METADATA_PATH}", provider.issuer());
    let config = json!({
        "providers": [{
            "name": "op", "issuer": provider.issuer(), "audiences": ["orders-api"],
            "jwks": {"discovery": {"cluster": "idp", "uri": uri, "refresh": "2s"}},
        }],
        "rules": [{"match": {}, "require": {"provider": "op"}}],
    });
    let gateway =
        cx.shared("rotating provider", async || gateway(&config, &[provider.addr()]).await).await?;
    let status = async |token: &str| -> Result<u16> {
        let request = Request::get("/").bearer(token);
        Ok(client::h1(gateway.envoy.listener("ingress"), request).await?.status)
    };
    let old = provider.token("orders-api").await?;
    ensure!(status(&old).await? == 200, "before the rotation");
    ensure!(status(&provider.token("other-api").await?).await? == 401, "for somebody else");

    // Both keys, then the new one only: how an issuer rotates.
    provider.rotate(&keys.private_jwks_of(&["p-256", "rsa-2048"])).await?;
    let new = provider.token("orders-api").await?;
    wait::until(COOLED_DOWN, "tokens of the new key to pass", async || {
        (status(&new).await.ok()? == 200).then_some(())
    })
    .await?;
    ensure!(status(&old).await? == 200, "while the old key is there");
    provider.rotate(&keys.private_jwks_of(&["p-256"])).await?;
    wait::until(COOLED_DOWN, "tokens of the old key to be refused", async || {
        (status(&old).await.ok()? == 401).then_some(())
    })
    .await?;
    ensure!(status(&new).await? == 200, "after the rotation");
    ensure!(status(&provider.token("orders-api").await?).await? == 200, "after the rotation");
    Ok(())
}

/// Metadata that name this issuer and these keys.
fn metadata(issuer: &str, jwks_uri: &str) -> Reply {
    Reply::json(&json!({"issuer": issuer, "jwks_uri": jwks_uri}))
}

fn discovery(authority: &str) -> Value {
    let uri = format!("http://{authority}{METADATA_PATH}");
    json!({"discovery": {"cluster": "idp", "uri": uri, "timeout": "500ms"}})
}

async fn an_issuer_is_discovered(cx: &Cx) -> Result<()> {
    let rig = Rig::start(cx, "discovery", config(&discovery("idp.example.com")), |_| {}).await?;
    for _ in 0..ENOUGH {
        ensure!(rig.status(&rig.fresh("ed25519", "EdDSA")).await? == 200);
    }
    ensure!(rig.server.count_of(METADATA_PATH) == 1);
    ensure!(rig.server.count_of(KEYS_PATH) == 1);
    Ok(())
}

async fn metadata_of_another_issuer_are_refused(cx: &Cx) -> Result<()> {
    let at = "http://idp.example.com/keys";
    for (name, reply, line) in [
        (
            "another issuer",
            metadata("https://evil.example.com/", at),
            "its issuer is \"https://evil.example.com/\", not \"https://idp.example.com/\"",
        ),
        (
            "another host",
            metadata(ISSUER, "http://evil.example.com/keys"),
            "its jwks_uri http://evil.example.com/keys is on another host; name the cluster",
        ),
        ("no address", metadata(ISSUER, "/keys"), "its jwks_uri is no address: \"/keys\""),
        ("no metadata", Reply::json(&json!({"issuer": ISSUER})), "it is no metadata of an issuer"),
    ] {
        let script = |server: &IssuerServer| server.reply(METADATA_PATH, reply);
        let config = config(&discovery("idp.example.com"));
        let rig = Rig::start(cx, name, config, script).await?;
        rig.gateway.envoy.wait_for_log(line, SOON).await?;
        ensure!(rig.status(&rig.fresh("rsa-2048", "RS256")).await? == 503, "{name}");
        ensure!(rig.server.count_of(KEYS_PATH) == 0, "{name}");
    }
    Ok(())
}

fn denying(settings: &Value) -> Value {
    let mut config = config(&json!({"inline": Issuer::new().jwks()}));
    config["deny"] = settings.clone();
    config
}

async fn revocations_are_fetched_and_kept(cx: &Cx) -> Result<()> {
    const LIST: &str = "/revoked";
    let uri = format!("http://idp.example.com{LIST}");
    let deny = json!({"cluster": "idp", "uri": uri, "refresh": "1s", "sub": ["configured"]});
    let rig = Rig::start(cx, "deny", denying(&deny), |server| {
        server.reply(LIST, Reply::json(&json!({"sub": ["mallory"]})));
    })
    .await?;
    let of = |sub: &str| rig.issuer.good(sub);
    ensure!(rig.status(&of("alice")).await? == 200);
    ensure!(rig.status(&of("mallory")).await? == 401);
    ensure!(rig.status(&of("configured")).await? == 401);
    let bob = of("bob");
    ensure!(rig.status(&bob).await? == 200);
    rig.server.reply(LIST, Reply::json(&json!({"sub": ["mallory", "bob"]})));
    wait::until(SOON, "bob to be refused", async || {
        (rig.status(&bob).await.ok()? == 401).then_some(())
    })
    .await?;
    // The last list holds while there is no other.
    for (reply, line) in [
        (Reply::status(500), "it answered 500"),
        (Reply::status(200), "it is empty"),
        (Reply::json(&json!({"subject": ["bob"]})), "subject: unknown field; known here: jti, sub"),
    ] {
        rig.server.reply(LIST, reply);
        let line = format!("jwt-auth: deny list: cannot use {uri}: {line}");
        rig.gateway.envoy.wait_for_log(&line, COOLED_DOWN).await?;
        ensure!(rig.status(&bob).await? == 401, "after: {line}");
        ensure!(rig.status(&of("alice")).await? == 200, "after: {line}");
    }
    rig.counted("deny_list_fetches.result.failed", |count| count > 2).await?;
    rig.counted("requests.provider.corp.reason.revoked", |count| count > 3).await
}

async fn without_the_first_list_nobody_passes(cx: &Cx) -> Result<()> {
    let uri = "http://idp.example.com/nowhere";
    let deny = json!({"cluster": "idp", "uri": uri, "timeout": "300ms"});
    let rig = Rig::start(cx, "deny nowhere", denying(&deny), |_| {}).await?;
    let request = Request::get("/").bearer(&rig.issuer.good("alice")).header(MARK, "nowhere");
    ensure!(client::h1(rig.addr(), request).await?.status == 503);
    let details = rig.gateway.details("nowhere").await?;
    ensure!(details == "jwt_auth{deny_list_unavailable}", "{details}");
    Ok(())
}

async fn open_lets_pass_what_cannot_be_judged(cx: &Cx) -> Result<()> {
    let mut config = config(&remote(&json!({"timeout": "300ms"})));
    config["failure_mode"] = json!("open");
    let never = |server: &IssuerServer| server.reply(KEYS_PATH, Reply::never());
    let rig = Rig::start(cx, "open", config, never).await?;
    let request = Request::get("/").bearer(&rig.issuer.good("alice")).header("x-user-id", "admin");
    ensure!(client::h1(rig.addr(), request).await?.status == 200);
    let seen = rig.gateway.upstream.take();
    ensure!(seen.len() == 1 && seen[0].header("x-user-id").is_none(), "{seen:?}");
    // What can be judged is.
    ensure!(client::h1(rig.addr(), Request::get("/")).await?.status == 401);
    rig.counted("requests.provider.corp.reason.keys_unavailable", |count| count == 1).await
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    suite.time_limit(Duration::from_mins(2));
    suite.trial("one worker fetches for all", one_worker_fetches_for_all);
    suite.trial("a request waits for the first keys", a_request_waits_for_the_first_keys);
    suite.trial("without keys it is 503", without_keys_it_is_503);
    suite.trial("a cluster that cannot answer gives 503", a_cluster_that_cannot_answer_gives_503);
    suite.trial("made-up kids cause one fetch", made_up_kids_cause_one_fetch);
    suite.trial(
        "a new key is found by its kid and an old one forgotten",
        a_new_key_is_found_by_its_kid_and_an_old_one_forgotten,
    );
    suite.trial(
        "old keys serve while the issuer is down, but not for ever",
        old_keys_serve_while_the_issuer_is_down_but_not_for_ever,
    );
    suite.trial(
        "an answer that is no key set changes nothing",
        an_answer_that_is_no_key_set_changes_nothing,
    );
    suite.trial("an issuer is discovered", an_issuer_is_discovered);
    suite.trial("keys of an OpenID provider rotate", keys_of_an_openid_provider_rotate);
    suite.trial("metadata of another issuer are refused", metadata_of_another_issuer_are_refused);
    suite.trial("revocations are fetched and kept", revocations_are_fetched_and_kept);
    suite.trial("without the first list nobody passes", without_the_first_list_nobody_passes);
    suite.trial("open lets pass what cannot be judged", open_lets_pass_what_cannot_be_judged);
    suite.run()
}
