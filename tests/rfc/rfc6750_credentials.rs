//! Where a request may carry its token, and the grammar of credentials (RFC 6750, section 2; RFC
//! 9110, section 11).

use std::convert::Infallible;

use crate::support::{Fixture, challenges, get, get_bare, get_with, send};
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST,
    ORIGIN, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, VARY,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::request::{CsrfPolicy, TokenCookie, TokenSource, TokenSubprotocol};
use tower_jwt_auth::token::MaxTokenSize;
use tower_jwt_auth::{Claims, ConfigError, JwtAuth, Rejection, RejectionKind};

/// Asserts that the layer accepts the request.
#[track_caller]
fn assert_accepted(response: &Response<String>, what: &str) {
    assert_eq!(response.status(), StatusCode::OK, "{what}");
    assert_eq!(response.body(), "hello", "{what}");
}

/// Asserts that the layer rejects the request because it comes from another site.
async fn assert_cross_site(auth: &JwtAuth, request: Request<String>, what: &str) {
    let (response, seen) = send(auth, request).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN, "{what}");
    assert_eq!(
        kind_of(&response),
        RejectionKind::CrossSiteRequest,
        "{what}"
    );
    assert_eq!(seen.count(), 0, "{what}");
}

/// Asserts the answer to a request without credentials: 401 without an error code.
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

/// A layer that also reads the cookie.
fn auth_with_cookie(fixture: &Fixture) -> JwtAuth {
    let source = TokenSource::header().with_cookie(cookie());
    fixture.auth().token_source(source)
}

/// A layer that also reads the query.
fn auth_with_query(fixture: &Fixture) -> JwtAuth {
    let source = TokenSource::header().insecure_with_query();
    fixture.auth().token_source(source)
}

/// A GET request for this path and query, without headers.
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
    // A scheme with a similar name is another scheme.
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
    // These are valid credentials, so the error is that they are not tokens.
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
    // White space within the value is part of it.
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
async fn bytes_beyond_ascii_are_malformed_and_nothing_worse() {
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
async fn rejects_a_request_with_tokens_in_two_places() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let with_query = auth_with_query(&fixture);
    let with_cookie = auth_with_cookie(&fixture);
    let with_both = fixture.auth().token_source(
        TokenSource::header()
            .with_cookie(cookie())
            .insecure_with_query(),
    );

    let mut header_and_query = get_path(&format!("/events?access_token={token}"));
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    header_and_query.headers_mut().insert(AUTHORIZATION, bearer);
    let mut header_and_cookie = get(&token);
    let pair = HeaderValue::from_str(&format!("__Host-token={token}")).unwrap();
    header_and_cookie.headers_mut().insert(COOKIE, pair.clone());
    let mut all_three = header_and_query.clone();
    all_three.headers_mut().insert(COOKIE, pair.clone());
    let mut query_and_cookie = get_path(&format!("/events?access_token={token}"));
    query_and_cookie.headers_mut().insert(COOKIE, pair);

    for (auth, request) in [
        (&with_query, &header_and_query),
        (&with_both, &header_and_query),
        (&with_both, &query_and_cookie),
        (&with_both, &all_three),
    ] {
        let (response, seen) = send(auth, request.clone()).await;
        assert_malformed(&response, "two places");
        assert_eq!(seen.count(), 0);
    }
    // Places that are not configured are not read.
    for request in [&header_and_query, &header_and_cookie] {
        let (response, _) = send(&fixture.auth(), request.clone()).await;
        assert_accepted(&response, "one place");
    }
    let (response, _) = send(&with_query, header_and_cookie).await;
    assert_accepted(&response, "cookie is off");
    let (response, _) = send(&with_cookie, header_and_query).await;
    assert_accepted(&response, "query is off");
}

/// Another site can make a browser send the cookie, but never the header. So the header takes
/// precedence.
#[tokio::test]
async fn the_header_counts_where_a_cookie_comes_along() {
    let fixture = Fixture::new();
    let good = fixture.token().subject("header").mint();
    let other = fixture.token().subject("cookie").mint();
    let expired = fixture.token().expired().mint();
    let auth = auth_with_cookie(&fixture);
    let evil = [("origin", "https://evil.example")];
    for cookies in [other.as_str(), &expired, "\"a\"", "a; __Host-token=b", ""] {
        for headers in [[].as_slice(), &evil] {
            let mut request = with_cookie(Method::POST, cookies, headers);
            request.headers_mut().extend(get(&good).headers().clone());
            let (response, seen) = send(&auth, request).await;
            assert_accepted(&response, cookies);
            let claims = seen.requests()[0].extensions.get::<Claims>().cloned();
            assert_eq!(claims.unwrap().subject(), Some("header"));
        }
    }
    // A cookie does not help if the token in the header is bad.
    for (bad, kind) in [
        (get(&expired), RejectionKind::Expired),
        (get_with("Bearer"), RejectionKind::MalformedRequest),
        (get_with("Bearer \"a\""), RejectionKind::MalformedRequest),
    ] {
        let mut request = with_cookie(Method::GET, &other, &[]);
        request.headers_mut().extend(bad.headers().clone());
        let (response, seen) = send(&auth, request).await;
        assert_eq!(kind_of(&response), kind);
        assert_eq!(seen.count(), 0);
    }
    // Credentials of another scheme are not a token.
    let mut request = with_cookie(Method::GET, &other, &[]);
    let basic = get_with("Basic dTpw");
    request.headers_mut().extend(basic.headers().clone());
    assert_accepted(&send(&auth, request).await.0, "another scheme");
}

/// RFC6750-2.2-1: the form is not supported. A layer that reads the body before it knows the client
/// would let anybody choose how much it reads.
#[tokio::test]
async fn a_form_token_is_not_read_and_the_form_arrives_intact() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let everything_on = TokenSource::header()
        .with_cookie(cookie())
        .insecure_with_query();
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
        // If the header has a token and the form another one, the form is for the handler.
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

