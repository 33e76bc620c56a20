//! The host and the module check the same signatures, and must agree.
//!
//! Which of the two checks a request's token depends on the proxy and on the
//! algorithm. A token that only one of them takes would pass in one gateway and not
//! in the next. So `vectors_plugin.wasm` compares them in Envoy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cases::{jwt_auth, vectors, wycheproof};
use harness::bootstrap::{Bootstrap, ConfigForm};
use harness::envoy;
use harness::trial::Suite;
use serde_json::{Value, json};

/// The module takes tens of seconds for all signatures of larger keys, which test
/// the code that smaller ones test.
const LARGEST_RSA_MODULUS: usize = 3072 / 8;

/// Where `make test-e2e` builds the module.
fn module() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.with_file_name("wasm32-wasip1/wasm/vectors_plugin.wasm")
}

fn bootstrap(corpus: &Value) -> Result<Bootstrap> {
    let module = module();
    ensure!(module.exists(), "{} is not there; `make test-e2e` builds it", module.display());
    let bootstrap = e2e::jwt_auth(ConfigForm::Text(corpus.to_string()))?;
    Ok(bootstrap.hcm(|hcm| {
        let code = hcm.pointer_mut("/http_filters/0/typed_config/config/vm_config/code");
        *code.expect("the filter comes first") =
            json!({"local": {"filename": module.to_string_lossy()}});
    }))
}

/// Has Envoy compare, and returns how many signatures the host checked.
async fn compared(corpus: &Value, verdicts: usize) -> Result<usize> {
    let outcome = envoy::validate(&bootstrap(corpus)?).await?;
    ensure!(outcome.ok, "{}", outcome.output);
    let told = format!("vectors-plugin: {verdicts} verdicts compared, ");
    let (_, rest) = outcome
        .output
        .split_once(&told)
        .with_context(|| format!("no {told:?}: {}", outcome.output))?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Ok(number.parse()?)
}

/// Wycheproof's signatures of an algorithm.
async fn signatures(algorithm: &str, at_least: usize) -> Result<()> {
    let keys: Vec<_> = wycheproof::all()
        .into_iter()
        .filter(|it| it.algorithm == algorithm)
        .filter(|it| {
            let modulus = it.jwk["n"].as_str().map(|n| URL_SAFE_NO_PAD.decode(n).unwrap());
            // A modulus has a zero byte before it.
            modulus.is_none_or(|n| n.len() <= LARGEST_RSA_MODULUS + 1)
        })
        .collect();
    let verdicts = keys.iter().map(|it| it.tests.len()).sum();
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let keys: Vec<Value> = keys
        .iter()
        .map(|it| {
            let tests: Vec<_> = it
                .tests
                .iter()
                .map(|test| (&test.name, b64(&test.message), b64(&test.signature)))
                .collect();
            json!({"name": it.name, "algorithm": it.algorithm, "jwk": it.jwk, "tests": tests})
        })
        .collect();
    let answers = compared(&json!({"keys": keys, "tokens": []}), verdicts).await?;
    ensure!(answers >= at_least, "the host checked {answers} of {verdicts} alone");
    Ok(())
}

/// The tokens of the RFCs, of attackers, and of the table of cases.
async fn tokens() -> Result<()> {
    let mut tokens = Vec::new();
    for table in vectors::tables() {
        for token in &table.tokens {
            tokens.push(json!({
                "name": format!("{}, {}", token.source, token.about),
                "jwks": table.key_set_of(token),
                "compact": token.token,
            }));
        }
    }
    let jwks = jwt_auth::jwks();
    for (name, token) in jwt_auth::tokens() {
        tokens.push(json!({"name": name, "jwks": jwks, "compact": token["token"]}));
    }
    let verdicts = tokens.len();
    let answers = compared(&json!({"keys": [], "tokens": tokens}), verdicts).await?;
    ensure!(answers >= 100, "the host checked {answers} of {verdicts} alone");
    Ok(())
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for (algorithm, at_least) in
        [("RS256", 400), ("RS384", 400), ("RS512", 400), ("ES256", 150), ("ES384", 150)]
    {
        suite.trial(format!("the host and the module agree on {algorithm}"), async move |_| {
            signatures(algorithm, at_least).await
        });
    }
    suite.trial("the host and the module agree on tokens", async |_| tokens().await);
    suite.run()
}
