//! Bound tokens: the `cnf` claim of RFC 7800, in the forms of RFC 9449 and RFC 8705. No binding is
//! checked yet, so every bound token is rejected.

use crate::support::{Fixture, challenges, get, get_bare, get_with, send};
use http::HeaderValue;
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

/// RFC9449-7.2-1, RFC9449-7.1-2: neither a proof nor the scheme of DPoP makes a bound token usable.
#[tokio::test]
async fn a_bound_token_is_rejected_however_it_is_presented() {
    let fixture = Fixture::new();
    let cnf = json!({"jkt": THUMBPRINT});
    let bound = fixture.token().claim("cnf", cnf).mint();
    let proof = HeaderValue::from_static("eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.AA");
    let mut with_proof = get(&bound);
    with_proof.headers_mut().insert("dpop", proof.clone());
    let mut with_scheme = get_with(format!("DPoP {bound}"));
    with_scheme.headers_mut().insert("dpop", proof.clone());
    for (request, kind, said) in [
        (
            get(&bound),
            RejectionKind::BindingMismatch,
            "it came as a Bearer token without a DPoP proof",
        ),
        (
            with_proof,
            RejectionKind::BindingMismatch,
            "it came with the scheme `Bearer` and a DPoP proof",
        ),
        (
            with_scheme,
            RejectionKind::MissingCredentials,
            "its token has the scheme `DPoP`",
        ),
        (
            get_bare(),
            RejectionKind::MissingCredentials,
            "request has no bearer token",
        ),
    ] {
        let (response, seen) = send(&fixture.auth(), request).await;
        assert_eq!(response.status(), 401);
        assert_eq!(seen.count(), 0);
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), kind, "{rejection}");
        let reason = rejection.to_string();
        assert!(reason.contains(said), "{reason}");
        assert_eq!(reason.contains("DPoP"), said.contains("DPoP"), "{reason}");
        assert!(!reason.contains("eyJ"), "{reason}");
    }
    let without_request = fixture.verify(&bound).unwrap_err().to_string();
    assert!(without_request.contains("it came without a request"));

    // A proof for a token that is not bound does not matter.
    let mut unbound = get(&fixture.token().mint());
    unbound.headers_mut().insert("dpop", proof);
    assert_eq!(send(&fixture.auth(), unbound).await.1.count(), 1);
}