/// RFC6750-2.3-1, OAUTH21-5.1-1
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

    let auth = auth_with_query(&fixture);
    let (response, seen) = send(&auth, request()).await;
    assert_accepted(&response, "query is on");
    assert!(seen.requests()[0].extensions.get::<Claims>().is_some());
    // The header is still read. A request with neither has no credentials.
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

/// RFC6750-2.3-1: a query is percent-encoded, so the token in it may be.
#[tokio::test]
async fn a_query_token_may_be_percent_encoded() {
    let fixture = Fixture::new();
    let auth = auth_with_query(&fixture);
    let encoded: String = fixture
        .token()
        .mint()
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
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
    let auth = auth_with_query(&fixture);
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
    // Only responses that a cache may store get the header.
    assert!(answer(&auth, &path, 404, None).await.is_empty());
    // A response is not changed if the token came in the header, or if the query is not read.
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
        .insecure_with_query()
        .with_cookie(cookie());
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

/// A request with this method and the token in the cookie.
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

/// RFC6750-5.3-1: off by default. The type of the cookie requires a policy.
#[tokio::test]
async fn a_cookie_token_is_ignored_unless_switched_on() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let request = || with_cookie(Method::GET, &token, &[]);
    let (response, seen) = send(&fixture.auth(), request()).await;
    assert_unauthenticated(&response, "cookie is off");
    assert_eq!(seen.count(), 0);

    let auth = auth_with_cookie(&fixture);
    let (response, seen) = send(&auth, request()).await;
    assert_accepted(&response, "cookie is on");
    assert!(seen.requests()[0].extensions.get::<Claims>().is_some());
    assert_accepted(&send(&auth, get(&token)).await.0, "header");
    assert_unauthenticated(&send(&auth, get_bare()).await.0, "neither");

    // A cookie of another name is not read. A bad value is malformed, as in the header.
    let other = TokenCookie::new("__Secure-token", CsrfPolicy::same_origin()).unwrap();
    let other = fixture
        .auth()
        .token_source(TokenSource::header().with_cookie(other));
    assert_unauthenticated(&send(&other, request()).await.0, "another name");
    let (response, _) = send(&auth, with_cookie(Method::GET, "\"a\"", &[])).await;
    assert_malformed(&response, "quoted");
}

/// RFC6750-5.3-1: a cookie without one of the two prefixes may be sent unencrypted, or set by a
/// neighbouring host.
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
            ConfigError::CookieName {
                input: name.to_owned()
            }
        );
    }
}

/// RFC6750-5.3-1
#[tokio::test]
async fn a_cookie_token_does_not_serve_requests_of_other_sites() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let auth = auth_with_cookie(&fixture);

    let same = "https://api.example";
    for headers in [
        [("sec-fetch-site", "same-origin")].as_slice(),
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", same)],
        &[("origin", same)],
        // No browser: another site cannot cause this request.
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
            let request = with_cookie(method, &token, headers);
            assert_cross_site(&auth, request, &format!("{headers:?}")).await;
        }
        // A safe method changes nothing, and links from other sites must work.
        let (response, _) = send(&auth, with_cookie(Method::GET, &token, headers)).await;
        assert_accepted(&response, "safe method");
        // The header was set by a page that may read the token.
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
        .trusted_origin("https://app.example")
        .unwrap();
    let cookie = TokenCookie::new("__Host-token", csrf).unwrap();
    let auth = fixture
        .auth()
        .token_source(TokenSource::header().with_cookie(cookie));
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
            CsrfPolicy::same_origin()
                .trusted_origin(origin)
                .unwrap_err(),
            ConfigError::Origin {
                input: origin.to_owned()
            }
        );
    }
}

/// The headers of an upgrade, in the forms that a page can cause.
const UPGRADES: [(&str, &str); 8] = [
    ("upgrade", "websocket"),
    ("upgrade", "anything/1"),
    ("connection", "Upgrade"),
    ("connection", "keep-alive, upgrade"),
    // The part of a handshake that remains behind a proxy that removes hop-by-hop fields.
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat"),
    ("sec-fetch-mode", "websocket"),
];

/// RFC6455-10.2-1, RFC8441-5-D1: a handshake is a GET, and opens a connection for the page of
/// another site. It is checked like a POST.
#[tokio::test]
async fn a_cookie_token_opens_no_connection_for_other_sites() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let csrf = CsrfPolicy::same_origin()
        .trusted_origin("https://app.example")
        .unwrap();
    let trusting = TokenCookie::new("__Host-token", csrf).unwrap();
    let auth = |cookie| {
        let source = TokenSource::header().with_cookie(cookie);
        fixture.auth().token_source(source)
    };
    let (auth, trusting) = (auth(cookie()), auth(trusting));
    let (evil, same) = ("https://evil.example", "https://api.example");
    for upgrade in UPGRADES {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::CONNECT] {
            let request = |headers: &[(&str, &str)]| {
                let headers = [headers, &[upgrade]].concat();
                with_cookie(method.clone(), &token, &headers)
            };
            for headers in [
                [("origin", evil)].as_slice(),
                &[("origin", "null")],
                &[("sec-fetch-site", "cross-site")],
                &[
                    ("sec-fetch-site", "same-site"),
                    ("origin", "https://app.example"),
                ],
            ] {
                for auth in [auth.clone(), auth.clone().optional()] {
                    let what = format!("{upgrade:?} {headers:?}");
                    assert_cross_site(&auth, request(headers), &what).await;
                }
            }
            for headers in [
                [("origin", same)].as_slice(),
                &[("sec-fetch-site", "same-origin"), ("origin", same)],
                // No browser.
                &[],
            ] {
                let (response, _) = send(&auth, request(headers)).await;
                assert_accepted(&response, &format!("{upgrade:?} {headers:?}"));
            }
            let app = [
                ("sec-fetch-site", "same-site"),
                ("origin", "https://app.example"),
            ];
            assert_accepted(&send(&trusting, request(&app)).await.0, "trusted");
            // Another site cannot set the header.
            let mut request = request(&[("origin", evil)]);
            request.headers_mut().extend(get(&token).headers().clone());
            assert_accepted(&send(&auth, request).await.0, "header");
        }
    }
    // Over HTTP/2 the method alone shows the handshake.
    let connect = with_cookie(Method::CONNECT, &token, &[("origin", evil)]);
    assert_eq!(send(&auth, connect).await.0.status(), 403);
    // A request that does not upgrade is still safe.
    for other in [("connection", "keep-alive"), ("sec-fetch-mode", "navigate")] {
        let request = with_cookie(Method::GET, &token, &[("origin", evil), other]);
        assert_accepted(&send(&auth, request).await.0, "no handshake");
    }
}

