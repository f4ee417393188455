//! The form of a rejection in HTTP: status, challenge, and what it does not disclose (RFC 6750,
//! section 3; RFC 9110, sections 11 and 15).

use std::convert::Infallible;

use crate::rejections::{Needed, RejectedRequest, rejections};
use crate::support::{
    AUDIENCE, Fixture, ISSUER, ReadChallenge, challenges, get, get_bare, get_with, read_challenge,
    send,
};
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::request::{CsrfPolicy, TokenCookie, TokenSource};
use tower_jwt_auth::response::{Challenge, ProblemDetails};
use tower_jwt_auth::scope::{Grants, Requirement, Shortfall};
use tower_jwt_auth::{
    Audience, Claims, ConfigError, Issuer, JwtAuth, KeyStore, Rejection, RejectionKind, role, scope,
};

/// A rejection of every kind from a layer without special settings.
async fn plain_rejections() -> Vec<RejectedRequest> {
    rejections(|auth| auth, |_| ()).await
}

/// The only challenge of a response.
#[track_caller]
fn challenge(response: &Response<String>) -> ReadChallenge {
    let challenges = challenges(response.headers());
    assert_eq!(challenges.len(), 1, "{:?}", response.headers());
    challenges[0].clone()
}

/// Sends a request through the layer to a service that requires `R`.
async fn send_to<R: Requirement>(auth: &JwtAuth, token: &str) -> Response<String> {
    let inner =
        service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new("in".to_owned())));
    let guarded = JwtAuth::require::<R>().layer(inner);
    auth.layer(guarded).oneshot(get(token)).await.unwrap()
}

/// STREAM-D2: an `EventSource` gets the status of a rejection, and no stream of events that begins with an error.
#[tokio::test]
async fn a_stream_of_events_is_rejected_before_it_begins() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    let good = fixture.token().mint();
    for (token, status) in [
        (None, 401),
        (Some(fixture.token().expired().mint()), 401),
        (Some(good), 200),
    ] {
        let mut request = token.as_deref().map_or_else(get_bare, get);
        let events = HeaderValue::from_static("text/event-stream");
        request.headers_mut().insert(ACCEPT, events);
        let (response, seen) = send(&auth, request).await;
        assert_eq!(response.status(), status);
        assert_eq!(seen.count(), usize::from(status == 200));
        if status != 200 {
            assert!(!response.headers().contains_key(CONTENT_TYPE));
            assert_eq!(response.body(), "");
            assert_eq!(challenge(&response).scheme, "Bearer");
        }
    }
}

/// RFC9110-15.5.2-1, RFC6750-3-1, RFC6750-3.1-3, RFC6750-3.1-4, RFC6750-3.1-5, RFC9110-11.4-2,
/// KEYSRC-D1: a second copy of the table of what a client sees.
#[tokio::test]
async fn every_kind_has_its_status_and_its_code() {
    use RejectionKind::*;
    for RejectedRequest { kind, response, .. } in plain_rejections().await {
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), kind);
        let (status, code) = match kind {
            MissingCredentials => (401, None),
            MalformedRequest => (400, Some("invalid_request")),
            InsufficientRole | InsufficientScope => (403, Some("insufficient_scope")),
            CrossSiteRequest | InsecureConnection => (403, None),
            IntrospectionUnavailable | KeySourceUnavailable | RevocationUnavailable => (503, None),
            MissingLayer => (500, None),
            _ => (401, Some("invalid_token")),
        };
        assert_eq!(response.status(), status, "{kind:?}");
        assert_eq!(response.body(), "", "{kind:?}");
        if matches!(status, 400 | 401 | 403) {
            assert_eq!(challenge(&response).parameter("error"), code, "{kind:?}");
        } else {
            assert!(
                !response.headers().contains_key(WWW_AUTHENTICATE),
                "{kind:?}"
            );
        }
    }
}

