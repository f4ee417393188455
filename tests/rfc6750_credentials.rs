//! Where a request may carry its token, and what a well-formed credential is (RFC 6750, section 2;
//! RFC 9110, section 11).

#![cfg(feature = "test-util")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

use std::convert::Infallible;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, ORIGIN, PROXY_AUTHORIZATION,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use support::{Fixture, challenges, get, get_bare, get_with, send};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::config::{CsrfPolicy, TokenCookie, TokenSource};
use tower_jwt_auth::{Claims, ConfigError, JwtAuth, Rejection, RejectionKind};

/// Asserts that the layer lets the request through.
#[track_caller]
fn assert_accepted(response: &Response<String>, what: &str) {
    assert_eq!(response.status(), StatusCode::OK, "{what}");
    assert_eq!(response.body(), "hello", "{what}");
}

/// Asserts the answer to a request without credentials: 401, and no word about an error.
#[track_caller]
fn assert_unauthenticated(response: &Response<String>, what: &str) {
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
    let challenges = challenges(response.headers());
    assert!(!challenges.is_empty(), "{what}");
    for challenge in challenges {
        for name in ["error", "error_description", "error_uri", "scope"] {
            assert_eq!(challenge.parameter(name), None, "{what}");
        }
    }
    assert_eq!(kind_of(response), RejectionKind::MissingCredentials);
}

/// Asserts 400 with `invalid_request`.
#[track_caller]
fn assert_malformed(response: &Response<String>, what: &str) {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{what}");
    let challenges = challenges(response.headers());
    assert_eq!(challenges.len(), 1, "{what}");
    assert_eq!(
        challenges[0].parameter("error"),
        Some("invalid_request"),
        "{what}"
    );
    assert_eq!(kind_of(response), RejectionKind::MalformedRequest, "{what}");
}

#[track_caller]
fn kind_of(response: &Response<String>) -> RejectionKind {
    rejection_of(response).kind()
}

#[track_caller]
fn rejection_of(response: &Response<String>) -> &Rejection {
    response.extensions().get().expect("a rejection")
}

/// A GET request for this path and query, without a header.
fn get_path(path: &str) -> Request<String> {
    Request::get(path).body(String::new()).unwrap()
}

/// RFC6750-2.1-1
#[tokio::test]
async fn accepts_the_header_on_every_method_and_path() {
    let fixture = Fixture::new();
    let (auth, token) = (fixture.auth(), fixture.token().mint());
    let methods = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW",
    ];
    for method in methods {
        for uri in ["/", "/events/1?page=2", "https://api.example/events", "*"] {
            let request = |authorization: Option<String>| {
                let mut request = Request::builder().method(method).uri(uri);
                if let Some(value) = authorization {
                    request = request.header(AUTHORIZATION, value);
                }
                request.body(String::new()).unwrap()
            };
            let (response, seen) = send(&auth, request(Some(format!("Bearer {token}")))).await;
            assert_accepted(&response, method);
            let claims = seen.requests()[0].extensions.get::<Claims>().cloned();
            assert_eq!(claims.unwrap().subject(), Some("subject-1"), "{method}");

            let (response, seen) = send(&auth, request(None)).await;
            assert_eq!(response.status(), 401, "{method}");
            assert_eq!(seen.count(), 0, "{method}");
        }
    }
}

/// RFC9110-11.1-1
#[tokio::test]
async fn accepts_the_scheme_in_any_letter_case() {
    let fixture = Fixture::new();
    let (auth, token) = (fixture.auth(), fixture.token().mint());
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let (response, _) = send(&auth, get_with(format!("{scheme} {token}"))).await;
        assert_accepted(&response, scheme);
    }
    // Another scheme that only looks alike is another scheme.
    for scheme in ["Bearerx", "Beare", "Bearer-Token"] {
        let (response, seen) = send(&auth, get_with(format!("{scheme} {token}"))).await;
        assert_unauthenticated(&response, scheme);
        assert_eq!(seen.count(), 0);
    }
}