/// Without `Sec-Fetch-Site` the origin is compared, including scheme and port. A page over plain
/// http may come from an attacker.
#[tokio::test]
async fn an_origin_is_compared_as_a_whole() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let auth = auth_with_cookie(&fixture);
    let status = async |host: &str, origin: &str| {
        let mut request = with_cookie(Method::POST, &token, &[("origin", origin)]);
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_str(host).unwrap());
        send(&auth, request).await.0.status().as_u16()
    };
    for (host, origin) in [
        ("api.example", "https://api.example"),
        ("api.example:443", "https://api.example"),
        ("API.example", "https://api.example"),
        ("api.example:8443", "https://api.example:8443"),
        ("localhost:3000", "http://localhost:3000"),
        ("localhost:3000", "https://localhost:3000"),
        ("app.localhost", "http://app.localhost"),
        ("127.0.0.1:80", "http://127.0.0.1"),
        ("[::1]:3000", "http://[::1]:3000"),
    ] {
        assert_eq!(status(host, origin).await, 200, "{origin} to {host}");
    }
    for (host, origin) in [
        ("api.example", "http://api.example"),
        ("api.example", "ftp://api.example"),
        ("api.example", "app://api.example"),
        ("api.example", "https:api.example"),
        ("api.example", "//api.example"),
        ("api.example", "https://api.example:80"),
        ("api.example:80", "https://api.example"),
        ("api.example:443", "https://api.example:44"),
        ("localhost:3000", "http://localhost:3001"),
        ("localhost.example", "http://localhost.example"),
        ("api.example", ""),
        ("", "https://"),
        ("api.example", "https://api.example https://evil.example"),
    ] {
        assert_eq!(status(host, origin).await, 403, "{origin} to {host}");
    }
    // The authority of the target takes precedence over `Host`, as in HTTP/2.
    let mut request = with_cookie(Method::POST, &token, &[("origin", "https://api.example")]);
    *request.uri_mut() = "https://evil.example/events".parse().unwrap();
    assert_eq!(send(&auth, request).await.0.status(), 403);
    // Two `Host` lines count as none.
    let mut request = with_cookie(Method::POST, &token, &[("origin", "https://api.example")]);
    let second = HeaderValue::from_static("api.example");
    request.headers_mut().append(HOST, second);
    assert_eq!(send(&auth, request).await.0.status(), 403);
}

/// No browser sends two lines, so neither of them is trusted.
#[tokio::test]
async fn two_lines_of_an_origin_or_of_the_site_are_rejected() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let csrf = CsrfPolicy::same_origin()
        .trusted_origin("https://app.example")
        .unwrap();
    let cookie = TokenCookie::new("__Host-token", csrf).unwrap();
    let auth = fixture
        .auth()
        .token_source(TokenSource::header().with_cookie(cookie));
    for headers in [
        [
            ("origin", "https://app.example"),
            ("origin", "https://evil.example"),
        ],
        [
            ("origin", "https://api.example"),
            ("origin", "https://evil.example"),
        ],
        [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ],
        [("sec-fetch-site", "none"), ("sec-fetch-site", "none")],
    ] {
        let (response, seen) = send(&auth, with_cookie(Method::POST, &token, &headers)).await;
        assert_eq!(response.status(), 403, "{headers:?}");
        assert_eq!(seen.count(), 0);
        let (response, _) = send(&auth, with_cookie(Method::POST, &token, &headers[..1])).await;
        assert_accepted(&response, "one line");
    }
}

/// A request with this `Cookie` header.
fn with_cookies(value: &[u8]) -> Request<String> {
    let mut request = get_bare();
    let value = HeaderValue::from_bytes(value).unwrap();
    request.headers_mut().insert(COOKIE, value);
    request
}

