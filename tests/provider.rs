//! A real OpenID provider issues the tokens, and a real axum server on a socket verifies them.
//!
//! A script starts the provider around the test (`start.sh -- cargo test --test provider`). The
//! variables `IDP_ISSUER`, `IDP_URL` and `IDP_DIR` say where it is. Without them the tests print
//! that they are skipped.

#![cfg(all(feature = "test-util", feature = "axum"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

#[cfg(feature = "issue")]
#[path = "provider/issued.rs"]
mod issued;
#[cfg(feature = "issue")]
#[path = "provider/key_set.rs"]
mod key_set;
#[cfg(all(feature = "introspection", feature = "reqwest"))]
#[path = "provider/opaque.rs"]
mod opaque;
#[cfg(all(feature = "issue", feature = "reqwest"))]
#[path = "provider/own_login.rs"]
mod own_login;
mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tower::{Layer, ServiceExt};
use tower_jwt_auth::request::{CertificateSource, ClientCertificate};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{
    Algorithm, Audience, Claims, ConfigError, Issuer, JwtAuth, Key, KeySet, KeyStore, Rejection,
    RejectionKind, RequireScope, scope,
};

use crate::support::challenges;

/// One test runs at a time, because some tests change the keys of the provider.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The secret of the resource `hmac` at the provider.
const SECRET: &[u8] = b"a-shared-secret-of-at-least-32-bytes!";

struct Provider {
    issuer: String,
    url: String,
    directory: PathBuf,
    http: Http,
    _turn: MutexGuard<'static, ()>,
}