/// RFC6750-2.1-2, RFC6750-3.1-3
#[tokio::test]
async fn takes_one_token_behind_one_or_more_spaces_and_nothing_else() {
    let fixture = Fixture::new();
    let (auth, token) = (fixture.auth(), fixture.token().mint());
    for spaces in [" ", "  ", "   ", "                "] {
        let (response, _) = send(&auth, get_with(format!("Bearer{spaces}{token}"))).await;
        assert_accepted(&response, spaces);
    }
    let malformed = [
        "Bearer".to_owned(),
        "Bearer   ".to_owned(),
        "Bearer a b".to_owned(),
        "Bearer a,b".to_owned(),
        "Bearer a, Bearer b".to_owned(),
        format!("Bearer\t{token}"),
        format!("Bearer \t{token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer {token},"),
        format!("Bearer token={token}"),
        format!("Bearer Bearer {token}"),
        format!("Bearer:{token}"),
        String::new(),
        "=".to_owned(),
    ];
    for value in malformed {
        let (response, seen) = send(&auth, get_with(&value)).await;
        assert_malformed(&response, &value);
        assert_eq!(seen.count(), 0, "{value}");
    }
}

/// RFC9110-11.2-1, RFC6750-3.1-4
#[tokio::test]
async fn tells_a_legal_credential_that_is_no_jwt_from_an_illegal_one() {
    let auth = Fixture::new().auth();
    // Well formed, so what is wrong with them is that they are no token of ours.
    for legal in ["abc", "a~b+c/d==", "-._~+/", "a", "0=", "a.b.c=="] {
        let (response, seen) = send(&auth, get(legal)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{legal}");
        let challenges = challenges(response.headers());
        assert_eq!(challenges[0].parameter("error"), Some("invalid_token"));
        assert_eq!(kind_of(&response), RejectionKind::MalformedToken, "{legal}");
        assert_eq!(seen.count(), 0);
    }
    for illegal in [
        "a=b", "a{b", "\"abc\"", "=", "==", "a==b=", "a:b", "a%20b", "a\\b", "a;b", "(a)", "a@b",
    ] {
        let (response, seen) = send(&auth, get(illegal)).await;
        assert_malformed(&response, illegal);
        assert_eq!(seen.count(), 0);
    }
    let fixture = Fixture::new();
    let quoted = format!("Bearer \"{}\"", fixture.token().mint());
    assert_malformed(&send(&fixture.auth(), get_with(quoted)).await.0, "quoted");
}

/// RFC9110-5.5-1
#[tokio::test]
async fn white_space_around_the_value_is_not_part_of_it() {
    let fixture = Fixture::new();
    let (auth, token) = (fixture.auth(), fixture.token().mint());
    for value in [
        format!(" Bearer {token} "),
        format!("\tBearer {token}\t"),
        format!(" \t Bearer   {token} \t "),
    ] {
        let (response, _) = send(&auth, get_with(&value)).await;
        assert_accepted(&response, &value);
    }
    // Within the value it is.
    let (start, end) = token.split_at(20);
    for value in [
        format!("Bearer {start} {end}"),
        format!("Bearer {start}\t{end}"),
    ] {
        assert_malformed(&send(&auth, get_with(&value)).await.0, &value);
    }
}

/// RFC9110-5.5-2
#[tokio::test]
async fn octets_beyond_ascii_are_malformed_and_nothing_worse() {
    let fixture = Fixture::new();
    let (auth, token) = (fixture.auth(), fixture.token().mint());
    let mut behind = format!("Bearer {token}").into_bytes();
    behind.push(0xff);
    for value in [
        b"Bearer \xff\xfe".as_slice(),
        b"\xff".as_slice(),
        b"Bearer \xc3\xa9".as_slice(),
        b"B\xc3\xa9arer abc".as_slice(),
        "Bearer\u{a0}abc".as_bytes(),
        &behind,
    ] {
        let (response, seen) = send(&auth, get_with(value)).await;
        assert_malformed(&response, &String::from_utf8_lossy(value));
        assert_eq!(seen.count(), 0);
    }
}

/// RFC9110-5.3-1
#[tokio::test]
async fn two_authorization_lines_are_malformed_whatever_is_in_them() {
    let fixture = Fixture::new();
    let (auth, token) = (fixture.auth(), fixture.token().mint());
    let bearer = format!("Bearer {token}");
    for (first, second) in [
        (bearer.as_str(), bearer.as_str()),
        ("Basic dTpw", bearer.as_str()),
        (bearer.as_str(), "Basic dTpw"),
        ("", bearer.as_str()),
    ] {
        let mut request = get_with(first);
        let second = HeaderValue::from_str(second).unwrap();
        request.headers_mut().append(AUTHORIZATION, second);
        for auth in [auth.clone(), auth.clone().optional()] {
            let (response, seen) = send(&auth, request.clone()).await;
            assert_malformed(&response, first);
            assert_eq!(seen.count(), 0);
        }
    }
    assert_accepted(&send(&auth, get_with(&bearer)).await.0, "one line");
}

/// RFC9110-11.4-1, RFC6750-3.1-1
#[tokio::test]
async fn a_request_without_usable_credentials_is_challenged_without_an_error() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    for request in [
        get_bare(),
        get_with("Basic dTpw"),
        get_with("Negotiate x"),
        get_with("Negotiate"),
        get_with(r#"Digest username="a", realm="b""#),
        get_with(format!("DPoP {}", fixture.token().mint())),
    ] {
        let (response, seen) = send(&auth, request).await;
        assert_unauthenticated(&response, "without credentials");
        assert_eq!(seen.count(), 0);
    }
}

/// RFC6750-2-1
#[tokio::test]
async fn refuses_a_request_with_tokens_in_two_places() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let with_query = fixture
        .auth()
        .token_source(TokenSource::header().insecure_or_query());
    let with_cookie = fixture
        .auth()
        .token_source(TokenSource::header().or_cookie(cookie()));
    let with_both = fixture.auth().token_source(
        TokenSource::header()
            .or_cookie(cookie())
            .insecure_or_query(),
    );

    let mut header_and_query = get_path(&format!("/events?access_token={token}"));
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    header_and_query.headers_mut().insert(AUTHORIZATION, bearer);
    let mut header_and_cookie = get(&token);
    let pair = HeaderValue::from_str(&format!("__Host-token={token}")).unwrap();
    header_and_cookie.headers_mut().insert(COOKIE, pair.clone());
    let mut query_and_cookie = get_path(&format!("/events?access_token={token}"));
    query_and_cookie.headers_mut().insert(COOKIE, pair);

    for (auth, request) in [
        (&with_query, &header_and_query),
        (&with_both, &header_and_query),
        (&with_cookie, &header_and_cookie),
        (&with_both, &header_and_cookie),
        (&with_both, &query_and_cookie),
    ] {
        let (response, seen) = send(auth, request.clone()).await;
        assert_malformed(&response, "two places");
        assert_eq!(seen.count(), 0);
    }
    // What is not switched on is not looked at.
    for request in [&header_and_query, &header_and_cookie] {
        let (response, _) = send(&fixture.auth(), request.clone()).await;
        assert_accepted(&response, "one place");
    }
    let (response, _) = send(&with_query, header_and_cookie).await;
    assert_accepted(&response, "cookie is off");
    let (response, _) = send(&with_cookie, header_and_query).await;
    assert_accepted(&response, "query is off");
}

