//! [`KnownHeaders`]: headers that were read before. An issuer writes the same few headers into all of
//! its tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};

use crate::token::header::Header;

/// The headers of tokens with a valid signature, by the text that they were read from.
///
/// Only an issuer can add a header, so a flood of forged tokens displaces none. Reading takes no
/// lock and writes no shared memory. An issuer may write a unique value into each header. Its
/// tokens must not have the cost of an entry each, so a full table stores only one of
/// [`TAKEN_OF_FULL`] unknown headers.
#[derive(Default)]
pub(crate) struct KnownHeaders {
    known: ArcSwap<Vec<KnownHeader>>,
    unknown: AtomicUsize,
}

/// A header and the text that it was read from.
#[derive(Clone)]
pub(crate) struct KnownHeader {
    segment: Box<[u8]>,
    header: Arc<Header>,
}

impl KnownHeaders {
    /// The current headers. Do not hold the guard across an `.await`.
    pub(crate) fn load(&self) -> Guard<Arc<Vec<KnownHeader>>> {
        self.known.load()
    }

    /// Adds the header of a token with a valid signature.
    pub(crate) fn remember(&self, segment: &[u8], header: &Header) {
        if segment.len() > MAX_SEGMENT || !self.has_room() {
            return;
        }
        let new = KnownHeader {
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

/// Finds the header that was read from this text.
pub(crate) fn find<'k>(known: &'k [KnownHeader], segment: &[u8]) -> Option<&'k Header> {
    known
        .iter()
        .find(|known| *known.segment == *segment)
        .map(|known| &*known.header)
}

/// Maximum number of headers: enough for a few issuers with two keys each.
const MAX_KNOWN: usize = 8;
/// Maximum size of a header in bytes.
const MAX_SEGMENT: usize = 512;
/// When the table is full, one of this number of unknown headers displaces the oldest header.
const TAKEN_OF_FULL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::compact::Compact;

    /// A different header for each number.
    fn remember(headers: &KnownHeaders, number: usize) -> String {
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
        let headers = KnownHeaders::default();
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
        let headers = KnownHeaders::default();
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
            let headers = KnownHeaders::default();
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
