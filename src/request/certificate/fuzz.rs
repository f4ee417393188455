//! The forms of a forwarded certificate, against a second reader.

#![expect(clippy::expect_used, reason = "an oracle fails by panic")]

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::request::certificate::forms::Form;

/// The value of a field, in each form. An accepted value has a certificate with this thumbprint.
pub(crate) fn client_certificate(value: &[u8]) {
    for form in [Form::Base64Der, Form::EscapedPem, Form::Rfc9440] {
        if let Ok(thumbprint) = form.thumbprint(value) {
            let der = der_in(form, value).expect("the other reader finds one too");
            assert_eq!(digest(&SHA256, &der).as_ref(), thumbprint, "{form:?}");
            assert_eq!(der.first(), Some(&0x30), "{form:?}");
        }
    }
    if let Ok(thumbprint) = Form::Xfcc.thumbprint(value) {
        let text = String::from_utf8_lossy(value).to_lowercase();
        // A quoted value may have escapes, and there may be space around a name and a value.
        let text = text.replace(['"', '\\', ' ', '\t'], "");
        let hash: String = thumbprint
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(text.contains(&format!("hash={hash}")), "{text}");
    }
}

fn der_in(form: Form, value: &[u8]) -> Option<Vec<u8>> {
    let value = std::str::from_utf8(value).ok()?;
    let value = value.trim_matches([' ', '\t']);
    let base64 = match form {
        Form::Rfc9440 => value.strip_prefix(':')?.strip_suffix(':')?.to_owned(),
        Form::EscapedPem => {
            let mut pem = String::new();
            let mut pieces = value.split('%');
            pem.push_str(pieces.next()?);
            for piece in pieces {
                let (code, rest) = piece.split_at_checked(2)?;
                pem.push(char::from(u8::from_str_radix(code, 16).ok()?));
                pem.push_str(rest);
            }
            let (_, begun) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
            let (inner, _) = begun.split_once("-----END CERTIFICATE-----")?;
            inner.split_ascii_whitespace().collect()
        }
        Form::Base64Der | Form::Xfcc => value.to_owned(),
    };
    STANDARD.decode(base64).ok()
}
