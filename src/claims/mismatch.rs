//! Describes why own claims do not fit a type, without quoting a value.

use serde_json::Error;

use crate::error::rejection::Excerpt;
use crate::token::registered::Registered;

/// The claim that does not fit and the category of the error, without any value. The messages of the
/// deserializer quote values, and those of the application's own type may contain anything.
pub(crate) fn reason(error: &Error, claims: &Registered) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let category = category(message.strip_suffix(&place).unwrap_or(&message));
    match claim_at(error, claims) {
        Some(name) => format!("claim {}: {category}", Excerpt(name)),
        None => category,
    }
}

/// The category of an error, from the fixed part of a message of serde. Any other message comes from
/// the application's own type and is not shown.
fn category(message: &str) -> String {
    // These messages name a field of the type and no value.
    let names_a_field = ["missing field `", "duplicate field `"]
        .iter()
        .any(|form| message.starts_with(form));
    if names_a_field && message.ends_with('`') && message.split('`').count() == 3 {
        return message.to_owned();
    }
    let form = FORMS.into_iter().find(|form| message.starts_with(form));
    let category = form.map(|form| form.trim_end_matches([' ', ':', '`']));
    match category {
        // The text after the value names what the type expects.
        Some(category) if message.ends_with(", there are no fields") => category.to_owned(),
        Some(category) => match message.rsplit_once(", expected ") {
            Some((_, expected)) => format!("{category}, expected {expected}"),
            None => category.to_owned(),
        },
        None => "not accepted by the type".into(),
    }
}

/// The beginnings of the messages of serde that contain a value.
const FORMS: [&str; 5] = [
    "invalid type: ",
    "invalid value: ",
    "invalid length ",
    "unknown variant `",
    "unknown field `",
];

/// The claim at the position of the error.
fn claim_at<'c>(error: &Error, claims: &'c Registered) -> Option<&'c str> {
    let before = error.line().checked_sub(1)?;
    let lines = claims.payload().split_inclusive('\n').take(before);
    let at = lines
        .map(str::len)
        .sum::<usize>()
        .saturating_add(error.column());
    claims
        .members()
        .find(|(_, value)| value.place().start < at && at <= value.place().end)
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use std::fmt::Debug;

    use super::*;
    use crate::claims::own::deserialize;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only deserialized")]
    struct Plain {
        name: String,
        age: Option<u8>,
        #[serde(default)]
        tags: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only deserialized")]
    enum Either {
        Name { name: String },
        Age { age: u64 },
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind")]
    #[expect(dead_code, reason = "only deserialized")]
    enum Tagged {
        Person(Plain),
        Robot {},
    }

    /// The reason for a payload that does not fit.
    fn reason_of<C: DeserializeOwned + Debug>(payload: &str) -> String {
        let claims = Registered::read(payload.to_owned()).unwrap();
        reason(&deserialize::<C>(&claims).unwrap_err(), &claims)
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Rank {
        Admin,
        Editor,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only deserialized")]
    struct Ranked {
        rank: Rank,
        #[serde(default)]
        at: Option<std::net::IpAddr>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    #[test]
    fn a_reason_names_claim_and_category_and_no_value() {
        for (said, expected) in [
            (
                reason_of::<Plain>(r#"{"name":4711}"#),
                r#"claim "name": invalid type, expected a string"#,
            ),
            (
                reason_of::<Plain>(r#"{"name":"x","age":"secret, expected secret"}"#),
                r#"claim "age": invalid type, expected u8"#,
            ),
            (
                reason_of::<Plain>("{\n\"name\":\"x\",\n \"age\" : 4711}"),
                r#"claim "age": invalid value, expected u8"#,
            ),
            (
                reason_of::<Ranked>(r#"{"iss":"a","rank":"alice@example.com"}"#),
                r#"claim "rank": unknown variant, expected `admin` or `editor`"#,
            ),
            (
                reason_of::<Ranked>(r#"{"rank":"admin","at":"alice@example.com"}"#),
                r#"claim "at": not accepted by the type"#,
            ),
            (
                reason_of::<Nothing>(r#"{"alice@example.com, expected `alice`":1}"#),
                "unknown field",
            ),
            (reason_of::<Plain>(r#"{"age":7}"#), "missing field `name`"),
            (
                reason_of::<Either>(r#"{"name":4711}"#),
                "not accepted by the type",
            ),
            (
                reason_of::<Tagged>(r#"{"kind":"alice"}"#),
                r#"claim "kind": unknown variant, expected `Person` or `Robot`"#,
            ),
            (
                reason_of::<Plain>(r#"{"name":"x","tags":["a",{"b":"c"}]}"#),
                r#"claim "tags": invalid type, expected a string"#,
            ),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_message_in_the_words_of_a_user_is_not_shown() {
        for message in [
            "duplicate role `alice@example.com`",
            "missing field `name` of `alice`",
            "missing field `name`, got alice",
            "missing fields of `alice`",
            "invalid value, expected digits, got 4711",
            "invalid values: 4711, expected less",
            "unknown variants 4711, expected less",
            "invalid typed, expected alice",
        ] {
            assert_eq!(category(message), "not accepted by the type", "{message}");
        }
        for (message, expected) in [
            ("missing field `name`", "missing field `name`"),
            ("duplicate field `name`", "duplicate field `name`"),
            (
                "invalid length 3, expected a tuple of size 2",
                "invalid length, expected a tuple of size 2",
            ),
            (
                "unknown variant `alice`, there are no variants",
                "unknown variant",
            ),
        ] {
            assert_eq!(category(message), expected);
        }
    }
}
