//! Certificates made for a test, and what a client needs to speak TLS.
//!
//! They are made anew each time, so none expires and no private key lies around.

use std::sync::Arc;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// The name of the servers that a test starts, as their certificates have it.
pub const SERVER_NAME: &str = "localhost";

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Makes an authority of this common name.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = named(name, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// The authority's own certificate as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Makes a certificate for the servers of a test: [`SERVER_NAME`] at
    /// 127.0.0.1.
    pub fn server(&self) -> Result<Identity> {
        let names = vec![SERVER_NAME.to_owned(), "127.0.0.1".to_owned()];
        self.issue(named(SERVER_NAME, names)?, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Makes a certificate for a client of this common name.
    pub fn client(&self, name: &str) -> Result<Identity> {
        self.issue(named(name, Vec::new())?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Identity { certificate, key })
    }
}

/// A certificate with its private key.
#[derive(Debug)]
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key as PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The certificate as DER.
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// The thumbprint of the certificate as a token's `cnf` holds it in
    /// `x5t#S256` (RFC 8705, section 3.1): SHA-256 of the DER in base64url.
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.der()))
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::try_from(self.key.serialize_der()).map_err(anyhow::Error::msg)
    }
}

/// What a client brings to a TLS connection.
#[derive(Clone, Debug)]
pub struct ClientTls(pub(crate) Arc<ClientConfig>);

impl ClientTls {
    /// A client that trusts servers of this authority and has no certificate.
    pub fn anonymous(servers: &Authority) -> Result<Self> {
        Self::new(servers, None)
    }

    /// A client that shows a certificate when the server asks for one.
    pub fn identified(servers: &Authority, identity: &Identity) -> Result<Self> {
        Self::new(servers, Some(identity))
    }

    fn new(servers: &Authority, identity: Option<&Identity>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(servers.0.der().clone())?;
        // Named, because no process-wide default is installed.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                config.with_client_auth_cert(identity.chain(), identity.private_key()?)?
            }
        };
        Ok(Self(Arc::new(config)))
    }
}

fn named(name: &str, alternative: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(alternative)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
