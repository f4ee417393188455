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

/// A JWT, or the credentials of a request.
fn token_in(text: &str) -> Option<Secret> {
    let scheme = |name: &str| {
        let (scheme, rest) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case(name).then_some(rest.trim())
    };
    if let Some(encoded) = scheme("basic") {
        let decoded = STANDARD.decode_to_vec(encoded.as_bytes()).ok()?;
        return decoded.contains(&b':').then_some(CREDENTIALS);
    }
    let token = scheme("bearer").or_else(|| scheme("dpop")).unwrap_or(text);
    let (header, rest) = token.split_once('.')?;
    // Two dots for a signed token, four for an encrypted one.
    let is_long = matches!(rest.bytes().filter(|byte| *byte == b'.').count(), 1 | 3);
    if !is_long || !header.starts_with("ey") {
        return None;
    }
    let header = URL_SAFE_NO_PAD.decode_to_vec(header.as_bytes()).ok()?;
    let is_header = header.starts_with(b"{") && find(&header, b"\"alg\"");
    is_header.then_some(TOKEN)
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
