//! Signed overrides, by which testers choose their variant.
//!
//! One is `<experiment>.<variant>.<expiry>.<code>`: two names, seconds since 1970, and
//! the unpadded base64url of a code over the three. A header may hold several, for
//! several experiments, with commas between.

use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};
use mesh_filters_config::{Errors, HeaderName};
use mesh_filters_policy::{Headers, Host, UnixTime};

use crate::config::OverrideConfig;
use crate::signed::{Key, MAC_BYTES, Use};

/// Of the overrides in one request so many are looked at. Each costs a hash.
const MAX_TRIES: usize = 8;

/// Compiled overrides of one experiment.
#[derive(Debug)]
pub(crate) struct Override {
    header: HeaderName,
    key: Key,
    experiment: String,
}

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Nothing to this experiment.
    None,
    /// Something that is not signed, forged, over, or none at all.
    Ignored,
    /// This variant.
    Variant(&'a str),
}

impl Override {
    /// Compiles the override that stands at `path`.
    pub fn compile(
        config: &OverrideConfig,
        experiment: &str,
        path: &str,
        host: &dyn Host,
        errors: &Errors,
    ) -> Option<Self> {
        let OverrideConfig { header, key, key_env } = config;
        let key = Key::compile(key.as_ref(), key_env.as_ref(), path, host, errors)?;
        Some(Self { header: header.clone(), key, experiment: experiment.into() })
    }

    /// The header's name, in lower case.
    pub fn header(&self) -> &str {
        self.header.as_str()
    }

    /// The variant that the request is allowed to have. The first good override
    /// counts.
    pub fn find<'a>(&'a self, request: &'a Headers, now: UnixTime) -> Found<'a> {
        let mut found = Found::None;
        let values = request.values(self.header.as_str());
        let entries = values.flat_map(|value| value.split(|byte| *byte == b',')).take(MAX_TRIES);
        for entry in entries {
            let entry = std::str::from_utf8(entry).unwrap_or_default().trim();
            let mut fields = entry.split('.');
            let for_another = fields.clone().count() == 4
                && fields.next().is_some_and(|experiment| experiment != self.experiment);
            if for_another {
                continue;
            }
            match self.read(entry, now) {
                Some(variant) => return Found::Variant(variant),
                None => found = Found::Ignored,
            }
        }
        found
    }

    fn read<'a>(&self, entry: &'a str, now: UnixTime) -> Option<&'a str> {
        let (signed, code) = entry.rsplit_once('.')?;
        let mut fields = signed.split('.');
        let (_, variant, expiry) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        let mut decoded = [0; MAC_BYTES];
        let code = Base64UrlSafeNoPadding::decode(&mut decoded, code, None).ok()?;
        if !self.key.verifies(Use::Override, &[signed.as_bytes()], code) {
            return None;
        }
        let expiry = UnixTime::from_secs(expiry.parse().ok()?);
        (now < expiry).then_some(variant)
    }
}

/// Makes an override. `None` if the key has fewer than 32 bytes.
///
/// `expiry` is in seconds since 1970-01-01T00:00:00Z; from then on it is ignored.
pub fn sign_override(experiment: &str, variant: &str, expiry: u64, key: &[u8]) -> Option<String> {
    let signed = format!("{experiment}.{variant}.{expiry}");
    let code = Key::new(key)?.sign(Use::Override, &[signed.as_bytes()]);
    let code = Base64UrlSafeNoPadding::encode_to_string(code).ok()?;
    Some(format!("{signed}.{code}"))
}
