//! What is asked, byte for byte, and what an answer means.

mod private_key;
#[cfg(feature = "test-util")]
mod signed;

use std::sync::Mutex;
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::error::kinds::RejectionKind;
use crate::fetch::FetchError;
use crate::token::introspected::ActiveAnswer;

const TOKEN: &str = "oat_4f/9+ü secret token";
const URL: &str = "https://as.example/introspect";
const NOW: u64 = 1_700_000_000;

type Reply = Result<Response<Vec<u8>>, FetchError>;
type Replying = dyn Fn(&Request<Vec<u8>>) -> Reply + Send + Sync;

/// A server that answers each request with this function, and what it was asked.
#[derive(Clone)]
struct Server {
    asked: Arc<Mutex<Vec<Request<Vec<u8>>>>>,
    reply: Arc<Replying>,
}

impl Server {
    fn new(reply: impl Fn(&Request<Vec<u8>>) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            asked: Arc::default(),
            reply: Arc::new(reply),
        }
    }

    fn fetch(&self) -> impl Fetch + use<> {
        let server = self.clone();
        move |request: Request<Vec<u8>>, _limit: usize| {
            let reply = (server.reply)(&request);
            server.asked.lock().unwrap().push(request);
            async move { reply }
        }
    }

    fn asked(&self) -> Vec<(String, String)> {
        let asked = self.asked.lock().unwrap();
        let asked = asked.iter().map(|request| {
            let body = String::from_utf8(request.body().clone()).unwrap();
            (request.uri().to_string(), body)
        });
        asked.collect()
    }

    fn last_header(&self, name: HeaderName) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        let value = asked.last().unwrap().headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }

    fn last_form(&self) -> Vec<(String, String)> {
        let form = self.asked().pop().unwrap().1;
        let pairs = form.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        pairs.collect()
    }
}

fn of_json(body: impl Into<String>) -> Reply {
    of_type("application/json", body)
}

fn of_type(content_type: &str, body: impl Into<String>) -> Reply {
    let response = Response::builder().header(CONTENT_TYPE, content_type);
    Ok(response.body(body.into().into_bytes()).unwrap())
}

