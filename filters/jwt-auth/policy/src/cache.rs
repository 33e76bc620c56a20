//! Tokens whose signature has been checked.
//!
//! A key is the SHA-256 of the whole token, so an entry says nothing but "these
//! very bytes carry a good signature of this provider's keys". Everything that
//! may change from one request to the next, time and revocation and the rule, is
//! checked on every hit. When the cache is full, the oldest entry goes: it is the
//! likeliest to have expired, and a flood of valid tokens can do no more than make
//! others be verified again. Full is a cache with as many tokens as configured, or
//! with [`MAX_BYTES`] of them.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::claims::Claims;
use crate::config::CacheConfig;

/// How long all tokens of one cache may be together. Their claims take a few times
/// that in memory.
const MAX_BYTES: usize = 4 << 20;

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
    order: VecDeque<Key>,
    /// The lengths of all tokens together.
    bytes: usize,
}

type TokenHash = [u8; 32];

/// What a token is looked up by that is worth keeping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// The SHA-256 of the token.
    hash: TokenHash,
    token_bytes: usize,
}

impl VerifiedTokens {
    pub fn new(config: &CacheConfig) -> Self {
        Self {
            entries: config.entries.0,
            max_token_bytes: config.max_token_bytes.0.min(MAX_BYTES),
            inner: RefCell::default(),
        }
    }

    /// What a token is looked up by; `None` if it is not kept.
    pub fn key(&self, token: &[u8]) -> Option<Key> {
        (self.entries > 0 && token.len() <= self.max_token_bytes)
            .then(|| Key { hash: Sha256::digest(token).into(), token_bytes: token.len() })
    }

    /// The claims of a token that was verified before.
    pub fn get(&self, key: &Key) -> Option<Rc<Claims>> {
        self.inner.borrow().claims.get(&key.hash).cloned()
    }

    /// Forgets all: the keys that verified these tokens are no longer the ones to go
    /// by.
    pub fn clear(&self) {
        *self.inner.borrow_mut() = Inner::default();
    }

    /// Keeps a token that was verified.
    pub fn insert(&self, key: Key, claims: Rc<Claims>) {
        let mut inner = self.inner.borrow_mut();
        if inner.claims.insert(key.hash, claims).is_none() {
            inner.order.push_back(key);
            inner.bytes += key.token_bytes;
        }
        while (inner.order.len() > self.entries || inner.bytes > MAX_BYTES)
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.claims.remove(&oldest.hash);
            inner.bytes -= oldest.token_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::Count;
    use mesh_filters_config::ByteSize;

    fn cache_of(entries: usize, max_token_bytes: usize) -> VerifiedTokens {
        let max_token_bytes = ByteSize(max_token_bytes);
        VerifiedTokens::new(&CacheConfig { entries: Count(entries), max_token_bytes })
    }

    fn cache(entries: usize) -> VerifiedTokens {
        cache_of(entries, 8)
    }

    fn insert(cache: &VerifiedTokens, token: &[u8]) {
        let claims = Claims::parse(b"{}".to_vec()).unwrap();
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
    fn long_tokens_take_the_place_of_many() {
        let cache = cache_of(1_000, MAX_BYTES);
        for token in [b"a", b"b"] {
            insert(&cache, token);
        }
        insert(&cache, &vec![b'c'; MAX_BYTES - 1]);
        assert!(!knows(&cache, b"a") && knows(&cache, b"b"));
        assert_eq!(cache.inner.borrow().bytes, MAX_BYTES);
    }

    #[test]
    fn nothing_is_known_after_it_was_cleared() {
        let cache = cache(2);
        insert(&cache, b"a");
        cache.clear();
        assert!(!knows(&cache, b"a"));
    }

    #[test]
    fn long_tokens_are_not_kept_and_none_are_where_it_is_off() {
        assert!(cache(1).key(&[0; 8]).is_some());
        assert!(cache(1).key(&[0; 9]).is_none());
        assert!(cache(0).key(&[0; 8]).is_none());
    }
}
