//! The cookie by which a client keeps its bucket.
//!
//! Its value is the unpadded base64url of a version, 16 random bytes (the bucket's id),
//! the moment at which it ends, and a code over both and the experiment's name. A
//! client that changes any of it gets another bucket, but not one of its choice.

use std::time::Duration;

use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};
use mesh_filters_config::Errors;
use mesh_filters_policy::pairs::{cookies, value_of};
use mesh_filters_policy::{Env, Headers, Host, UnixTime};

use crate::config::CookieConfig;
use crate::signed::{Key, MAC_BYTES, Use};

/// Which form the value has. Another form gets another number.
const VERSION: u8 = 1;

const ID_BYTES: usize = 16;
const EXPIRY_BYTES: usize = 8;

/// A multiple of three, so that no bit of the text is without meaning.
const VALUE_BYTES: usize = 1 + ID_BYTES + EXPIRY_BYTES + MAC_BYTES;

const VALUE_CHARS: usize = VALUE_BYTES / 3 * 4;

/// Of several cookies of the name so many are tried. A browser may send two, for two
/// paths; each try costs a hash.
const MAX_TRIES: usize = 4;

/// What a client is known by that is known by nothing else.
pub(crate) type BucketId = [u8; ID_BYTES];

/// A compiled cookie.
#[derive(Debug)]
pub(crate) struct Cookie {
    name: String,
    attributes: String,
    ttl: Duration,
    key: Key,
    experiment: String,
}

/// What a request says of its bucket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is no such cookie.
    None,
    /// There is one, and it is forged, over, or none of ours.
    Rejected,
    /// There is a good one.
    Good {
        id: BucketId,
        /// Whether half of its time is over.
        is_stale: bool,
    },
}

impl Cookie {
    /// Compiles the cookie that stands at `path`.
    pub fn compile(
        config: &CookieConfig,
        experiment: &str,
        path: &str,
        host: &dyn Host,
        errors: &Errors,
    ) -> Option<Self> {
        let CookieConfig { key, key_env, ttl, .. } = config;
        if ttl.as_secs() == 0 {
            errors.add(format_args!("{path}.ttl"), "must be a second or more");
        }
        let attributes = attributes(config, path, errors);
        let key = Key::compile(key.as_ref(), key_env.as_ref(), path, host, errors)?;
        let name = config.name.as_str().to_owned();
        Some(Self { name, attributes, ttl: *ttl, key, experiment: experiment.into() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the request's cookies of that name say. The first good one counts.
    pub fn find(&self, request: &Headers, now: UnixTime) -> Found {
        let name = self.name.as_bytes();
        let mut found = Found::None;
        let ours = cookies(request).filter_map(|pair| value_of(pair, name));
        for value in ours.take(MAX_TRIES) {
            match self.read(value, now) {
                Some((id, is_stale)) => return Found::Good { id, is_stale },
                None => found = Found::Rejected,
            }
        }
        found
    }

    fn read(&self, value: &[u8], now: UnixTime) -> Option<(BucketId, bool)> {
        if value.len() != VALUE_CHARS {
            return None;
        }
        let mut bytes = [0; VALUE_BYTES];
        let bytes = Base64UrlSafeNoPadding::decode(&mut bytes, value, None).ok()?;
        let (version, bytes) = bytes.split_first()?;
        let (signed, code) = bytes.split_at_checked(ID_BYTES + EXPIRY_BYTES)?;
        let (id, expiry) = signed.split_first_chunk::<ID_BYTES>()?;
        if *version != VERSION || !self.key.verifies(Use::Cookie, &self.parts(signed), code) {
            return None;
        }
        let expiry = UnixTime::from_secs(u64::from_be_bytes(*expiry.first_chunk()?));
        let left = expiry.since(now).filter(|left| !left.is_zero())?;
        Some((*id, left < self.ttl / 2))
    }

    fn parts<'a>(&'a self, signed: &'a [u8]) -> [&'a [u8]; 2] {
        [self.experiment.as_bytes(), signed]
    }

    /// A bucket that nobody has.
    pub fn new_id(env: &Env<'_>) -> BucketId {
        let mut id = BucketId::default();
        let (first, second) = id.split_at_mut(ID_BYTES / 2);
        first.copy_from_slice(&env.host.random().to_be_bytes());
        second.copy_from_slice(&env.host.random().to_be_bytes());
        id
    }

    /// The `set-cookie` that gives a client this bucket.
    pub fn issue(&self, id: &BucketId, now: UnixTime) -> Vec<u8> {
        let expiry = now.later(self.ttl).as_secs().to_be_bytes();
        let signed = [id.as_slice(), &expiry].concat();
        let code = self.key.sign(Use::Cookie, &self.parts(&signed));
        let value = [&[VERSION], signed.as_slice(), &code].concat();
        // Encoding fails only where there is no room, and a String makes its own.
        let value = Base64UrlSafeNoPadding::encode_to_string(value).unwrap_or_default();
        format!("{}={value}{}", self.name, self.attributes).into_bytes()
    }
}

/// What follows the value (RFC 6265 section 4.1.1). Notes what no browser would take.
fn attributes(config: &CookieConfig, at: &str, errors: &Errors) -> String {
    let CookieConfig { ttl, secure, http_only, same_site, .. } = config;
    let (name, path) = (config.name.as_str(), config.path.as_str());
    let prefixed =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
    if !secure {
        if *same_site == crate::config::SameSite::None {
            errors.add(format_args!("{at}.same_site"), "\"none\" needs secure: true");
        }
        if prefixed("__Secure-") || prefixed("__Host-") {
            errors.add(format_args!("{at}.name"), "a name that begins so needs secure: true");
        }
    }
    if prefixed("__Host-") && path != "/" {
        errors.add(format_args!("{at}.name"), "a name that begins so needs path: /");
    }
    let secure = if *secure { "; Secure" } else { "" };
    let http_only = if *http_only { "; HttpOnly" } else { "" };
    let (age, same_site) = (ttl.as_secs(), same_site.as_str());
    format!("; Path={path}; Max-Age={age}{secure}{http_only}; SameSite={same_site}")
}