fn with_status(status: u16, body: &str) -> Reply {
    let mut response = of_json(body)?;
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn issuer() -> Issuer {
    Issuer::new("https://as.example").unwrap()
}

fn basic() -> ClientAuth {
    ClientAuth::secret_basic("files-api", "files-api-secret").unwrap()
}

async fn ask(introspection: &Introspection) -> Result<Answer, AskFailure> {
    let clock: Arc<dyn Clock> = Arc::new(|| UNIX_EPOCH + Duration::from_secs(NOW));
    let audience = Audience::new("files").unwrap();
    let answer = introspection.ask(TOKEN, &issuer(), &audience, &clock).await;
    if let Err(failure) = &answer {
        for secret in [
            "secret token",
            "secret+token",
            "files-api-secret",
            "ZmlsZXMt",
        ] {
            assert!(!failure.reason.contains(secret), "{failure:?}");
        }
        assert!(!failure.reason.contains('\n'), "{failure:?}");
    }
    answer
}

/// The answer to one question that is replied to so.
async fn answer(reply: Reply) -> Result<Answer, AskFailure> {
    let server = Server::new(move |_| reply.clone());
    ask(&Introspection::at_with(URL, basic(), server.fetch()).unwrap()).await
}

async fn active(body: &str) -> ActiveAnswer {
    match answer(of_json(body)).await.unwrap() {
        Answer::Active(active) => active,
        other => panic!("{body}: {other:?}"),
    }
}

async fn failure(reply: Reply) -> AskFailure {
    answer(reply).await.unwrap_err()
}

/// RFC7662-2.1-1, RFC7662-4-2
#[tokio::test]
async fn asks_by_post_with_a_form_and_nothing_in_the_url() {
    let server = Server::new(|_| of_json(r#"{"active":false}"#));
    let introspection = Introspection::at_with(URL, basic(), server.fetch()).unwrap();
    assert!(matches!(ask(&introspection).await, Ok(Answer::Inactive)));
    let form = "token=oat_4f%2F9%2B%C3%BC+secret+token&token_type_hint=access_token";
    assert_eq!(server.asked(), [(URL.to_owned(), form.to_owned())]);
    assert_eq!(server.asked.lock().unwrap()[0].method(), Method::POST);
    for (name, expected) in [
        (CONTENT_TYPE, "application/x-www-form-urlencoded"),
        (ACCEPT, "application/json"),
        (ACCEPT_ENCODING, "identity"),
        (AUTHORIZATION, "Basic ZmlsZXMtYXBpOmZpbGVzLWFwaS1zZWNyZXQ="),
    ] {
        assert_eq!(server.last_header(name).as_deref(), Some(expected));
    }
    let headers = server.asked.lock().unwrap()[0].headers().clone();
    assert!(headers[AUTHORIZATION].is_sensitive());
}

/// RFC7662-2.1-2
#[tokio::test]
async fn each_method_sends_what_its_standard_says() {
    let sent = async |auth: ClientAuth| {
        let server = Server::new(|_| of_json(r#"{"active":false}"#));
        ask(&Introspection::at_with(URL, auth, server.fetch()).unwrap())
            .await
            .unwrap();
        let mut form = server.last_form();
        let rest = form.split_off(2);
        assert_eq!(form[1].0, "token_type_hint");
        (server.last_header(AUTHORIZATION), rest)
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());

    // The id and the secret are form-encoded before: `a%3Ab` and `%C3%BC+%25%3A`.
    let (header, form) = sent(ClientAuth::secret_basic("a:b", "ü %:").unwrap()).await;
    let encoded = "Basic YSUzQWI6JUMzJUJDKyUyNSUzQQ==";
    assert_eq!((header.as_deref(), form), (Some(encoded), vec![]));
    // As they are: `ab` and `ü %:`.
    let (header, form) = sent(ClientAuth::insecure_raw_basic("ab", "ü %:").unwrap()).await;
    assert_eq!(
        (header.as_deref(), form),
        (Some("Basic YWI6w7wgJTo="), vec![])
    );

    let (header, form) = sent(ClientAuth::secret_post("a&b", "c d").unwrap()).await;
    let expected = vec![pair("client_id", "a%26b"), pair("client_secret", "c+d")];
    assert_eq!((header, form), (None, expected));

    let (header, form) = sent(ClientAuth::mutual_tls("mtls-api").unwrap()).await;
    assert_eq!((header, form), (None, vec![pair("client_id", "mtls-api")]));

    let (header, form) = sent(ClientAuth::bearer("abc.d-e~f+/==").unwrap()).await;
    assert_eq!(
        (header.as_deref(), form),
        (Some("Bearer abc.d-e~f+/=="), vec![])
    );
}

/// RFC7662-2.1-2
#[test]
fn credentials_that_no_server_can_accept_are_an_error_of_the_start() {
    for wrong in [
        ClientAuth::secret_basic("", "secret"),
        ClientAuth::secret_basic("id", ""),
        ClientAuth::secret_basic("id", "from a file\n"),
        ClientAuth::secret_basic("i\nd", "secret"),
        ClientAuth::insecure_raw_basic("i:d", "secret"),
        ClientAuth::secret_post("id", "se\0cret"),
        ClientAuth::mutual_tls(""),
        ClientAuth::bearer(""),
        ClientAuth::bearer("="),
        ClientAuth::bearer("two words"),
    ] {
        let error = wrong.unwrap_err();
        assert!(matches!(error, ConfigError::ClientAuth { .. }), "{error}");
        for secret in ["se\0cret", "from a file", "two words"] {
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }
    let error = ClientAuth::secret_basic("id", "from a file\n").unwrap_err();
    assert!(error.to_string().contains("line break"), "{error}");
    ClientAuth::secret_basic("a:b", "any: text").unwrap();
}

#[tokio::test]
async fn a_secret_is_replaced_while_it_is_in_use() {
    let server = Server::new(|_| of_json(r#"{"active":false}"#));
    let secret = ClientSecret::from("first");
    let auth = ClientAuth::secret_post("id", secret.clone()).unwrap();
    let introspection = Introspection::at_with(URL, auth, server.fetch()).unwrap();
    let sent = async || {
        ask(&introspection).await.unwrap();
        server.last_form().pop().unwrap().1
    };
    assert_eq!(sent().await, "first");
    secret.replace("second").unwrap();
    assert_eq!(sent().await, "second");
    secret.replace("third\n").unwrap_err();
    assert_eq!(sent().await, "second");
    // What is no bearer token any more is our fault, and no request.
    let token = ClientSecret::from("good");
    let auth = ClientAuth::bearer(token.clone()).unwrap();
    token.replace("not good").unwrap();
    let introspection = Introspection::at_with(URL, auth, server.fetch()).unwrap();
    let failure = ask(&introspection).await.unwrap_err();
    assert!(
        failure.is_ours && !failure.reason.contains("not good"),
        "{failure:?}"
    );
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn debug_shows_no_secret() {
    let secret = ClientSecret::from("hidden-value");
    let auth = ClientAuth::secret_basic("files-api", secret.clone()).unwrap();
    let server = Server::new(|_| of_json(""));
    let introspection = Introspection::at_with(URL, auth.clone(), server.fetch()).unwrap();
    let text = format!("{secret:?} {auth:?} {introspection:?}");
    assert!(!text.contains("hidden"), "{text}");
    for shown in ["client_secret_basic", "files-api", URL] {
        assert!(text.contains(shown), "{text}");
    }
    let bearer = format!("{:?}", ClientAuth::bearer("hidden-value").unwrap());
    assert!(!bearer.contains("hidden"), "{bearer}");
}

/// RFC7662-2-1
#[test]
fn an_endpoint_is_asked_by_https_alone_unless_that_is_said() {
    let with = |url: &str, auth: ClientAuth| {
        let server = Server::new(|_| of_json(""));
        let issuer = Issuer::new(url).unwrap();
        let discovered = Introspection::discover_with(&issuer, auth.clone(), server.fetch());
        let at = Introspection::at_with(url, auth, server.fetch());
        assert_eq!(at.is_ok(), discovered.is_ok(), "{url}");
        at
    };
    for good in [
        "https://as.example/i",
        "http://127.0.0.1:1/i",
        "http://localhost/i",
    ] {
        assert!(with(good, basic()).is_ok(), "{good}");
    }
    let plain = "http://keycloak:8080/i";
    for bad in [
        plain,
        "ftp://as.example/i",
        "/i",
        "https://u:p@as.example/i",
    ] {
        let error = with(bad, basic()).unwrap_err();
        assert!(
            matches!(error, ConfigError::Introspection { .. }),
            "{error}"
        );
        let names_a_way = error.to_string().contains("insecure_plain_http");
        assert_eq!(names_a_way, bad == plain, "{error}");
        // The twin: the setter allows plain http, and nothing else.
        let allowed = with(bad, basic().insecure_plain_http()).is_ok();
        assert_eq!(allowed, bad == plain, "{bad}");
    }
}

/// RFC8414-2-1: what came by `https` leads to `https` alone, also with the setter.
#[tokio::test]
async fn metadata_by_plain_http_may_name_an_endpoint_by_plain_http() {
    for (place, is_found) in [
        ("http://keycloak:8080", true),
        ("https://as.example", false),
    ] {
        let server = Server::new(move |request| match request.uri().path() {
            "/introspect" => of_json(r#"{"active":false}"#),
            _ => of_json(format!(
                r#"{{"issuer":"{place}","introspection_endpoint":"http://keycloak:8080/introspect"}}"#
            )),
        });
        let issuer = Issuer::new(place).unwrap();
        let auth = basic().insecure_plain_http();
        let introspection = Introspection::discover_with(&issuer, auth, server.fetch()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemTime::now);
        let audience = Audience::new("files").unwrap();
        let answer = introspection.ask(TOKEN, &issuer, &audience, &clock).await;
        assert_eq!(answer.is_ok(), is_found, "{answer:?}");
    }
}

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
        assert_eq!(failure.may_be_the_token, status == 400, "{failure:?}");
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

fn metadata(endpoint: &str) -> String {
    format!(r#"{{"issuer":"https://as.example",{endpoint}}}"#)
}

const NAMED: &str = r#""introspection_endpoint":"https://as.example/introspect""#;

fn discovering(auth: ClientAuth, server: &Server) -> Introspection {
    Introspection::discover_with(&issuer(), auth, server.fetch()).unwrap()
}

#[tokio::test]
async fn the_endpoint_is_found_once_and_again_after_it_is_forgotten() {
    let server = Server::new(|request| match request.uri().path() {
        "/.well-known/openid-configuration" => of_json(metadata(NAMED)),
        "/introspect" => of_json(r#"{"active":false}"#),
        _ => with_status(404, ""),
    });
    let introspection = discovering(basic(), &server);
    let mut urls = Vec::new();
    for is_forgotten in [false, false, true, false] {
        if is_forgotten {
            introspection.endpoint.place.forget().await;
        }
        ask(&introspection).await.unwrap();
        urls.push(server.asked().len());
    }
    // Two places and the endpoint; the endpoint alone; the place that answered and the endpoint; the endpoint.
    assert_eq!(urls, [3, 4, 6, 7]);
    let asked = server.asked();
    assert_eq!(
        asked[0].0,
        "https://as.example/.well-known/oauth-authorization-server"
    );
    assert_eq!(asked[6].0, URL);
    assert!(
        asked
            .iter()
            .all(|(url, body)| body.is_empty() != (url == URL))
    );
}

/// RFC8414-2-1, RFC8414-3.3-1
#[tokio::test]
async fn metadata_that_do_not_name_the_endpoint_are_a_failure() {
    for text in [
        metadata(r#""jwks_uri":"https://as.example/jwks""#),
        metadata(r#""introspection_endpoint":"http://127.0.0.1/introspect""#),
        metadata(r#""introspection_endpoint":5"#),
        format!(r#"{{"issuer":"https://as.example/",{NAMED}}}"#),
        format!("{{{NAMED}}}"),
        "<html>".to_owned(),
    ] {
        let server = Server::new(move |_| of_json(text.clone()));
        let failure = ask(&discovering(basic(), &server)).await.unwrap_err();
        assert!(!failure.is_ours, "{failure:?}");
        assert!(server.asked().iter().all(|(_, body)| body.is_empty()));
    }
    // A token of another issuer is not shown to this one.
    let server = Server::new(|_| of_json(metadata(NAMED)));
    let introspection = discovering(basic(), &server);
    let clock: Arc<dyn Clock> = Arc::new(SystemTime::now);
    let (other, audience) = (Issuer::new("https://b.example"), Audience::new("files"));
    let asked = introspection.ask(TOKEN, &other.unwrap(), &audience.unwrap(), &clock);
    assert!(
        asked
            .await
            .unwrap_err()
            .reason
            .contains("https://b.example")
    );
    assert!(server.asked().is_empty());
}

/// RFC 8705, section 5.
#[tokio::test]
async fn a_certificate_goes_to_the_endpoint_for_certificates() {
    let alias = r#","mtls_endpoint_aliases":{"introspection_endpoint":"https://mtls.example/i"}"#;
    for (auth, expected) in [
        (basic(), URL),
        (
            ClientAuth::mutual_tls("id").unwrap(),
            "https://mtls.example/i",
        ),
    ] {
        let server = Server::new(move |request| match request.method() {
            &Method::POST => of_json(r#"{"active":false}"#),
            _ => of_json(metadata(&format!("{NAMED}{alias}"))),
        });
        ask(&discovering(auth, &server)).await.unwrap();
        assert_eq!(server.asked().pop().unwrap().0, expected);
    }
}

/// Questions that wait for one search for the endpoint share its failure.
#[tokio::test(start_paused = true)]
async fn many_questions_search_for_the_endpoint_once() {
    let searches = Arc::new(Mutex::new(0));
    let fetch = {
        let searches = Arc::clone(&searches);
        move |_: Request<Vec<u8>>, _: usize| {
            *searches.lock().unwrap() += 1;
            std::future::pending()
        }
    };
    let introspection = Introspection::discover_with(&issuer(), basic(), fetch).unwrap();
    let began = tokio::time::Instant::now();
    let questions: Vec<_> = (0..64)
        .map(|_| {
            let introspection = introspection.clone();
            tokio::spawn(async move { ask(&introspection).await.is_err() })
        })
        .collect();
    for question in questions {
        assert!(question.await.unwrap());
    }
    // Half of the timeout for the first place, and half of the rest for the second.
    assert_eq!(
        (*searches.lock().unwrap(), began.elapsed().as_millis()),
        (2, 3_750)
    );
    assert!(ask(&introspection).await.is_err());
    assert_eq!(*searches.lock().unwrap(), 4);
}
