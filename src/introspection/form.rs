//! The form that an endpoint is asked with (`application/x-www-form-urlencoded`).

use zeroize::Zeroizing;

/// The text of a form. It is cleared when it is dropped, because it has a token and often a secret.
pub(super) struct Form(Zeroizing<String>);

impl Form {
    pub(super) fn new() -> Self {
        // Enough for most, so that no part of a secret stays behind in a shorter buffer.
        Self(Zeroizing::new(String::with_capacity(ROOM)))
    }

    pub(super) fn add(&mut self, name: &'static str, value: &str) {
        // A name and two separators, and three characters for each byte of the value.
        let most = value.len().saturating_mul(3).saturating_add(name.len());
        let needed = self.0.len().saturating_add(most).saturating_add(2);
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(String::with_capacity(needed.saturating_mul(2)));
            larger.push_str(&self.0);
            self.0 = larger;
        }
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        push_encoded(&mut self.0, value);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The text as it stands in a form (RFC 6749, appendix B).
pub(super) fn encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = String::with_capacity(text.len().saturating_mul(3));
    push_encoded(&mut encoded, text);
    Zeroizing::new(encoded)
}

fn push_encoded(form: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'*' | b'-' | b'.' | b'_' => {
                form.push(char::from(byte));
            }
            b' ' => form.push('+'),
            _ => {
                form.push('%');
                for half in [byte.wrapping_shr(4), byte & 0xF] {
                    let digit = char::from_digit(half.into(), 16).unwrap_or_default();
                    form.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
}

/// The initial capacity in bytes.
const ROOM: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6749, appendix B, and of the URL standard.
    #[test]
    fn text_is_encoded_byte_for_byte() {
        for (text, expected) in [
            (" %&+£€", "+%25%26%2B%C2%A3%E2%82%AC"),
            ("aZ09*-._", "aZ09*-._"),
            ("a:b/c~d\n", "a%3Ab%2Fc%7Ed%0A"),
            ("", ""),
        ] {
            assert_eq!(encoded(text).as_str(), expected);
        }
    }

    #[test]
    fn a_form_grows() {
        let mut form = Form::new();
        form.add("token", "a b");
        form.add("x", &"&".repeat(3_000));
        form.add("y", "");
        let expected = format!("token=a+b&x={}&y=", "%26".repeat(3_000));
        assert_eq!(form.as_bytes(), expected.as_bytes());
    }
}
