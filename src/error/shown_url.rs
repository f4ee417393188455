//! [`ShownUrl`]: a URL in an event, an error or a status.

use std::fmt;

/// A URL without parts that may be secret: prints the scheme, host and path. A query may contain an
/// API key, and credentials may precede the host.
pub(crate) struct ShownUrl<'a>(pub(crate) &'a str);

impl fmt::Display for ShownUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0.split(['?', '#']).next().unwrap_or_default();
        // Text that is not a URL is shown too, in the error about it.
        let (scheme, rest) = url.find("://").map_or(("", url), |colon| {
            url.split_at(colon.saturating_add("://".len()))
        });
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}{host}{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_path_are_shown() {
        for (url, shown) in [
            ("https://h/k", "https://h/k"),
            ("https://h:8443/k/", "https://h:8443/k/"),
            ("https://h", "https://h"),
            ("https://h/k?key=secret", "https://h/k"),
            ("https://h?key=secret", "https://h"),
            ("https://h/k#secret", "https://h/k"),
            ("https://h/k?a=b#c?d", "https://h/k"),
            ("https://user:secret@h/k", "https://h/k"),
            ("https://user:se@cret@h:1/@k", "https://h:1/@k"),
            ("user:secret@h/k?secret", "h/k"),
            ("h/k", "h/k"),
            ("not a URL", "not a URL"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(ShownUrl(url).to_string(), shown);
        }
    }
}