impl Provider {
    /// `None` if no provider runs. Then prints that `test` is skipped.
    async fn of_environment(test: &str) -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let found = ["IDP_ISSUER", "IDP_URL", "IDP_DIR"].map(variable);
        let [Some(issuer), Some(url), Some(directory)] = found else {
            let _ = writeln!(
                std::io::stderr(),
                "{test}: SKIPPED, because IDP_ISSUER, IDP_URL and IDP_DIR name no OpenID provider"
            );
            return None;
        };
        Some(Self {
            issuer,
            url,
            directory: directory.into(),
            http: Http::default(),
            _turn: ONE_AT_A_TIME.lock().await,
        })
    }

    fn issuer(&self) -> Issuer {
        Issuer::new(&self.issuer).unwrap()
    }

    /// The key set, from the URL in the discovery document.
    async fn jwks(&self) -> Bytes {
        let metadata = format!("{}/.well-known/openid-configuration", self.issuer);
        let metadata = self.http.get(&metadata).await.json();
        assert_eq!(metadata["issuer"], self.issuer);
        self.http
            .get(metadata["jwks_uri"].as_str().unwrap())
            .await
            .body
    }

    async fn keys(&self) -> KeyStore {
        KeyStore::from_jwks(&self.jwks().await).unwrap()
    }

    /// A layer for a resource, with the current key set.
    async fn auth(&self, resource: &str) -> JwtAuth {
        JwtAuth::new(self.issuer(), audience(resource), self.keys().await)
    }

    /// An access token for a machine, from the client credentials grant.
    async fn machine_token(&self, client: &str, resource: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", &resource_uri(resource)),
            ("scope", "calendar:read calendar:write files:read"),
        ]
        .map(|(name, value)| {
            let value = value.replace(':', "%3A").replace('/', "%2F");
            format!("{name}={}", value.replace(' ', "+"))
        });
        let credentials = STANDARD.encode(format!("{client}:{client}-secret"));
        let request = Request::post(format!("{}/token", self.issuer))
            .header(AUTHORIZATION, format!("Basic {credentials}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form.join("&")))
            .unwrap();
        let answer = self.http.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The tokens of a person who signs in, from the authorization code grant with PKCE. The client
    /// is that of the provider.
    async fn person_tokens(&self, resource: &str) -> Value {
        let printed = self
            .token_command(&["code", "--json", "--client", "spa", "--resource", resource])
            .await;
        serde_json::from_str(&printed).unwrap()
    }

    async fn token_command(&self, arguments: &[&str]) -> String {
        let output = tokio::process::Command::new("node")
            .arg(self.directory.join("app/token.mjs"))
            .args(arguments)
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn admin(&self, path: &str, body: Value) -> Value {
        let request = Request::post(format!("{}/admin/{path}", self.url))
            .body(Full::from(body.to_string()))
            .unwrap();
        let answer = self.http.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
        answer.json()
    }
}

fn resource_uri(name: &str) -> String {
    format!("https://{name}.example/")
}

fn audience(resource: &str) -> Audience {
    Audience::new(&resource_uri(resource)).unwrap()
}

#[derive(Clone)]
struct Http(Client<HttpConnector, Full<Bytes>>);

impl Default for Http {
    fn default() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

#[derive(Debug)]
struct HttpAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl HttpAnswer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Http {
    async fn send(&self, request: Request<Full<Bytes>>) -> HttpAnswer {
        let (parts, body) = self.0.request(request).await.unwrap().into_parts();
        HttpAnswer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    async fn get(&self, uri: &str) -> HttpAnswer {
        self.send(Request::get(uri).body(Full::default()).unwrap())
            .await
    }
}

/// An API on a socket. `GET /events` needs a scope to read, `POST /events` one to write, and
/// `/share` one to share. `/me` needs no scope.
#[derive(Clone)]
struct Api {
    address: SocketAddr,
    auth: JwtAuth,
    http: Http,
}

async fn subject(claims: Claims) -> String {
    claims.subject().unwrap_or_default().to_owned()
}

async fn read(claims: RequireScope<scope!("calendar:read")>) -> String {
    claims.subject().unwrap_or_default().to_owned()
}

async fn write(_: RequireScope<scope!("calendar:write")>) -> StatusCode {
    StatusCode::CREATED
}

async fn share(_: RequireScope<scope!("calendar:share")>) -> StatusCode {
    StatusCode::CREATED
}

impl Api {
    async fn start(auth: JwtAuth) -> Self {
        let app = Router::new()
            .route("/events", get(read).post(write))
            .route("/share", get(share))
            .route("/me", get(subject))
            .layer(auth.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            auth,
            http: Http::default(),
        }
    }

    async fn ask(&self, method: Method, path: &str, token: &str) -> HttpAnswer {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::default())
            .unwrap();
        self.http.send(request).await
    }

    async fn status(&self, token: &str) -> StatusCode {
        self.ask(Method::GET, "/events", token).await.status
    }

    /// Asserts the rights of a token with the scopes to read and to write, and that it has no
    /// others.
    async fn grants_reading_and_writing(&self, label: &str, token: &str, subject: &str) {
        let answer = self.ask(Method::GET, "/events", token).await;
        assert_eq!(answer.status, StatusCode::OK, "{label}: {answer:?}");
        assert_eq!(answer.body, subject, "{label}");
        let answer = self.ask(Method::POST, "/events", token).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{label}");
        let answer = self.ask(Method::GET, "/share", token).await;
        lacks_scope(label, &answer, "calendar:share");
    }

    /// Asserts that a token is rejected for this reason, and that the client sees only
    /// `invalid_token`.
    async fn rejects(&self, label: &str, token: &str, kind: RejectionKind) {
        let rejection = self.auth.verifier().verify_now(token).expect_err(label);
        assert_eq!(rejection.kind(), kind, "{label}: {rejection}");
        let answer = self.ask(Method::GET, "/me", token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{label}");
        assert!(answer.body.is_empty(), "{label}");
        let challenge = &challenges(&answer.headers)[0];
        assert_eq!(challenge.scheme, "Bearer", "{label}");
        assert_eq!(
            challenge.parameter("error"),
            Some("invalid_token"),
            "{label}"
        );
    }
}

fn lacks_scope(label: &str, answer: &HttpAnswer, scope: &str) {
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{label}");
    let challenge = &challenges(&answer.headers)[0];
    assert_eq!(challenge.parameter("error"), Some("insufficient_scope"));
    assert_eq!(challenge.parameter("scope"), Some(scope), "{label}");
}

/// A token whose claims were changed after it was signed.
fn tampered(token: &str) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["scope"] = "calendar:read calendar:write calendar:share".into();
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("{}.{claims}.{}", parts[0], parts[2])
}

/// The set has one RSA key without `alg`, which signs with six algorithms. Such a key verifies only
/// RS256, unless the API allows others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepts_tokens_of_every_algorithm_and_of_both_grants() {
    let Some(provider) = Provider::of_environment("tokens of every algorithm").await else {
        return;
    };
    let set = KeySet::from_jwks(&provider.jwks().await).unwrap();
    let skipped: Vec<_> = set.skipped().iter().map(ToString::to_string).collect();
    assert_eq!((set.keys().count(), skipped.len()), (5, 1), "{skipped:?}");
    assert!(skipped[0].contains("for encryption"), "{skipped:?}");

    for (resource, algorithm, is_usual) in [
        ("rs256", Algorithm::RS256, true),
        ("rs384", Algorithm::RS384, false),
        ("rs512", Algorithm::RS512, false),
        ("ps256", Algorithm::PS256, false),
        ("ps384", Algorithm::PS384, false),
        ("ps512", Algorithm::PS512, false),
        ("es256", Algorithm::ES256, true),
        ("es384", Algorithm::ES384, true),
        ("es512", Algorithm::ES512, true),
        ("eddsa", Algorithm::EdDSA, true),
        ("ed25519", Algorithm::Ed25519, true),
    ] {
        let auth = || JwtAuth::new(provider.issuer(), audience(resource), set.clone());
        let usual = Api::start(auth()).await;
        let told = Api::start(auth().algorithms([algorithm]).access_token_profile()).await;
        let other = match algorithm {
            Algorithm::RS256 => Algorithm::PS256,
            _ => Algorithm::RS256,
        };
        let other = Api::start(auth().algorithms([other])).await;

        let machine = provider.machine_token("calendar-batch", resource).await;
        let person = provider.person_tokens(resource).await;
        let person = person["access_token"].as_str().unwrap();
        for (token, subject) in [(machine.as_str(), "calendar-batch"), (person, "alice")] {
            told.grants_reading_and_writing(resource, token, subject)
                .await;
            if is_usual {
                usual
                    .grants_reading_and_writing(resource, token, subject)
                    .await;
            } else {
                usual
                    .rejects(resource, token, RejectionKind::AlgorithmNotAllowed)
                    .await;
            }
            other
                .rejects(resource, token, RejectionKind::AlgorithmNotAllowed)
                .await;
            told.rejects(resource, &tampered(token), RejectionKind::BadSignature)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepts_tokens_signed_with_a_shared_secret() {
    let Some(provider) = Provider::of_environment("tokens signed with a secret").await else {
        return;
    };
    let start = |key: Result<Key, ConfigError>| {
        let key = key.unwrap().with_key_id("hmac-1");
        Api::start(JwtAuth::new(provider.issuer(), audience("hmac"), key))
    };
    // The secret of the provider is a sentence, so the API must accept it by name.
    Key::from_secret(Algorithm::HS256, SECRET).unwrap_err();
    let chosen = |secret| Key::insecure_from_chosen_secret(Algorithm::HS256, secret);
    let api = start(chosen(SECRET)).await;
    let stranger = start(chosen(&SECRET[1..])).await;
    let public = Api::start(provider.auth("hmac").await).await;

    let machine = provider.machine_token("calendar-batch", "hmac").await;
    let person = provider.person_tokens("hmac").await;
    let person = person["access_token"].as_str().unwrap();
    for (token, subject) in [(machine.as_str(), "calendar-batch"), (person, "alice")] {
        api.grants_reading_and_writing("hmac", token, subject).await;
        api.rejects("tampered", &tampered(token), RejectionKind::BadSignature)
            .await;
        stranger
            .rejects("another secret", token, RejectionKind::BadSignature)
            .await;
        public
            .rejects("the public set", token, RejectionKind::UnknownKey)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_whatever_the_provider_issues_for_another_purpose() {
    let Some(provider) = Provider::of_environment("tokens for another purpose").await else {
        return;
    };
    let auth = provider.auth("calendar").await;
    let api = Api::start(auth.clone()).await;
    let token = provider.machine_token("calendar-batch", "calendar").await;
    api.grants_reading_and_writing("a good token", &token, "calendar-batch")
        .await;

    let answer = api.http.get(&format!("http://{}/me", api.address)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "no token");
    assert_eq!(challenges(&answer.headers)[0].parameter("error"), None);

    let report = provider.machine_token("calendar-report", "calendar").await;
    assert_eq!(api.status(&report).await, StatusCode::OK);
    let answer = api.ask(Method::POST, "/events", &report).await;
    lacks_scope("a client that only reads", &answer, "calendar:write");

    let other = provider.machine_token("calendar-batch", "rs256").await;
    api.rejects("another API", &other, RejectionKind::AudienceMismatch)
        .await;
    api.rejects("tampered", &tampered(&token), RejectionKind::BadSignature)
        .await;
    let sealed = provider.machine_token("calendar-batch", "sealed").await;
    api.rejects("sealed", &sealed, RejectionKind::EncryptedToken)
        .await;
    let opaque = provider.machine_token("calendar-batch", "files").await;
    api.rejects("opaque", &opaque, RejectionKind::MalformedToken)
        .await;
    let bound = provider.token_command(&["dpop"]).await;
    api.rejects("bound to a key", &bound, RejectionKind::BindingMismatch)
        .await;

    let stranger = Issuer::new("http://127.0.0.1:1").unwrap();
    let stranger = JwtAuth::new(stranger, audience("calendar"), provider.keys().await);
    Api::start(stranger)
        .await
        .rejects("another issuer", &token, RejectionKind::IssuerMismatch)
        .await;
    let keys = TestIssuer::with_algorithm(Algorithm::RS256).keys();
    let stranger = JwtAuth::new(provider.issuer(), audience("calendar"), keys);
    Api::start(stranger)
        .await
        .rejects("keys of another issuer", &token, RejectionKind::UnknownKey)
        .await;
}

/// RFC8705-3-1: the provider has bound the token to the certificate that its client showed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepts_a_bound_token_with_the_certificate_of_its_client_alone() {
    let Some(provider) = Provider::of_environment("client certificates").await else {
        return;
    };
    let token = provider.token_command(&["mtls"]).await;
    let [of_client, of_another] = ["client-a.pem", "client-b.pem"].map(|file| {
        let der = CertificateDer::from_pem_file(provider.directory.join(file));
        ClientCertificate::from_der(&der.unwrap())
    });
    let auth = provider.auth("calendar").await;
    let auth = auth.client_certificates(CertificateSource::connection());
    let mismatch = Some(RejectionKind::BindingMismatch);
    for (certificate, expected) in [
        (None, mismatch),
        (Some(of_client), None),
        (Some(of_another), mismatch),
        (Some(of_client), None),
    ] {
        let request = Request::get("/events").header(AUTHORIZATION, format!("Bearer {token}"));
        let mut request = request.body(String::new()).unwrap();
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        let inner = tower::service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let response = auth.layer(inner).oneshot(request).await.unwrap();
        let rejection = response.extensions().get::<Rejection>();
        assert_eq!(rejection.map(Rejection::kind), expected, "{rejection:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_an_id_token_even_where_its_audience_is_accepted() {
    let Some(provider) = Provider::of_environment("ID tokens").await else {
        return;
    };
    let tokens = provider.person_tokens("calendar").await;
    let id_token = tokens["id_token"].as_str().unwrap();
    let access_token = tokens["access_token"].as_str().unwrap();

    let api = Api::start(provider.auth("calendar").await).await;
    assert_eq!(api.status(access_token).await, StatusCode::OK);
    let rejection = api.auth.verifier().verify_now(id_token).unwrap_err();
    assert_eq!(rejection.status(), 401, "{rejection}");
    assert_eq!(api.status(id_token).await, StatusCode::UNAUTHORIZED);

    let client = Audience::new("spa").unwrap();
    let auth = JwtAuth::new(provider.issuer(), client, provider.keys().await);
    let for_client = Api::start(auth.clone()).await;
    for_client
        .rejects("ID token", id_token, RejectionKind::WrongType)
        .await;
    // Only the kind of the token is rejected: a layer for ID tokens accepts it.
    let auth = auth.insecure_accept_id_tokens();
    let answer = Api::start(auth)
        .await
        .ask(Method::GET, "/me", id_token)
        .await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (StatusCode::OK, &b"alice"[..])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_a_token_once_it_has_expired() {
    let Some(provider) = Provider::of_environment("expired tokens").await else {
        return;
    };
    let token = provider.machine_token("calendar-batch", "short").await;
    let auth = provider.auth("short").await;
    let now = Api::start(auth.clone()).await;
    assert_eq!(now.status(&token).await, StatusCode::OK);
    // The token is valid for 3 s, and the leeway is 60 s.
    let later = auth.clock(|| SystemTime::now() + Duration::from_secs(64));
    let later = Api::start(later).await;
    later
        .rejects("expired", &token, RejectionKind::Expired)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepts_a_token_with_two_audiences_at_either_and_nowhere_else() {
    let Some(provider) = Provider::of_environment("two audiences").await else {
        return;
    };
    let token = provider.machine_token("calendar-batch", "multi").await;
    for resource in ["multi", "calendar"] {
        let api = Api::start(provider.auth(resource).await).await;
        api.grants_reading_and_writing(resource, &token, "calendar-batch")
            .await;
    }
    let api = Api::start(provider.auth("es256").await).await;
    api.rejects("a third API", &token, RejectionKind::AudienceMismatch)
        .await;
}

/// The stage of a test, which determines the expected status of each kind of token. The stage
/// increases by one before a change of the keys, and by one after it.
#[derive(Default)]
struct Watch {
    stage: AtomicUsize,
    answered: AtomicUsize,
}

impl Watch {
    /// Runs `change`, and returns its result.
    fn changing<T>(&self, change: impl FnOnce() -> T) -> T {
        self.stage.fetch_add(1, Ordering::SeqCst);
        let done = change();
        self.stage.fetch_add(1, Ordering::SeqCst);
        done
    }

    /// Waits for this number of further requests.
    async fn let_run(&self, requests: usize) {
        let until = self.answered.load(Ordering::SeqCst) + requests;
        let answered = async {
            while self.answered.load(Ordering::SeqCst) < until {
                tokio::task::yield_now().await;
            }
        };
        // If every worker has failed, no request is made any more.
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, answered)
            .await
            .expect("requests are answered");
    }
}

/// The expected status in each stage.
type Expected = fn(usize) -> StatusCode;

/// Sends requests without a pause until `last_stage`. A request that begins and ends in one stage
/// must have the status of that stage. A request during a change must have one of the two.
async fn keep_asking(
    api: Api,
    watch: Arc<Watch>,
    token: String,
    expected: Expected,
    last_stage: usize,
) -> HashMap<StatusCode, usize> {
    let mut seen = HashMap::new();
    loop {
        let before = watch.stage.load(Ordering::SeqCst);
        if before >= last_stage {
            return seen;
        }
        let status = api.status(&token).await;
        let after = watch.stage.load(Ordering::SeqCst);
        let allowed: Vec<_> = (before..=after).map(expected).collect();
        assert!(
            allowed.contains(&status),
            "{status} in stages {before}..={after}"
        );
        *seen.entry(status).or_default() += 1;
        watch.answered.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_the_providers_keys_while_requests_run() {
    let Some(provider) = Provider::of_environment("changes of keys").await else {
        return;
    };
    let store = provider.keys().await;
    let both = Audience::any_of([resource_uri("calendar"), resource_uri("es256")]).unwrap();
    let auth = JwtAuth::new(provider.issuer(), both, store.clone());
    let api = Api::start(auth).await;
    let rsa = || provider.machine_token("calendar-batch", "calendar");
    let first = rsa().await;
    let steady = provider.machine_token("calendar-batch", "es256").await;
    let other = provider.machine_token("calendar-batch", "rs384").await;

    // The provider has a second key. Its tokens are rejected until the store has the new set.
    provider
        .admin("keys/rotate", serde_json::json!({ "family": "rsa" }))
        .await;
    let second = rsa().await;
    let with_both = provider.jwks().await;
    api.rejects("a key not yet here", &second, RejectionKind::UnknownKey)
        .await;

    // Stages: 0 the first key, 1 change, 2 both keys, 3 change, 4 a new key alone, 5 the end.
    let watch = Arc::new(Watch::default());
    let mut workers = JoinSet::new();
    let always_good = |_| StatusCode::OK;
    let always_bad = |_| StatusCode::UNAUTHORIZED;
    let until_withdrawn = |stage| match stage {
        0..=2 => StatusCode::OK,
        _ => StatusCode::UNAUTHORIZED,
    };
    let while_known = |stage| match stage {
        2 => StatusCode::OK,
        _ => StatusCode::UNAUTHORIZED,
    };
    let kinds: [(&String, Expected); 5] = [
        (&steady, always_good),
        (&first, until_withdrawn),
        (&second, while_known),
        (&tampered(&steady), always_bad),
        (&other, always_bad),
    ];
    for (token, expected) in kinds {
        for _ in 0..2 {
            let (api, watch) = (api.clone(), Arc::clone(&watch));
            workers.spawn(keep_asking(api, watch, token.clone(), expected, 5));
        }
    }
    watch.let_run(100).await;

    watch
        .changing(|| store.replace_jwks(&with_both))
        .expect("the set with both keys");
    assert_eq!(api.status(&first).await, StatusCode::OK);
    assert_eq!(api.status(&second).await, StatusCode::OK);
    // Replaces the set by the same set, so the verdicts do not change.
    for _ in 0..200 {
        store.replace_jwks(&with_both).unwrap();
        tokio::task::yield_now().await;
    }
    // A broken key set of the provider does not replace a good one.
    for mode in ["empty", "garbage", "html"] {
        let fault = serde_json::json!({ "endpoint": "jwks", "mode": mode, "times": 1 });
        provider.admin("fault", fault).await;
        let generation = store.generation();
        let served = provider.jwks().await;
        assert!(store.replace_jwks(&served).is_err(), "{mode}");
        assert_eq!(store.generation(), generation, "{mode}");
    }
    watch.let_run(200).await;

    // After a leak the provider signs with a third key, and has withdrawn the two others.
    provider
        .admin("keys/replace", serde_json::json!({ "family": "rsa" }))
        .await;
    let third = rsa().await;
    let with_third = provider.jwks().await;
    watch
        .changing(|| store.replace_jwks(&with_third))
        .expect("the set with the third key");
    for withdrawn in [&first, &second] {
        api.rejects("a withdrawn key", withdrawn, RejectionKind::UnknownKey)
            .await;
    }
    api.grants_reading_and_writing("the third key", &third, "calendar-batch")
        .await;
    watch.let_run(200).await;

    watch.stage.fetch_add(1, Ordering::SeqCst);
    let (mut good, mut bad) = (0, 0);
    while let Some(seen) = workers.join_next().await {
        for (status, count) in seen.expect("not one wrong verdict") {
            match status {
                StatusCode::OK => good += count,
                _ => bad += count,
            }
        }
    }
    assert!(good > 0 && bad > 0);
    let _ = writeln!(
        std::io::stderr(),
        "changes of keys: {} sets, {good} requests accepted, {bad} rejected, none wrongly",
        store.generation()
    );
}

/// Keys that a store fetches: discovery, a rotation that a request finds, a withdrawn key, an
/// outage, and the recovery.
#[cfg(feature = "remote")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_store_follows_the_provider_by_itself() {
    use http::Response;
    use http_body_util::Limited;
    use tower_jwt_auth::fetch::FetchError;
    use tower_jwt_auth::keys::Freshness;
    use tower_jwt_auth::keys::RemoteKeys;

    let Some(provider) = Provider::of_environment("remote keys").await else {
        return;
    };
    let client = provider.http.0.clone();
    let fetch = move |request: Request<Vec<u8>>, limit: usize| {
        let client = client.clone();
        async move {
            let response = client
                .request(request.map(|body| Full::new(Bytes::from(body))))
                .await;
            let (head, body) = response.map_err(FetchError::new)?.into_parts();
            let body = Limited::new(body, limit).collect().await;
            let body = body.map_err(FetchError::new)?.to_bytes().to_vec();
            Ok(Response::from_parts(head, body))
        }
    };
    let keys = RemoteKeys::discover(&provider.issuer(), fetch).unwrap();
    let keys = keys.connect().await.unwrap();
    let both = Audience::any_of([resource_uri("es256"), resource_uri("eddsa")]).unwrap();
    let verifier = JwtAuth::new(provider.issuer(), both, keys.clone()).verifier();
    let token = |resource| provider.machine_token("calendar-batch", resource);
    let (old, steady) = (token("es256").await, token("eddsa").await);
    let kind = async |token: &str| verifier.verify(token).await.err().map(|error| error.kind());
    assert_eq!(kind(&old).await, None);
    assert_eq!(kind(&steady).await, None);

    // The first request with the new key causes a load, which finds it and removes the old one.
    let family = serde_json::json!({ "family": "p256" });
    provider.admin("keys/replace", family.clone()).await;
    let new = token("es256").await;
    assert_eq!(kind(&new).await, None);
    assert_eq!(kind(&old).await, Some(RejectionKind::UnknownKey));
    assert_eq!(
        kind(&tampered(&new)).await,
        Some(RejectionKind::BadSignature)
    );

    // During an outage known keys stay in use, and the operator sees the reason.
    let fault = |mode: &str| serde_json::json!({ "endpoint": "jwks", "mode": mode });
    provider.admin("fault", fault("html")).await;
    provider.admin("keys/replace", family).await;
    let newest = token("es256").await;
    assert_eq!(
        kind(&newest).await,
        Some(RejectionKind::KeySourceUnavailable)
    );
    assert_eq!(kind(&new).await, None);
    assert!(
        keys.status()
            .failing
            .unwrap()
            .reason
            .contains("expected JSON")
    );
    assert_eq!(keys.status().freshness, Freshness::Fresh);

    provider.admin("fault", fault("none")).await;
    keys.reload().await;
    assert_eq!(kind(&newest).await, None);
    assert_eq!(kind(&new).await, Some(RejectionKind::UnknownKey));
    assert!(keys.status().failing.is_none());
}

/// A person signs out at the provider. Its logout token revokes the tokens of the session at once.
#[cfg(feature = "logout")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_at_the_provider_ends_the_tokens_of_the_session() {
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tower_jwt_auth::TrustedIssuer;
    use tower_jwt_auth::revocation::{BackChannelLogout, Denylist};

    /// Signs in, waits for a line on standard input, and signs out.
    const SCRIPT: &str = "
        const idp = await import(process.env.CLIENT);
        const person = new idp.Person('alice');
        const tokens = await idp.authorizationCode({ client: 'logout-app', person });
        console.log(JSON.stringify(tokens));
        await new Promise((resolve) => process.stdin.once('data', resolve));
        await idp.logout({ idToken: tokens.id_token, person });
        process.exit(0);
    ";

    let Some(provider) = Provider::of_environment("back-channel logout").await else {
        return;
    };
    let denylist = Denylist::default();
    let client = Audience::new("logout-app").unwrap();
    let client = TrustedIssuer::new(provider.issuer(), client, provider.keys().await);
    let logout = BackChannelLogout::new(client, denylist.clone());
    let auth = provider.auth("calendar").await.revocation(denylist);
    let api = Api::start(auth.clone()).await;
    let app = Router::new().route_service("/backchannel-logout", logout);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!(
        "http://{}/backchannel-logout",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    provider
        .admin("backchannel-logout", serde_json::json!({ "uri": uri }))
        .await;

    let mut person = tokio::process::Command::new("node")
        .args(["--input-type=module", "-e", SCRIPT])
        .env("CLIENT", provider.directory.join("app/client.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(person.stdout.take().unwrap()).lines();
    let tokens = printed.next_line().await.unwrap().expect("tokens");
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    let other = provider.machine_token("calendar-batch", "calendar").await;
    assert_eq!(api.status(token).await, StatusCode::OK);
    assert_eq!(api.status(&other).await, StatusCode::OK);

    // An access token and an ID token are not logout tokens.
    for stranger in [token, tokens["id_token"].as_str().unwrap()] {
        let request = Request::post(&uri)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(format!("logout_token={stranger}")))
            .unwrap();
        assert_eq!(provider.http.send(request).await.status, 400);
    }
    assert_eq!(api.status(token).await, StatusCode::OK);

    let mut input = person.stdin.take().unwrap();
    input.write_all(b"sign out\n").await.unwrap();
    assert!(person.wait().await.unwrap().success());
    api.rejects("signed out", token, RejectionKind::Revoked)
        .await;
    assert_eq!(api.status(&other).await, StatusCode::OK);
}
