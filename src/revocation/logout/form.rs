//! One parameter of a form (`application/x-www-form-urlencoded`).

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;

/// The value of the parameter with this name, which must occur once. Other parameters are ignored.
pub(crate) fn parameter(form: &[u8], name: &str) -> Result<String, Rejection> {
    let mut found = None;
    for pair in form.split(|byte| *byte == b'&') {
        let (key, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => pair.split_at(at),
            None => (pair, &b""[..]),
        };
        if decoded(key)? != name.as_bytes() {
            continue;
        }
        let value = decoded(value.get(1..).unwrap_or_default())?;
        let value = String::from_utf8(value).map_err(|_| malformed("a value is not UTF-8"))?;
        if found.replace(value).is_some() {
            return Err(malformed("the parameter occurs twice"));
        }
    }
    found.filter(|value| !value.is_empty()).ok_or_else(|| {
        let reason = format!("the form has no `{name}`");
        Rejection::because(RejectionKind::MalformedRequest, reason)
    })
}

/// Resolves `+` and percent-encoded bytes.
fn decoded(text: &[u8]) -> Result<Vec<u8>, Rejection> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = bytes.next().and_then(hex_digit);
                let low = bytes.next().and_then(hex_digit);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(malformed("a `%` without two hexadecimal digits"));
                };
                high << 4 | low
            }
            other => other,
        });
    }
    Ok(out)
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

fn malformed(reason: &'static str) -> Rejection {
    Rejection::because(RejectionKind::MalformedRequest, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_parameter_among_others() {
        for form in [
            "logout_token=a.b.c",
            "x=1&logout_token=a.b.c&y",
            "logout%5Ftoken=a%2Eb%2ec&logout_token2=z",
            "&&logout_token=a.b.c&",
        ] {
            let read = parameter(form.as_bytes(), "logout_token");
            assert_eq!(read.ok().as_deref(), Some("a.b.c"), "{form}");
        }
        let spaced = parameter(b"t=a+b%20c%C3%A9%3D", "t");
        assert_eq!(spaced.ok().as_deref(), Some("a b c\u{e9}="));
    }

    #[test]
    fn rejects_a_form_that_is_not_clear() {
        for form in [
            &b""[..],
            b"logout_token",
            b"logout_token=",
            b"Logout_token=a",
            b"logout_token=a&logout_token=a",
            b"logout_token=&logout_token=a",
            b"logout_token=%",
            b"logout_token=%4",
            b"logout_token=%zz",
            b"logout_token=%+4",
            b"logout_token=\xff",
            b"logout_token=%ff",
            b"%=1&logout_token=a",
        ] {
            assert!(parameter(form, "logout_token").is_err(), "{form:?}");
        }
    }
}