/// RFC6750-3-2, RFC6750-3-3
#[tokio::test]
async fn a_challenge_has_a_parameter_and_none_of_them_twice() {
    let wordy = Challenge::new("calendar")
        .and_then(|challenge| challenge.parameter("resource_metadata", "https://api.example/m"))
        .and_then(|challenge| challenge.parameter("authz-server", "https://as.example"))
        .and_then(|challenge| challenge.error_uri("https://docs.example/errors"))
        .unwrap();
    let wordy = rejections(|auth| auth.challenge(wordy.clone()), |_| ()).await;
    for RejectedRequest { kind, response, .. } in plain_rejections().await.into_iter().chain(wordy)
    {
        for challenge in challenges(response.headers()) {
            assert_eq!(challenge.scheme, "Bearer");
            assert!(!challenge.parameters.is_empty(), "{kind:?}");
            let mut names: Vec<_> = challenge.parameters.iter().map(|(name, _)| name).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{kind:?}: {challenge:?}");
        }
    }
}

/// RFC6750-3-3
#[test]
fn a_parameter_cannot_be_set_twice_in_any_case() {
    let rejected = |challenge: Challenge, name: &str| {
        let error = challenge.parameter(name, "b").unwrap_err();
        assert!(matches!(&error, ConfigError::Challenge { input, .. } if input == name));
    };
    for name in [
        "realm",
        "Realm",
        "scope",
        "Scope",
        "error",
        "ERROR",
        "error_description",
        "Error_Description",
        "error_uri",
        "Error_URI",
    ] {
        rejected(Challenge::new("api").unwrap(), name);
        rejected(Challenge::default(), name);
    }
    let with_foo = Challenge::default().parameter("Foo", "a").unwrap();
    for name in ["Foo", "foo", "FOO"] {
        rejected(with_foo.clone(), name);
    }
    assert!(with_foo.parameter("foo2", "b").is_ok());
    for name in ["", "a b", "a=b", "a\"", "é", "a,b", "a\r\nb"] {
        rejected(Challenge::default(), name);
    }
}

/// RFC9110-11.5-1
#[tokio::test]
async fn the_realm_is_always_quoted() {
    let fixture = Fixture::new();
    for realm in ["api", "a b", "", "calendar-api", "a, b=\"c\""] {
        let auth = fixture.auth().challenge(Challenge::new(realm).unwrap());
        for request in [get_bare(), get("abc"), get_with("Bearer a b")] {
            let challenge = challenge(&send(&auth, request).await.0);
            assert_eq!(challenge.parameter("realm"), Some(realm));
            assert!(challenge.quoted.contains(&"realm".to_owned()));
        }
    }
    let (response, _) = send(&fixture.auth(), get_bare()).await;
    assert_eq!(
        response.headers()[WWW_AUTHENTICATE],
        r#"Bearer realm="api""#
    );
}

