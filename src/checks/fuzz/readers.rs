//! Independent readers for what a result contains: sentences, challenges and values.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::error::config::ConfigError;
use crate::error::rejection::Rejection;
use crate::json::Raw;
use crate::keys::key::Key;
use crate::response::challenge::Challenge;
use crate::token::limits::MaxTokenSize;

/// Asserts that the rejection is a fault of the client, and that its reason fits on one line of a log.
pub(super) fn rejected(rejection: &Rejection) {
    assert!(matches!(rejection.status().as_u16(), 400 | 401 | 403));
    one_line(&rejection.to_string());
}

pub(super) fn unusable(error: &ConfigError) {
    assert!(!error.to_string().chars().any(char::is_control), "{error}");
}

pub(super) fn one_line(sentence: &str) {
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    assert!(sentence.len() < 2_048, "{} bytes", sentence.len());
}

pub(super) fn well_formed(key: &Key) {
    assert_eq!(key.thumbprint().len(), 43);
    assert!(!key.algorithms().is_empty());
    assert!(!format!("{key:?}").chars().any(char::is_control));
}

pub(super) fn lines_of(challenge: &Challenge, rejection: &Rejection) -> Vec<String> {
    challenge
        .lines(rejection)
        .map(|line| line.to_str().expect("a challenge is ASCII").to_owned())
        .collect()
}

pub(super) fn quoted(text: &str) -> String {
    let inside: String = text
        .chars()
        .flat_map(|char| {
            let escape = matches!(char, '"' | '\\').then_some('\\');
            escape.into_iter().chain([char])
        })
        .collect();
    format!("\"{inside}\"")
}

pub(super) fn is_token68(text: &str) -> bool {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    let length = text.len() - padding;
    let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    length > 0
        && text.len() <= MaxTokenSize::default().bytes()
        && text.bytes().take(length).all(legal)
}

pub(super) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let mut digit = || char::from(*rest.next()?).to_digit(16);
            let code = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(code).ok()?);
        } else {
            bytes.push(*byte);
        }
    }
    Some(bytes)
}

pub(super) fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// The value in the form of `serde_json`, read through our own reader.
pub(super) fn value_of(raw: Raw<'_>) -> Value {
    if let Some(members) = raw.members() {
        let members = members.into_iter();
        Value::Object(
            members
                .map(|(name, value)| (name.into_owned(), value_of(value)))
                .collect(),
        )
    } else if let Some(items) = raw.items() {
        Value::Array(items.into_iter().map(value_of).collect())
    } else if let Some(string) = raw.string() {
        Value::String(string.into_owned())
    } else if let Some(number) = raw.number() {
        json!(number)
    } else {
        match raw.text() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            other => panic!("{other:?} is no JSON value"),
        }
    }
}

/// Equality except for the last digit of a number, which `serde_json` does not round exactly.
pub(super) fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| {
            (a - b).abs() <= a.abs() * 1e-15 || (a - b).abs() <= f64::MIN_POSITIVE
        }),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}
