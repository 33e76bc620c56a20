//! Project Wycheproof's vectors, as far as a JWS can carry them.
//!
//! A vector is good for Wycheproof if the primitive accepts it. JOSE narrows that:
//! RFC 7518 fixes the salt, the mask and the length of a tag, and this project
//! takes no RSA key but with the exponent 65537 and no secret shorter than its hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wycheproof::{HashFunction, TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

/// A key and signatures that it may have made.
#[derive(Debug, Clone)]
pub struct KeyTests {
    /// The file of Wycheproof, and the group in it.
    pub name: String,
    /// The JWS algorithm.
    pub algorithm: &'static str,
    /// The key as a JSON Web Key.
    pub jwk: Value,
    /// The signatures.
    pub tests: Vec<Signature>,
}

/// A signature, and whether it is good.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Wycheproof's number of it, and what it says of it.
    pub name: String,
    /// What is signed.
    pub message: Vec<u8>,
    /// The signature, as a JWS has it.
    pub signature: Vec<u8>,
    /// Whether it must be accepted.
    pub valid: bool,
}

/// The vectors of every algorithm that has some.
pub fn all() -> Vec<KeyTests> {
    let mut all = rsassa_pkcs1_v1_5();
    all.extend(rsassa_pss());
    all.extend(ecdsa_p1363());
    all.extend(ed25519());
    all.extend(hmac());
    all
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What Wycheproof calls acceptable are PKCS #1 signatures whose `DigestInfo` lacks
/// the NULL. RFC 8017 section 8.2.2 has the encoding compared as a whole, and section
/// 9.2 puts the NULL into it, so they are refused.
fn is_valid(result: TestResult) -> bool {
    result == TestResult::Valid
}

macro_rules! signatures {
    ($group:expr, $field:ident, $valid:expr) => {
        $group
            .tests
            .iter()
            .map(|test| Signature {
                name: format!("{} {}", test.tc_id, test.comment),
                message: test.msg.to_vec(),
                signature: test.$field.to_vec(),
                valid: is_valid(test.result) && $valid,
            })
            .collect()
    };
}

fn rsa_jwk(n: &[u8], e: &[u8]) -> Value {
    json!({"kty": "RSA", "n": b64(n), "e": b64(e)})
}

fn is_65537(e: &[u8]) -> bool {
    e.iter().skip_while(|byte| **byte == 0).eq(&[1, 0, 1])
}

fn rsassa_pkcs1_v1_5() -> Vec<KeyTests> {
    use rsa_pkcs1_verify::{TestName, TestSet};
    let mut all = Vec::new();
    for name in TestName::all() {
        for (index, group) in TestSet::load(name).unwrap().test_groups.iter().enumerate() {
            let algorithm = match group.hash {
                HashFunction::Sha2_256 => "RS256",
                HashFunction::Sha2_384 => "RS384",
                HashFunction::Sha2_512 => "RS512",
                _ => continue,
            };
            all.push(KeyTests {
                name: format!("{name:?}[{index}]"),
                algorithm,
                jwk: rsa_jwk(&group.key.n, &group.key.e),
                tests: signatures!(group, sig, is_65537(&group.key.e)),
            });
        }
    }
    all
}

fn rsassa_pss() -> Vec<KeyTests> {
    use rsa_pss_verify::{TestName, TestSet};
    let mut all = Vec::new();
    for name in TestName::all() {
        // These repeat others, with the parameters in the key.
        if format!("{name:?}").ends_with("WithParams") {
            continue;
        }
        for (index, group) in TestSet::load(name).unwrap().test_groups.iter().enumerate() {
            let (algorithm, hash_bytes) = match group.hash {
                HashFunction::Sha2_256 => ("PS256", 32),
                HashFunction::Sha2_384 => ("PS384", 48),
                HashFunction::Sha2_512 => ("PS512", 64),
                _ => continue,
            };
            let is_jose = group.mgf_hash.as_ref() == Some(&group.hash)
                && group.salt_size == hash_bytes
                && group.key_size >= 2048
                && is_65537(&group.key.e);
            let mut tests: Vec<Signature> = signatures!(group, sig, true);
            if !is_jose {
                // What is wrong under other parameters may be right under these.
                tests.retain(|test| test.valid);
                for test in &mut tests {
                    test.valid = false;
                }
            }
            all.push(KeyTests {
                name: format!("{name:?}[{index}]"),
                algorithm,
                jwk: rsa_jwk(&group.key.n, &group.key.e),
                tests,
            });
        }
    }
    all
}

fn ecdsa_p1363() -> Vec<KeyTests> {
    use ecdsa::{TestName, TestSet};
    let sets = [
        (TestName::EcdsaSecp256r1Sha256P1363, "ES256", "P-256"),
        (TestName::EcdsaSecp384r1Sha384P1363, "ES384", "P-384"),
    ];
    let mut all = Vec::new();
    for (name, algorithm, curve) in sets {
        for (index, group) in TestSet::load(name).unwrap().test_groups.iter().enumerate() {
            // SEC 1 section 2.3.3: 4, then x and y.
            let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
            all.push(KeyTests {
                name: format!("{name:?}[{index}]"),
                algorithm,
                jwk: json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)}),
                tests: signatures!(group, sig, true),
            });
        }
    }
    all
}

fn ed25519() -> Vec<KeyTests> {
    use eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let groups = set.test_groups.iter().enumerate();
    groups
        .map(|(index, group)| KeyTests {
            name: format!("Ed25519[{index}]"),
            algorithm: "EdDSA",
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&group.key.pk)}),
            tests: signatures!(group, sig, true),
        })
        .collect()
}

/// Each of these has a key of its own. RFC 7518 section 3.2 has the whole tag, and
/// a key at least as long as the hash.
fn hmac() -> Vec<KeyTests> {
    use mac::{TestName, TestSet};
    let sets = [
        (TestName::HmacSha256, "HS256", 32),
        (TestName::HmacSha384, "HS384", 48),
        (TestName::HmacSha512, "HS512", 64),
    ];
    let mut all = Vec::new();
    for (name, algorithm, hash_bytes) in sets {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let is_jose = group.tag_size == hash_bytes * 8 && test.key.len() >= hash_bytes;
                all.push(KeyTests {
                    name: format!("{name:?}"),
                    algorithm,
                    jwk: json!({"kty": "oct", "k": b64(&test.key)}),
                    tests: vec![Signature {
                        name: format!("{} {}", test.tc_id, test.comment),
                        message: test.msg.to_vec(),
                        signature: test.tag.to_vec(),
                        valid: is_valid(test.result) && is_jose,
                    }],
                });
            }
        }
    }
    all
}
