//! JSON Web Keys and what they sign.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use p256::ecdsa::signature::Signer;
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::rand_core::OsRng;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPrivateKey};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256, Sha384, Sha512};

pub(super) fn public(jwk: &Value) -> Option<Value> {
    let names: &[&str] = match jwk["kty"].as_str()? {
        "RSA" => &["kty", "kid", "use", "n", "e"],
        "EC" => &["kty", "crv", "kid", "use", "x", "y"],
        "OKP" => &["kty", "crv", "kid", "use", "x"],
        _ => return None,
    };
    let members: Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), jwk[name].clone())).collect();
    Some(members.into())
}

pub(super) fn secret(jwk: &Value) -> Vec<u8> {
    member(jwk, "k").expect("a symmetric key")
}

pub(super) fn rsa_public_pem(jwk: &Value) -> String {
    let key = rsa(jwk).expect("an RSA key").to_public_key();
    key.to_public_key_pem(LineEnding::LF).expect("a PEM")
}

pub(super) fn sign(jwk: &Value, alg: &str, message: &[u8]) -> Result<Vec<u8>> {
    let sha256 = || Sha256::digest(message);
    let sha384 = || Sha384::digest(message);
    let sha512 = || Sha512::digest(message);
    Ok(match alg {
        "RS256" => rsa(jwk)?.sign(Pkcs1v15Sign::new::<Sha256>(), &sha256())?,
        "RS384" => rsa(jwk)?.sign(Pkcs1v15Sign::new::<Sha384>(), &sha384())?,
        "RS512" => rsa(jwk)?.sign(Pkcs1v15Sign::new::<Sha512>(), &sha512())?,
        "PS256" => rsa(jwk)?.sign_with_rng(&mut OsRng, Pss::new::<Sha256>(), &sha256())?,
        "PS384" => rsa(jwk)?.sign_with_rng(&mut OsRng, Pss::new::<Sha384>(), &sha384())?,
        "PS512" => rsa(jwk)?.sign_with_rng(&mut OsRng, Pss::new::<Sha512>(), &sha512())?,
        "ES256" => {
            let key = p256::ecdsa::SigningKey::from_slice(&member(jwk, "d")?)?;
            let signature: p256::ecdsa::Signature = key.sign(message);
            signature.to_bytes().to_vec()
        }
        "ES384" => {
            let key = p384::ecdsa::SigningKey::from_slice(&member(jwk, "d")?)?;
            let signature: p384::ecdsa::Signature = key.sign(message);
            signature.to_bytes().to_vec()
        }
        "EdDSA" => {
            use ed25519_dalek::Signer;
            let seed = member(jwk, "d")?.try_into();
            let Ok(seed) = seed else {
                bail!("a seed has 32 bytes");
            };
            let key = ed25519_dalek::SigningKey::from_bytes(&seed);
            key.sign(message).to_bytes().to_vec()
        }
        _ => return hmac(&member(jwk, "k")?, alg, message),
    })
}

/// An HMAC with any secret, also one that never was meant to be one.
pub fn hmac(secret: &[u8], alg: &str, message: &[u8]) -> Result<Vec<u8>> {
    macro_rules! mac {
        ($hash:ty) => {
            Hmac::<$hash>::new_from_slice(secret)?
                .chain_update(message)
                .finalize()
                .into_bytes()
                .to_vec()
        };
    }
    Ok(match alg {
        "HS256" => mac!(Sha256),
        "HS384" => mac!(Sha384),
        "HS512" => mac!(Sha512),
        _ => bail!("unknown algorithm"),
    })
}

fn rsa(jwk: &Value) -> Result<RsaPrivateKey> {
    let number = |name| Ok::<_, anyhow::Error>(BigUint::from_bytes_be(&member(jwk, name)?));
    let primes = vec![number("p")?, number("q")?];
    let key = RsaPrivateKey::from_components(number("n")?, number("e")?, number("d")?, primes)?;
    Ok(key)
}

fn member(jwk: &Value, name: &str) -> Result<Vec<u8>> {
    let text = jwk[name].as_str().with_context(|| format!("the key has no {name:?}"))?;
    Ok(URL_SAFE_NO_PAD.decode(text)?)
}
