//! [`ListToken`]: the payload of a status list token.

use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use crate::clock::NumericDate;
use crate::json::{self, Raw};
use crate::revocation::status_list::packed::Packed;

/// The claims of a status list token.
pub(crate) struct ListToken {
    pub(crate) list: Packed,
    pub(crate) subject: String,
    pub(crate) issuer: Option<String>,
    pub(crate) issued_at: NumericDate,
    pub(crate) expires_at: Option<NumericDate>,
    pub(crate) ttl: Option<Duration>,
}

impl ListToken {
    /// Reads a payload. The inflated list has at most `limit` bytes.
    pub(crate) fn read(payload: &str, limit: usize) -> Result<Self, &'static str> {
        let (mut subject, mut issuer, mut list) = (None, None, None);
        let (mut issued_at, mut expires_at, mut ttl) = (None, None, None);
        json::read_object(payload, json::MAX_MEMBERS, |name, value| {
            if value.is_null() {
                return;
            }
            match &*name {
                "exp" => expires_at = Some(value),
                "iat" => issued_at = Some(value),
                "iss" => issuer = Some(value),
                "status_list" => list = Some(value),
                "sub" => subject = Some(value),
                "ttl" => ttl = Some(value),
                _ => {}
            }
        })
        .map_err(|_| "payload is not one JSON object")?;
        let text = |value: Raw<'_>| value.string().map(String::from);
        let date = |value: Raw<'_>| value.number().map(NumericDate);
        let in_seconds = |value: Raw<'_>| {
            let seconds = value.number().filter(|seconds| *seconds > 0.0)?;
            Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
        };
        let list = list.filter(|list| list.is_object());
        Ok(Self {
            subject: subject.and_then(text).ok_or("`sub` is not a string")?,
            issuer: optional(issuer, text).ok_or("`iss` is not a string")?,
            issued_at: issued_at.and_then(date).ok_or("`iat` is not a number")?,
            expires_at: optional(expires_at, date).ok_or("`exp` is not a number")?,
            ttl: optional(ttl, in_seconds).ok_or("`ttl` is not a positive number")?,
            list: read_list(list.ok_or("`status_list` is not an object")?, limit)?,
        })
    }
}

/// Reads the member `status_list`. The inflated list has at most `limit` bytes.
fn read_list(value: Raw<'_>, limit: usize) -> Result<Packed, &'static str> {
    let bits = match value.member("bits").map(Raw::text) {
        Some("1") => 1,
        Some("2") => 2,
        Some("4") => 4,
        Some("8") => 8,
        _ => return Err(BITS),
    };
    let packed = value.member("lst").and_then(Raw::string);
    let packed = packed.ok_or("`lst` is not a string")?;
    let packed = URL_SAFE_NO_PAD.decode_to_vec(packed.as_bytes());
    let packed = packed.map_err(|_| "`lst` is not base64url without padding")?;
    let bytes = decompress_to_vec_zlib_with_limit(&packed, limit);
    let bytes = bytes.map_err(|_| "`lst` does not inflate, or is too large")?;
    Packed::new(bits, bytes).ok_or(BITS)
}

/// The outer `None` means that the value is there and has the wrong type.
fn optional<'v, T>(
    value: Option<Raw<'v>>,
    read: impl FnOnce(Raw<'v>) -> Option<T>,
) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

const BITS: &str = "`bits` is not 1, 2, 4 or 8";

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bits: &str, lst: &str) -> Result<Packed, &'static str> {
        let text = format!(r#"{{"bits":{bits},"lst":"{lst}"}}"#);
        read_list(Raw::of_accepted(&text, 0..text.len()), 1_000)
    }

    /// TSL-4.1-1: the examples of the draft.
    #[test]
    fn reads_the_lists_of_the_draft() {
        let one = list("1", "eNrbuRgAAhcBXQ").unwrap();
        let expected = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1];
        for (at, status) in (0..).zip(expected) {
            assert_eq!(one.get(at), Some(status), "{at}");
        }
        assert_eq!((one.get(16), one.get(u64::MAX)), (None, None));
        let two = list("2", "eNo76fITAAPfAgc").unwrap();
        let expected = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3];
        for (at, status) in (0..).zip(expected) {
            assert_eq!(two.get(at), Some(status), "{at}");
        }
        assert_eq!(two.get(12), None);
    }

    #[test]
    fn a_status_has_the_bits_that_the_list_says() {
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(&[0b1110_0100, 0xA5], 6);
        let packed = URL_SAFE_NO_PAD.encode_to_string(packed);
        let statuses = |bits: &str| {
            let list = list(bits, &packed).unwrap();
            (0..).map_while(|at| list.get(at)).collect::<Vec<_>>()
        };
        assert_eq!(statuses("2"), [0, 1, 2, 3, 1, 1, 2, 2]);
        assert_eq!(statuses("4"), [4, 14, 5, 10]);
        assert_eq!(statuses("8"), [0b1110_0100, 0xA5]);
        assert_eq!(statuses("1").len(), 16);
    }

    #[test]
    fn rejects_a_list_that_is_not_clear() {
        for (bits, lst) in [
            ("0", "eNrbuRgAAhcBXQ"),
            ("3", "eNrbuRgAAhcBXQ"),
            ("16", "eNrbuRgAAhcBXQ"),
            ("-1", "eNrbuRgAAhcBXQ"),
            ("1.0", "eNrbuRgAAhcBXQ"),
            ("\"1\"", "eNrbuRgAAhcBXQ"),
            ("null", "eNrbuRgAAhcBXQ"),
            ("1", "eNrbuRgAAhcBXQ=="),
            ("1", "eNrbuRgAAhcBX"),
            ("1", "eNrbuRgAAhcBX+"),
            ("1", "27kYAA"),
            ("1", ""),
        ] {
            assert!(list(bits, lst).is_err(), "{bits} {lst}");
        }
        // TSL-4.1-2
        let packed = |size: usize| {
            let packed = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; size], 9);
            URL_SAFE_NO_PAD.encode_to_string(packed)
        };
        assert!(list("1", &packed(1_000)).is_ok());
        assert!(list("1", &packed(1_001)).is_err());
        assert!(list("1", &packed(10_000_000)).is_err());
    }
}