/// Cookies are split as bytes: a cookie of another application neither hides the token nor makes it
/// invalid. A bad token never counts as a missing one.
#[tokio::test]
async fn a_neighbours_cookie_hides_no_token() {
    let fixture = Fixture::new();
    let (good, expired) = (fixture.token().mint(), fixture.token().expired().mint());
    let source = TokenSource::header().with_cookie(cookie());
    let auth = fixture.auth().token_source(source);
    let optional = auth.clone().optional();
    let neighbours: [&[u8]; 7] = [
        b"name=J\xfcrgen",
        "name=J\u{fc}rgen".as_bytes(),
        b"\xff\xfe",
        b"\xff=\xfe",
        b"a=\"b",
        b"",
        b"=",
    ];
    for neighbour in neighbours {
        for token in [&good, &expired] {
            let own = format!("__Host-token={token}").into_bytes();
            for cookies in [
                [neighbour, b"; ", &own].concat(),
                [&own, b"; ".as_slice(), neighbour].concat(),
                [neighbour, b";", &own, b"; ", neighbour].concat(),
                [neighbour, b"; __Host-token =\t", token.as_bytes(), b" "].concat(),
            ] {
                let shown = String::from_utf8_lossy(&cookies).into_owned();
                for auth in [&auth, &optional] {
                    let (response, _) = send(auth, with_cookies(&cookies)).await;
                    if *token == good {
                        assert_accepted(&response, &shown);
                    } else {
                        assert_eq!(kind_of(&response), RejectionKind::Expired, "{shown}");
                    }
                }
            }
            // The token cookie in its own header line.
            let mut request = with_cookies(neighbour);
            let own = HeaderValue::from_bytes(&own).unwrap();
            request.headers_mut().append(COOKIE, own);
            let status = if *token == good { 200 } else { 401 };
            assert_eq!(send(&optional, request).await.0.status(), status);
        }
    }
    for bad in [
        b"__Host-token=\xff".as_slice(),
        b"__Host-token=a\xfcb; theme=dark",
        b"name=\xff; __Host-token=\xff",
        b"__Host-token=",
        b"__Host-token",
        b"a=b; __Host-token=a b",
    ] {
        for auth in [&auth, &optional] {
            let (response, seen) = send(auth, with_cookies(bad)).await;
            assert_malformed(&response, &String::from_utf8_lossy(bad));
            assert_eq!(seen.count(), 0);
        }
    }
}

/// A token that is present never counts as a missing one, whatever its form.
#[tokio::test]
async fn a_bad_token_never_counts_as_missing() {
    let fixture = Fixture::new();
    let expired = fixture.token().expired().mint();
    let auth = fixture.auth().optional().token_source(
        TokenSource::header()
            .with_cookie(cookie())
            .insecure_with_query(),
    );
    for value in [
        format!("Bearer {expired}"),
        format!("bearer  {expired}"),
        format!("Bearer\t{expired}"),
        format!("Bearer:{expired}"),
        format!("Bearer {expired}\u{fc}"),
        format!("B\u{e9}arer {expired}"),
        // A token without its scheme, or without the space after it.
        expired.clone(),
        format!(" {expired} "),
        format!("Bearer{expired}"),
        format!("'{expired}'"),
        // A token whose header has a line end after `{`, and an encrypted token.
        expired.replacen("eyJ", "ewo", 1),
        format!("{expired}.a.b"),
    ] {
        let (response, seen) = send(&auth, get_with(&value)).await;
        assert!(response.status().is_client_error(), "{value}");
        assert_eq!(seen.count(), 0);
    }
    for query in [
        format!("access_token={expired}"),
        format!("a=%ff&access_token={expired}"),
        format!("access_token={expired}%ff"),
        format!("access_token=%&a={expired}"),
        "access_token".to_owned(),
        "access%5Ftoken=%C3%BC".to_owned(),
    ] {
        let (response, seen) = send(&auth, get_path(&format!("/?{query}"))).await;
        assert!(response.status().is_client_error(), "{query}");
        assert_eq!(seen.count(), 0);
    }
    // Credentials of another scheme are not a token.
    for other in [
        "Basic dTpw",
        "Negotiate",
        "Negotiate abc",
        "eyJhbGciOi",
        "Scheme-1.0",
        "Other a.b.c",
    ] {
        assert_accepted(&send(&auth, get_with(other)).await.0, other);
    }
    assert_accepted(&send(&auth, get_bare()).await.0, "nothing");
    // The operator sees what is missing.
    let (response, _) = send(&fixture.auth(), get_with(&expired)).await;
    assert_unauthenticated(&response, "without a scheme");
    let reason = rejection_of(&response).to_string();
    assert!(reason.contains("without the scheme"), "{reason}");
}

const ASSERTION: HeaderName = HeaderName::from_static("cf-access-jwt-assertion");

/// A request with these headers of a proxy.
fn with_headers(headers: &[(&HeaderName, &str)]) -> Request<String> {
    let mut request = get_bare();
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().append(*name, value);
    }
    request
}

/// A proxy that logs people in forwards their token in its own header.
#[tokio::test]
async fn a_header_of_the_provider_may_have_the_token() {
    let fixture = Fixture::new();
    let (good, expired) = (fixture.token().mint(), fixture.token().expired().mint());
    let source = || TokenSource::header().with_header(ASSERTION);
    let auth = fixture.auth().token_source(source());
    let bearer = format!("Bearer {good}");
    for value in [
        good.clone(),
        bearer.clone(),
        format!("bearer   {good}"),
        format!(" {good}\t"),
    ] {
        let request = with_headers(&[(&ASSERTION, &value)]);
        let (response, seen) = send(&auth, request.clone()).await;
        assert_accepted(&response, &value);
        let seen = &seen.requests()[0];
        assert!(seen.extensions.get::<Claims>().is_some());
        assert!(seen.headers[&ASSERTION].is_sensitive());
        // If the header is not configured, it is not read.
        assert_unauthenticated(&send(&fixture.auth(), request).await.0, &value);
    }
    // `Authorization` is still read. Credentials of another scheme are ignored.
    assert_accepted(&send(&auth, get(&good)).await.0, "Authorization");
    let basic = [(&AUTHORIZATION, "Basic dTpw"), (&ASSERTION, &good)];
    assert_accepted(&send(&auth, with_headers(&basic)).await.0, "Basic");
    assert_unauthenticated(&send(&auth, get_bare()).await.0, "none");

    for headers in [
        [(&ASSERTION, good.as_str()), (&ASSERTION, good.as_str())],
        [(&AUTHORIZATION, &bearer), (&ASSERTION, &good)],
        [(&AUTHORIZATION, &bearer), (&ASSERTION, &expired)],
    ] {
        let (response, seen) = send(&auth, with_headers(&headers)).await;
        assert_malformed(&response, "two tokens");
        assert_eq!(seen.count(), 0);
    }
    let optional = auth.clone().optional();
    for bad in [
        "",
        "Bearer",
        "Bearer ",
        "a b",
        "\u{fc}",
        "\"a\"",
        "Basic dTpw",
    ] {
        let (response, seen) = send(&optional, with_headers(&[(&ASSERTION, bad)])).await;
        assert_malformed(&response, bad);
        assert_eq!(seen.count(), 0);
    }
    let (response, _) = send(&optional, with_headers(&[(&ASSERTION, &expired)])).await;
    assert_eq!(kind_of(&response), RejectionKind::Expired);
    let (response, _) = send(&optional, get_bare()).await;
    let vary: Vec<_> = response.headers().get_all(VARY).iter().collect();
    assert_eq!(vary, ["authorization", "cf-access-jwt-assertion"]);

    // Like `Authorization`, the header takes precedence over a cookie.
    let cookie = TokenCookie::insecure_unprefixed("CF_Authorization", CsrfPolicy::same_origin());
    let auth = auth.token_source(source().with_cookie(cookie.unwrap()));
    let cookie = format!("CF_Authorization={expired}");
    let both = [(&ASSERTION, good.as_str()), (&COOKIE, &cookie)];
    assert_accepted(&send(&auth, with_headers(&both)).await.0, "both");
    let (response, _) = send(&auth, with_headers(&both[1..])).await;
    assert_eq!(kind_of(&response), RejectionKind::Expired);
    // `Authorization` is one place, even if it is configured again.
    let source = TokenSource::header().with_header(AUTHORIZATION);
    let auth = fixture.auth().token_source(source);
    assert_accepted(&send(&auth, get(&good)).await.0, "Authorization");
}

