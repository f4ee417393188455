//! What an answer means.

use super::*;

/// RFC7662-2.2-1
#[tokio::test]
async fn active_is_true_or_false_and_nothing_else() {
    assert_eq!(active(r#"{"active":true}"#).await.claims().subject(), None);
    let answered = answer(of_json(r#"{"active":false}"#)).await;
    assert!(matches!(answered, Ok(Answer::Inactive)));
    for body in [
        "{}",
        r#"{"active":"true"}"#,
        r#"{"active":1}"#,
        r#"{"active":null}"#,
        r#"{"active":[true]}"#,
        r#"{"Active":true}"#,
        r#"{"active":true,"active":true}"#,
        r#"{"active":false,"active":true}"#,
        r#"{"active":true,"a":{"b":1,"b":2}}"#,
        r#"[{"active":true}]"#,
        r#"{"active":true}{}"#,
        "<html></html>",
        "",
    ] {
        let failure = failure(of_json(body)).await;
        assert!(!failure.is_ours && !failure.may_be_the_token, "{failure:?}");
        assert!(failure.reason.starts_with(URL), "{failure:?}");
    }
    let mut response = of_json("").unwrap();
    *response.body_mut() = b"{\"active\":true,\"sub\":\"\xff\"}".to_vec();
    assert!(failure(Ok(response)).await.reason.contains("UTF-8"));
}

/// RFC7662-2.2-2: of an inactive token nothing else is read.
#[tokio::test]
async fn the_rest_of_an_inactive_answer_is_not_read() {
    for body in [
        r#"{"active":false,"sub":"x","exp":9999999999}"#,
        r#"{"sub":5,"exp":"soon","active":false,"token_type":[]}"#,
    ] {
        let answered = answer(of_json(body)).await;
        assert!(matches!(answered, Ok(Answer::Inactive)), "{body}");
    }
}

/// RFC7662-2.2-3
#[tokio::test]
async fn members_are_claims() {
    let body = r#"{"active":true,"scope":"files:read files:write","client_id":"web-app","sub":"alice",
        "aud":["files","other"],"iss":"https://as.example","exp":1700000060.75,"nbf":1.7e9,"iat":1700000000,
        "jti":"j1","username":"Alice","token_type":"Bearer","extension":{"a":[1]}}"#;
    let answer = active(body).await;
    let claims = answer.claims();
    assert_eq!(claims.subject(), Some("alice"));
    assert_eq!(claims.client_id(), Some("web-app"));
    assert_eq!(claims.issuer(), Some("https://as.example"));
    assert_eq!(claims.audience().collect::<Vec<_>>(), ["files", "other"]);
    assert_eq!(claims.expires_at().unwrap().0, 1_700_000_060.75);
    assert_eq!(claims.not_before().unwrap().0, 1.7e9);
    assert_eq!(claims.id(), Some("j1"));
    let kept: Value = serde_json::from_str(claims.payload()).unwrap();
    assert_eq!(kept["username"], "Alice");
    assert_eq!(kept["extension"], json!({"a": [1]}));
    let names: Vec<_> = claims.members().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names.len(), 13);
    // Some servers send a list of scopes, and null for what is not set.
    let answer = active(r#"{"active":true,"scope":["a","b"],"sub":null,"exp":null}"#).await;
    assert!(answer.claims().scope().is_some() && answer.claims().subject().is_none());
    assert!(answer.into_claims().expires_at().is_none());
}

/// A claim of the wrong type is a fault of the token, and not an outage: it must not stop others.
#[tokio::test]
async fn claims_that_cannot_be_read_are_a_fault_of_the_token() {
    for (body, expected) in [
        (
            r#"{"active":true,"exp":"soon"}"#,
            RejectionKind::InvalidClaim,
        ),
        (r#"{"active":true,"sub":5}"#, RejectionKind::InvalidClaim),
        (
            r#"{"active":true,"token_type":5}"#,
            RejectionKind::InvalidClaim,
        ),
        (
            r#"{"active":true,"token_type":"refresh_token"}"#,
            RejectionKind::WrongType,
        ),
    ] {
        match answer(of_json(body)).await {
            Ok(Answer::Invalid(rejection)) => assert_eq!(rejection.kind(), expected, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

/// The marks of other kinds of tokens are those of a JWT. An issuer may call a refresh token active.
#[tokio::test]
async fn a_refresh_token_is_marked_as_another_kind() {
    for (rest, is_marked) in [
        (r#""token_use":"access_token""#, false),
        (r#""token_use":"access""#, false),
        (r#""token_use":"refresh_token""#, true),
        (r#""typ":"Bearer""#, false),
        (r#""typ":"Refresh""#, true),
    ] {
        let active = active(&format!(r#"{{"active":true,{rest}}}"#)).await;
        assert_eq!(
            active.claims().foreign_mark().is_some(),
            is_marked,
            "{rest}"
        );
    }
}

/// RFC9449-6.2-1
#[tokio::test]
async fn the_token_type_agrees_with_the_binding() {
    let jkt = r#""cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#;
    for (rest, is_good) in [
        (format!(r#","token_type":"DPoP",{jkt}"#), true),
        (format!(r#","token_type":"dpop",{jkt}"#), true),
        (format!(",{jkt}"), true),
        (r#","token_type":"Bearer""#.to_owned(), true),
        (r#","token_type":null"#.to_owned(), true),
        (r#","token_type":"access_token""#.to_owned(), true),
        (format!(r#","token_type":"Bearer",{jkt}"#), false),
        (r#","token_type":"DPoP""#.to_owned(), false),
        (r#","token_type":"DPoP","cnf":{}"#.to_owned(), false),
    ] {
        let answered = answer(of_json(format!(r#"{{"active":true{rest}}}"#))).await;
        match answered.unwrap() {
            Answer::Active(active) if is_good => {
                let is_bound = active.claims().confirmation().is_some();
                assert_eq!(is_bound, rest.contains("cnf"), "{rest}");
            }
            Answer::Invalid(rejection) if !is_good => {
                assert_eq!(rejection.kind(), RejectionKind::InvalidClaim, "{rest}");
            }
            other => panic!("{rest}: {other:?}"),
        }
    }
}