/// RFC9110-5.6.4-1
#[tokio::test]
async fn exactly_quote_and_backslash_are_escaped() {
    let auth = Fixture::new()
        .auth()
        .challenge(Challenge::new(r#"a"b\c"#).unwrap());
    let (response, _) = send(&auth, get_bare()).await;
    assert_eq!(
        response.headers()[WWW_AUTHENTICATE],
        r#"Bearer realm="a\"b\\c""#
    );
    assert_eq!(challenge(&response).parameter("realm"), Some(r#"a"b\c"#));

    let printable: String = (' '..='~').collect();
    let both = Challenge::new(&printable)
        .and_then(|challenge| challenge.parameter("note", &printable))
        .unwrap();
    let auth = Fixture::new().auth().challenge(both);
    let (response, _) = send(&auth, get_bare()).await;
    assert_eq!(
        challenge(&response).parameter("realm"),
        Some(printable.as_str())
    );
    assert_eq!(
        challenge(&response).parameter("note"),
        Some(printable.as_str())
    );
    let raw = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    let escapes = |text: &str| text.matches('\\').count();
    assert_eq!(
        escapes(raw),
        2 * (1 + 2),
        "a quote and a backslash in either value"
    );
}

/// RFC6750-3-4: a text that is not a scope does not compile in `scope!` (see its documentation). If
/// a requirement of the application names such a text, it is left out.
#[tokio::test]
async fn the_scope_parameter_has_scopes_and_single_spaces_only() {
    struct Odd;
    impl Requirement for Odd {
        fn check(_: Grants<'_>) -> Result<(), Shortfall> {
            Err(Shortfall::scopes(Self::scopes()))
        }

        fn describe() -> String {
            "scopes that are none".into()
        }

        fn scopes() -> Vec<&'static str> {
            vec![
                "a",
                "b c",
                "d\"e",
                "f\\g",
                "h\r\ni: j",
                "",
                "é",
                "\u{7f}",
                "k",
                " ",
            ]
        }
    }
    let fixture = Fixture::new();
    let response = send_to::<Odd>(&fixture.auth(), &fixture.token().mint()).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(challenge(&response).parameter("scope"), Some("a k"));

    type Every = scope!(
        "!" & "#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ["
            & "]^_`abcdefghijklmnopqrstuvwxyz{|}~"
    );
    let response = send_to::<Every>(&fixture.auth(), &fixture.token().mint()).await;
    let scope = challenge(&response).parameter("scope").unwrap().to_owned();
    assert_eq!(scope.split(' ').count(), 3);
    let legal: String = ('!'..='~').filter(|char| !"\"\\".contains(*char)).collect();
    assert_eq!(scope.replace(' ', ""), legal);
}

/// RFC6750-3-5: these are all descriptions.
#[tokio::test]
async fn error_and_description_keep_to_their_characters() {
    let legal = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E))
    };
    let mut descriptions = 0;
    for RejectedRequest { kind, response, .. } in plain_rejections().await {
        for challenge in challenges(response.headers()) {
            for name in ["error", "error_description"] {
                let value = challenge.parameter(name);
                assert!(value.is_none_or(legal), "{kind:?}: {value:?}");
                descriptions += usize::from(value.is_some());
            }
        }
    }
    assert!(descriptions > 20);
    assert!(!legal("a \"b\"") && !legal("\\") && !legal("é") && !legal("\n"));
}

/// RFC6750-3-6
#[tokio::test]
async fn the_error_uri_is_absolute() {
    for uri in [
        "/docs",
        "docs",
        "",
        "http://a b",
        "https://a/\"b",
        "https://a/\\b",
        "https://ä.example/",
        "https://a\r\nb",
        "//docs.example/errors",
        "docs.example",
        // A scheme begins with a letter (RFC 3986, section 3.1).
        "3ttps://docs.example/errors",
    ] {
        let error = Challenge::default().error_uri(uri).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Challenge { input, .. } if input == uri),
            "{uri}"
        );
    }
    let uri = "https://docs.example/errors?lang=en";
    let challenge_with = Challenge::default().error_uri(uri).unwrap();
    let auth = Fixture::new().auth().challenge(challenge_with);
    let (response, _) = send(&auth, get("abc")).await;
    assert_eq!(challenge(&response).parameter("error_uri"), Some(uri));
    // Without an error there is no `error_uri` (RFC 6750, section 3.1).
    let (response, _) = send(&auth, get_bare()).await;
    assert_eq!(challenge(&response).parameter("error_uri"), None);
}

/// RFC9110-5.5-3
#[test]
fn no_control_character_gets_into_a_challenge() {
    for byte in (0x00..=0x1f).chain([0x7f]).map(char::from) {
        for text in [
            format!("a{byte}"),
            format!("a\r{byte}X: y"),
            format!("{byte}a"),
        ] {
            assert!(Challenge::new(&text).is_err(), "{text:?}");
            assert!(
                Challenge::default().parameter("note", &text).is_err(),
                "{text:?}"
            );
            assert!(
                Challenge::default().parameter(&text, "note").is_err(),
                "{text:?}"
            );
            assert!(
                Challenge::default()
                    .error_uri(&format!("https://{text}/"))
                    .is_err()
            );
        }
        let scheme = format!("Basic realm=\"{byte}\"");
        let is_tab = byte == '\t';
        assert_eq!(
            Challenge::default().additional_scheme(&scheme).is_ok(),
            is_tab,
            "{scheme:?}"
        );
    }
    assert_eq!(
        Challenge::new("a\r\nX: y").unwrap_err(),
        ConfigError::Challenge {
            input: "a\r\nX: y".to_owned(),
            expected: "printable ASCII"
        }
    );
    assert!(Challenge::new("Kalender für alle").is_err());
    assert!(Challenge::new("a").is_ok());
}

