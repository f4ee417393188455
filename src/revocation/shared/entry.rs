//! The text forms of targets and marks in the store. All that comes from the store is input.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::claims::SubjectId;
use crate::revocation::RevocationTarget;
use crate::revocation::marks::{Mark, Marks};

/// One target and its marks, as they were stored.
pub(crate) type Row = Result<(RevocationTarget, Marks), Unreadable>;

/// One change in the log of the store.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The store that wrote the entry.
    pub(crate) store: Box<str>,
    /// The number of the change.
    pub(crate) number: u64,
    /// All marks of the target after the change.
    pub(crate) row: Row,
}

/// Why a row cannot be used. The values are not quoted, because they may be personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A target of a kind, or marks in a form, that a newer version may have written.
    Unknown,
    Malformed,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is malformed",
            Self::Unknown => "it has an unknown kind, which a newer version may have written",
        })
    }
}

/// The target as text: the letter of its kind, the length of the issuer in bytes, a colon, the issuer,
/// the name. `None` if it is longer than [`LONGEST_TARGET`].
pub(crate) fn target_text(target: &RevocationTarget) -> Option<String> {
    let (kind, name) = match target {
        RevocationTarget::Client { client_id, .. } => ('c', &**client_id),
        RevocationTarget::Issuer { .. } => ('i', ""),
        RevocationTarget::Session { session_id, .. } => ('s', &**session_id),
        RevocationTarget::Subject(subject) => ('u', subject.subject()),
        RevocationTarget::Token { id, .. } => ('t', &**id),
    };
    let issuer = target.issuer();
    let text = format!("{kind}{}:{issuer}{name}", issuer.len());
    (text.len() <= LONGEST_TARGET).then_some(text)
}

/// The marks as text: `r` and `s`, each with the time of issue until which the mark applies (`*` for
/// all tokens), a comma, and its end; both in milliseconds since 1970. Without marks it is empty.
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) fn marks_text(marks: &Marks) -> String {
    let mut text = String::new();
    for (kind, mark) in [('r', marks.revocation), ('s', marks.suspension)] {
        let Some(mark) = mark else { continue };
        if !text.is_empty() {
            text.push(';');
        }
        text.push(kind);
        text.push_str(&until_text(&mark));
        text.push(',');
        text.push_str(&milliseconds(mark.ends).to_string());
    }
    text
}

pub(crate) fn until_text(mark: &Mark) -> String {
    let until = mark
        .issued_until
        .map(|until| milliseconds(until).to_string());
    until.unwrap_or_else(|| "*".to_owned())
}

pub(crate) fn row(target: &[u8], marks: &[u8]) -> Row {
    Ok((parse_target(target)?, parse_marks(marks)?))
}

pub(crate) fn parse_target(text: &[u8]) -> Result<RevocationTarget, Unreadable> {
    let text = utf8(text, LONGEST_TARGET)?;
    let (kind, rest) = text.split_at_checked(1).ok_or(Unreadable::Malformed)?;
    if !["c", "i", "s", "t", "u"].contains(&kind) {
        return Err(Unreadable::Unknown);
    }
    let (length, rest) = rest.split_once(':').ok_or(Unreadable::Malformed)?;
    let length = usize::try_from(number(length)?).map_err(|_| Unreadable::Malformed)?;
    let (issuer, name) = rest.split_at_checked(length).ok_or(Unreadable::Malformed)?;
    if kind == "u" {
        return Ok(RevocationTarget::Subject(SubjectId::new(issuer, name)));
    }
    let (issuer, name) = (issuer.into(), Box::<str>::from(name));
    Ok(match kind {
        "c" => RevocationTarget::Client {
            issuer,
            client_id: name,
        },
        "s" => RevocationTarget::Session {
            issuer,
            session_id: name,
        },
        "t" => RevocationTarget::Token { issuer, id: name },
        _ if name.is_empty() => RevocationTarget::Issuer { issuer },
        _ => return Err(Unreadable::Malformed),
    })
}

pub(crate) fn parse_marks(text: &[u8]) -> Result<Marks, Unreadable> {
    let text = utf8(text, LONGEST_MARKS)?;
    let mut marks = Marks::default();
    if text.is_empty() {
        return Ok(marks);
    }
    for part in text.split(';') {
        let (kind, times) = part.split_at_checked(1).ok_or(Unreadable::Malformed)?;
        let is_first = marks.end().is_none();
        let place = match kind {
            "r" if is_first => &mut marks.revocation,
            "s" if marks.suspension.is_none() => &mut marks.suspension,
            "r" | "s" => return Err(Unreadable::Malformed),
            _ => return Err(Unreadable::Unknown),
        };
        let (until, ends) = times.split_once(',').ok_or(Unreadable::Malformed)?;
        let issued_until = match until {
            "*" => None,
            until => Some(time(until)?),
        };
        let ends = time(ends)?;
        *place = Some(Mark { issued_until, ends });
    }
    Ok(marks)
}

/// The id of a store: short, and without characters that could confuse a log.
pub(crate) fn parse_store_id(text: &[u8]) -> Result<Box<str>, Unreadable> {
    let text = utf8(text, LONGEST_STORE_ID)?;
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then(|| text.into()).ok_or(Unreadable::Malformed)
}

/// A decimal number without sign and leading zeros.
pub(crate) fn number(text: &str) -> Result<u64, Unreadable> {
    let is_strict =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = is_strict.then(|| text.parse().ok()).flatten();
    number.ok_or(Unreadable::Malformed)
}

