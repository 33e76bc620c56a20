//! Tokens whose signature has been checked.
//!
//! A key is the SHA-256 of the whole token, so an entry says nothing but "these
//! very bytes carry a good signature of this provider's keys". Everything that
//! may change from one request to the next, time and revocation and the rule, is
//! checked on every hit. When the cache is full, the oldest entry goes: it is the
//! likeliest to have expired, and a flood of valid tokens can do no more than make
//! others be verified again.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::claims::Claims;
use crate::config::CacheConfig;

/// A bounded set of verified tokens of one provider, with their claims.
pub(crate) struct VerifiedTokens {
    entries: usize,
    max_token_bytes: usize,
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    claims: HashMap<TokenHash, Rc<Claims>>,
    /// Oldest first. Holds exactly the keys of `claims`.
    order: VecDeque<TokenHash>,
}

/// The SHA-256 of a token that is worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl VerifiedTokens {
    pub fn new(config: &CacheConfig) -> Self {
        Self {
            entries: config.entries.0,
            max_token_bytes: config.max_token_bytes.0,
            inner: RefCell::default(),
        }
    }

    /// What a token is looked up by; `None` if it is not kept.
    pub fn key(&self, token: &[u8]) -> Option<TokenHash> {
        (self.entries > 0 && token.len() <= self.max_token_bytes)
            .then(|| TokenHash(Sha256::digest(token).into()))
    }

    /// The claims of a token that was verified before.
    pub fn get(&self, key: &TokenHash) -> Option<Rc<Claims>> {
        self.inner.borrow().claims.get(key).cloned()
    }

    /// Keeps a token that was verified.
    pub fn insert(&self, key: TokenHash, claims: Rc<Claims>) {
        let mut inner = self.inner.borrow_mut();
        if inner.claims.insert(key, claims).is_none() {
            inner.order.push_back(key);
        }
        if inner.order.len() > self.entries
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.claims.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::Count;

    fn cache(entries: usize) -> VerifiedTokens {
        VerifiedTokens::new(&CacheConfig { entries: Count(entries), max_token_bytes: Count(8) })
    }

    fn insert(cache: &VerifiedTokens, token: &[u8]) {
        let claims = Claims::parse(b"{}").unwrap();
        cache.insert(cache.key(token).unwrap(), Rc::new(claims));
    }

    fn knows(cache: &VerifiedTokens, token: &[u8]) -> bool {
        cache.get(&cache.key(token).unwrap()).is_some()
    }

    #[test]
    fn the_oldest_token_goes_when_it_is_full() {
        let cache = cache(2);
        for token in [b"a", b"b", b"a", b"c"] {
            insert(&cache, token);
        }
        assert!(!knows(&cache, b"a") && knows(&cache, b"b") && knows(&cache, b"c"));
    }

    #[test]
    fn it_never_grows_beyond_its_bound() {
        let cache = cache(10);
        for token in 0..1_000_u32 {
            insert(&cache, &token.to_le_bytes());
        }
        let inner = cache.inner.borrow();
        assert_eq!((inner.claims.len(), inner.order.len()), (10, 10));
    }

    #[test]
    fn long_tokens_are_not_kept_and_none_are_where_it_is_off() {
        assert!(cache(1).key(&[0; 8]).is_some());
        assert!(cache(1).key(&[0; 9]).is_none());
        assert!(cache(0).key(&[0; 8]).is_none());
    }
}