/// RFC6750-3-7
#[tokio::test]
async fn a_bad_token_is_told_why_in_a_fixed_sentence() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    for (token, description) in [
        (fixture.token().expired(), "The access token expired"),
        (
            fixture.token().not_yet_valid(),
            "The access token is not valid yet",
        ),
        (fixture.token().tampered(), "The access token is invalid"),
        (fixture.token().audience("b"), "The access token is invalid"),
    ] {
        let challenge = challenge(&send(&auth, get(&token.mint())).await.0);
        assert_eq!(challenge.parameter("error"), Some("invalid_token"));
        assert_eq!(challenge.parameter("error_description"), Some(description));
    }
}

/// RFC6750-3-D1
#[tokio::test]
async fn rejections_do_not_tell_which_check_failed_nor_repeat_the_token() {
    let everything =
        |auth: JwtAuth| auth.respond_with(ProblemDetails::with_base("https://e.example/"));
    let mut invalid = Vec::new();
    for RejectedRequest {
        kind,
        response,
        request,
    } in rejections(everything, |_| ()).await
    {
        let wire = format!("{:?}\n{}", response.headers(), response.body());
        let secrets = [
            ISSUER,
            AUDIENCE,
            "other.example",
            "unheard-of-key",
            "very-private-subject",
            "subject-1",
            "client-1",
            "token-1",
            "k1",
            "b64",
            "logout",
            "ES256",
            "RS256",
            "0ZcOCORZNYy",
            "tomorrow",
            "store is down",
            "\"exp\"",
            "signature",
        ];
        for secret in secrets {
            assert!(!wire.contains(secret), "{kind:?} says {secret:?}: {wire}");
        }
        for value in [AUTHORIZATION, COOKIE].map(|name| request.headers().get(name).cloned()) {
            let value = value.unwrap_or(HeaderValue::from_static(""));
            let parts = value.to_str().unwrap().split([' ', '.', '=']);
            for part in parts.filter(|part| part.len() > 8) {
                assert!(!wire.contains(part), "{kind:?}: {wire}");
            }
        }
        if response
            .extensions()
            .get::<Rejection>()
            .unwrap()
            .client_text()
            == "The access token is invalid"
        {
            invalid.push((kind, wire));
        }
    }
    // A client cannot tell an unknown key from a bad signature or another audience.
    assert!(invalid.len() > 12);
    for (kind, wire) in &invalid {
        assert_eq!(wire, &invalid[0].1, "{kind:?}");
    }
}

/// RFC6750-3.1-5
#[tokio::test]
async fn a_lacking_scope_is_named_from_the_requirement() {
    let fixture = Fixture::new();
    let token = fixture.token().scope("a").mint();
    let named = async |response: Response<String>| {
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        let challenge = challenge(&response);
        assert_eq!(challenge.parameter("error"), Some("insufficient_scope"));
        assert!(challenge.quoted.contains(&"scope".to_owned()));
        challenge.parameter("scope").unwrap().to_owned()
    };
    let auth = fixture.auth();
    assert_eq!(
        named(send_to::<scope!("b" & "c")>(&auth, &token).await).await,
        "b c"
    );
    assert_eq!(
        named(send_to::<scope!("a" & "b")>(&auth, &token).await).await,
        "a b"
    );
    assert_eq!(
        named(send_to::<scope!("b" | "c")>(&auth, &token).await).await,
        "b"
    );
    assert_eq!(
        named(send_to::<Needed>(&auth, &token).await).await,
        "calendar:read calendar:write"
    );
    let response = send_to::<scope!("a")>(&auth, &token).await;
    assert_eq!(
        (response.status(), response.body().as_str()),
        (StatusCode::OK, "in")
    );
}