fn time(text: &str) -> Result<SystemTime, Unreadable> {
    let time = number(text).ok().filter(|time| *time <= LAST_TIME);
    let time = time.map(Duration::from_millis);
    time.and_then(|time| UNIX_EPOCH.checked_add(time))
        .ok_or(Unreadable::Malformed)
}

/// Rounded up, because the later time is the safe one.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = since.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX).min(LAST_TIME)
}

/// The marks with the precision that the store has.
pub(crate) fn as_stored(marks: Marks) -> Marks {
    let time = |time| {
        let time = Duration::from_millis(milliseconds(time));
        UNIX_EPOCH.checked_add(time).unwrap_or(UNIX_EPOCH)
    };
    let mark = |mark: Mark| Mark {
        issued_until: mark.issued_until.map(time),
        ends: time(mark.ends),
    };
    Marks {
        revocation: marks.revocation.map(mark),
        suspension: marks.suspension.map(mark),
    }
}

fn utf8(bytes: &[u8], longest: usize) -> Result<&str, Unreadable> {
    let text = std::str::from_utf8(bytes).ok();
    text.filter(|text| text.len() <= longest)
        .ok_or(Unreadable::Malformed)
}

/// In bytes, with the issuer. A subject of OpenID Connect has at most 255.
pub(crate) const LONGEST_TARGET: usize = 4_096;
const LONGEST_MARKS: usize = 128;
const LONGEST_STORE_ID: usize = 64;
/// The last millisecond of the year 9999.
const LAST_TIME: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn a_target_of_each_kind_is_read_as_it_was_written() {
        let issuer = || Box::<str>::from("https://login.example:8443/ü");
        for name in ["", "a", "12:34", "täg", "i3:abc"] {
            for target in [
                RevocationTarget::Client {
                    issuer: issuer(),
                    client_id: name.into(),
                },
                RevocationTarget::Issuer { issuer: issuer() },
                RevocationTarget::Session {
                    issuer: issuer(),
                    session_id: name.into(),
                },
                RevocationTarget::Subject(SubjectId::new(&issuer(), name)),
                RevocationTarget::Token {
                    issuer: issuer(),
                    id: name.into(),
                },
            ] {
                let text = target_text(&target).unwrap();
                assert!(parse_target(text.as_bytes()).unwrap() == target, "{text}");
            }
        }
        let long = "x".repeat(LONGEST_TARGET);
        assert_eq!(
            target_text(&RevocationTarget::Issuer {
                issuer: long.into()
            }),
            None
        );
    }

    #[test]
    fn marks_are_read_as_they_were_written() {
        let mark = |until, ends| {
            Some(Mark {
                issued_until: until,
                ends: at(ends),
            })
        };
        for (revocation, suspension, text) in [
            (None, None, ""),
            (mark(None, 7), None, "r*,7"),
            (
                None,
                mark(Some(at(0)), 1_700_000_300_000),
                "s0,1700000300000",
            ),
            (
                mark(Some(at(5)), 6),
                mark(None, LAST_TIME),
                "r5,6;s*,253402300799999",
            ),
        ] {
            let marks = Marks {
                revocation,
                suspension,
            };
            assert_eq!(marks_text(&marks), text);
            assert_eq!(parse_marks(text.as_bytes()), Ok(marks), "{text}");
            assert_eq!(as_stored(marks), marks);
        }
        // Times between two milliseconds count as the later one.
        let fine = Mark {
            issued_until: None,
            ends: at(9) + Duration::from_nanos(1),
        };
        let fine = Marks {
            revocation: Some(fine),
            suspension: None,
        };
        assert_eq!(marks_text(&fine), "r*,10");
    }

    #[test]
    fn other_text_is_no_target_and_no_marks() {
        use Unreadable::{Malformed, Unknown};
        for (text, why) in [
            (&b""[..], Malformed),
            (b"t", Malformed),
            (b"t:", Malformed),
            (b"t3:ab", Malformed),
            (b"t-1:ab", Malformed),
            (b"t+1:ab", Malformed),
            (b"t01:ab", Malformed),
            (b"t99999999999999999999:ab", Malformed),
            ("t1:ü".as_bytes(), Malformed),
            (b"t1:\xff", Malformed),
            (b"i1:ab", Malformed),
            (b"x1:ab", Unknown),
            (b"T1:ab", Unknown),
            (b"#id", Unknown),
        ] {
            assert_eq!(parse_target(text).err(), Some(why), "{text:?}");
        }
        for (text, why) in [
            (&b"r"[..], Malformed),
            (b"r1", Malformed),
            (b"r1,", Malformed),
            (b"r,1", Malformed),
            (b"r1,*", Malformed),
            (b"r1,2;", Malformed),
            (b"r1,2;r1,2", Malformed),
            (b"s1,2;s1,2", Malformed),
            (b"s1,2;r1,2", Malformed),
            (b"r1,2 ", Malformed),
            (b"r01,2", Malformed),
            (b"r1,253402300800000", Malformed),
            (b"r1,99999999999999999999", Malformed),
            (b"q1,2", Unknown),
            (b"r1,2;q1", Unknown),
        ] {
            assert_eq!(parse_marks(text), Err(why), "{text:?}");
        }
        for text in [&b""[..], b"a b", b"a\n", &[b'a'; 65]] {
            assert_eq!(parse_store_id(text), Err(Malformed), "{text:?}");
        }
    }
}