/// RFC6750-2.2-1: the method is not offered, because a layer that reads the body of a request
/// before anybody is known would let strangers choose how much.
#[tokio::test]
async fn a_form_token_is_not_read_and_the_form_arrives_intact() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let everything_on = TokenSource::header()
        .or_cookie(cookie())
        .insecure_or_query();
    let form = format!("title=dinner&access_token={token}");
    let post = |authorization: Option<&str>, content_type: &str| {
        let mut request = Request::post("/events").header(CONTENT_TYPE, content_type);
        if let Some(token) = authorization {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(form.clone()).unwrap()
    };
    let echo = service_fn(async |request: Request<String>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let urlencoded = "application/x-www-form-urlencoded";
    for auth in [fixture.auth(), fixture.auth().token_source(everything_on)] {
        for content_type in [urlencoded, "multipart/form-data; boundary=x", "text/plain"] {
            let (response, seen) = send(&auth, post(None, content_type)).await;
            assert_unauthenticated(&response, content_type);
            assert_eq!(seen.count(), 0);
        }
        // A token in the header and another in the form: the form is the handler's.
        let response = auth
            .layer(echo)
            .oneshot(post(Some(&token), urlencoded))
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.body(), &form);
        let optional = auth.optional().layer(echo);
        let response = optional.oneshot(post(None, urlencoded)).await.unwrap();
        assert_eq!(response.body(), &form);
    }
}

