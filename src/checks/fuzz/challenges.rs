//! Challenges, and the texts that are allowed in them.

use crate::checks::fuzz::readers::{lines_of, quoted, unusable};
use crate::error::config::ConfigError;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::response::challenge::Challenge;

/// The parts of a challenge, one on each line: realm, parameter name, its value, error page, additional
/// challenge.
pub fn challenge(parts: &[u8]) {
    let text = String::from_utf8_lossy(parts);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (realm, name, value, uri, other) = (line(), line(), line(), line(), line());
    let bad_realm = [(!is_printable(realm), realm, PRINTABLE)];
    let Some(challenge) = confirmed(Challenge::new(realm), &bad_realm) else {
        return;
    };
    let expected = format!("Bearer realm={}", quoted(realm));
    let missing = Rejection::of(RejectionKind::MissingCredentials);
    assert_eq!(lines_of(&challenge, &missing), [expected.as_str()]);

    parameters(&challenge, &expected, name, value);
    error_page(&challenge, uri);

    let scheme: String = other.chars().take_while(|one| *one != ' ').collect();
    let is_bad = !is_token(&scheme)
        || scheme.eq_ignore_ascii_case("bearer")
        || !other
            .chars()
            .all(|one| one == '\t' || matches!(one, ' '..='~'));
    let faults = [(is_bad, other, "a challenge of another scheme")];
    if let Some(challenge) = confirmed(challenge.additional_scheme(other), &faults) {
        assert_eq!(lines_of(&challenge, &missing), [&*expected, other]);
    }
}

fn parameters(challenge: &Challenge, expected: &str, name: &str, value: &str) {
    let missing = Rejection::of(RejectionKind::MissingCredentials);
    let taken = ["error", "error_description", "error_uri", "realm", "scope"];
    let is_taken = taken.contains(&name.to_ascii_lowercase().as_str());
    let faults = [
        (!is_token(name), name, "a parameter name"),
        (is_taken, name, TAKEN),
        (!is_printable(value), value, PRINTABLE),
    ];
    let Some(once) = confirmed(challenge.clone().parameter(name, value), &faults) else {
        return;
    };
    assert_eq!(
        lines_of(&once, &missing),
        [format!("{expected}, {name}={}", quoted(value))]
    );
    let twice = once.parameter(&name.to_ascii_uppercase(), "");
    let name = name.to_ascii_uppercase();
    assert!(confirmed(twice, &[(true, &name, TAKEN)]).is_none());
}

fn error_page(challenge: &Challenge, uri: &str) {
    let read = challenge.clone().error_uri(uri);
    let is_rejected = read.is_err();
    if is_web_address(uri) {
        assert!(!is_rejected, "{uri}");
    }
    let Some(challenge) = confirmed(read, &[(is_rejected, uri, "an absolute URI")]) else {
        return;
    };
    let (scheme, _) = uri.split_once("://").expect("an absolute URI");
    assert!(
        scheme.starts_with(|one: char| one.is_ascii_alphabetic()),
        "{uri}"
    );
    assert!(
        uri.chars()
            .all(|one| matches!(one, '!'..='~') && one != '"' && one != '\\')
    );
    let expired = Rejection::of(RejectionKind::Expired);
    let lines = lines_of(&challenge, &expired).join("\n");
    assert!(lines.ends_with(&format!(", error_uri={}", quoted(uri))));
}

/// Whether the verdict follows from these faults. Each has: whether it is a fault, its text, and what was
/// expected.
fn confirmed(
    read: Result<Challenge, ConfigError>,
    faults: &[(bool, &str, &str)],
) -> Option<Challenge> {
    let mut found = faults.iter().filter(|(is_fault, ..)| *is_fault);
    match read {
        Ok(challenge) => {
            assert_eq!(found.next(), None);
            Some(challenge)
        }
        Err(error) => {
            unusable(&error);
            let ConfigError::Challenge { input, expected } = &error else {
                panic!("{error}");
            };
            let is_true =
                found.any(|(_, text, words)| (input.as_str(), *expected) == (*text, *words));
            assert!(is_true, "{error}: {faults:?}");
            None
        }
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_delimiter = |one| "\"(),/:;<=>?@[\\]{}".contains(one);
    !text.is_empty()
        && text
            .chars()
            .all(|one| matches!(one, '!'..='~') && !is_delimiter(one))
}

fn is_printable(text: &str) -> bool {
    text.chars().all(|one| matches!(one, ' '..='~'))
}

/// A simple URL (RFC 3986), which no reader may reject.
fn is_web_address(uri: &str) -> bool {
    let Some(rest) = uri
        .strip_prefix("https://")
        .or_else(|| uri.strip_prefix("http://"))
    else {
        return false;
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let in_host = |one: char| one.is_ascii_alphanumeric() || one == '.' || one == '-';
    let in_path = |one: char| in_host(one) || "/_~!$&'()*+,;=:@?".contains(one);
    !host.is_empty() && host.len() < 256 && host.chars().all(in_host) && path.chars().all(in_path)
}

const PRINTABLE: &str = "printable ASCII";
const TAKEN: &str = "a parameter that is not set already";
