//! Cookies and answers with tokens.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower_jwt_auth::issue::{
    IssueError, Login, LoginCookies, LoginError, LoginStore, LoginStoreError, LoginStoreFuture,
    LoginTokens, Logins, MemoryLogins, RefreshError, RefreshKeys, RefreshRequest, SigningKeys,
    StoredSession, TokenBinding, TokenIssuer,
};
use tower_jwt_auth::request::CsrfPolicy;
use tower_jwt_auth::scope::ScopeSet;
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Audience, ConfigError, Issuer, RejectionKind};

use crate::support::{AUDIENCE, ISSUER, NOW, send};

fn logins(store: impl LoginStore) -> Logins {
    logins_over(store, FixedClock::at(NOW))
}

fn logins_at(clock: &FixedClock) -> Logins {
    let memory = MemoryLogins::default().with_clock(clock.clone());
    logins_over(memory, clock.clone())
}

fn logins_over(store: impl LoginStore, clock: FixedClock) -> Logins {
    let keys = SigningKeys::generate(Algorithm::ES256).unwrap();
    let (issuer, audience) = (
        Issuer::new(ISSUER).unwrap(),
        Audience::new(AUDIENCE).unwrap(),
    );
    let tokens = TokenIssuer::new(issuer, audience, keys.with_clock(clock.clone()));
    let tokens = tokens.clock(clock);
    Logins::new(tokens, RefreshKeys::generate().unwrap(), store)
}

fn cookies() -> LoginCookies {
    LoginCookies::new(CsrfPolicy::same_origin())
}

async fn begin(logins: &Logins, scopes: &str) -> LoginTokens {
    let login = Login::new("alice", "web");
    let login = match scopes {
        "" => login,
        scopes => login.scope_set(&ScopeSet::new(scopes.split(' ')).unwrap()),
    };
    logins.begin(login).await.unwrap()
}