/// RFC6750-2.3-1
#[tokio::test]
async fn a_query_token_is_ignored_unless_switched_on() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let request = || get_path(&format!("/events?page=2&access_token={token}"));

    let (response, seen) = send(&fixture.auth(), request()).await;
    assert_unauthenticated(&response, "query is off");
    assert_eq!(seen.count(), 0);
    let header = fixture.auth().token_source(TokenSource::header());
    assert_unauthenticated(&send(&header, request()).await.0, "query is off");

    let auth = fixture
        .auth()
        .token_source(TokenSource::header().insecure_or_query());
    let (response, seen) = send(&auth, request()).await;
    assert_accepted(&response, "query is on");
    assert!(seen.requests()[0].extensions.get::<Claims>().is_some());
    // The header goes on working beside it, and a request with neither has no credentials.
    assert_accepted(&send(&auth, get(&token)).await.0, "header");
    assert_unauthenticated(&send(&auth, get_path("/events?page=2")).await.0, "neither");
    assert_unauthenticated(
        &send(&auth, get_path("/events?Access_Token=a")).await.0,
        "case",
    );
    assert_unauthenticated(
        &send(&auth, get_path("/events?xaccess_token=a")).await.0,
        "name",
    );

    let expired = fixture.token().expired().mint();
    let (response, _) = send(&auth, get_path(&format!("/?access_token={expired}"))).await;
    assert_eq!(kind_of(&response), RejectionKind::Expired);
}

/// RFC6750-2.3-1: a query is percent-encoded, and so its token may be.
#[tokio::test]
async fn a_query_token_may_be_percent_encoded() {
    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .token_source(TokenSource::header().insecure_or_query());
    let encoded: String = fixture
        .token()
        .mint()
        .bytes()
        .map(|octet| format!("%{octet:02x}"))
        .collect();
    let (response, _) = send(&auth, get_path(&format!("/?access%5Ftoken={encoded}"))).await;
    assert_accepted(&response, "percent-encoded");
    for bad in ["%", "%4", "%zz", "a%20b", "%ff", "a+b%00", "", "%22abc%22"] {
        let (response, seen) = send(&auth, get_path(&format!("/?access_token={bad}"))).await;
        assert_malformed(&response, bad);
        assert_eq!(seen.count(), 0);
    }
}

/// RFC6750-2.3-2
#[tokio::test]
async fn answers_to_query_tokens_are_private() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let auth = fixture
        .auth()
        .token_source(TokenSource::header().insecure_or_query());
    let answer = async |auth: &JwtAuth, path: &str, status: u16, cache_control: Option<&str>| {
        let response = Response::builder().status(status);
        let response = match cache_control {
            Some(value) => response.header(CACHE_CONTROL, value),
            None => response,
        }
        .body(String::new())
        .unwrap();
        let inner = service_fn(move |_: Request<String>| {
            let response = response.clone();
            async { Ok::<_, Infallible>(response) }
        });
        let response = auth.layer(inner).oneshot(get_path(path)).await.unwrap();
        let lines = response.headers().get_all(CACHE_CONTROL).iter();
        lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let path = format!("/?access_token={token}");
    assert_eq!(answer(&auth, &path, 200, None).await, ["private"]);
    assert_eq!(answer(&auth, &path, 204, None).await, ["private"]);
    assert_eq!(
        answer(&auth, &path, 200, Some("public, max-age=600")).await,
        ["private"]
    );
    for safe in ["no-store", "private, max-age=60", "max-age=60, Private"] {
        assert_eq!(answer(&auth, &path, 200, Some(safe)).await, [safe]);
    }
    // Only what a cache would keep for a success is spoken of.
    assert!(answer(&auth, &path, 404, None).await.is_empty());
    // A request that brought its token in the header is not changed, nor one where query is off.
    let response = send(&auth, get(&token)).await.0;
    assert!(!response.headers().contains_key(CACHE_CONTROL));
    let mut request = get_path(&path);
    request.headers_mut().extend(get(&token).headers().clone());
    let response = send(&fixture.auth(), request).await.0;
    assert_accepted(&response, "query is off");
    assert!(!response.headers().contains_key(CACHE_CONTROL));
}

/// RFC6750-3.1-2
#[tokio::test]
async fn a_repeated_parameter_or_cookie_is_malformed() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let source = TokenSource::header()
        .insecure_or_query()
        .or_cookie(cookie());
    let auth = fixture.auth().token_source(source);
    for query in [
        "access_token=a&access_token=b".to_owned(),
        format!("access_token={token}&access_token={token}"),
        format!("access_token={token}&page=1&access%5ftoken={token}"),
        format!("access_token&access_token={token}"),
    ] {
        let (response, seen) = send(&auth, get_path(&format!("/?{query}"))).await;
        assert_malformed(&response, &query);
        assert_eq!(seen.count(), 0);
    }
    for cookies in [
        format!("__Host-token={token}; __Host-token={token}"),
        format!("__Host-token={token}; a=b; __Host-token=x"),
    ] {
        let mut request = get_bare();
        let value = HeaderValue::from_str(&cookies).unwrap();
        request.headers_mut().insert(COOKIE, value);
        assert_malformed(&send(&auth, request).await.0, &cookies);
    }
    let (response, _) = send(&auth, get_path(&format!("/?a=1&a=2&access_token={token}"))).await;
    assert_accepted(&response, "other parameters may be repeated");
}