/// A cookie whose name the provider chooses. The rules about other sites are the same.
#[tokio::test]
async fn a_cookie_without_a_prefix_has_the_same_rules() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let named = TokenCookie::insecure_unprefixed("CF_Authorization", CsrfPolicy::same_origin());
    let source = TokenSource::header().with_cookie(named.unwrap());
    let auth = fixture.auth().token_source(source);
    let request = |method, headers: &[(&str, &str)]| {
        let mut request = with_cookie(method, "x", headers);
        let cookie = HeaderValue::from_str(&format!("CF_Authorization={token}")).unwrap();
        request.headers_mut().insert(COOKIE, cookie);
        request
    };
    let evil = [("origin", "https://evil.example")];
    assert_accepted(&send(&auth, request(Method::GET, &evil)).await.0, "safe");
    assert_accepted(
        &send(&auth, request(Method::POST, &[])).await.0,
        "no browser",
    );
    let handshake = [evil[0], ("upgrade", "websocket")];
    for request in [
        request(Method::POST, &evil),
        request(Method::POST, &[("origin", "http://api.example")]),
        request(Method::GET, &handshake),
    ] {
        assert_eq!(send(&auth, request).await.0.status(), 403);
    }
    for name in ["", "a b", "a=b", "t\u{f6}ken", "a;"] {
        assert_eq!(
            TokenCookie::insecure_unprefixed(name, CsrfPolicy::same_origin()).unwrap_err(),
            ConfigError::CookieName {
                input: name.to_owned()
            }
        );
    }
}

/// A handshake that offers these subprotocols, each in its own line.
fn handshake(offered: &[&str], headers: &[(&str, &str)]) -> Request<String> {
    let mut request = Request::get("/events")
        .header(HOST, "api.example")
        .header("upgrade", "websocket")
        .header("connection", "Upgrade");
    for line in offered {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, *line);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(String::new()).unwrap()
}

fn subprotocol() -> TokenSubprotocol {
    TokenSubprotocol::new("bearer.", CsrfPolicy::same_origin()).unwrap()
}

/// RFC6455-4.2.2-1, RFC6455-4.2.2-2: the inner service sees only the other subprotocols, so it
/// cannot select the one with the token.
#[tokio::test]
async fn a_subprotocol_may_have_the_token_and_is_taken_away() {
    let fixture = Fixture::new();
    let (good, expired) = (fixture.token().mint(), fixture.token().expired().mint());
    let source = || TokenSource::header().with_subprotocol(subprotocol());
    let auth = fixture.auth().token_source(source());
    let entry = format!("bearer.{good}");
    for (offered, left) in [
        (vec![format!("chat, {entry}")], Some("chat")),
        (vec![format!("{entry},chat")], Some("chat")),
        (
            vec![format!("chat,{entry}, Chat.2 ,soap")],
            Some("chat, Chat.2, soap"),
        ),
        (vec!["chat".to_owned(), entry.clone()], Some("chat")),
        (vec![entry.clone()], None),
    ] {
        let offered: Vec<_> = offered.iter().map(String::as_str).collect();
        let (response, seen) = send(&auth, handshake(&offered, &[])).await;
        assert_accepted(&response, &format!("{offered:?}"));
        let seen = &seen.requests()[0];
        assert!(seen.extensions.get::<Claims>().is_some());
        let lines: Vec<_> = seen
            .headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .collect();
        assert_eq!(lines, left.into_iter().collect::<Vec<_>>());
        // A service that selects the last subprotocol in the request.
        let echo = service_fn(async |request: Request<String>| {
            let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL);
            let last = offered.map(|line| line.to_str().unwrap().rsplit(", ").next().unwrap());
            Ok::<_, Infallible>(Response::new(last.unwrap_or_default().to_owned()))
        });
        let answer = auth.layer(echo).oneshot(handshake(&offered, &[])).await;
        assert!(!answer.unwrap().body().contains("bearer."));
        // If it is not configured, the subprotocol is passed on like any other.
        let (response, _) = send(&fixture.auth(), handshake(&offered, &[])).await;
        assert_unauthenticated(&response, "off");
    }
    let expired_entry = format!("bearer.{expired}");
    let (response, seen) = send(&auth, handshake(&["chat", &expired_entry], &[])).await;
    assert_eq!(kind_of(&response), RejectionKind::Expired);
    assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
    assert!(!response.headers().contains_key("upgrade"));

    let twice = format!("{entry}, {entry}");
    let optional = auth.clone().optional();
    for offered in ["bearer.", "bearer.a b", "chat, bearer.\"a\"", &twice] {
        let (response, seen) = send(&optional, handshake(&[offered], &[])).await;
        assert_malformed(&response, offered);
        assert_eq!(seen.count(), 0);
    }
    // Other subprotocols are not a token, and are passed on unchanged.
    for offered in ["chat", "Bearer.a", "bearer", "xbearer.a"] {
        let (response, seen) = send(&optional, handshake(&[offered], &[])).await;
        assert_accepted(&response, offered);
        assert_eq!(seen.requests()[0].headers[SEC_WEBSOCKET_PROTOCOL], offered);
    }
    // With a token in the header too, the request has two tokens. A browser sends the cookie by
    // itself, so it does not count.
    let bearer = format!("Bearer {good}");
    let request = handshake(&[&entry], &[("authorization", &bearer)]);
    assert_malformed(&send(&auth, request).await.0, "header");
    let auth = fixture.auth().token_source(source().with_cookie(cookie()));
    let pair = format!("__Host-token={expired}");
    let request = handshake(&["chat", &entry], &[("cookie", &pair)]);
    assert_accepted(&send(&auth, request).await.0, "cookie");
}

