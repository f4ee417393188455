//! Opaque tokens of the provider, for which its introspection endpoint is asked.

use http::header::RETRY_AFTER;
use serde_json::json;
use tower_jwt_auth::introspection::{ClientAuth, ClientSecret, Introspection};
use tower_jwt_auth::revocation::Denylist;
use tower_jwt_auth::test::FixedClock;

use super::*;

impl Provider {
    /// An opaque token for a machine.
    async fn opaque(&self) -> String {
        let token = self.machine_token("calendar-batch", "files").await;
        assert!(!token.contains('.'), "an opaque token");
        token
    }

    fn asks_as(&self, client: &str) -> Introspection {
        let secret = format!("{client}-secret");
        let auth = ClientAuth::secret_basic(client, secret).unwrap();
        Introspection::discover(&self.issuer(), auth).unwrap()
    }

    fn files(&self, introspection: Introspection) -> JwtAuth {
        JwtAuth::introspected(self.issuer(), audience("files"), introspection)
    }

    /// The number of questions to the introspection endpoint since the last call.
    async fn questions(&self) -> u64 {
        let counts = self.http.get(&format!("{}/admin/counts", self.url)).await;
        self.admin("counts/reset", json!({})).await;
        counts.json()["introspection"].as_u64().unwrap_or(0)
    }

    async fn fault(&self, mode: Value) {
        let mut fault = json!({ "endpoint": "introspection" });
        let members = fault.as_object_mut().unwrap();
        members.extend(mode.as_object().unwrap().clone());
        self.admin("fault", fault).await;
    }
}

/// Asserts 503, because an outage is never a fault of the caller.
async fn is_unavailable(label: &str, api: &Api, token: &str) {
    let answer = api.ask(Method::GET, "/me", token).await;
    let status = answer.status;
    assert_eq!(
        status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{label}: {answer:?}"
    );
    assert!(answer.body.is_empty(), "{label}");
    if let Some(pause) = answer.headers.get(RETRY_AFTER) {
        assert!(
            pause.to_str().unwrap().parse::<u64>().unwrap() <= 30,
            "{label}"
        );
    }
}

