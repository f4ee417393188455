//! Instances that share a store, against a model of the store.

#![cfg(feature = "test-util")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests fail by panic"
)]

mod copies;
mod histories;
mod model;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::claims::{Claims, SubjectId};
use crate::revocation::{RevocationMark, RevocationTarget};
use crate::test::TestIssuer;

pub(super) fn tokens_of(issuer: &TestIssuer) -> Vec<Claims> {
    let verifier = issuer.auth();
    let tokens = (0..TARGETS).map(|target| {
        let token = issuer.token().subject(&format!("subject {target}")).mint();
        verifier.verifier().verify_now(&token).unwrap()
    });
    tokens.collect()
}

pub(super) fn target(at: usize) -> RevocationTarget {
    RevocationTarget::Subject(SubjectId::new(ISSUER, &format!("subject {at}")))
}

pub(super) fn mark(at: usize) -> RevocationMark {
    let RevocationTarget::Subject(subject) = target(at) else {
        panic!("a subject");
    };
    let end = self::at(NOW + 1_000_000);
    // Later than every token.
    RevocationMark::subject(subject, end, end)
}

pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(super) const INSTANCES: usize = 3;
pub(super) const TARGETS: usize = 5;
pub(super) const MAX_LAG: Duration = Duration::from_secs(5);
pub(super) const NOW: u64 = 4_000_000_000;
pub(super) const ISSUER: &str = "https://as.example";