/// RFC6455-10.2-1
#[tokio::test]
async fn a_subprotocol_token_opens_no_connection_for_other_sites() {
    let fixture = Fixture::new();
    let entry = format!("bearer.{}", fixture.token().mint());
    let csrf = CsrfPolicy::same_origin()
        .trusted_origin("HTTPS://App.example:443")
        .unwrap();
    let subprotocol = TokenSubprotocol::new("bearer.", csrf).unwrap();
    let source = TokenSource::header().with_subprotocol(subprotocol);
    let auth = fixture.auth().token_source(source);
    for origin in ["https://api.example", "https://app.example"] {
        let request = handshake(&["chat", &entry], &[("origin", origin)]);
        assert_accepted(&send(&auth, request).await.0, origin);
    }
    for origin in ["https://evil.example", "http://api.example", "null"] {
        let request = handshake(&["chat", &entry], &[("origin", origin)]);
        assert_cross_site(&auth, request.clone(), origin).await;
        // Also if nothing else shows that it is a handshake.
        let mut request = request;
        request.headers_mut().remove("upgrade");
        request.headers_mut().remove("connection");
        assert_eq!(send(&auth, request).await.0.status(), 403);
    }
    for prefix in ["", "bearer ", "bearer,", "b\u{e9}arer.", "a/b"] {
        assert_eq!(
            TokenSubprotocol::new(prefix, CsrfPolicy::same_origin()).unwrap_err(),
            ConfigError::Subprotocol {
                input: prefix.to_owned()
            }
        );
    }
}

/// The credentials of a preflight are not verified. They are hidden from the inner service like
/// those of a verified request.
#[tokio::test]
async fn credentials_of_a_preflight_are_removed_or_marked_too() {
    let fixture = Fixture::new();
    let source = TokenSource::header()
        .with_header(ASSERTION)
        .with_cookie(cookie())
        .with_subprotocol(subprotocol())
        .insecure_with_query();
    let keeping = fixture.auth().token_source(source);
    let removing = keeping.clone().remove_credentials();
    let preflight = |headers: &[(HeaderName, &str)]| {
        let mut request = get_path("/a?x&access_token=forged");
        *request.method_mut() = Method::OPTIONS;
        let fixed = [
            (ORIGIN, "https://app.example"),
            (ACCESS_CONTROL_REQUEST_METHOD, "GET"),
        ];
        for (name, value) in fixed.iter().chain(headers) {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().append(name, value);
        }
        request
    };
    let forged = [
        (AUTHORIZATION, "Bearer forged"),
        (AUTHORIZATION, "Bearer twice"),
        (ASSERTION, "forged"),
        (COOKIE, "a=b; __Host-token=forged"),
        (SEC_WEBSOCKET_PROTOCOL, "chat, bearer.forged"),
    ];

    let (_, seen) = send(&removing, preflight(&forged)).await;
    let head = &seen.requests()[0];
    assert!(!head.headers.contains_key(AUTHORIZATION));
    assert!(!head.headers.contains_key(ASSERTION));
    assert_eq!(head.headers[COOKIE], "a=b");
    assert_eq!(head.headers[SEC_WEBSOCKET_PROTOCOL], "chat");
    assert_eq!(head.uri, "/a?x");
    assert_eq!(head.headers[ORIGIN], "https://app.example");

    let (_, seen) = send(&keeping, preflight(&forged)).await;
    let head = &seen.requests()[0];
    let lines = head.headers.get_all(AUTHORIZATION).iter();
    assert_eq!(lines.filter(|line| line.is_sensitive()).count(), 2);
    assert!(head.headers[ASSERTION].is_sensitive() && head.headers[COOKIE].is_sensitive());
    assert_eq!(head.headers[SEC_WEBSOCKET_PROTOCOL], "chat");
    assert_eq!(head.uri, "/a?x&access_token=forged");

    // The twin: a preflight without credentials is not changed.
    let (_, seen) = send(&removing, preflight(&[])).await;
    assert_eq!(seen.requests()[0].headers.len(), 2);
}