/// RFC7662-2.2-3: one layer for both kinds of token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepts_an_opaque_token_beside_a_jwt() {
    let Some(provider) = Provider::of_environment("opaque tokens").await else {
        return;
    };
    let audience = Audience::any_of([&*resource_uri("files"), &*resource_uri("calendar")]);
    let auth = JwtAuth::new(provider.issuer(), audience.unwrap(), provider.keys().await);
    let api = Api::start(auth.introspection(provider.asks_as("files-api"))).await;
    let person = provider.person_tokens("files").await;
    let person = person["access_token"].as_str().unwrap();
    provider.questions().await;
    for _ in 0..3 {
        let answer = api.ask(Method::GET, "/me", person).await;
        assert_eq!(
            (answer.status, &*answer.body),
            (StatusCode::OK, b"alice".as_slice())
        );
    }
    assert_eq!(provider.questions().await, 1, "the answer is kept");

    let opaque = provider.opaque().await;
    let jwt = provider.machine_token("calendar-batch", "calendar").await;
    provider.questions().await;
    assert_eq!(api.status(&jwt).await, StatusCode::OK);
    assert_eq!(provider.questions().await, 0, "a JWT is verified here");
    let answer = api.ask(Method::GET, "/events", &opaque).await;
    assert!(
        [StatusCode::OK, StatusCode::FORBIDDEN].contains(&answer.status),
        "{answer:?}"
    );
    // A JWT that is not valid is not sent to the endpoint.
    assert_eq!(api.status(&tampered(&jwt)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(provider.questions().await, 1);
    for unknown in ["unknown", &opaque[1..], &format!("{opaque}x")] {
        let answer = api.ask(Method::GET, "/me", unknown).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let challenge = &challenges(&answer.headers)[0];
        assert_eq!(challenge.parameter("error"), Some("invalid_token"));
    }
    // A token for another API: the endpoint answers only the audience of the token.
    let other = JwtAuth::introspected(
        provider.issuer(),
        super::audience("calendar"),
        provider.asks_as("files-api"),
    );
    assert_eq!(
        Api::start(other)
            .await
            .ask(Method::GET, "/me", &opaque)
            .await
            .status,
        401
    );
    let other = provider.files(provider.asks_as("calendar-api"));
    assert_eq!(
        Api::start(other)
            .await
            .ask(Method::GET, "/me", &opaque)
            .await
            .status,
        401
    );
}

/// RFC7662-2.1-2, RFC7662-2.3-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asks_with_credentials_and_says_whose_fault_wrong_ones_are() {
    let Some(provider) = Provider::of_environment("introspection credentials").await else {
        return;
    };
    let token = provider.opaque().await;
    let url = format!("{}/token/introspection", provider.issuer);
    let secret = ClientSecret::from("not the secret");
    let basic = ClientAuth::secret_basic("files-api", secret.clone()).unwrap();
    let api = Api::start(provider.files(Introspection::at(&url, basic).unwrap())).await;
    is_unavailable("a wrong secret", &api, &token).await;
    secret.replace("files-api-secret").unwrap();
    // The endpoint is not asked for a moment.
    let mut tries = 0;
    while api.ask(Method::GET, "/me", &token).await.status != StatusCode::OK {
        tries += 1;
        assert!(tries < 100, "the right secret");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let raw = ClientAuth::insecure_raw_basic("files-api", "files-api-secret").unwrap();
    let api = Api::start(provider.files(Introspection::at(&url, raw).unwrap())).await;
    assert_eq!(
        api.ask(Method::GET, "/me", &token).await.status,
        StatusCode::OK
    );

    // The provider does not introspect JWTs. That is an outage, and the operator sees the reason.
    let jwt = provider.machine_token("calendar-batch", "calendar").await;
    let auth = provider.auth("calendar").await;
    let introspection = provider.asks_as("calendar-api").introspect_jwts();
    let verifier = auth.introspection(introspection).verifier();
    let rejection = verifier.verify(&jwt).await.unwrap_err();
    assert_eq!(
        rejection.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "{rejection}"
    );
    assert!(
        rejection.to_string().contains("unsupported_token_type"),
        "{rejection}"
    );
    assert!(!rejection.to_string().contains(&jwt), "{rejection}");
}

/// RFC9701-5-1, RFC9701-5-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepts_signed_answers_and_no_others_if_they_are_wanted() {
    let Some(provider) = Provider::of_environment("signed answers").await else {
        return;
    };
    let token = provider.opaque().await;
    let keys = provider.keys().await;
    let signed = provider.asks_as("files-api-signed").signed(keys.clone());
    let api = Api::start(provider.files(signed)).await;
    assert_eq!(
        api.ask(Method::GET, "/me", &token).await.status,
        StatusCode::OK
    );
    assert_eq!(
        api.ask(Method::GET, "/me", "unknown").await.status,
        StatusCode::UNAUTHORIZED
    );
    // With other keys the signature does not verify, so the answer does not count.
    let stranger = provider
        .asks_as("files-api-signed")
        .signed(TestIssuer::new().keys());
    is_unavailable(
        "other keys",
        &Api::start(provider.files(stranger)).await,
        &token,
    )
    .await;
    // Without the setting the answer is not signed.
    let plain = Api::start(provider.files(provider.asks_as("files-api-signed"))).await;
    assert_eq!(
        plain.ask(Method::GET, "/me", &token).await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_endpoint_is_never_a_bad_token() {
    let Some(provider) = Provider::of_environment("an outage of introspection").await else {
        return;
    };
    let known = provider.opaque().await;
    for mode in [
        json!({"mode": "status", "status": 500}),
        json!({"mode": "status", "status": 503}),
        json!({"mode": "status", "status": 429}),
        json!({"mode": "status", "status": 204}),
        json!({"mode": "hang"}),
        json!({"mode": "reset"}),
        json!({"mode": "garbage"}),
        json!({"mode": "html"}),
        json!({"mode": "empty"}),
        json!({"mode": "redirect", "to": format!("{}/me", provider.url)}),
        json!({"mode": "huge", "bytes": 1_000_000}),
    ] {
        let label = mode.to_string();
        let introspection = provider
            .asks_as("files-api")
            .timeout(Duration::from_millis(500));
        let api = Api::start(provider.files(introspection)).await;
        // The token is accepted before the outage.
        assert_eq!(
            api.ask(Method::GET, "/me", &known).await.status,
            200,
            "{label}"
        );
        let token = provider.opaque().await;
        provider.fault(mode).await;
        for token in [&token, "unknown"] {
            is_unavailable(&label, &api, token).await;
        }
        assert_eq!(
            api.ask(Method::GET, "/me", &known).await.status,
            200,
            "{label}"
        );
        provider.fault(json!({"mode": "none"})).await;
        assert_eq!(
            api.ask(Method::GET, "/me", &token).await.status,
            200,
            "{label}"
        );
        assert_eq!(
            api.ask(Method::GET, "/me", "unknown").await.status,
            401,
            "{label}"
        );
    }
}

/// RFC7662-2.2-4: rejected when the cached answer ends, and at once if the token is revoked in this
/// service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_the_provider_revokes_is_rejected_within_the_time_of_the_cache() {
    let Some(provider) = Provider::of_environment("revocation at the provider").await else {
        return;
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let clock = FixedClock::at(now.unwrap().as_secs());
    let denylist = Denylist::default();
    let auth = provider.files(provider.asks_as("files-api"));
    let auth = auth.clock(clock.clone()).revocation(denylist.clone());
    let api = Api::start(auth.clone()).await;
    let status = async |token: &str| api.ask(Method::GET, "/me", token).await.status;
    let (token, other) = (provider.opaque().await, provider.opaque().await);
    assert_eq!(status(&token).await, StatusCode::OK);
    assert_eq!(status(&other).await, StatusCode::OK);
    let revoke = ["revoke", &token, "--client", "calendar-batch"];
    provider.token_command(&revoke).await;
    assert_eq!(status(&token).await, StatusCode::OK, "the answer is kept");
    clock.advance(Duration::from_secs(31));
    assert_eq!(status(&token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&other).await, StatusCode::OK);

    let claims = auth.verifier().verify(&other).await.unwrap();
    denylist.revoke(&claims).unwrap();
    assert_eq!(status(&other).await, StatusCode::UNAUTHORIZED);
}