fn cookie() -> TokenCookie {
    TokenCookie::new("__Host-token", CsrfPolicy::same_origin()).unwrap()
}

/// A request of this method whose token is in the cookie.
fn with_cookie(method: Method, token: &str, headers: &[(&str, &str)]) -> Request<String> {
    let mut request = Request::builder()
        .method(method)
        .uri("/events")
        .header(HOST, "api.example")
        .header(COOKIE, format!("theme=dark; __Host-token={token}; lang=de"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(String::new()).unwrap()
}

/// RFC6750-5.3-1: off by default, and there is no cookie source without a policy, by its type.
#[tokio::test]
async fn a_cookie_token_is_ignored_unless_switched_on() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let request = || with_cookie(Method::GET, &token, &[]);
    let (response, seen) = send(&fixture.auth(), request()).await;
    assert_unauthenticated(&response, "cookie is off");
    assert_eq!(seen.count(), 0);

    let auth = fixture
        .auth()
        .token_source(TokenSource::header().or_cookie(cookie()));
    let (response, seen) = send(&auth, request()).await;
    assert_accepted(&response, "cookie is on");
    assert!(seen.requests()[0].extensions.get::<Claims>().is_some());
    assert_accepted(&send(&auth, get(&token)).await.0, "header");
    assert_unauthenticated(&send(&auth, get_bare()).await.0, "neither");

    // Another name is another cookie; a bad value is malformed, as in the header.
    let other = TokenCookie::new("__Secure-token", CsrfPolicy::same_origin()).unwrap();
    let other = fixture
        .auth()
        .token_source(TokenSource::header().or_cookie(other));
    assert_unauthenticated(&send(&other, request()).await.0, "another name");
    let (response, _) = send(&auth, with_cookie(Method::GET, "\"a\"", &[])).await;
    assert_malformed(&response, "quoted");
}

/// RFC6750-5.3-1: a cookie that is sent in clear, or that a neighbour can set, has neither prefix.
#[test]
fn a_token_cookie_needs_a_prefix_that_keeps_it_encrypted() {
    for name in ["__Host-token", "__Secure-token", "__Host-a"] {
        assert!(
            TokenCookie::new(name, CsrfPolicy::same_origin()).is_ok(),
            "{name}"
        );
    }
    for name in [
        "token",
        "",
        "__Host-",
        "__Secure-",
        "__host-token",
        "Host-token",
        " __Host-token",
        "__Host-to ken",
        "__Host-token;",
        "__Host-tok=en",
        "__Host-töken",
        "x__Host-token",
    ] {
        assert_eq!(
            TokenCookie::new(name, CsrfPolicy::same_origin()).unwrap_err(),
            ConfigError::CookieName(name.to_owned())
        );
    }
}

/// RFC6750-5.3-1
#[tokio::test]
async fn a_cookie_token_does_not_serve_requests_of_other_sites() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let auth = fixture
        .auth()
        .token_source(TokenSource::header().or_cookie(cookie()));

    let same = "https://api.example";
    for headers in [
        [("sec-fetch-site", "same-origin")].as_slice(),
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", same)],
        &[("origin", same)],
        // No browser: nobody can be led to send this.
        &[],
    ] {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let (response, _) = send(&auth, with_cookie(method, &token, headers)).await;
            assert_accepted(&response, &format!("{headers:?}"));
        }
    }
    for headers in [
        [("sec-fetch-site", "cross-site")].as_slice(),
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", same)],
        &[("sec-fetch-site", "anything")],
        &[("sec-fetch-site", "")],
        &[("origin", "https://evil.example")],
        &[("origin", "https://api.example.evil.example")],
        &[("origin", "https://api.example:8443")],
        &[("origin", "null")],
        &[("origin", "api.example")],
    ] {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let (response, seen) = send(&auth, with_cookie(method, &token, headers)).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{headers:?}");
            assert_eq!(kind_of(&response), RejectionKind::CrossSiteRequest);
            assert_eq!(seen.count(), 0);
        }
        // A safe method changes nothing, and a link from elsewhere has to work.
        let (response, _) = send(&auth, with_cookie(Method::GET, &token, headers)).await;
        assert_accepted(&response, "safe method");
        // A token in the header was put there by somebody who may read it.
        let mut request = with_cookie(Method::POST, &token, headers);
        request.headers_mut().remove(COOKIE);
        request.headers_mut().extend(get(&token).headers().clone());
        assert_accepted(&send(&auth, request).await.0, "header");
    }
}