/// A verified token is removed from every place that is read. Everything else stays byte for byte.
#[tokio::test]
async fn credentials_are_removed_from_every_place() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let source = TokenSource::header()
        .with_header(ASSERTION)
        .with_cookie(cookie())
        .with_subprotocol(subprotocol())
        .insecure_with_query();
    let keeping = fixture.auth().token_source(source);
    let removing = keeping.clone().remove_credentials();
    let pass = async |auth: &JwtAuth, request: &Request<String>| {
        let (response, seen) = send(auth, request.clone()).await;
        assert_accepted(&response, "in any place");
        seen.requests()[0].clone()
    };
    let cookies = |head: &http::request::Parts| {
        let lines = head.headers.get_all(COOKIE).iter();
        lines
            .map(|line| line.as_bytes().to_vec())
            .collect::<Vec<_>>()
    };

    let own = format!("__Host-token={token}");
    for (before, after) in [
        (
            format!("theme=dark; {own}; lang=de"),
            Some("theme=dark; lang=de"),
        ),
        (
            format!("{own}; theme=dark;lang=de "),
            Some("theme=dark;lang=de"),
        ),
        (format!("a=\"b;{own}"), Some("a=\"b")),
        (format!("a=b; {own};"), Some("a=b;")),
        (
            format!("__Host-token2=x; {own}; a==b"),
            Some("__Host-token2=x; a==b"),
        ),
        (own.clone(), None),
    ] {
        let request = with_cookies(before.as_bytes());
        let kept = pass(&keeping, &request).await;
        assert_eq!(cookies(&kept), [request.headers()[COOKIE].as_bytes()]);
        assert!(kept.headers[COOKIE].is_sensitive());
        let expected: Vec<_> = after.iter().map(|after| after.as_bytes()).collect();
        assert_eq!(
            cookies(&pass(&removing, &request).await),
            expected,
            "{before}"
        );
    }
    let mut request = with_cookies(b"name=J\xfcrgen;\xff");
    for line in [own.as_str(), "c=d"] {
        let line = HeaderValue::from_str(line).unwrap();
        request.headers_mut().append(COOKIE, line);
    }
    let lines = cookies(&pass(&removing, &request).await);
    assert_eq!(lines, [b"name=J\xfcrgen;\xff".as_slice(), b"c=d"]);

    for (before, after) in [
        (format!("/a?x=%20&access_token={token}&y"), "/a?x=%20&y"),
        (format!("/a/b?access_token={token}"), "/a/b"),
        (format!("/?access%5ftoken={token}&&a=b&"), "/?&a=b&"),
        (
            format!("/?access_token2=x&access_token={token}"),
            "/?access_token2=x",
        ),
        (
            format!("https://api.example/a?access_token={token}&b=c"),
            "https://api.example/a?b=c",
        ),
        (
            format!("https://api.example?access_token={token}"),
            "https://api.example/",
        ),
    ] {
        let request = get_path(&before);
        assert_eq!(pass(&keeping, &request).await.uri, *request.uri());
        assert_eq!(pass(&removing, &request).await.uri, after);
    }

    let mut request = with_headers(&[(&ASSERTION, &token), (&COOKIE, "a=b")]);
    request
        .headers_mut()
        .insert("x-other", HeaderValue::from_static("1"));
    let head = pass(&removing, &request).await;
    assert!(!head.headers.contains_key(&ASSERTION));
    assert_eq!(head.headers["x-other"], "1");
    assert_eq!(cookies(&head), [b"a=b"]);
    // The token is also removed from places that were ignored.
    let mut request = get(&token);
    let pair = HeaderValue::from_str(&format!("a=b; {own}")).unwrap();
    request.headers_mut().insert(COOKIE, pair);
    let head = pass(&removing, &request).await;
    assert!(!head.headers.contains_key(AUTHORIZATION));
    assert_eq!(cookies(&head), [b"a=b"]);
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

    // With a token in `Authorization`, it is neither a second credential nor removed.
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

