//! Bound tokens: the `cnf` claim of RFC 7800, in the forms of RFC 9449 and RFC 8705. No binding is
//! checked yet, so every bound token is rejected.

#![cfg(feature = "test-util")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

use crate::support::{Fixture, challenges, get, send};
use serde_json::{Value, json};
use tower_jwt_auth::{Rejection, RejectionKind};

/// The thumbprint of the key in RFC 9449, section 6.1.
const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// CNF-D1, RFC8705-3-1, RFC7800-3.1-1
#[tokio::test]
async fn a_bound_token_is_rejected_whatever_it_is_bound_to() {
    let fixture = Fixture::new();
    let key = "the key of a DPoP proof (`cnf.jkt`)";
    let certificate = "a client certificate (`cnf.x5t#S256`)";
    let other = "something that is not known here (`cnf`)";
    let cases: [(Value, &[&str]); 12] = [
        (json!({"jkt": THUMBPRINT}), &[key]),
        (json!({"x5t#S256": THUMBPRINT}), &[certificate]),
        (
            json!({"jkt": THUMBPRINT, "x5t#S256": THUMBPRINT}),
            &[key, certificate],
        ),
        (json!({"jkt": THUMBPRINT, "more": 1}), &[key]),
        (json!({"jkt": THUMBPRINT, "x5t#S256": "x"}), &[key, other]),
        (json!({"jkt": format!("{THUMBPRINT}=")}), &[other]),
        (json!({"jkt": 5}), &[other]),
        (json!({"kid": "key-1"}), &[other]),
        (json!({"jwk": {"kty": "EC"}}), &[other]),
        (json!({}), &[other]),
        (json!("x"), &[other]),
        (Value::Null, &[other]),
    ];
    for (cnf, bindings) in cases {
        let token = fixture.token().claim("cnf", cnf.clone()).mint();
        let (response, seen) = send(&fixture.auth(), get(&token)).await;
        assert_eq!(response.status(), 401, "{cnf}");
        assert_eq!(seen.count(), 0, "{cnf}");
        let challenge = &challenges(response.headers())[0];
        assert_eq!(challenge.parameter("error"), Some("invalid_token"));
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), RejectionKind::BindingMismatch, "{cnf}");
        let reason = rejection.to_string();
        assert!(reason.contains(&bindings.join(" and ")), "{cnf}: {reason}");
        for not_said in [key, certificate, other] {
            let is_said = bindings.contains(&not_said);
            assert_eq!(reason.contains(not_said), is_said, "{cnf}: {reason}");
        }
        assert!(!reason.contains(THUMBPRINT), "{reason}");
    }
    // The same token without the claim is accepted.
    assert_eq!(
        send(&fixture.auth(), get(&fixture.token().mint()))
            .await
            .1
            .count(),
        1
    );
}
