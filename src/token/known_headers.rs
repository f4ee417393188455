//! Headers that have been seen before: an issuer writes the same few into all of its tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};

use crate::token::header::Header;

/// The headers of tokens whose signature was right, by the text that they were read from.
///
/// Only an issuer can make an entry, so a flood of forged tokens displaces none. Reading takes no
/// lock and writes to nothing that is shared. An issuer that writes something of its own into
/// each header must not make each of its tokens pay for an entry: once the table is full, one
/// unknown header of many is taken.
#[derive(Default)]
pub(crate) struct Headers {
    known: ArcSwap<Vec<Known>>,
    unknown: AtomicUsize,
}

/// One header, and the text that it was read from.
#[derive(Clone)]
pub(crate) struct Known {
    segment: Box<[u8]>,
    header: Arc<Header>,
}

impl Headers {
    /// The headers as they are now. Not to be held across an `.await`.
    pub(crate) fn load(&self) -> Guard<Arc<Vec<Known>>> {
        self.known.load()
    }

    /// Takes the header of a token whose signature is right.
    pub(crate) fn remember(&self, segment: &[u8], header: &Header) {
        if segment.len() > MAX_SEGMENT || !self.has_room() {
            return;
        }
        let new = Known {
            segment: segment.into(),
            header: Arc::new(header.clone()),
        };
        self.known.rcu(|known| {
            let others = known.iter().filter(|known| known.segment != new.segment);
            std::iter::once(&new)
                .chain(others.take(MAX_KNOWN.saturating_sub(1)))
                .cloned()
                .collect::<Vec<_>>()
        });
    }

    fn has_room(&self) -> bool {
        self.known.load().len() < MAX_KNOWN
            || self
                .unknown
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(TAKEN_OF_FULL)
    }
}

/// The header that was read from this text before.
pub(crate) fn find<'k>(known: &'k [Known], segment: &[u8]) -> Option<&'k Header> {
    known
        .iter()
        .find(|known| *known.segment == *segment)
        .map(|known| &*known.header)
}

/// A verifier with other settings begins anew.
impl Clone for Headers {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Headers that are remembered: those of a few issuers with two keys each.
const MAX_KNOWN: usize = 8;
/// Octets of a header that is remembered.
const MAX_SEGMENT: usize = 512;
/// One of so many unknown headers displaces the oldest when there is no room.
const TAKEN_OF_FULL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::compact::Compact;

    /// A header of its own for each number.
    fn remember(headers: &Headers, number: usize) -> String {
        let text = format!(r#"{{"alg":"ES256","kid":"{number}"}}"#);
        let segment = base64_simd::URL_SAFE_NO_PAD.encode_to_string(text);
        let token = format!("{segment}.e30.AA");
        Compact::parse(token.as_bytes(), &[])
            .unwrap()
            .remember_header(headers);
        segment
    }

    #[test]
    fn the_last_headers_are_known_and_others_come_in_now_and_then() {
        let headers = Headers::default();
        let first: Vec<_> = (0..MAX_KNOWN).map(|n| remember(&headers, n)).collect();
        let knows = |segment: &String| find(&headers.load(), segment.as_bytes()).is_some();
        assert!(first.iter().all(knows));

        let flood: Vec<_> = (100..100 + TAKEN_OF_FULL)
            .map(|n| remember(&headers, n))
            .collect();
        assert_eq!(flood.iter().filter(|segment| knows(segment)).count(), 1);
        assert_eq!(
            first.iter().filter(|segment| knows(segment)).count(),
            MAX_KNOWN - 1
        );
        assert_eq!(headers.load().len(), MAX_KNOWN);
    }

    #[test]
    fn a_known_header_is_found_by_its_whole_text_and_nothing_else() {
        let headers = Headers::default();
        let segment = remember(&headers, 1);
        let known = headers.load();
        assert!(find(&known, segment.as_bytes()).is_some());
        for other in ["", &segment[..segment.len() - 1], &format!("{segment}A")] {
            assert!(find(&known, other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn a_long_header_is_not_remembered() {
        let bare = r#"{"alg":"ES256","kid":""}"#.len();
        for (length, is_remembered) in [
            (MAX_SEGMENT / 4 * 3, true),
            (MAX_SEGMENT / 4 * 3 + 1, false),
        ] {
            let headers = Headers::default();
            let text = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(length - bare));
            let segment = base64_simd::URL_SAFE_NO_PAD.encode_to_string(text);
            assert_eq!(segment.len() <= MAX_SEGMENT, is_remembered);
            let token = format!("{segment}.e30.AA");
            Compact::parse(token.as_bytes(), &[])
                .unwrap()
                .remember_header(&headers);
            assert_eq!(headers.load().len(), usize::from(is_remembered));
        }
    }
}
