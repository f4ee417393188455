//! What is no answer, and what its reason says.

use super::*;

#[tokio::test]
async fn only_json_with_status_200_is_an_answer() {
    let good = r#"{"active":true}"#;
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
    ] {
        answer(of_type(content_type, good)).await.unwrap();
    }
    for (content_type, named) in [
        ("text/html; charset=utf-8", "an HTML page"),
        ("text/plain", "plain text"),
        (
            "application/token-introspection+jwt",
            "Introspection::signed",
        ),
        ("application/secret token", "another content type"),
        ("", "without a content type"),
    ] {
        let failure = failure(of_type(content_type, good)).await;
        assert!(failure.reason.contains(named), "{failure:?}");
        assert!(!failure.is_ours);
    }
    let mut untyped = of_json(good).unwrap();
    untyped.headers_mut().clear();
    failure(Ok(untyped)).await;
    let mut coded = of_json(good).unwrap();
    let gzip = http::HeaderValue::from_static("gzip");
    coded
        .headers_mut()
        .insert(http::header::CONTENT_ENCODING, gzip);
    assert!(failure(Ok(coded)).await.reason.contains("coding"));
    for status in [
        201, 204, 206, 301, 302, 303, 307, 308, 404, 410, 429, 500, 502, 503,
    ] {
        let failure = failure(with_status(status, good)).await;
        assert!(!failure.is_ours && !failure.may_be_the_token, "{failure:?}");
        assert!(failure.reason.contains(&status.to_string()), "{failure:?}");
    }
    let large = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(65_536));
    assert!(failure(of_json(large)).await.reason.contains("65536"));
    let escaped = format!(r#"{{"active":true,"x":"{}"}}"#, r"\n".repeat(32_000));
    assert!(failure(of_json(escaped)).await.reason.contains("too long"));
}

/// No redirect is followed: the second place is not asked.
#[tokio::test]
async fn a_redirect_is_a_failure() {
    let server = Server::new(|_| {
        let mut response = with_status(307, "")?;
        let elsewhere = http::HeaderValue::from_static("https://evil.example/");
        response.headers_mut().insert(LOCATION, elsewhere);
        Ok(response)
    });
    let introspection = Introspection::at_with(URL, basic(), server.fetch()).unwrap();
    let failure = ask(&introspection).await.unwrap_err();
    assert!(
        failure.reason.contains("redirects are not followed"),
        "{failure:?}"
    );
    assert_eq!(server.asked().len(), 1);
}

/// RFC7662-2.3-1
#[tokio::test]
async fn a_rejection_of_our_request_is_ours() {
    for (status, body, sentence) in [
        (
            401,
            r#"{"error":"invalid_client"}"#,
            "invalid_client: the server does not accept the credentials",
        ),
        (401, "<html>", "the server does not accept the credentials"),
        (
            400,
            r#"{"error":"invalid_client"}"#,
            "invalid_client: the server does not accept the credentials",
        ),
        (403, "", "the server does not let this service introspect"),
        (
            400,
            r#"{"error":"invalid_request"}"#,
            "invalid_request: the server does not understand",
        ),
        (
            400,
            r#"{"error":"oat_4f/9+ü secret token"}"#,
            "Request: the server does not understand",
        ),
        (
            400,
            r#"{"error":"unsupported_token_type"}"#,
            "they are JWTs",
        ),
    ] {
        let failure = failure(with_status(status, body)).await;
        assert!(failure.is_ours, "{failure:?}");
        let may_be_the_token = status == 400 && !body.contains("invalid_client");
        assert_eq!(failure.may_be_the_token, may_be_the_token, "{failure:?}");
        assert!(failure.reason.contains(sentence), "{failure:?}");
    }
}

#[tokio::test]
async fn a_failure_says_when_to_ask_again() {
    for (status, value, expected) in [
        (503, "120", Some(120)),
        (429, "7", Some(7)),
        (401, "3", None),
        (500, "3", None),
        (503, "Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        (503, "soon", None),
    ] {
        let mut response = with_status(status, "").unwrap();
        let value = http::HeaderValue::from_static(value);
        response.headers_mut().insert(RETRY_AFTER, value);
        let date = http::HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        response.headers_mut().insert(http::header::DATE, date);
        let failure = failure(Ok(response)).await;
        let pause = failure.retry_after.map(|pause| pause.as_secs());
        assert_eq!(pause, expected, "{failure:?}");
    }
}

/// RFC7662-4-2: an HTTP client may quote what it sent.
#[tokio::test]
async fn nothing_secret_gets_out_of_an_error() {
    let quoting = |request: &Request<Vec<u8>>| {
        let body = String::from_utf8_lossy(request.body());
        let header = request
            .headers()
            .get(AUTHORIZATION)
            .map(|value| value.to_str().unwrap());
        Err(FetchError::new(format!(
            "cannot send {body} with {header:?}, which is {TOKEN} by files-api-secret"
        )))
    };
    let methods = [
        basic(),
        ClientAuth::secret_post("files-api", "files-api-secret").unwrap(),
        ClientAuth::bearer("files-api-secret").unwrap(),
    ];
    for auth in methods {
        let server = Server::new(quoting);
        let introspection = Introspection::at_with(URL, auth, server.fetch()).unwrap();
        // `ask` looks for the secrets.
        let failure = ask(&introspection).await.unwrap_err();
        assert!(failure.reason.contains("(secret)"), "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let silent = |_: Request<Vec<u8>>, _: usize| std::future::pending();
    let introspection = Introspection::at_with(URL, basic(), silent).unwrap();
    let began = tokio::time::Instant::now();
    let failure = ask(&introspection).await.unwrap_err();
    assert_eq!(failure.reason, format!("{URL}: no answer within 5s"));
    assert_eq!(began.elapsed().as_secs(), 5);
    let quick = introspection.timeout(Duration::ZERO);
    ask(&quick).await.unwrap_err();
    assert_eq!(began.elapsed().as_millis(), 5_100);
}