fn post(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post("https://app.example/refresh");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The attributes of the cookies that a response sets, in order.
fn set_cookies(headers: &HeaderMap) -> Vec<Vec<String>> {
    let lines = headers.get_all(SET_COOKIE).iter();
    let words = |line: &str| line.split("; ").map(str::to_owned).collect();
    lines.map(|line| words(line.to_str().unwrap())).collect()
}

#[track_caller]
fn is_not_stored(headers: &HeaderMap) {
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    assert_eq!(headers[PRAGMA], "no-cache");
}

#[tokio::test]
async fn cookies_have_every_attribute_and_end_with_their_tokens() {
    let logins = logins(MemoryLogins::default());
    let tokens = begin(&logins, "").await;
    let headers = cookies().set(&tokens);
    is_not_stored(&headers);
    let access = format!("__Host-access={}", tokens.access_token().as_str());
    let refresh = format!("__Host-refresh={}", tokens.refresh_token());
    let rest = ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"];
    let [first, second] = &set_cookies(&headers)[..] else {
        panic!("{headers:?}");
    };
    assert_eq!(first[..2], [access, "Max-Age=600".to_owned()]);
    assert_eq!(second[..2], [refresh, format!("Max-Age={}", 14 * 86_400)]);
    assert_eq!(first[2..], rest);
    assert_eq!(second[2..], rest);
    // Who logs the headers does not log the tokens.
    assert!(!format!("{headers:?}").contains(tokens.refresh_token()));

    let strict = cookies().same_site_strict().set(&tokens);
    let strict = set_cookies(&strict);
    assert!(
        strict
            .iter()
            .all(|words| words.last().unwrap() == "SameSite=Strict")
    );
}

/// The answer with a repeated token may arrive after that of another tab with a newer one.
#[tokio::test]
async fn a_refresh_token_that_the_browser_has_is_not_set_again() {
    let logins = logins(MemoryLogins::default());
    let first = begin(&logins, "").await;
    assert!(first.has_new_refresh_token());
    // Within the grace, the current token gets itself again.
    let repeated = logins.refresh((first.refresh_token(), "web")).await;
    let repeated = repeated.unwrap();
    assert_eq!(repeated.refresh_token(), first.refresh_token());
    assert!(!repeated.has_new_refresh_token());
    let headers = cookies().set(&repeated);
    is_not_stored(&headers);
    let [access] = &set_cookies(&headers)[..] else {
        panic!("{headers:?}");
    };
    assert!(access[0].starts_with("__Host-access="));
    // Strict single use gives another one, which is set.
    let strict = logins.grace(Duration::ZERO).unwrap();
    let next = strict.refresh((first.refresh_token(), "web")).await;
    let next = next.unwrap();
    assert!(next.has_new_refresh_token());
    assert_eq!(set_cookies(&cookies().set(&next)).len(), 2);
}

/// A tab that is late, or whose answer was lost, presents the previous token. It gets the successor in a cookie.
#[tokio::test]
async fn a_tab_with_the_previous_token_gets_the_new_one() {
    let clock = FixedClock::at(NOW);
    let logins = logins_at(&clock);
    let first = begin(&logins, "").await;
    clock.advance(Duration::from_secs(11));
    let second = logins.refresh((first.refresh_token(), "web")).await;
    let late = logins.refresh((first.refresh_token(), "web")).await;
    let (second, late) = (second.unwrap(), late.unwrap());
    assert_eq!(late.refresh_token(), second.refresh_token());
    for tokens in [second, late] {
        assert!(tokens.has_new_refresh_token());
        assert_eq!(set_cookies(&cookies().set(&tokens)).len(), 2);
    }
}

/// ISSUE-D2: a token that stays the same is set again when its session advances, so that the cookie lasts as long.
#[tokio::test]
async fn issue_d2_the_cookie_of_a_token_that_stays_the_same_lasts_longer() {
    let clock = FixedClock::at(NOW);
    let logins = logins_at(&clock).require_binding();
    let logins = logins.without_rotation().unwrap();
    let key = TokenBinding::dpop_key("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
    let first = logins.begin(Login::new("alice", "web").bound_to(&key));
    let first = first.await.unwrap();
    let refresh = async || {
        let request = RefreshRequest::new(first.refresh_token(), "web").proves(&key);
        logins.refresh(request).await.unwrap()
    };
    for is_set in [true, false] {
        clock.advance(Duration::from_secs(if is_set { 86_400 } else { 1 }));
        let again = refresh().await;
        assert_eq!(again.refresh_token(), first.refresh_token());
        let cookies = set_cookies(&cookies().set(&again));
        assert_eq!(cookies.len(), if is_set { 2 } else { 1 });
        if let [_, refresh] = &cookies[..] {
            assert_eq!(refresh[1], format!("Max-Age={}", 14 * 86_400));
        }
    }
}

#[tokio::test]
async fn cleared_cookies_are_empty_and_end_at_once() {
    let headers = cookies().named("shop").unwrap().clear();
    is_not_stored(&headers);
    let names: Vec<_> = set_cookies(&headers)
        .into_iter()
        .map(|words| (words[0].clone(), words[1].clone(), words[2..].join("; ")))
        .collect();
    let rest = "Path=/; Secure; HttpOnly; SameSite=Lax";
    let expected = ["__Host-shop-access=", "__Host-shop-refresh="]
        .map(|name| (name.to_owned(), "Max-Age=0".to_owned(), rest.to_owned()));
    assert_eq!(names, expected);
    for name in ["a b", "a;", "ä", "a="] {
        let error = cookies().named(name).unwrap_err();
        assert!(matches!(error, ConfigError::CookieName { .. }), "{error}");
    }
}

/// The layer takes the access token, and the handler the refresh token, each from its own cookie.
#[tokio::test]
async fn each_token_is_read_from_its_own_cookie() {
    let logins = logins(MemoryLogins::default());
    let tokens = begin(&logins, "").await;
    let (access, refresh) = (tokens.access_token().as_str(), tokens.refresh_token());
    let both = format!("a=1; __Host-access={access}; __Host-refresh={refresh}");
    let cookies = cookies();
    let auth = logins.auth().token_source(cookies.token_source());
    for (cookie, status) in [
        (&*both, 200),
        (&*format!("__Host-access={refresh}"), 401),
        (&*format!("__Host-refresh={refresh}"), 401),
        (&*format!("__Host-shop-access={access}"), 401),
    ] {
        let request = Request::get("/me").header("cookie", cookie);
        let (response, seen) = send(&auth, request.body(String::new()).unwrap()).await;
        assert_eq!(response.status(), status, "{cookie}");
        assert_eq!(seen.count(), usize::from(status == 200));
    }
    assert_eq!(
        cookies.refresh_token(&post(&[("cookie", &both)])).unwrap(),
        Some(refresh)
    );
    let other = format!("__Host-access={access}; refresh={refresh}");
    assert_eq!(
        cookies.refresh_token(&post(&[("cookie", &other)])).unwrap(),
        None
    );
    assert_eq!(cookies.refresh_token(&post(&[])).unwrap(), None);
}

#[test]
fn two_refresh_tokens_are_a_malformed_request() {
    let cookies = cookies();
    for headers in [
        &[("cookie", "__Host-refresh=a; __Host-refresh=a")][..],
        &[
            ("cookie", "__Host-refresh=a"),
            ("cookie", "__Host-refresh=b"),
        ],
    ] {
        let parts = post(headers);
        let rejection = cookies.refresh_token(&parts).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::MalformedRequest);
    }
}

/// The rules are those of the layer: for refreshing and signing out, where there is a cookie, and for signing in,
/// where there is none yet.
#[test]
fn requests_of_other_sites_are_rejected() {
    let trusted = "https://www.example";
    let cookies = LoginCookies::new(CsrfPolicy::same_origin().trusted_origin(trusted).unwrap());
    let cookie = ("cookie", "__Host-refresh=rt_1");
    for (header, is_allowed) in [
        (("sec-fetch-site", "same-origin"), true),
        (("sec-fetch-site", "none"), true),
        (("sec-fetch-site", "same-site"), false),
        (("sec-fetch-site", "cross-site"), false),
        (("origin", "https://app.example"), true),
        (("origin", trusted), true),
        (("origin", "https://evil.example"), false),
        (("origin", "http://app.example"), false),
        (("origin", "null"), false),
        (("x-other", "1"), true),
    ] {
        let (with, without) = (post(&[cookie, header]), post(&[header]));
        let token = cookies.refresh_token(&with);
        let site = cookies.check_site(&without);
        if is_allowed {
            assert_eq!(token.unwrap(), Some("rt_1"), "{header:?}");
            site.unwrap();
            assert_eq!(cookies.refresh_token(&without).unwrap(), None);
        } else {
            let (token, site) = (token.unwrap_err(), site.unwrap_err());
            // The handler that signs out would clear the cookies, which the browser has left out.
            let none = cookies.refresh_token(&without).unwrap_err();
            assert!(token.to_string().contains("cookie"), "{token}");
            for rejection in [&site, &none] {
                assert!(!rejection.to_string().contains("cookie"), "{rejection}");
            }
            for rejection in [token, site, none] {
                assert_eq!(
                    rejection.kind(),
                    RejectionKind::CrossSiteRequest,
                    "{header:?}"
                );
                let response = rejection.into_response::<String>();
                assert_eq!(response.status(), StatusCode::FORBIDDEN);
                assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            }
        }
    }
    // A safe request passes, as it does at the layer.
    let mut safe = post(&[cookie, ("sec-fetch-site", "cross-site")]);
    safe.method = Method::GET;
    assert_eq!(cookies.refresh_token(&safe).unwrap(), Some("rt_1"));
}

/// RFC6749-5.1-1: the members, and the two fields that keep it out of caches.
#[tokio::test]
async fn rfc6749_5_1_1_a_token_response_is_json_that_no_cache_keeps() {
    let logins = logins(MemoryLogins::default());
    let tokens = begin(&logins, "calendar:read calendar:write").await;
    let expected = json!({
        "access_token": tokens.access_token().as_str(),
        "token_type": "Bearer",
        "expires_in": 600,
        "refresh_token": tokens.refresh_token(),
        "scope": "calendar:read calendar:write",
    });
    let refresh = tokens.refresh_token().to_owned();
    let response = tokens.into_response::<String>();
    assert_eq!(json_of(&response), expected);

    // A narrowed scope is named.
    let request = tower_jwt_auth::issue::RefreshRequest::new(&refresh, "web");
    let narrowed = logins
        .refresh(request.scope("calendar:read"))
        .await
        .unwrap();
    let body = json_of(&narrowed.into_response());
    assert_eq!(body["scope"], "calendar:read");

    // Without scopes there is no member.
    let bare = json_of(&begin(&logins, "").await.into_response());
    assert_eq!(bare.get("scope"), None);
}

fn json_of(response: &Response<String>) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    is_not_stored(response.headers());
    serde_json::from_str(response.body()).unwrap()
}

