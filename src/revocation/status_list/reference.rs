//! [`Reference`]: the place of a token in a status list.

use std::borrow::Cow;

use crate::json::Raw;
use crate::token::registered::Registered;

/// The claim `status.status_list` of a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'t> {
    pub(crate) uri: Cow<'t, str>,
    pub(crate) index: u64,
}

/// The claim is there and cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'t> Reference<'t> {
    /// The reference of a token; `None` if it has none.
    pub(crate) fn of(claims: &'t Registered) -> Result<Option<Self>, Malformed> {
        let status = claims.claim("status");
        let status = status.map(|status| status.value(claims.payload()));
        let Some(status) = status.filter(|status| !status.is_null()) else {
            return Ok(None);
        };
        if !status.is_object() {
            return Err(Malformed);
        }
        // Other members name other mechanisms.
        let Some(list) = status.member("status_list") else {
            return Ok(None);
        };
        let index = list.member("idx").map(Raw::text).ok_or(Malformed)?;
        // JSON has no other spelling of a whole number without exponent. The reader has checked it.
        let is_whole = index.bytes().all(|byte| byte.is_ascii_digit());
        let index = index.parse().ok().filter(|_| is_whole).ok_or(Malformed)?;
        let uri = list.member("uri").and_then(Raw::string).ok_or(Malformed)?;
        Ok(Some(Self { uri, index }))
    }
}

/// Whether the URL is one of those behind the prefix. It must not leave the folder of the prefix.
pub(super) fn is_behind(uri: &str, prefix: &str) -> bool {
    let Some(rest) = uri.strip_prefix(prefix) else {
        return false;
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#".contains(&byte);
    let path = uri.split('?').next().unwrap_or_default();
    let lower = path.to_ascii_lowercase();
    let has_dots = lower
        .replace("%2e", ".")
        .split('/')
        .any(|segment| matches!(segment, "." | ".."));
    let hides_slash = lower.contains("%2f") || lower.contains("%5c");
    rest.bytes().all(is_plain) && !has_dots && !hides_slash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_does_not_leave_the_folder_of_its_prefix() {
        let prefix = "https://status.example/lists/";
        for uri in ["", "1", "a/b", "a?b=../c", "%41", "a.b", "...", "a..b"] {
            assert!(is_behind(&format!("{prefix}{uri}"), prefix), "{uri}");
        }
        for uri in [
            "../x", "a/../x", "a/..", ".", "%2e%2E/x", ".%2e", "%2E", "a%2fb", "a%5Cb", "a\\b",
            "a#b", "a b", "a\n", "\u{e9}",
        ] {
            assert!(!is_behind(&format!("{prefix}{uri}"), prefix), "{uri}");
        }
        for uri in [
            "https://status.example/list",
            "https://status.example.evil/lists/1",
            "https://STATUS.example/lists/1",
            "http://status.example/lists/1",
        ] {
            assert!(!is_behind(uri, prefix), "{uri}");
        }
    }
}
