//! [`Marks`]: when the tokens of one target are revoked or suspended.

use std::time::{Duration, SystemTime};

use crate::claims::Claims;
use crate::revocation::RevocationMark;

/// The marks of one target. A suspension can end, and must not take a revocation with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) revocation: Option<Mark>,
    pub(super) suspension: Option<Mark>,
}

/// A mark without its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The mark applies to tokens that were issued until then. `None` means all tokens.
    pub(super) issued_until: Option<SystemTime>,
    /// From this time on no such token is accepted, so the mark can be removed.
    pub(super) ends: SystemTime,
}

impl Marks {
    /// Adds a mark. Two calls for one target may come in the wrong order, so the later times count.
    pub(super) fn with(mut self, mark: &RevocationMark) -> Self {
        let place = if mark.is_suspension {
            &mut self.suspension
        } else {
            &mut self.revocation
        };
        let new = Mark {
            issued_until: mark.issued_until,
            ends: with_leeway(mark.expires_at),
        };
        *place = Some(place.map_or(new, |known| known.later(new)));
        self
    }

    /// Adds a revocation, if there is one.
    #[cfg(feature = "redis")]
    pub(super) fn with_revocation(mut self, new: Option<Mark>) -> Self {
        if let Some(new) = new {
            let known = self.revocation;
            self.revocation = Some(known.map_or(new, |known| known.later(new)));
        }
        self
    }

    /// Returns `false` if there is no suspension.
    pub(super) fn end_suspension(&mut self) -> bool {
        self.suspension.take().is_some()
    }

    pub(super) fn revokes(&self, token: &Claims) -> bool {
        applies(self.revocation, token)
    }

    pub(super) fn suspends(&self, token: &Claims) -> bool {
        applies(self.suspension, token)
    }

    /// The time from which all tokens that these marks apply to have expired. `None` if there are no marks.
    pub(super) fn end(&self) -> Option<SystemTime> {
        let marks = [self.revocation, self.suspension];
        marks.into_iter().flatten().map(|mark| mark.ends).max()
    }
}

impl Mark {
    /// The later times of both.
    pub(super) fn later(self, other: Self) -> Self {
        let until = self.issued_until.zip(other.issued_until);
        Self {
            issued_until: until.map(|(known, new)| known.max(new)),
            ends: self.ends.max(other.ends),
        }
    }
}

fn applies(mark: Option<Mark>, token: &Claims) -> bool {
    let Some(mark) = mark else { return false };
    let Some(until) = mark.issued_until else {
        return true;
    };
    token.issued_at().is_none_or(|issued| issued <= until)
}

/// The time until which a token with this `exp` may be accepted.
fn with_leeway(expiry: SystemTime) -> SystemTime {
    expiry.checked_add(LONGEST_LEEWAY).unwrap_or(expiry)
}

/// The maximum of [`Leeway`](crate::policy::Leeway).
pub(super) const LONGEST_LEEWAY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn two_marks_apply_to_what_either_applies_to_in_any_order() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let mark = |until: Option<u64>, ends| Mark {
            issued_until: until.map(at),
            ends: at(ends),
        };
        for (one, other, both) in [
            (mark(None, 10), mark(Some(5), 20), mark(None, 20)),
            (mark(None, 20), mark(Some(5), 10), mark(None, 20)),
            (mark(None, 10), mark(None, 20), mark(None, 20)),
            (mark(Some(5), 20), mark(Some(6), 10), mark(Some(6), 20)),
        ] {
            assert_eq!(one.later(other), both);
            assert_eq!(other.later(one), both);
        }
    }
}
