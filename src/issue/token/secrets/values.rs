//! Secrets by the shape of a text.

use base64_simd::{STANDARD, URL_SAFE_NO_PAD};

use super::{Secret, cards, hashes, keys};

/// What the text looks like, if it has the shape of a secret.
pub(super) fn secret_in(text: &str) -> Option<Secret> {
    if text.len() < SHORTEST {
        return None;
    }
    cards::secret_in(text)
        .or_else(|| hashes::secret_in(text))
        .or_else(|| token_in(text))
        .or_else(|| password_in_url(text))
        .or_else(|| keys::secret_in(text))
}

/// A JWT, alone or between other words, or the credentials of a request.
fn token_in(text: &str) -> Option<Secret> {
    if let Some(("Basic" | "basic", encoded)) = text.split_once(' ') {
        let decoded = STANDARD.decode_to_vec(encoded.trim().as_bytes()).ok()?;
        return decoded.contains(&b':').then_some(CREDENTIALS);
    }
    let is_character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut words = text.split(|c| !is_character(c));
    // A sentence may end with it.
    let is_there = words.any(|word| is_jwt(word) || is_jwt(word.trim_end_matches('.')));
    is_there.then_some(TOKEN)
}

/// Whether this is a signed token, with three parts, or an encrypted one, with five.
fn is_jwt(word: &str) -> bool {
    let dots = word.bytes().filter(|byte| *byte == b'.').count();
    // In base64url, `{` begins with this letter.
    if !matches!(dots, 2 | 4) || !word.starts_with('e') {
        return false;
    }
    let header = word.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode_to_vec(header.as_bytes());
    header.is_ok_and(|header| header.starts_with(b"{") && find(&header, b"\"alg\""))
}

/// A URL with a password before its host, such as that of a database.
fn password_in_url(text: &str) -> Option<Secret> {
    let (_, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (account, _) = rest.get(..end)?.rsplit_once('@')?;
    let (_, password) = account.split_once(':')?;
    (!password.is_empty()).then_some(Secret {
        looks_like: "a URL with a password",
        belongs: "keep it in the configuration of the service",
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

const TOKEN: Secret = Secret {
    looks_like: "a token",
    belongs: "keep it in the session, on the server, and let services get tokens of their own",
};
const CREDENTIALS: Secret = Secret {
    looks_like: "the credentials of a request",
    belongs: "keep them nowhere: the login needs them once",
};
/// The length of the shortest text that has a shape of its own: a card number.
const SHORTEST: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_between_other_words() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode_to_string(text);
        for header in [
            r#"{"alg":"ES256"}"#,
            "{\n \"typ\":\"JWT\",\n \"alg\":\"none\"}",
        ] {
            let signed = format!("{}.{}.c2ln", encoded(header), encoded("{}"));
            let encrypted = format!("{}.a.b.c.d", encoded(header));
            for token in [signed, encrypted] {
                for text in [
                    token.clone(),
                    format!("Bearer {token}"),
                    format!("token=\"{token}\", more"),
                ] {
                    assert_eq!(secret_in(&text), Some(TOKEN), "{text}");
                }
                for text in [
                    format!("{token}.e"),
                    format!("x{token}"),
                    token.replace('.', ""),
                ] {
                    assert_eq!(secret_in(&text), None, "{text}");
                }
            }
        }
        for text in [
            "e.e.e.e.e.e.e.e",
            "eyJ0eXAiOiJKV1QifQ.e30.c2ln",
            "www.example.com/a.b.c",
            "en.wikipedia.org",
        ] {
            assert_eq!(secret_in(text), None, "{text}");
        }
    }

    #[test]
    fn credentials_in_headers_and_urls_are_found() {
        assert_eq!(secret_in("Basic YWxpY2U6Y29ycmVjdA=="), Some(CREDENTIALS));
        assert_eq!(secret_in("Basic YWxpY2VzY29ycmVjdA=="), None);
        assert_eq!(secret_in("Basic membership for a year"), None);
        for url in [
            "postgres://app:x@db/app",
            "https://a:b@example.com",
            "redis://:password@cache:6379",
        ] {
            assert!(secret_in(url).is_some(), "{url}");
        }
        for url in [
            "https://alice@example.com/",
            "https://example.com:443/a:b@c",
            "https://example.com?q=a:b@c",
            "://:@",
        ] {
            assert_eq!(secret_in(url), None, "{url}");
        }
    }
}