/// RFC6750-5.3-1
#[tokio::test]
async fn a_policy_can_trust_the_origin_of_the_page() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let csrf = CsrfPolicy::same_origin()
        .and_origin("https://app.example")
        .unwrap();
    let cookie = TokenCookie::new("__Host-token", csrf).unwrap();
    let auth = fixture
        .auth()
        .token_source(TokenSource::header().or_cookie(cookie));
    let from = |origin| [("sec-fetch-site", "same-site"), (ORIGIN.as_str(), origin)];

    let request = with_cookie(Method::POST, &token, &from("https://app.example"));
    assert_accepted(&send(&auth, request).await.0, "trusted");
    for origin in [
        "https://app.example.evil.example",
        "http://app.example",
        "null",
    ] {
        let request = with_cookie(Method::POST, &token, &from(origin));
        assert_eq!(send(&auth, request).await.0.status(), 403, "{origin}");
    }
    for origin in [
        "app.example",
        "https://app.example/",
        "https://app.example/a",
        "*",
        "",
    ] {
        assert_eq!(
            CsrfPolicy::same_origin().and_origin(origin).unwrap_err(),
            ConfigError::Origin(origin.to_owned())
        );
    }
}

/// RFC9110-11.7.2-1
#[tokio::test]
async fn proxy_authorization_is_not_for_us() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    let mut request = get_bare();
    request.headers_mut().insert(PROXY_AUTHORIZATION, bearer);
    let (response, seen) = send(&fixture.auth(), request).await;
    assert_unauthenticated(&response, "proxy");
    assert_eq!(seen.count(), 0);

    // Beside a token of ours it is neither a second credential nor taken away.
    let mut request = get(&token);
    let basic = HeaderValue::from_static("Basic dTpw");
    request.headers_mut().insert(PROXY_AUTHORIZATION, basic);
    let (response, seen) = send(&fixture.auth(), request).await;
    assert_accepted(&response, "both");
    assert_eq!(
        seen.requests()[0].headers[PROXY_AUTHORIZATION],
        "Basic dTpw"
    );
}

/// LIMIT-D1: the reason is the length even where the octets are illegal too, so nobody looked at
/// them.
#[tokio::test]
async fn a_credential_beyond_the_limit_is_refused_by_its_length() {
    const LIMIT: usize = 16 * 1024;
    let fixture = Fixture::new();
    let auth = fixture.auth();
    // At the limit it is looked at: no JWT, but a legal credential.
    let (response, _) = send(&auth, get(&"a".repeat(LIMIT))).await;
    assert_eq!(kind_of(&response), RejectionKind::MalformedToken);
    for (octet, length) in [
        ("a", LIMIT + 1),
        ("a", 1 << 20),
        ("{", 1 << 20),
        ("\u{e9}", 1 << 19),
    ] {
        let (response, seen) = send(&auth, get(&octet.repeat(length))).await;
        assert_malformed(&response, octet);
        let reason = rejection_of(&response).to_string();
        assert!(reason.contains("long"), "{reason}");
        assert_eq!(seen.count(), 0);
    }
    // A good token is good up to the limit, and refused above it in every place.
    let padded = |length: usize| fixture.token().claim("pad", "x".repeat(length)).mint();
    let (fits, too_long) = (padded(11_000), padded(13_000));
    assert!(fits.len() < LIMIT && too_long.len() > LIMIT);
    let source = TokenSource::header()
        .insecure_or_query()
        .or_cookie(cookie());
    let auth = auth.token_source(source);
    for (token, is_accepted) in [(&fits, true), (&too_long, false)] {
        for request in [
            get(token),
            get_path(&format!("/?access_token={token}")),
            with_cookie(Method::GET, token, &[]),
        ] {
            let (response, _) = send(&auth, request).await;
            if is_accepted {
                assert_accepted(&response, "below the limit");
            } else {
                assert_malformed(&response, "above the limit");
            }
        }
    }
}