/// RFC9110-11.4-2: other credentials would not help, so a missing role is not 401.
#[tokio::test]
async fn a_lacking_role_is_403_and_names_no_scope() {
    let fixture = Fixture::new();
    let token = fixture.token().roles(["editor"]).mint();
    let response = send_to::<role!("admin")>(&fixture.auth(), &token).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let challenge = challenge(&response);
    assert_eq!(challenge.parameter("error"), Some("insufficient_scope"));
    assert_eq!(challenge.parameter("scope"), None);
    assert!(
        !response.headers()[WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .contains("admin")
    );

    let response = send_to::<role!("admin" | "editor")>(&fixture.auth(), &token).await;
    assert_eq!(response.status(), StatusCode::OK);
}

/// RFC6750-3.1-D1
#[tokio::test]
async fn a_bad_token_is_not_told_what_it_lacks() {
    let fixture = Fixture::new();
    let expired = fixture.token().scope("a").expired().mint();
    let response = send_to::<scope!("b")>(&fixture.auth(), &expired).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        challenge(&response).parameter("error"),
        Some("invalid_token")
    );
    assert_eq!(challenge(&response).parameter("scope"), None);
}

/// RFC9110-15.5.4-1
#[tokio::test]
async fn what_is_forbidden_can_be_hidden() {
    let fixture = Fixture::new();
    let (auth, token) = (fixture.auth().hide_forbidden(), fixture.token().mint());
    for response in [
        send_to::<scope!("b")>(&auth, &token).await,
        send_to::<role!("b")>(&auth, &token).await,
    ] {
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers().len(), 1, "{:?}", response.headers());
        assert_eq!(response.body(), "");
    }
    // A client without a valid token still gets the challenge.
    let response = send_to::<scope!("b")>(&auth, "abc").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(challenges(response.headers()).len(), 1);
    // By default a missing scope is 403.
    let response = send_to::<scope!("b")>(&fixture.auth(), &token).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

