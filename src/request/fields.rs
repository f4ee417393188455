//! Header fields that a proxy sets: lists of pairs, such as `Forwarded` and `X-Forwarded-Client-Cert`.

use crate::bytes;

/// The parts of a text between separators that are not in a quoted string. A quoted string without an
/// end reaches to the end of the text.
pub(super) fn parts(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.iter().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                byte => return !is_quoted && *byte == separator,
            }
            false
        });
        let (part, behind) = match end.and_then(|end| text.split_at_checked(end)) {
            Some((part, behind)) => (part, behind.get(1..)),
            None => (text, None),
        };
        rest = behind;
        Some(bytes::trimmed(part))
    })
}

/// The value of the only pair with this name. The case of the name is ignored. The value is a word or
/// a quoted string without escapes.
pub(super) fn value_of<'t>(element: &'t [u8], name: &str) -> Result<Option<&'t [u8]>, Flaw> {
    let mut found = None;
    for pair in parts(element, b';').filter(|pair| !pair.is_empty()) {
        let (key, value) = bytes::split_once(pair, b'=').ok_or(Flaw)?;
        if !bytes::trimmed(key).eq_ignore_ascii_case(name.as_bytes()) {
            continue;
        }
        if found.is_some() {
            return Err(Flaw);
        }
        found = Some(match bytes::trimmed(value) {
            [b'"', value @ .., b'"'] => value,
            value => value,
        });
    }
    match found {
        Some(value) if value.iter().any(|byte| b"\"\\".contains(byte)) => Err(Flaw),
        found => Ok(found),
    }
}

/// The field does not have the form of a list of pairs, or has a pair twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flaw;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_at_separators_outside_of_quoted_strings() {
        let split = |text: &'static str| {
            let parts = parts(text.as_bytes(), b',');
            parts.map(|part| std::str::from_utf8(part).unwrap())
        };
        for (text, expected) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a, b ,", &["a", "b", ""]),
            (r#"a="b,c", d"#, &[r#"a="b,c""#, "d"]),
            (r#"a="\",", d"#, &[r#"a="\",""#, "d"]),
            (r#"a="b,c"#, &[r#"a="b,c"#]),
            (r#"a="\"#, &[r#"a="\"#]),
            (r"a\,b", &[r"a\", "b"]),
        ] {
            assert_eq!(split(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn a_value_is_found_once_or_not_at_all() {
        for (text, expected) in [
            ("proto=https", Ok(Some("https"))),
            ("for=a;Proto=\"https\";by=b", Ok(Some("https"))),
            ("for=\"a;proto=http\"; proto = https;", Ok(Some("https"))),
            ("for=a", Ok(None)),
            ("", Ok(None)),
            ("proto=", Ok(Some(""))),
            ("proto=a;PROTO=a", Err(Flaw)),
            ("proto", Err(Flaw)),
            ("proto=\"https", Err(Flaw)),
            ("proto=\"ht\\tps\"", Err(Flaw)),
            ("proto=a\"b\"", Err(Flaw)),
        ] {
            let expected = expected.map(|value| value.map(str::as_bytes));
            assert_eq!(value_of(text.as_bytes(), "proto"), expected, "{text}");
        }
    }
}
