//! What a policy may ask of the proxy that it runs in.

use std::fmt;

use crate::time::Monotonic;
use crate::verdict::CounterId;

/// Somebody who can check signatures.
pub trait VerifySignature {
    /// Whether `signature` is that of the key over `message`; `None` if that cannot
    /// be told.
    fn verify_signature(&self, check: &SignatureCheck<'_>) -> Option<bool>;
}

/// The proxy, as a policy sees it. Nothing here fails loudly: a host that cannot
/// do something says so, and the policy decides what that means.
pub trait Host: VerifySignature {
    /// The time since some moment in the past, which no one sets: for deadlines and
    /// intervals. The same for every worker of one proxy.
    fn monotonic(&self) -> Monotonic;

    /// Sixty-four random bits, seeded once a VM. Not for secrets.
    fn random(&self) -> u64;

    /// What Envoy knows about the request or its connection, such as
    /// `["source", "address"]` (Envoy's "Attributes"). `None` if it knows nothing.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Leaves a value for later filters of this request, who read it as the
    /// property `[name]`. No client can set one.
    ///
    /// # Errors
    /// If the host does not keep it.
    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostRefused>;

    /// What the workers of this proxy share under that key.
    fn shared(&self, key: &str) -> Option<Shared>;

    /// Shares a value with the workers of this proxy. With `expected`, only if
    /// nobody else has written since that version was read.
    ///
    /// A key is never deleted, so keys must be few and fixed by the configuration.
    ///
    /// # Errors
    /// [`NotShared::Changed`] if somebody has written; read again, and decide again.
    fn share(&self, key: &str, value: &[u8], expected: Option<Version>) -> Result<(), NotShared>;

    /// A variable of the VM's environment, such as a secret that has no place in a
    /// configuration (`vm_config.environment_variables`).
    fn environment(&self, name: &str) -> Option<String>;

    /// Adds to one of the counters that the policy declared.
    fn count(&self, counter: CounterId, by: u64);

    /// Writes a line to the proxy's log. It must not hold a secret.
    fn log(&self, level: LogLevel, line: &str);
}

/// The host did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostRefused;

/// A value that workers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The value.
    pub value: Vec<u8>,
    /// Which version of it.
    pub version: Version,
}

/// A version of a shared value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub u32);

/// Why a value was not shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotShared {
    /// Somebody else has written it since.
    Changed,
    /// The host does not keep it.
    Refused,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For whoever looks for a cause.
    Debug,
    /// What an operator may want to know.
    Info,
    /// What an operator should look at.
    Warn,
}

/// A signature for the host to check.
#[derive(Debug, Clone, Copy)]
pub struct SignatureCheck<'a> {
    /// The hash: `sha256`, `sha384` or `sha512`.
    pub hash: &'static str,
    /// The key as a DER-encoded `SubjectPublicKeyInfo` (RFC 5280 section 4.1).
    pub public_key: &'a [u8],
    /// RSASSA-PKCS1-v1_5, or ECDSA as a DER-encoded `ECDSA-Sig-Value` (RFC 3279
    /// section 2.2.3).
    pub signature: &'a [u8],
    /// What is signed.
    pub message: &'a [u8],
}

/// A host that can do nothing: everything is done in the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

impl VerifySignature for NoHost {
    fn verify_signature(&self, _: &SignatureCheck<'_>) -> Option<bool> {
        None
    }
}

impl Host for NoHost {
    fn monotonic(&self) -> Monotonic {
        Monotonic::default()
    }

    fn random(&self) -> u64 {
        0
    }

    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn set_property(&self, _: &str, _: &[u8]) -> Result<(), HostRefused> {
        Err(HostRefused)
    }

    fn shared(&self, _: &str) -> Option<Shared> {
        None
    }

    fn share(&self, _: &str, _: &[u8], _: Option<Version>) -> Result<(), NotShared> {
        Err(NotShared::Refused)
    }

    fn environment(&self, _: &str) -> Option<String> {
        None
    }

    fn count(&self, _: CounterId, _: u64) {}

    fn log(&self, _: LogLevel, _: &str) {}
}

impl fmt::Debug for dyn Host + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}