/// LIMIT-D1: the reason is the length even if there are illegal bytes, so the bytes were not read.
#[tokio::test]
async fn a_credential_beyond_the_limit_is_rejected_by_its_length() {
    const LIMIT: usize = 16 * 1024;
    let fixture = Fixture::new();
    let auth = fixture.auth();
    // A credential of the maximum length is read. It is no JWT, but it is legal.
    let (response, _) = send(&auth, get(&"a".repeat(LIMIT))).await;
    assert_eq!(kind_of(&response), RejectionKind::MalformedToken);
    for (byte, length) in [
        ("a", LIMIT + 1),
        ("a", 1 << 20),
        ("{", 1 << 20),
        ("\u{e9}", 1 << 19),
    ] {
        let (response, seen) = send(&auth, get(&byte.repeat(length))).await;
        assert_malformed(&response, byte);
        let reason = rejection_of(&response).to_string();
        assert!(reason.contains("long"), "{reason}");
        assert_eq!(seen.count(), 0);
    }
    // A token is accepted up to the limit, and rejected above it, in every place.
    let padded = |length: usize| fixture.token().claim("pad", "x".repeat(length)).mint();
    let (fits, too_long) = (padded(11_000), padded(13_000));
    assert!(fits.len() < LIMIT && too_long.len() > LIMIT);
    let source = TokenSource::header()
        .insecure_with_query()
        .with_cookie(cookie());
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

/// LIMIT-D1: the limit applies to the credentials of every scheme. Those of some schemes can have
/// megabytes.
#[tokio::test]
async fn credentials_of_another_scheme_have_the_limit_too() {
    let fixture = Fixture::new();
    for auth in [fixture.auth(), fixture.auth().optional()] {
        for scheme in ["Basic", "Negotiate", "DPoP", "bearer", "x", "Bearerx"] {
            for length in [17 * 1024, 1 << 20] {
                let value = format!("{scheme} {}", "a".repeat(length));
                let (response, seen) = send(&auth, get_with(value)).await;
                assert_malformed(&response, scheme);
                let reason = rejection_of(&response).to_string();
                assert!(reason.contains("too long"), "{reason}");
                assert_eq!(seen.count(), 0);
            }
        }
    }
    let (response, _) = send(
        &fixture.auth(),
        get_with(format!("Basic {}", "a".repeat(9_000))),
    )
    .await;
    assert_unauthenticated(&response, "below the limit");
}

/// LIMIT-D1: a setting raises the limit to up to 64 KiB, for issuers that write every role into the
/// token.
#[tokio::test]
async fn the_limit_can_be_raised_to_64_kib() {
    let fixture = Fixture::new();
    for bytes in [0, 65_537, usize::MAX] {
        let error = MaxTokenSize::new(bytes).unwrap_err();
        assert_eq!(error, ConfigError::MaxTokenSize { input: bytes });
    }
    let largest = MaxTokenSize::new(64 * 1024).unwrap();
    assert!(largest > MaxTokenSize::default());
    let source = TokenSource::header()
        .with_header(ASSERTION)
        .with_subprotocol(subprotocol())
        .insecure_with_query()
        .with_cookie(cookie());
    let auth = fixture.auth().token_source(source);
    let raised = auth.clone().max_token_size(largest);
    let lowered = auth.clone().max_token_size(MaxTokenSize::new(500).unwrap());
    let padded = |length: usize| fixture.token().claim("pad", "x".repeat(length)).mint();
    let places = |token: &str| {
        [
            get(token),
            with_headers(&[(&ASSERTION, token)]),
            with_cookie(Method::GET, token, &[]),
            handshake(&[&format!("bearer.{token}")], &[]),
        ]
    };
    let large = padded(48_500);
    assert!((60_000..65_536).contains(&large.len()), "{}", large.len());
    let too_large = padded(49_200);
    assert!(
        (65_537..66_000).contains(&too_large.len()),
        "{}",
        too_large.len()
    );
    for (auth, token, is_accepted) in [
        (&raised, &large, true),
        (&raised, &too_large, false),
        (&auth, &large, false),
        (&auth, &padded(1_000), true),
        (&lowered, &padded(1_000), false),
    ] {
        for request in places(token) {
            let (response, _) = send(auth, request).await;
            if is_accepted {
                assert_accepted(&response, "below the limit");
            } else {
                assert_malformed(&response, "above the limit");
                let reason = rejection_of(&response).to_string();
                assert!(reason.contains("max_token_size"), "{reason}");
            }
        }
        // For a token without a request the limit is the same. The kind says that the token is
        // malformed.
        let verdict = auth.verifier().verify_now(token);
        let kind = verdict.err().map(|rejection| rejection.kind());
        assert_eq!(
            kind,
            (!is_accepted).then_some(RejectionKind::MalformedToken)
        );
    }
    // An encoded byte counts as one.
    let encoded: String = padded(10_000)
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let request = get_path(&format!("/?access_token={encoded}"));
    assert_accepted(&send(&auth, request).await.0, "encoded");
}

/// All claims of a large token are read.
#[tokio::test]
async fn a_large_token_is_read_as_a_small_one() {
    let fixture = Fixture::new();
    let largest = MaxTokenSize::new(64 * 1024).unwrap();
    let auth = fixture.auth().max_token_size(largest);
    let roles: Vec<_> = (0..2_000)
        .map(|at| format!("role-number-{at:05}"))
        .collect();
    let token = fixture
        .token()
        .roles(roles.iter().map(String::as_str))
        .scope("first last")
        .claim("client_id", "the client")
        .mint();
    assert!((45_000..65_536).contains(&token.len()), "{}", token.len());
    let claims = auth.verifier().verify_now(&token).unwrap();
    assert_eq!(claims.roles().iter().count(), 2_000);
    assert!(claims.roles().contains("role-number-01999"));
    assert!(!claims.roles().contains("role-number-02000"));
    assert_eq!(claims.client_id(), Some("the client"));
    // A token with so many escapes that their decoded text has no room is rejected, and not
    // truncated.
    let escaped = vec![r"\/".repeat(100); 200].join("\",\"");
    let text = format!(
        r#"{{"iss":"https://as.example","aud":"https://api.example","exp":1700003600,"roles":["{escaped}"]}}"#
    );
    let token = fixture.token().raw_claims(text).mint();
    assert!((50_000..65_536).contains(&token.len()), "{}", token.len());
    let rejection = auth.verifier().verify_now(&token).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::MalformedToken);
    assert!(rejection.to_string().contains("escapes"), "{rejection}");
}

/// The reason for the operator says what the credential probably is.
#[tokio::test]
async fn the_reason_says_what_a_malformed_credential_probably_is() {
    let fixture = Fixture::new();
    let good = fixture.token().mint();
    let auth = fixture.auth();
    for (value, status, reason) in [
        ("Bearer 2YotnFZFEjr1zCsicMWpAA".to_owned(), 401, "opaque"),
        (format!("Bearer {}", "x".repeat(1_400)), 401, "opaque"),
        (format!("Bearer Bearer {good}"), 400, "twice"),
        (format!("Bearer bearer {good}"), 400, "twice"),
        ("Bearer undefined".to_owned(), 401, "`undefined`"),
        ("Bearer null".to_owned(), 401, "`undefined`"),
        (format!("Bearer \"{good}\""), 400, "quotation marks"),
        (r#"Bearer {"payload":"e30"}"#.to_owned(), 400, "JSON"),
        ("Bearer a.b".to_owned(), 401, "2 parts, expected 3"),
        ("Bearer a.b.c.d.e".to_owned(), 401, "encrypted"),
        ("Bearer ".to_owned(), 400, "an empty token"),
        ("Bearer a b".to_owned(), 400, "not one token"),
    ] {
        let (response, _) = send(&auth, get_with(&value)).await;
        assert_eq!(response.status(), status, "{value}");
        let told = rejection_of(&response).to_string();
        assert!(told.contains(reason), "{value}: {told}");
    }
}
