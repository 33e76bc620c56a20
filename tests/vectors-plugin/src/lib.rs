//! `vectors_plugin.wasm`: has every signature of its configuration checked twice,
//! by the host and by the code of the module, and refuses the configuration if the
//! two disagree about one.
//!
//! It is a test, and no filter: it passes every request.
#![allow(missing_docs, reason = "the macro declares the entry point that the ABI asks for")]

use std::cell::Cell;

use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use jwt_auth_policy::{Algorithm, SignatureVerifier};
use mesh_filters_config::{ConfigError, ConfigErrors, Errors};
use mesh_filters_policy::{
    Configured, CounterId, Env, FailureMode, Headers, Host, NoHost, Policy, Reason, SignatureCheck,
    Stream, Verdict,
};
use serde::Deserialize;
use serde_json::{Value, json};

proxy_wasm::main! {{ mesh_filters_runtime::start::<Vectors>(); }}

/// What is to be checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    keys: Vec<KeyTests>,
    tokens: Vec<Token>,
}

/// A key and signatures that it may have made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyTests {
    name: String,
    algorithm: String,
    jwk: Value,
    /// The name, the message and the signature, the last two in base64url.
    tests: Vec<(String, String, String)>,
}

/// A token, and the key set of its verifier.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    name: String,
    jwks: Value,
    compact: String,
}

/// Notes how often the host had an answer.
struct Counting<'a> {
    host: &'a dyn Host,
    answers: Cell<usize>,
}

impl Host for Counting<'_> {
    fn verify_signature(&self, check: &SignatureCheck<'_>) -> Option<bool> {
        let answer = self.host.verify_signature(check);
        self.answers.set(self.answers.get() + usize::from(answer.is_some()));
        answer
    }
}

/// The same key set, once for the host and once for the module.
struct Both {
    native: SignatureVerifier,
    rust: SignatureVerifier,
}

impl Both {
    /// `None` if the key set is of no use, which is decided without the host.
    fn read(jwks: &Value, algorithms: &[Algorithm], host: &dyn Host) -> Option<Self> {
        Some(Self {
            native: SignatureVerifier::new(jwks, algorithms, host).ok()?,
            rust: SignatureVerifier::new(jwks, algorithms, &NoHost).ok()?,
        })
    }
}

/// What was found out.
struct Comparison<'a> {
    host: Counting<'a>,
    compared: usize,
    disagreements: Errors,
}

impl Comparison<'_> {
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, native: &T, rust: &T) {
        self.compared += 1;
        if native != rust {
            let problem = format!("with the host {native:?}, in the module {rust:?}");
            self.disagreements.add(name, problem);
        }
    }

    fn key_tests(&mut self, group: &KeyTests) {
        let Some(algorithm) = Algorithm::from_name(&group.algorithm) else {
            self.disagreements.add(&group.name, "names no algorithm");
            return;
        };
        let jwks = json!({"keys": [group.jwk]});
        let both = Both::read(&jwks, &[algorithm], self.host.host);
        for (name, message, signature) in &group.tests {
            let name = format!("{} {name}", group.name);
            let (Some(message), Some(signature)) = (decode(message), decode(signature)) else {
                self.disagreements.add(name, "is not base64url");
                continue;
            };
            let verdicts = both.as_ref().map(|both| {
                let native = both.native.verify_bytes(algorithm, &message, &signature, &self.host);
                (native, both.rust.verify_bytes(algorithm, &message, &signature, &NoHost))
            });
            match verdicts {
                Some((native, rust)) => self.compare(&name, &native, &rust),
                None => self.compare(&name, &false, &false),
            }
        }
    }

    fn token(&mut self, token: &Token) {
        let Some(both) = Both::read(&token.jwks, Algorithm::ALL, self.host.host) else {
            self.disagreements.add(&token.name, "has no usable key");
            return;
        };
        let native = both.native.verify(token.compact.as_bytes(), &self.host);
        let rust = both.rust.verify(token.compact.as_bytes(), &NoHost);
        self.compare(&token.name, &native, &rust);
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    Base64UrlSafeNoPadding::decode_to_vec(text, None).ok()
}

/// The comparison as a policy, which is how it gets at the host.
struct Vectors;

/// A request that nobody sends.
struct Unjudged;

impl Policy for Vectors {
    type Stream = Unjudged;

    const NAME: &'static str = "vectors-plugin";

    fn configure(config: &[u8], host: &dyn Host) -> Result<Configured<Self>, ConfigErrors> {
        let corpus: Corpus = serde_json::from_slice(config)
            .map_err(|error| ConfigError { path: String::new(), problem: error.to_string() })?;
        let mut comparison = Comparison {
            host: Counting { host, answers: Cell::new(0) },
            compared: 0,
            disagreements: Errors::default(),
        };
        for group in &corpus.keys {
            comparison.key_tests(group);
        }
        for token in &corpus.tokens {
            comparison.token(token);
        }
        let Comparison { host, compared, disagreements } = comparison;
        let answers = host.answers.get();
        let note = format!("{compared} verdicts compared, {answers} of them the host's own");
        let policy = disagreements.finish(Some(Self))?;
        Ok(Configured { policy, warnings: Vec::new(), notes: vec![note] })
    }

    fn counters(&self) -> Vec<String> {
        Vec::new()
    }

    fn failure_mode(&self) -> FailureMode {
        FailureMode::Open
    }

    fn stream(&self) -> Unjudged {
        Unjudged
    }
}

impl Stream for Unjudged {
    fn on_request_headers(&mut self, _: &mut Headers, _: &Env<'_>) -> Verdict {
        Verdict::Continue(Reason { detail: "vectors", counter: CounterId(0) })
    }
}
