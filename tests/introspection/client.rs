//! The requests to the introspection endpoint, and the verdicts on its answers.

use std::future::Future;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use serde_json::json;
use tower::{Layer, ServiceExt};
use tower_jwt_auth::fetch::FetchError;
use tower_jwt_auth::introspection::{ClientAuth, ClientKey, ClientSecret, Introspection};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Claims, JwtAuth, Rejection, RejectionKind};
use tracing_subscriber::filter::LevelFilter;

use crate::network::{Network, json};
use crate::support::log::Log;
use crate::support::{AUDIENCE, ISSUER, NOW};
use crate::world::{CLIENT_SECRET, ENDPOINT, TOKEN, World, active, at, audience, issuer, kind};

const SIGNED: &str = "application/token-introspection+jwt";

fn signed(text: String) -> Response<Vec<u8>> {
    let response = Response::builder().header(CONTENT_TYPE, SIGNED);
    response.body(text.into_bytes()).unwrap()
}

fn with_status(status: u16, body: &str) -> Response<Vec<u8>> {
    let mut response = json(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A layer that uses this network and authenticates in this way.
fn asking(network: &Network, auth: ClientAuth) -> JwtAuth {
    let introspection = Introspection::at_with(ENDPOINT, auth, network.clone()).unwrap();
    JwtAuth::introspected(issuer(), audience(), introspection).clock(|| at(NOW))
}

fn judge(auth: &JwtAuth) -> impl Future<Output = Result<Claims, Rejection>> + use<> {
    let verifier = auth.verifier();
    async move { verifier.verify(TOKEN).await }
}

fn header(request: &Request<Vec<u8>>, name: http::HeaderName) -> Option<String> {
    let value = request.headers().get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

/// RFC7662-2.1-1, RFC7662-2.1-2: each method of authentication, with a twin whose credentials the
/// server rejects.
#[tokio::test(start_paused = true)]
async fn every_method_reaches_the_endpoint() {
    let key = include_bytes!("../data/keys/private.sec1.pem");
    let key = ClientKey::from_pem(tower_jwt_auth::Algorithm::ES256, key).unwrap();
    for (auth, authorization, form) in [
        (
            ClientAuth::secret_basic("a:b", "c d"),
            "Basic YSUzQWI6Yytk",
            "",
        ),
        (
            ClientAuth::insecure_raw_basic("ab", "c d"),
            "Basic YWI6YyBk",
            "",
        ),
        (
            ClientAuth::secret_post("a:b", "c d"),
            "",
            "client_id=a%3Ab&client_secret=c+d",
        ),
        (ClientAuth::mutual_tls("a:b"), "", "client_id=a%3Ab"),
        (ClientAuth::bearer("abc"), "Bearer abc", ""),
        (
            ClientAuth::private_key_jwt("ab", key),
            "",
            "client_id=ab&client_assertion_type=",
        ),
    ] {
        let knows = move |request: &Request<Vec<u8>>| {
            let found = header(request, AUTHORIZATION).unwrap_or_default();
            let body = String::from_utf8_lossy(request.body());
            let body = body.strip_prefix(&format!("token={TOKEN}&token_type_hint=access_token"));
            let body = body.unwrap().trim_start_matches('&');
            let is_known = found == authorization && body.starts_with(form);
            is_known && (form.is_empty() == body.is_empty())
        };
        let network = Network::new(move |request| {
            Ok(if knows(request) {
                active(json!({}))
            } else {
                with_status(401, "")
            })
        });
        let claims = judge(&asking(&network, auth.unwrap())).await.unwrap();
        assert_eq!(claims.subject(), Some("alice"));
        let stranger = ClientAuth::secret_basic("stranger", "secret").unwrap();
        let verdict = judge(&asking(&network, stranger)).await;
        assert_eq!(
            kind(&verdict),
            Some(RejectionKind::IntrospectionUnavailable)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_replaced_while_requests_run() {
    let network = Network::new(|request| {
        let is_new = String::from_utf8_lossy(request.body()).ends_with("client_secret=second");
        Ok(if is_new {
            active(json!({}))
        } else {
            with_status(401, "")
        })
    });
    let secret = ClientSecret::from("first");
    let auth = ClientAuth::secret_post("calendar-api", secret.clone()).unwrap();
    let verifier = asking(&network, auth).verifier();
    assert!(verifier.verify(TOKEN).await.is_err());
    secret.replace("second").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(verifier.verify(TOKEN).await.is_ok());
}

/// RFC7662-2.3-1: the caller sees an outage. The operator sees the reason once, at a level that is
/// on by default.
#[tokio::test(start_paused = true)]
async fn a_rejection_of_this_service_is_loud_and_not_the_callers_fault() {
    for (status, body, sentence) in [
        (
            401,
            r#"{"error":"invalid_client"}"#,
            "does not accept the credentials",
        ),
        (
            400,
            r#"{"error":"invalid_client"}"#,
            "does not accept the credentials",
        ),
        (403, "", "does not let this service introspect"),
        (
            400,
            r#"{"error":"unsupported_token_type"}"#,
            "often because they are JWTs",
        ),
    ] {
        let log = Log::down_to(LevelFilter::DEBUG);
        let world = World::new();
        world
            .network
            .answers(move |_| Ok(with_status(status, body)));
        let auth = world.auth();
        let service = auth.layer(tower::service_fn(async |_: Request<String>| {
            Ok::<_, std::convert::Infallible>(Response::new(String::new()))
        }));
        for at in 0..3 {
            let token = format!("Bearer {TOKEN}{at}");
            let request = Request::get("/").header(AUTHORIZATION, token);
            let request = request.body(String::new()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().get("www-authenticate").is_none());
            assert!(response.body().is_empty());
        }
        let text = log.text();
        let lines = text
            .lines()
            .filter(|line| line.contains("jwt_introspection_denied"));
        let lines: Vec<_> = lines.collect();
        assert!(
            lines[0].contains(sentence) && lines[0].contains(ENDPOINT),
            "{text}"
        );
        // Only the first rejection of this service itself is logged at a level that is on by
        // default. A status that may be due to the token is logged for each token.
        let loud = lines.iter().filter(|line| line.contains("ERROR")).count();
        let expected = if body.contains("unsupported") { 3 } else { 1 };
        assert_eq!((lines.len(), loud), (expected, 1), "{text}");
        let others = text.lines().filter(|line| line.contains("_introspection_"));
        let others = others.filter(|line| line.contains("WARN") || line.contains("INFO"));
        assert_eq!(others.count(), 0, "{text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
}

/// RFC7662-4-2: at the most detailed level, with a client whose errors quote the request.
#[tokio::test(start_paused = true)]
async fn nothing_secret_gets_into_the_log() {
    let secret = "S3cret-of-this-service";
    let key = include_bytes!("../data/keys/private.sec1.pem");
    let key = ClientKey::from_pem(tower_jwt_auth::Algorithm::ES256, key).unwrap();
    let methods = [
        ClientAuth::secret_basic("calendar-api", secret),
        ClientAuth::secret_post("calendar-api", secret),
        ClientAuth::bearer(secret),
        ClientAuth::private_key_jwt("calendar-api", key),
    ];
    for auth in methods.map(Result::unwrap) {
        let has_secret = !format!("{auth:?}").contains("private_key_jwt");
        for mode in 0..6 {
            let network = Network::new(move |request| {
                let body = String::from_utf8_lossy(request.body()).into_owned();
                let credentials = header(request, AUTHORIZATION).unwrap_or_default();
                let secret = if has_secret { secret } else { "" };
                let assertion = body.split("client_assertion=").nth(1).unwrap_or_default();
                let sent = format!("{body} {credentials} {TOKEN} {secret} {assertion}");
                Ok(match mode {
                    0 => return Err(FetchError::new(format!("cannot send {sent}"))),
                    1 => with_status(401, &json!({"error": sent}).to_string()),
                    2 => with_status(400, &json!({"error": TOKEN}).to_string()),
                    3 => json(sent),
                    4 => json(format!(r#"{{"{TOKEN}":1,"{TOKEN}":2}}"#)),
                    _ => active(json!({"note": sent})),
                })
            });
            let log = Log::down_to(LevelFilter::TRACE);
            let asking = asking(&network, auth.clone());
            let verdict = judge(&asking).await;
            assert_eq!(verdict.is_ok(), mode == 5);
            let shown = format!("{} {asking:?} {:?}", log.text(), verdict.err());
            let asked = network.requests();
            let body = String::from_utf8_lossy(asked[0].body()).into_owned();
            let assertion = body.split("client_assertion=").nth(1);
            let credentials = header(&asked[0], AUTHORIZATION);
            let credentials = credentials.as_deref().and_then(|it| it.split(' ').nth(1));
            for hidden in [Some(TOKEN), Some(secret), assertion, credentials]
                .into_iter()
                .flatten()
            {
                assert!(!shown.contains(hidden), "{mode}: {hidden} in {shown}");
            }
            assert!(shown.contains("jwt_"), "something was written: {shown}");
        }
    }
}

/// An answer with a signature of this issuer.
fn answer_of(test: &TestIssuer, claims: serde_json::Value) -> String {
    let token = test.token().header("typ", "token-introspection+jwt");
    token.raw_claims(claims.to_string()).mint()
}

fn around(inner: serde_json::Value) -> serde_json::Value {
    json!({
        "iss": ISSUER, "aud": "calendar-api", "iat": NOW, "sub": "of-the-answer", "exp": NOW + 9,
        "token_introspection": inner,
    })
}

/// RFC9701-4-1, RFC9701-5-1, RFC9701-5-2, RFC9701-5-3
#[tokio::test(start_paused = true)]
async fn a_signed_answer_is_accepted_and_no_other() {
    let test = TestIssuer::new().named(ISSUER);
    let (keys, other) = (test.keys(), TestIssuer::new().named(ISSUER));
    let inner = json!({"active": true, "sub": "alice", "aud": AUDIENCE});
    let good = around(inner.clone());
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[name] = value;
        answer_of(&test, claims)
    };
    let unavailable = Some(RejectionKind::IntrospectionUnavailable);
    let inactive = around(json!({"active": false, "sub": "x"}));
    for (label, response, expected) in [
        ("good", signed(answer_of(&test, good.clone())), None),
        ("our audience", signed(with("aud", AUDIENCE.into())), None),
        ("9 min old", signed(with("iat", (NOW - 540).into())), None),
        (
            "inactive",
            signed(answer_of(&test, inactive)),
            Some(RejectionKind::Inactive),
        ),
        ("not signed", active(json!({})), unavailable),
        (
            "another type",
            signed(test.token().raw_claims(good.to_string()).mint()),
            unavailable,
        ),
        (
            "another aud",
            signed(with("aud", "files-api".into())),
            unavailable,
        ),
        (
            "another iss",
            signed(with("iss", "https://b.example".into())),
            unavailable,
        ),
        (
            "11 min old",
            signed(with("iat", (NOW - 661).into())),
            unavailable,
        ),
        (
            "no answer in it",
            signed(with("token_introspection", 1.into())),
            unavailable,
        ),
        (
            "another key",
            signed(answer_of(&other, good.clone())),
            unavailable,
        ),
    ] {
        let world = World::with(|introspection| introspection.signed(keys.clone()));
        world.network.answers(move |_| Ok(response.clone()));
        let verdict = world.verifier().verify(TOKEN).await;
        assert_eq!(kind(&verdict), expected, "{label}");
        if let Ok(claims) = verdict {
            assert_eq!(
                (claims.subject(), claims.expires_at()),
                (Some("alice"), None),
                "{label}"
            );
        }
        let accepted = header(&world.network.requests()[0], ACCEPT);
        assert_eq!(accepted.as_deref(), Some(SIGNED));
    }
}

/// RFC9701-8.1-1: with its own `typ`, and with a `typ` that does not tell the kind.
#[tokio::test(start_paused = true)]
async fn a_signed_answer_is_no_access_token() {
    let test = TestIssuer::new().named(ISSUER).for_audience(AUDIENCE);
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "sub": "x", "exp": NOW + 60,
        "token_introspection": {"active": true},
    });
    let auth = JwtAuth::new(issuer(), audience(), test.keys()).clock(|| at(NOW));
    let world = World::new();
    let both = auth.clone().introspection(world.introspection.clone());
    for auth in [auth, both] {
        let verifier = auth.verifier();
        for typ in [
            "token-introspection+jwt",
            "application/token-introspection+jwt",
            "JWT",
        ] {
            let token = test
                .token()
                .header("typ", typ)
                .raw_claims(claims.to_string())
                .mint();
            let verdict = verifier.verify(&token).await;
            assert_eq!(kind(&verdict), Some(RejectionKind::WrongType), "{typ}");
        }
    }
    assert_eq!(world.network.count(), 0);
}

/// RFC9449-6.2-1
#[tokio::test(start_paused = true)]
async fn a_binding_in_an_answer_holds_as_in_a_token() {
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    for (members, expected) in [
        (json!({"token_type": "Bearer"}), None),
        (
            json!({"cnf": {"jkt": jkt}, "token_type": "DPoP"}),
            Some(RejectionKind::BindingMismatch),
        ),
        (
            json!({"cnf": {"jkt": jkt}}),
            Some(RejectionKind::BindingMismatch),
        ),
        (
            json!({"cnf": {"jkt": jkt}, "token_type": "Bearer"}),
            Some(RejectionKind::InvalidClaim),
        ),
        (
            json!({"token_type": "DPoP"}),
            Some(RejectionKind::InvalidClaim),
        ),
        (
            json!({"token_type": "refresh_token"}),
            Some(RejectionKind::WrongType),
        ),
        (
            json!({"token_use": "refresh_token"}),
            Some(RejectionKind::WrongType),
        ),
        (json!({"token_use": "access_token"}), None),
    ] {
        let world = World::new();
        let answer = members.clone();
        world.network.answers(move |_| Ok(active(answer.clone())));
        assert_eq!(
            kind(&world.verifier().verify(TOKEN).await),
            expected,
            "{members}"
        );
    }
}

/// The endpoint is looked up in the metadata when the first token comes, and again after a failure.
#[tokio::test(start_paused = true)]
async fn the_endpoint_of_the_metadata_is_asked() {
    let network = Network::new(|request| {
        let metadata = json!({"issuer": ISSUER, "introspection_endpoint": ENDPOINT});
        Ok(match request.uri().path() {
            "/.well-known/openid-configuration" => json(metadata.to_string()),
            "/introspect" => active(json!({})),
            _ => with_status(404, ""),
        })
    });
    let auth = || ClientAuth::secret_basic("calendar-api", CLIENT_SECRET).unwrap();
    let introspection = Introspection::discover_with(&issuer(), auth(), network.clone()).unwrap();
    let layer = JwtAuth::introspected(issuer(), audience(), introspection);
    let verifier = layer.clock(|| at(NOW)).verifier();
    assert!(verifier.verify(TOKEN).await.is_ok());
    assert!(verifier.verify("another").await.is_ok());
    assert_eq!(network.count(), 4);
    network.is_down();
    tokio::time::advance(Duration::from_secs(60)).await;
    let verdict = verifier.verify("third").await;
    assert_eq!(
        kind(&verdict),
        Some(RejectionKind::IntrospectionUnavailable)
    );
}
