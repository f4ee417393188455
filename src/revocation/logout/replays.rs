//! [`Replays`]: the tokens that were accepted once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;

/// Remembers each accepted token until it has expired. Bounded: when it is full of tokens that have not
/// expired, nothing more is accepted.
pub(super) struct Replays {
    capacity: usize,
    seen: Mutex<HashMap<[u8; 32], NumericDate>>,
}

impl Replays {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            seen: Mutex::default(),
        }
    }

    /// Fails if the token was accepted before.
    pub(super) fn check(&self, issuer: &str, id: &str) -> Result<(), Rejection> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.contains_key(&key(issuer, id)) {
            true => Err(replayed()),
            false => Ok(()),
        }
    }

    /// Remembers the token until this time. Of several calls with the same token one succeeds.
    pub(super) fn insert(
        &self,
        issuer: &str,
        id: &str,
        until: NumericDate,
        now: NumericDate,
    ) -> Result<(), Rejection> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(issuer, id);
        if seen.contains_key(&key) {
            return Err(replayed());
        }
        if seen.len() >= self.capacity {
            seen.retain(|_, until| *until > now);
            if seen.len() >= self.capacity {
                return Err(Rejection::because(
                    RejectionKind::RevocationUnavailable,
                    "the memory of accepted tokens is full",
                ));
            }
        }
        seen.insert(key, until);
        Ok(())
    }
}

/// A fixed size, whatever the length of the `jti`.
fn key(issuer: &str, id: &str) -> [u8; 32] {
    let length = u64::try_from(issuer.len()).unwrap_or(u64::MAX);
    let text = [&length.to_be_bytes()[..], issuer.as_bytes(), id.as_bytes()].concat();
    let mut key = [0; 32];
    key.iter_mut()
        .zip(digest(&SHA256, &text).as_ref())
        .for_each(|(to, from)| *to = *from);
    key
}

fn replayed() -> Rejection {
    Rejection::because(
        RejectionKind::InvalidClaim,
        "token with this `jti` was accepted before",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_memory_makes_room_only_for_expired_tokens() {
        let replays = Replays::new(1);
        let at = NumericDate;
        assert!(replays.insert("i", "a", at(100.0), at(0.0)).is_ok());
        assert!(replays.check("i", "a").is_err());
        assert!(replays.check("ia", "").is_ok());
        assert!(replays.insert("i", "a", at(100.0), at(0.0)).is_err());
        let full = replays.insert("i", "b", at(100.0), at(99.0)).unwrap_err();
        assert_eq!(full.status(), 503);
        assert!(replays.insert("i", "b", at(200.0), at(100.0)).is_ok());
        assert!(replays.check("i", "a").is_ok());
    }
}