/// Who loses a race, or comes too late, must not delete the cookies that the winner has.
#[tokio::test]
async fn errors_of_a_refresh_clear_no_cookies_and_tell_no_reason() {
    let unavailable = || RefreshError::Unavailable {
        reason: "the reason".into(),
    };
    let denied = RefreshError::Denied {
        reason: "the reason".into(),
    };
    for (error, status, body) in [
        (RefreshError::Checksum, 400, r#"{"error":"invalid_grant"}"#),
        (RefreshError::Client, 400, r#"{"error":"invalid_grant"}"#),
        (RefreshError::Ended, 400, r#"{"error":"invalid_grant"}"#),
        (RefreshError::Forged, 400, r#"{"error":"invalid_grant"}"#),
        (RefreshError::Reused, 400, r#"{"error":"invalid_grant"}"#),
        (denied, 400, r#"{"error":"invalid_grant"}"#),
        (RefreshError::Scope, 400, r#"{"error":"invalid_scope"}"#),
        (unavailable(), 503, ""),
    ] {
        let response = error.into_response::<String>();
        assert_eq!(response.status(), status);
        assert_eq!(response.body(), body);
        is_not_stored(response.headers());
        assert_eq!(response.headers().get(SET_COOKIE), None);
        assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
        assert_eq!(response.headers().contains_key(CONTENT_TYPE), status != 503);
    }
    for (error, status) in [
        (LoginError::Ended, 403),
        (LoginError::SessionId, 404),
        (LoginError::Unbound, 500),
        (
            LoginError::Unavailable {
                reason: "the reason".into(),
            },
            503,
        ),
    ] {
        let response = error.into_response::<String>();
        assert_eq!(
            (response.status().as_u16(), &**response.body()),
            (status, "")
        );
        assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
        is_not_stored(response.headers());
    }
}

/// An error of a token says the same alone, in a login and in a refresh.
#[test]
fn an_error_of_a_token_is_a_response_without_its_reason() {
    let reason = || "the reason".to_owned();
    let (expected, maximum) = ("something", 1);
    for (error, kind, status) in [
        (IssueError::Audience { expected }, "audience", 500),
        (
            IssueError::Invalid {
                what: "subject",
                expected,
            },
            "invalid",
            500,
        ),
        (
            IssueError::NoSigningKey { reason: reason() },
            "no_signing_key",
            503,
        ),
        (
            IssueError::OwnClaims { reason: reason() },
            "own_claims",
            500,
        ),
        (
            IssueError::ReservedClaim {
                name: reason(),
                instead: "",
            },
            "reserved_claim",
            500,
        ),
        (
            IssueError::SecretClaim {
                pointer: reason(),
                looks_like: "",
                belongs: "",
            },
            "secret_claim",
            500,
        ),
        (IssueError::Sign { reason: reason() }, "sign", 503),
        (IssueError::TooLarge { bytes: 2, maximum }, "too_large", 500),
        (
            IssueError::Unavailable { reason: reason() },
            "unavailable",
            503,
        ),
    ] {
        assert_eq!(error.kind(), kind);
        assert_eq!(error.status().as_u16(), status, "{kind}");
        assert_eq!(LoginError::Issue(error.clone()).status().as_u16(), status);
        assert_eq!(RefreshError::Issue(error.clone()).status().as_u16(), status);
        let response = error.clone().into_response::<String>();
        assert_eq!(
            (response.status().as_u16(), &**response.body()),
            (status, "")
        );
        assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
        is_not_stored(response.headers());
        #[cfg(feature = "axum")]
        {
            let response = axum::response::IntoResponse::into_response(error);
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
        }
    }
}

/// Nobody is signed out by an outage: the answer is 503, and the same cookie works later.
#[tokio::test]
async fn a_store_that_is_down_is_503_and_the_cookie_stays_good() {
    let store = Failing::default();
    let logins = logins(store.clone());
    let tokens = begin(&logins, "").await;
    store.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    let error = logins
        .refresh((tokens.refresh_token(), "web"))
        .await
        .unwrap_err();
    let response = error.into_response::<String>();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers().get(SET_COOKIE), None);
    store
        .fails
        .store(false, std::sync::atomic::Ordering::SeqCst);
    logins
        .refresh((tokens.refresh_token(), "web"))
        .await
        .unwrap();
}

#[derive(Clone, Default)]
struct Failing {
    store: MemoryLogins,
    fails: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Failing {
    fn or<T: Send + 'static>(&self, future: LoginStoreFuture<T>) -> LoginStoreFuture<T> {
        if self.fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(LoginStoreError::new("down"))));
        }
        future
    }
}

impl LoginStore for Failing {
    fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
        self.or(self.store.insert(session))
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        self.or(self.store.load(id))
    }

    fn update(&self, session: StoredSession, expected_version: u64) -> LoginStoreFuture<bool> {
        self.or(self.store.update(session, expected_version))
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        self.or(self.store.list(subject))
    }
}

/// A browser ignores a cookie that is too long, so there is an event for the operator.
#[cfg(feature = "tracing")]
#[tokio::test]
async fn a_token_that_is_too_long_for_a_cookie_is_reported() {
    let logins = logins(MemoryLogins::default());
    let log = crate::support::log::Log::listen();
    let long = "long".repeat(1_000);
    let login = Login::new("alice", "web").claims(&json!({ "text": long }));
    let tokens = logins.begin(login).await.unwrap();
    let headers = cookies().set(&tokens);
    assert_eq!(set_cookies(&headers).len(), 2);
    let text = log.text();
    assert!(
        text.contains("ERROR tower_jwt_auth: jwt_login_cookie_too_long: "),
        "{text}"
    );
    assert!(text.contains(r#"cookie="__Host-access" bytes="#), "{text}");
    assert!(!text.contains(tokens.access_token().as_str()), "{text}");

    // One that fits is not.
    let log = crate::support::log::Log::listen();
    let headers = cookies().set(&begin(&logins, "").await);
    assert_eq!(set_cookies(&headers).len(), 2);
    assert!(!log.text().contains("too_long"), "{}", log.text());
}
