//! A strict reader of JSON text (RFC 8259) with limits. It reads the text once, and rejects duplicate
//! names.
//!
//! `serde_json` is not used for this, because it keeps the last of two members with the same name, its
//! behaviour depends on features that any crate in the build can enable, and some member names have a
//! private meaning for it. It still deserializes the claims types of the user, but only after this
//! reader has accepted the text.

mod names;
mod reader;
mod value;

use std::borrow::Cow;

use self::reader::Reader;
#[cfg(test)]
pub(crate) use self::value::MAX_DEPTH;
pub(crate) use self::value::{JsonError, MAX_MEMBERS, Raw};

/// Reads exactly one JSON object, and calls `visit` with each of its members, in order.
///
/// Do not use the members before this function has returned `Ok`.
pub(crate) fn read_object<'a>(
    text: &'a str,
    max_members: usize,
    mut visit: impl FnMut(Cow<'a, str>, Raw<'a>),
) -> Result<(), JsonError> {
    read_members(text, max_members, |name, value| {
        visit(name.string().unwrap_or_default(), value);
    })
}

/// Same as [`read_object`], with the names as JSON strings, before their escapes are resolved.
pub(crate) fn read_members<'a>(
    text: &'a str,
    max_members: usize,
    mut visit: impl FnMut(Raw<'a>, Raw<'a>),
) -> Result<(), JsonError> {
    Reader::at(text, 0, max_members).only_object(&mut visit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        read_object(text, MAX_MEMBERS, |_, _| {}).is_ok()
    }

    #[test]
    fn reads_members_in_order() {
        let mut seen = Vec::new();
        read_object(
            " {\"a\" : 1.5e1, \"b\":[true,{\"c\":null}] , \"\\u0061x\":\"\\ud83d\\ude00\"} ",
            MAX_MEMBERS,
            |name, value| {
                seen.push((name.into_owned(), value.text().to_owned()));
            },
        )
        .unwrap();
        assert_eq!(seen[0], ("a".into(), "1.5e1".into()));
        assert_eq!(seen[1], ("b".into(), "[true,{\"c\":null}]".into()));
        assert_eq!(seen[2].0, "ax");
        assert_eq!(
            Raw::of_accepted(&seen[2].1, 0..seen[2].1.len())
                .string()
                .unwrap(),
            "😀"
        );
    }

    #[test]
    fn rejects_what_is_not_one_json_object() {
        for text in [
            "",
            "[]",
            "null",
            "{",
            "{}x",
            "{} {}",
            "{\"a\":1,}",
            "{,}",
            "{'a':1}",
            "{\"a\":NaN}",
            "{\"a\":+1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\t\"}",
            "{\"a\":tru}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "\u{feff}{}",
            "{/**/}",
            "{\"a\":1e400}",
            "{\"a\":\"b}",
        ] {
            assert!(!accepts(text), "{text}");
        }
        for text in [
            "{}",
            " {} ",
            "{\"a\":-0.0e-1}",
            "{\"a\":[]}",
            "{\"a\":[[{}]]}",
        ] {
            assert!(accepts(text), "{text}");
        }
    }

    #[test]
    fn rejects_duplicates_on_every_level_and_in_every_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[{"a":1,"a":3}]}"#,
        ] {
            assert_eq!(
                read_object(text, MAX_MEMBERS, |_, _| {}),
                Err(JsonError::Duplicate("a".into())),
                "{text}"
            );
        }
        assert!(accepts(r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#));
    }

    #[test]
    fn rejects_more_than_the_limits() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(accepts(&nested(MAX_DEPTH - 1)));
        assert_eq!(
            read_object(&nested(MAX_DEPTH), MAX_MEMBERS, |_, _| {}),
            Err(JsonError::TooLarge("nesting"))
        );
        let wide = |n: usize| {
            format!(
                "{{{}}}",
                (0..n)
                    .map(|i| format!("\"{i}\":0"))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        };
        assert!(accepts(&wide(MAX_MEMBERS)));
        assert_eq!(
            read_object(&wide(MAX_MEMBERS + 1), MAX_MEMBERS, |_, _| {}),
            Err(JsonError::TooLarge("member count"))
        );
        assert_eq!(
            read_object(
                &format!("{{\"a\":{}}}", "1".repeat(65)),
                MAX_MEMBERS,
                |_, _| {}
            ),
            Err(JsonError::TooLarge("number"))
        );
    }

    #[test]
    fn rejects_names_that_instruct_the_claims_deserializer() {
        for name in [
            "$serde_json::private::RawValue",
            "$serde_json::private::Number",
            "\\u0024serde_json::private::x",
        ] {
            assert_eq!(
                read_object(
                    &format!("{{\"x\":{{\"{name}\":\"1\"}}}}"),
                    MAX_MEMBERS,
                    |_, _| {}
                ),
                Err(JsonError::Reserved)
            );
        }
    }

    #[test]
    fn navigates_accepted_text() {
        let text = r#"{"a":{"b":["x","y\n"]}}"#;
        let raw = Raw::of_accepted(text, 0..text.len());
        let items = raw
            .member("a")
            .and_then(|a| a.member("b"))
            .and_then(Raw::items)
            .unwrap();
        assert_eq!(
            items
                .iter()
                .filter_map(|item| item.string())
                .collect::<Vec<_>>(),
            ["x", "y\n"]
        );
        let plain = items.iter().map(|item| item.plain_string());
        assert_eq!(plain.collect::<Vec<_>>(), [Some(12..13), None]);
        assert!(raw.member("b").is_none());
        assert!(raw.items().is_none());
    }
}