/// RFC9110-11.6.1-1
#[tokio::test]
async fn further_schemes_stand_on_lines_of_their_own_behind_bearer() {
    let several = Challenge::new("api")
        .and_then(|challenge| challenge.additional_scheme(r#"DPoP algs="ES256 PS256""#))
        .and_then(|challenge| challenge.additional_scheme("Negotiate"))
        .unwrap();
    let rejections = rejections(|auth| auth.challenge(several.clone()), |_| ()).await;
    for RejectedRequest { kind, response, .. } in rejections {
        if kind == RejectionKind::MissingLayer {
            continue;
        }
        let lines: Vec<_> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .collect();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert!(lines.is_empty());
            continue;
        }
        assert_eq!(lines.len(), 3, "{kind:?}");
        let schemes = challenges(response.headers())
            .into_iter()
            .map(|read| read.scheme);
        assert_eq!(schemes.collect::<Vec<_>>(), ["Bearer", "DPoP", "Negotiate"]);
        assert_eq!(lines[1], r#"DPoP algs="ES256 PS256""#);
    }
    for scheme in [
        "",
        " ",
        "Bearer realm=\"b\"",
        "bearer x=y",
        "\"Basic\"",
        "Bäsic",
        "a,b c=d",
    ] {
        assert!(
            Challenge::default().additional_scheme(scheme).is_err(),
            "{scheme:?}"
        );
    }
}

/// RFC9110-11.6.1-D1
#[tokio::test]
async fn challenges_of_the_service_inside_stay_as_they_are() {
    let fixture = Fixture::new();
    let inner = service_fn(async |_: Request<String>| {
        let response = Response::builder()
            .status(401)
            .header(WWW_AUTHENTICATE, r#"Basic realm="x""#)
            .header(WWW_AUTHENTICATE, "Negotiate")
            .header(CONTENT_TYPE, "text/plain")
            .body("sign in".to_owned());
        Ok::<_, Infallible>(response.unwrap())
    });
    let token = fixture.token().mint();
    for auth in [
        fixture.auth(),
        fixture.auth().challenge(Challenge::new("y").unwrap()),
    ] {
        let response = auth.layer(inner).oneshot(get(&token)).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let lines: Vec<_> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .collect();
        assert_eq!(lines, [r#"Basic realm="x""#, "Negotiate"]);
        assert_eq!(response.headers().len(), 3);
        assert_eq!(response.body(), "sign in");
    }
}

/// RFC9110-11.6.1-D1: what a middleware adds to a rejection stays too.
#[tokio::test]
async fn what_others_add_to_a_rejection_stays() {
    let fixture = Fixture::new();
    let inner = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::default()));
    let guarded = JwtAuth::require::<scope!("b")>().layer(inner);
    let between = tower::ServiceBuilder::new()
        .map_response(|mut response: Response<String>| {
            let headers = response.headers_mut();
            headers.insert("request-id", HeaderValue::from_static("17"));
            headers.insert(VARY, HeaderValue::from_static("origin"));
            response
        })
        .service(guarded);
    let auth = fixture
        .auth()
        .challenge(Challenge::new("calendar").unwrap());
    let token = fixture.token().mint();
    let response: Response<String> = auth.layer(between).oneshot(get(&token)).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["request-id"], "17");
    assert_eq!(response.headers()[VARY], "origin");
    assert_eq!(challenge(&response).parameter("realm"), Some("calendar"));
    assert_eq!(response.headers().get_all(CACHE_CONTROL).iter().count(), 1);
}

/// RFC9111-5.2.2.5-D1
#[tokio::test]
async fn no_rejection_is_stored() {
    for RejectedRequest { kind, response, .. } in plain_rejections().await {
        let lines: Vec<_> = response.headers().get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(lines, ["no-store"], "{kind:?}");
    }
    // The response of the inner service is not changed.
    let fixture = Fixture::new();
    let (response, _) = send(&fixture.auth(), get(&fixture.token().mint())).await;
    assert!(!response.headers().contains_key(CACHE_CONTROL));
}

/// RFC9111-3.5-D1
#[tokio::test]
async fn answers_of_an_optional_layer_vary_by_the_credentials() {
    let fixture = Fixture::new();
    let vary = |headers: &HeaderMap| {
        let lines = headers.get_all(VARY).iter();
        lines
            .map(|line| line.to_str().unwrap().to_ascii_lowercase())
            .collect::<Vec<_>>()
    };
    let token = fixture.token().mint();
    let auth = fixture.auth().optional();
    for (request, status) in [(get_bare(), 200), (get(&token), 200), (get("abc"), 401)] {
        let (response, _) = send(&auth, request).await;
        assert_eq!(response.status(), status);
        assert_eq!(vary(response.headers()), ["authorization"]);
    }
    let cookie = TokenCookie::new("__Host-token", CsrfPolicy::same_origin()).unwrap();
    let auth = auth.token_source(TokenSource::header().with_cookie(cookie));
    let (response, _) = send(&auth, get_bare()).await;
    assert_eq!(vary(response.headers()), ["authorization", "cookie"]);

    // The `Vary` of the inner service stays.
    let inner = service_fn(async |_: Request<String>| {
        let response = Response::builder().header(VARY, "accept-language");
        Ok::<_, Infallible>(response.body(String::new()).unwrap())
    });
    let auth = fixture.auth().optional();
    let response = auth.layer(inner).oneshot(get_bare()).await.unwrap();
    assert_eq!(
        vary(response.headers()),
        ["accept-language", "authorization"]
    );

    // If a token is always required, there is no `Vary`: shared caches do not store responses to
    // requests with `Authorization`.
    for request in [get_bare(), get(&token)] {
        let (response, _) = send(&fixture.auth(), request).await;
        assert!(vary(response.headers()).is_empty());
    }
}

/// RFC6648-3-1: all header names that a rejection can have, each of them registered.
#[tokio::test]
async fn no_header_of_an_experiment_is_sent_or_read() {
    let registered = [
        "www-authenticate",
        "cache-control",
        "retry-after",
        "vary",
        "content-type",
        "grpc-status",
        "grpc-message",
    ];
    let grpc = |request: &mut Request<String>| {
        let value = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, value);
        *request.method_mut() = http::Method::POST;
    };
    let mut all = plain_rejections().await;
    all.extend(rejections(|auth| auth.respond_with(ProblemDetails::new()), |_| ()).await);
    all.extend(
        rejections(
            |auth| auth.optional().hide_forbidden(),
            |request| {
                // An optional layer passes the request on, and the guard inside rejects it.
                request
                    .headers_mut()
                    .insert("x-test", HeaderValue::from_static("1"));
            },
        )
        .await,
    );
    all.extend(rejections(|auth| auth, grpc).await);
    for RejectedRequest { kind, response, .. } in all {
        for name in response.headers().keys() {
            assert!(registered.contains(&name.as_str()), "{kind:?}: {name}");
        }
    }
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let (response, _) = send(&fixture.auth(), get(&token)).await;
    assert!(response.headers().is_empty());
    for name in [
        "x-authorization",
        "x-access-token",
        "x-forwarded-authorization",
        "x-api-key",
    ] {
        let mut request = get_bare();
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        request.headers_mut().insert(name, bearer);
        let (response, seen) = send(&fixture.auth(), request).await;
        assert_eq!(
            (response.status().as_u16(), seen.count()),
            (401, 0),
            "{name}"
        );
    }
}

/// KEYSRC-D1
#[tokio::test]
async fn keys_that_have_not_come_are_our_fault() {
    let fixture = Fixture::new();
    let keys = KeyStore::pending();
    let auth = JwtAuth::new(
        Issuer::new(ISSUER).unwrap(),
        Audience::new(AUDIENCE).unwrap(),
        keys.clone(),
    )
    .clock(fixture.clock.clone());
    let token = fixture.token().mint();
    for auth in [
        auth.clone(),
        auth.clone().optional(),
        auth.clone().hide_forbidden(),
    ] {
        let (response, seen) = send(&auth, get(&token)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let seconds = response.headers()[RETRY_AFTER].to_str().unwrap();
        assert!(seconds.parse::<u32>().unwrap() > 0);
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        assert_eq!(response.body(), "");
        assert_eq!(seen.count(), 0);
    }
    // A token that is invalid whatever the keys are is still a fault of the client.
    assert_eq!(send(&auth, get_bare()).await.0.status(), 401);
    assert_eq!(
        send(&auth, get(&fixture.token().expired().mint()))
            .await
            .0
            .status(),
        401
    );

    keys.replace(fixture.keys.snapshot().unwrap());
    assert_eq!(send(&auth, get(&token)).await.0.status(), 200);
    assert_eq!(
        send(&auth, get(&fixture.token().tampered().mint()))
            .await
            .0
            .status(),
        401
    );
}

/// RFC6750-3-1: the methods of the rejection return what the layer sends.
#[tokio::test]
async fn a_rejection_shows_the_challenge_that_is_sent() {
    for RejectedRequest { kind, response, .. } in plain_rejections().await {
        let rejection = response.extensions().get::<Rejection>().unwrap();
        let sent = response.headers().get(WWW_AUTHENTICATE);
        assert_eq!(rejection.challenge().as_ref(), sent, "{kind:?}");
        if let Some(sent) = sent {
            let read = read_challenge(sent.to_str().unwrap());
            assert_eq!(read.parameter("error"), rejection.oauth_error(), "{kind:?}");
            let needed = rejection.required_scopes().join(" ");
            let needed = Some(needed).filter(|scopes| !scopes.is_empty());
            assert_eq!(
                read.parameter("scope").map(str::to_owned),
                needed,
                "{kind:?}"
            );
        }
        let own: Response<String> = rejection.clone().into_response();
        assert_eq!(own.status(), response.status(), "{kind:?}");
        assert_eq!(own.headers(), response.headers(), "{kind:?}");
    }
    let fixture = Fixture::new();
    let claims: Claims = fixture.accepts(&fixture.token().mint());
    let rejection = claims.authorize::<scope!("b")>().unwrap_err();
    let read = read_challenge(rejection.challenge().unwrap().to_str().unwrap());
    assert_eq!(read.parameter("scope"), Some("b"));
}
