//! Access tokens: their shape, their scopes and audiences, and what must not be in them.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde::Serialize;
use serde_json::{Value, json};
use tower_jwt_auth::issue::{
    IssueError, Sign, SignError, Signing, SigningKeys, TokenBinding, TokenIssuer,
};
use tower_jwt_auth::policy::Leeway;
use tower_jwt_auth::request::ClientCertificate;
use tower_jwt_auth::scope::{AllOf, ScopeSet};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{
    Algorithm, Audience, ConfigError, Issuer, JwtAuth, Key, RejectionKind, Verifier, role, scope,
};

use crate::support::NOW;

mod calendar {
    tower_jwt_auth::scopes! {
        pub Read = "calendar:read";
        pub Write = "calendar:write";
        pub Edit = "calendar:read" & "calendar:write";
    }
}

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "calendar-api";
const SECRET: [u8; 64] = *b"Zb5Tq0vWn8Rk2YxLm4Pc7Hs1Dg9Uf3Ea6Jo-Ii_NyXwVtBrQeCzKdSlMhGuFpOa7";

fn keys(algorithm: Algorithm) -> SigningKeys {
    if algorithm.is_symmetric() {
        return SigningKeys::from_secret(algorithm, &SECRET).unwrap();
    }
    SigningKeys::generate(algorithm).unwrap()
}

fn issuer_of(keys: SigningKeys) -> TokenIssuer {
    let clock = FixedClock::at(NOW);
    TokenIssuer::new(
        Issuer::new(ISSUER).unwrap(),
        Audience::new(AUDIENCE).unwrap(),
        keys.with_clock(clock.clone()),
    )
    .clock(clock)
}

fn issuer() -> TokenIssuer {
    issuer_of(keys(Algorithm::ES256))
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn payload(request: tower_jwt_auth::issue::TokenRequest<'_>) -> Value {
    part(request.issue().await.unwrap().as_str(), 1)
}

async fn error_of(own: &impl Serialize) -> IssueError {
    error_with(&issuer(), own).await
}

async fn error_with(tokens: &TokenIssuer, own: &impl Serialize) -> IssueError {
    let request = tokens.for_subject("alice", "web").claims(own);
    request
        .issue()
        .await
        .expect_err("these claims are not to be issued")
}

async fn is_issued(own: &impl Serialize) {
    let tokens = issuer();
    let token = tokens.for_subject("alice", "web").claims(own).issue().await;
    let token = token.unwrap_or_else(|error| panic!("{error}"));
    let verdict = tokens.auth().verifier().verify_now(token.as_str());
    verdict.unwrap_or_else(|error| panic!("{error}"));
}

/// RFC9068-2.1-3, RFC7515-4.1.4-2: `typ` is `at+jwt`, the key is named, and there is no `none`. Every algorithm, as the
/// layer and `jsonwebtoken` verify it.
#[tokio::test]
async fn tokens_of_every_algorithm_verify_here_and_elsewhere() {
    for algorithm in Algorithm::ALL.iter().copied() {
        let keys = keys(algorithm);
        let tokens = issuer_of(keys.clone());
        let request = tokens
            .for_subject("alice", "web")
            .scopes::<calendar::Read>();
        let token = request.issue().await.unwrap();
        let header = part(token.as_str(), 0);
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(header["alg"], algorithm.as_str());
        assert_eq!(header.as_object().unwrap().len(), 3, "{header}");
        let snapshot = keys.keys().snapshot().unwrap();
        let id = header["kid"].as_str().unwrap();
        assert!(snapshot.keys().any(|key| key.id().as_str() == id), "{id}");

        let verifier = tokens.auth().verifier();
        let claims = verifier.verify_now(token.as_str()).unwrap();
        assert_eq!(claims.subject(), Some("alice"));
        assert_eq!(claims.id(), Some(token.id()));
        claims.authorize::<calendar::Read>().unwrap();
        let kind = claims.authorize::<calendar::Write>().unwrap_err().kind();
        assert_eq!(kind, RejectionKind::InsufficientScope);

        let broken = format!("{}A", &token.as_str()[..token.as_str().len() - 1]);
        let other = format!("{}Q", &token.as_str()[..token.as_str().len() - 1]);
        let broken = if broken == token.as_str() {
            other
        } else {
            broken
        };
        assert!(verifier.verify_now(&broken).is_err());

        if let Some(key) = decoding_key(algorithm, &keys) {
            let name = if algorithm == Algorithm::Ed25519 {
                "EdDSA"
            } else {
                algorithm.as_str()
            };
            let (message, signature) = token.as_str().rsplit_once('.').unwrap();
            let verifies = |signature: &str| {
                jsonwebtoken::crypto::verify(
                    signature,
                    message.as_bytes(),
                    &key,
                    name.parse().unwrap(),
                )
            };
            assert!(verifies(signature).unwrap(), "{algorithm}");
            let (_, broken) = broken.rsplit_once('.').unwrap();
            assert!(!verifies(broken).unwrap_or(false), "{algorithm}");
        }
    }
}

/// `None` for ES512, which `jsonwebtoken` does not know.
fn decoding_key(algorithm: Algorithm, keys: &SigningKeys) -> Option<jsonwebtoken::DecodingKey> {
    if algorithm == Algorithm::ES512 {
        return None;
    }
    if algorithm.is_symmetric() {
        return Some(jsonwebtoken::DecodingKey::from_secret(&SECRET));
    }
    let mut jwk: Value = serde_json::from_str(&published(keys)).unwrap();
    if algorithm == Algorithm::Ed25519 {
        jwk["alg"] = "EdDSA".into();
    }
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk).unwrap();
    Some(jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap())
}

/// The published form of the key that signs.
fn published(keys: &SigningKeys) -> String {
    use tower::ServiceExt;
    let request = http::Request::get("/jwks.json").body(()).unwrap();
    let response = futures_ready(keys.jwks().oneshot(request));
    let set: Value = serde_json::from_slice(response.unwrap().body().as_bytes()).unwrap();
    set["keys"][0].to_string()
}

fn futures_ready<F: Future>(future: F) -> F::Output {
    let future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the document is at hand"),
    }
}

/// RFC9068-2.2-2: the seven claims are always there, and scopes are one string.
#[tokio::test]
async fn rfc9068_2_2_2_every_token_has_the_seven_claims_and_one_scope_string() {
    let tokens = issuer();
    let token = tokens.for_subject("alice", "web").issue().await.unwrap();
    let expected = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "web",
        "iat": NOW, "exp": NOW + 600, "jti": token.id(),
    });
    assert_eq!(part(token.as_str(), 1), expected);
    assert_eq!(token.scope(), None);
    assert_eq!(token.lifetime(), Duration::from_secs(600));
    assert_eq!(
        token.expires_at(),
        UNIX_EPOCH + Duration::from_secs(NOW + 600)
    );
    assert_eq!(token.token_type(), "Bearer");

    let full = tokens
        .for_subject("alice \"the first\"", "web")
        .scopes::<(calendar::Read, scope!("a" & "b"), AllOf<(calendar::Edit,)>)>()
        .scope_set(&ScopeSet::parse("b c").unwrap())
        .session_id("session-1")
        .authenticated_at(UNIX_EPOCH + Duration::from_millis(NOW * 1000 + 999))
        .authentication_context("urn:example:mfa")
        .authentication_methods(["pwd", "otp"])
        .claims(&json!({"locale": "de", "roles": ["admin"], "n": 1.5}))
        .issue()
        .await
        .unwrap();
    let claims = part(full.as_str(), 1);
    assert_eq!(claims["scope"], "calendar:read a b calendar:write c");
    assert_eq!(full.scope(), Some("calendar:read a b calendar:write c"));
    assert_eq!(claims["sub"], "alice \"the first\"");
    assert_eq!(claims["sid"], "session-1");
    assert_eq!(claims["auth_time"], NOW);
    assert_eq!(claims["acr"], "urn:example:mfa");
    assert_eq!(claims["amr"], json!(["pwd", "otp"]));
    assert_eq!(
        (&claims["locale"], &claims["n"]),
        (&json!("de"), &json!(1.5))
    );
    let verified = tokens.auth().verifier().verify_now(full.as_str()).unwrap();
    verified.authorize::<role!("admin")>().unwrap();
    assert_eq!(verified.session_id(), Some("session-1"));
    assert_eq!(full.clone().into_string(), full.as_str());
    assert!(!format!("{full:?}").contains(full.as_str()));

    for (request, what) in [
        (tokens.for_subject("", "web"), "subject"),
        (tokens.for_subject("alice", ""), "client id"),
        (tokens.for_client(""), "subject"),
        (
            tokens.for_subject("alice", "web").session_id(""),
            "session id",
        ),
        (
            tokens
                .for_subject("alice", "web")
                .authentication_context(""),
            "authentication context",
        ),
        (
            tokens
                .for_subject("alice", "web")
                .authentication_methods(["pwd", ""]),
            "authentication method",
        ),
    ] {
        let error = request.issue().await.unwrap_err();
        assert!(
            matches!(error, IssueError::Invalid { what: found, .. } if found == what),
            "{error}"
        );
        assert!(!error.is_unavailable());
    }
}

/// RFC9068-2.2-3: the subject is the person, or the client where there is none.
#[tokio::test]
async fn rfc9068_2_2_3_a_client_by_itself_is_its_own_subject() {
    let tokens = issuer();
    let person = tokens.for_subject("alice", "web").issue().await.unwrap();
    let client = tokens.for_client("batch").issue().await.unwrap();
    let verifier = tokens.auth().verifier();
    let (person, client) = (
        verifier.verify_now(person.as_str()).unwrap(),
        verifier.verify_now(client.as_str()).unwrap(),
    );
    assert_eq!(
        (person.subject(), person.client_id()),
        (Some("alice"), Some("web"))
    );
    assert!(!person.is_client());
    assert_eq!(
        (client.subject(), client.client_id()),
        (Some("batch"), Some("batch"))
    );
    assert!(client.is_client());
}

/// RFC9068-3-1: the audience follows from the scopes. What is ambiguous is an error.
#[tokio::test]
async fn rfc9068_3_1_scopes_decide_the_audience_and_ambiguity_is_an_error() {
    let billing = || Audience::new("billing-api").unwrap();
    let scopes = |text: &str| ScopeSet::parse(text).unwrap();
    let tokens = issuer()
        .resource(billing(), scopes("invoice:read invoice:pay"))
        .unwrap();
    let audience = async |asked: &str| {
        let asked = (!asked.is_empty()).then(|| scopes(asked));
        let mut request = tokens.for_subject("alice", "web");
        if let Some(asked) = &asked {
            request = request.scope_set(asked);
        }
        payload(request).await["aud"].take()
    };
    assert_eq!(audience("").await, json!(AUDIENCE));
    assert_eq!(audience("calendar:read").await, json!(AUDIENCE));
    assert_eq!(
        audience("invoice:read invoice:pay").await,
        json!("billing-api")
    );
    assert_eq!(
        audience("invoice:read calendar:read").await,
        json!([AUDIENCE, "billing-api"])
    );

    let elsewhere = tokens
        .for_subject("alice", "web")
        .scopes::<scope!("invoice:pay")>();
    let elsewhere = elsewhere.issue().await.unwrap();
    let kind = tokens
        .auth()
        .verifier()
        .verify_now(elsewhere.as_str())
        .unwrap_err()
        .kind();
    assert_eq!(kind, RejectionKind::AudienceMismatch);
    let auth =
        JwtAuth::new(tokens.issuer().clone(), billing(), tokens.keys()).clock(FixedClock::at(NOW));
    assert!(auth.verifier().verify_now(elsewhere.as_str()).is_ok());

    for (api, added) in [
        (billing(), "other"),
        (Audience::new(AUDIENCE).unwrap(), "other"),
        (Audience::new("files-api").unwrap(), "file:read invoice:pay"),
        (Audience::insecure_any(), "other"),
        // No token could have these scopes.
        (Audience::any_of(["c", "d"]).unwrap(), "other"),
    ] {
        let error = tokens.clone().resource(api, scopes(added)).unwrap_err();
        assert!(matches!(error, ConfigError::Settings { .. }), "{error}");
    }

    // Two identifiers may be two APIs. Without scopes there is nothing to mistake.
    let several = |audience| {
        let keys = keys(Algorithm::ES256).with_clock(FixedClock::at(NOW));
        TokenIssuer::new(Issuer::new(ISSUER).unwrap(), audience, keys).clock(FixedClock::at(NOW))
    };
    let two = several(Audience::any_of(["a", "b"]).unwrap());
    assert_eq!(
        payload(two.for_client("batch")).await["aud"],
        json!(["a", "b"])
    );
    let ambiguous = two
        .for_client("batch")
        .scopes::<calendar::Read>()
        .issue()
        .await
        .unwrap_err();
    assert!(
        matches!(ambiguous, IssueError::Audience { .. }),
        "{ambiguous}"
    );
    let two = two.resource(billing(), scopes("invoice:read")).unwrap();
    assert_eq!(
        payload(two.for_client("batch").scopes::<scope!("invoice:read")>()).await["aud"],
        "billing-api"
    );
    let any = several(Audience::insecure_any())
        .for_client("batch")
        .issue()
        .await
        .unwrap_err();
    assert!(matches!(any, IssueError::Audience { .. }), "{any}");
}

/// RFC6750-5.3-2: an hour or less, unless it is asked for.
#[tokio::test]
async fn rfc6750_5_3_2_a_lifetime_of_more_than_an_hour_is_asked_for() {
    let seconds = Duration::from_secs;
    for good in [seconds(1), Duration::from_millis(1500), seconds(3600)] {
        let tokens = issuer().lifetime(good).unwrap();
        let token = tokens.for_client("batch").issue().await.unwrap();
        assert_eq!(token.lifetime(), seconds(good.as_secs()));
        assert_eq!(part(token.as_str(), 1)["exp"], NOW + good.as_secs());
    }
    for bad in [
        Duration::ZERO,
        Duration::from_millis(999),
        seconds(3601),
        seconds(7200),
        Duration::MAX,
    ] {
        let error = issuer().lifetime(bad).unwrap_err();
        assert!(
            matches!(error, ConfigError::TokenLifetime { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("1 s to 3600 s"), "{error}");
    }
    let tokens = issuer().insecure_lifetime(seconds(7200)).unwrap();
    let token = tokens.for_client("batch").issue().await.unwrap();
    assert_eq!(token.lifetime(), seconds(7200));
    assert!(issuer().insecure_lifetime(seconds(367 * 86_400)).is_err());
    // The keys rotate every 30 days, and a key ends no sooner than its last token.
    assert!(issuer().insecure_lifetime(seconds(60 * 86_400)).is_err());

    let clock = FixedClock::at(NOW);
    let tokens = issuer_of(keys(Algorithm::ES256).with_clock(clock.clone())).clock(clock.clone());
    let token = tokens.for_client("batch").issue().await.unwrap();
    let verifier = tokens
        .auth()
        .leeway(Leeway::new(Duration::ZERO).unwrap())
        .verifier();
    clock.advance(seconds(599));
    assert!(verifier.verify_now(token.as_str()).is_ok());
    clock.advance(seconds(1));
    assert_eq!(
        verifier.verify_now(token.as_str()).unwrap_err().kind(),
        RejectionKind::Expired
    );
}

/// RFC7519-12-1: by name and by shape, at any depth, and the error says where but not what.
#[tokio::test]
async fn rfc7519_12_1_a_secret_does_not_get_into_a_token() {
    let long = "0123456789abcdef0123456789abcdef0123456789";
    let issued = issuer().for_client("batch").issue().await.unwrap();
    for (own, pointer) in [
        (json!({"password": "correct horse"}), "/password"),
        (
            json!({"a": {"b": [{"userPassword": "correct horse"}]}}),
            "/a/b/0/userPassword",
        ),
        (
            json!({"a/b": {"c~d": {"api-key": 7}}}),
            "/a~1b/c~0d/api-key",
        ),
        (
            json!({"https://example.com/clientsecret": "correct horse"}),
            "/https:~1~1example.com~1clientsecret",
        ),
        (json!({"secrets": ["correct horse"]}), "/secrets"),
        (json!({"card": {"number": "correct horse"}}), "/card"),
        (
            json!({"note": "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"}),
            "/note",
        ),
        (json!({"list": ["a", format!("ghp_{long}")]}), "/list/1"),
        (json!({"map": {format!("ghp_{long}"): true}}), "/map"),
        (
            json!({"note": "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"}),
            "/note",
        ),
        (json!({"note": "4242 4242 4242 4242"}), "/note"),
        (json!({"note": 4242424242424242_u64}), "/note"),
        (json!({"upstream": issued.as_str()}), "/upstream"),
        (
            json!({"next": format!("https://example.com/?a=b&access={}&c=d", issued.as_str())}),
            "/next",
        ),
        (
            json!({"note": format!("token: {}.", issued.as_str())}),
            "/note",
        ),
        (json!({"password_sha256": "correct"}), "/password_sha256"),
        (json!({"api_key_v2": "correct horse"}), "/api_key_v2"),
        (
            json!({"note": "{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$EXRkfhbGx5c2hvcnQ0"}),
            "/note",
        ),
        (
            json!({"note": "alice:$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"}),
            "/note",
        ),
        (
            json!({"upstream": format!("Bearer {}", issued.as_str())}),
            "/upstream",
        ),
        (
            json!({"header": "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="}),
            "/header",
        ),
        (
            json!({"db": "postgres://app:correct-horse@db.internal/app"}),
            "/db",
        ),
        (
            json!({"jwk": {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "correct horse"}}),
            "/jwk",
        ),
        (json!({"jwk": {"kty": "oct", "k": "correct horse"}}), "/jwk"),
        (
            json!({"jwk": "{\"kty\":\"oct\",\"k\":\"correct horse\"}"}),
            "/jwk",
        ),
        (
            json!({"account": "{\"type\":\"service_account\",\"private_key\":\"correct horse\"}"}),
            "/account",
        ),
    ] {
        let error = error_of(&own).await;
        let IssueError::SecretClaim { pointer: found, .. } = &error else {
            panic!("{own}: {error}");
        };
        assert_eq!(found, pointer, "{own}");
        let said = format!("{error} {error:?}");
        for secret in ["correct", long, "4242", "EXRkf", "MIIB", issued.as_str()] {
            assert!(!said.contains(secret), "{said}");
        }
        assert!(said.contains("insecure_allow_claim"), "{said}");

        let whole = format!("/{}", pointer.split('/').nth(1).unwrap());
        for allowed in [pointer, whole.as_str()] {
            let tokens = issuer().insecure_allow_claim(allowed);
            let token = tokens.for_client("batch").claims(&own).issue().await;
            assert!(token.is_ok(), "{own}: {token:?}");
        }
        let tokens = issuer()
            .insecure_allow_claim("passwor")
            .insecure_allow_claim("other");
        assert_eq!(error_with(&tokens, &own).await, error);
    }
    // A name that is a secret is not said.
    let key = format!("ghp_{long}");
    let own = json!({key.as_str(): {"password": "correct horse"}});
    let error = error_of(&own).await;
    assert!(
        matches!(&error, IssueError::SecretClaim { pointer, .. } if pointer.is_empty()),
        "{error}"
    );
    assert!(!format!("{error} {error:?}").contains(long), "{error}");
    let tokens = issuer().insecure_allow_claim(&key);
    let token = tokens.for_client("batch").claims(&own).issue().await;
    assert!(token.is_ok(), "{token:?}");

    // What is allowed is one claim, and not what is beside it.
    let tokens = issuer().insecure_allow_claim("card");
    let error = error_with(
        &tokens,
        &json!({"card": "4242424242424242", "cards": ["4242424242424242"]}),
    )
    .await;
    assert!(matches!(error, IssueError::SecretClaim { pointer, .. } if pointer == "/cards"));
}

#[tokio::test]
async fn what_only_resembles_a_secret_gets_into_a_token() {
    let public = TestIssuer::new().jwk();
    is_issued(&json!({
        "has_password": true, "password": null, "secret": "", "api_keys": [], "credit_card": {},
        "password_changed_at": NOW, "pwd_exp": 1, "secretary": "bob", "passport_verified": true, "pin_code": "560001",
        "sub_jwk_": public, "jwk": public, "order": "4242424242424241", "account": 1_700_000_000_000_u64,
        "created": "2026-11-28T15:40:00Z", "id": "018f3e2a-7c4b-7d11-9a53-2f1b3c4d5e6f", "version": "1.2.3",
        "site": "https://example.com:8443/a?b=c@d", "mail": "alice@example.com", "tel": "+49 30 123456",
        "sentence": "The key is under the mat. Ask for AKIA, or ghp_, and hurry: 16 of 20 are gone.",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "price": "$5 to $6", "json": "{\"locale\":\"de\"}", "broken": "{\"password\"",
    }))
    .await;
}

/// The own claims of access tokens as the large providers write them, without those that an issuer writes itself.
#[tokio::test]
async fn claims_of_the_large_providers_are_no_secrets() {
    for own in [
        // Auth0.
        json!({"permissions": ["write:events", "read:users"], "https://example.com/roles": ["admin"],
            "org_id": "org_9ybsU1dN2dKfDkBi", "org_name": "example", "https://example.com/email": "a@b.example",
            "https://example.com/claims/picture": "https://s.gravatar.com/avatar/0f?s=480&r=pg"}),
        // Okta.
        json!({"ver": 1, "uid": "00uid4BxXw6I6TV4m0g3", "groups": ["Everyone", "Editors"]}),
        // Entra ID, v2.0 and v1.0.
        json!({"aio": "AXQAi/8TAAAAQZ3n7yzUeHnq1WCaHrRzo5e4E1Fkt6Y9pPjXqE0FzGYkPqyjWl3k1fT2Wv5+8n0lLcM=",
            "azpacr": "0", "idp": "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/", "name": "Alice",
            "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "preferred_username": "alice@example.com",
            "rh": "0.AXEAv4j5cvGGr0GRqy180BHbR3xiMZ6YjKJLj0SnNGQ0dW9xAAk.", "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
            "uti": "NhG-ol2Z7kS1yqPzY0sbAA", "ver": "2.0", "wids": ["b79fbf4d-3ef9-4689-8143-76b194e85509"],
            "xms_cc": ["CP1"], "xms_tcdt": 1289241547, "xms_st": {"sub": "Wr2t8qoq8Z3kYk8eLr2sUeZr9qQdNfJd5mS2t4XbB0A"},
            "ipaddr": "203.0.113.9", "upn": "alice@example.com", "unique_name": "alice@example.com", "appidacr": "1",
            "puid": "10032001A3A1B2C3", "deviceid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "hasgroups": "true",
            "onprem_sid": "S-1-5-21-3623811015-3361044348-30300820-1013", "pwd_exp": "5183999",
            "pwd_url": "https://portal.microsoftonline.com/ChangePassword.aspx", "signin_state": ["inknownntwk", "kmsi"]}),
        // Google, as service accounts and users have them.
        json!({"hd": "example.com", "email": "a@b.example", "email_verified": true, "name": "Alice", "given_name": "Alice",
            "picture": "https://lh3.googleusercontent.com/a/ACg8ocKxyz_0123456789-abcdefghijklmnopqrstuv=s96-c",
            "google": {"compute_engine": {"instance_id": "1234567890123456789", "project_number": 123456789012_u64,
                "instance_creation_timestamp": 1_700_000_000, "zone": "europe-west1-b"}}}),
        // Keycloak.
        json!({"session_state": "f6b1d1b8-1c8b-4c0e-8d6f-3d2f0b1c2d3e", "allowed-origins": ["https://app.example.com"],
            "realm_access": {"roles": ["offline_access", "uma_authorization", "default-roles-example"]},
            "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}}, "email_verified": false,
            "preferred_username": "alice", "trusted-certs": [], "authorization": {"permissions": [{"rsid": "d2fe9843",
                "rsname": "Hello", "scopes": ["view"]}]}}),
        // Amazon Cognito.
        json!({"cognito:groups": ["eu-west-1_aaaaaaaaa_Google"], "version": 2, "username": "alice",
            "event_id": "0ba7a4c9-8c8a-4a2e-9d7f-6a2f6d1a2b3c", "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-example",
            "device_key": "eu-west-1_aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"}),
        // GitLab, the tokens of its jobs, and GitHub Actions.
        json!({"namespace_id": "72", "namespace_path": "my-group", "project_id": "20", "project_path": "my-group/my-project",
            "user_id": "1", "user_login": "sample-user", "user_email": "sample-user@example.com", "pipeline_id": "574",
            "pipeline_source": "push", "job_id": "302", "ref": "feature-branch-1", "ref_type": "branch",
            "ref_path": "refs/heads/feature-branch-1", "ref_protected": "false", "runner_id": 1, "environment_protected": "false",
            "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "groups_direct": ["a/b"],
            "ci_config_ref_uri": "gitlab.example.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main",
            "user_access_level": "developer", "deployment_tier": "production", "actor_id": "12",
            "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main", "run_attempt": "2"}),
        // Zitadel.
        json!({"urn:zitadel:iam:org:project:roles": {"editor": {"178204173316174381": "example.com"}},
            "urn:zitadel:iam:user:resourceowner:id": "178204173316174381", "urn:zitadel:iam:org:domain:primary": "example.com",
            "urn:zitadel:iam:user:metadata": {"department": "c2FsZXM"}}),
        // Ory Hydra, Supabase, Firebase, Clerk.
        json!({"ext": {"locale": "de", "roles": ["a"]}}),
        json!({"role": "authenticated", "aal": "aal1", "session_id": "f6b1d1b8-1c8b-4c0e-8d6f-3d2f0b1c2d3e", "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]}, "user_metadata": {"email": "a@b.example"},
            "is_anonymous": false}),
        json!({"firebase": {"identities": {"google.com": ["116380923472034872341"], "email": ["a@b.example"]},
            "sign_in_provider": "google.com"}, "user_id": "3h7dRzBdD4YWb0xVq5s6uQe1XyA2"}),
        json!({"org_role": "org:admin", "org_permissions": ["org:events:read"], "fva": [7, -1], "sts": "active"}),
    ] {
        is_issued(&own).await;
    }
}

#[tokio::test]
async fn names_of_the_issuer_are_not_those_of_the_application() {
    for name in [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "scope",
        "scp",
        "sid",
        "auth_time",
        "acr",
        "amr",
        "cnf",
        "act",
        "may_act",
        "azp",
        "cid",
        "appid",
        "idtyp",
        "gty",
        "nonce",
        "at_hash",
        "c_hash",
        "s_hash",
        "events",
        "token_use",
        "typ",
        "status",
        "status_list",
        "token_introspection",
        "htm",
        "htu",
    ] {
        for value in [json!("x"), json!(null)] {
            let error = error_of(&json!({name: value})).await;
            assert!(
                matches!(&error, IssueError::ReservedClaim { name: found, .. } if found == name),
                "{error}"
            );
        }
        // Only at the top: an inner name says nothing about the token.
        is_issued(&json!({"inner": {name: "x"}})).await;
        is_issued(&json!({name.to_uppercase(): "x"})).await;
    }
    // RFC 9068, section 2.2.3.1, and claims about a person.
    is_issued(&json!({
        "roles": ["a"], "groups": [{"value": "b"}], "entitlements": "c", "email": "a@b.example", "name": "Alice", "locale": "de",
    }))
    .await;
    for wrong in [
        json!({"roles": {"a": 1}}),
        json!({"entitlements": [1]}),
        json!({"permissions": 7}),
    ] {
        let error = error_of(&wrong).await;
        assert!(matches!(error, IssueError::OwnClaims { .. }), "{error}");
    }
}

#[tokio::test]
async fn own_claims_are_one_object_within_the_limits_of_a_token() {
    #[derive(Serialize)]
    struct Twice {
        locale: &'static str,
        #[serde(rename = "locale")]
        again: &'static str,
    }
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("the password is hunter2"))
        }
    }
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({"a": inner}));
    let many = |count: usize| Value::from_iter((0..count).map(|at| (format!("c{at}"), json!(1))));
    is_issued(&nested(30)).await;
    is_issued(&many(900)).await;
    is_issued(&json!({})).await;
    for error in [
        error_of(&"text").await,
        error_of(&[1, 2]).await,
        error_of(&7).await,
        error_of(&Option::<u8>::None).await,
        error_of(&Twice {
            locale: "de",
            again: "fr",
        })
        .await,
        error_of(&Broken).await,
        error_of(&nested(40)).await,
        error_of(&many(1000)).await,
    ] {
        assert!(matches!(error, IssueError::OwnClaims { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }
    is_issued(&json!({"text": "x".repeat(11_000)})).await;
    let error = error_of(&json!({"text": "x".repeat(12_500)})).await;
    assert!(
        matches!(error, IssueError::TooLarge { maximum: 16_384, bytes } if bytes > 16_384),
        "{error}"
    );
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        ".{0,20}".prop_map(Value::from),
        "[0-9 -]{12,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("(password|card|roles|exp|d|kty|.{0,6})", inner, 0..6)
                .prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(9_068),
        ..ProptestConfig::default()
    })]

    /// Whatever the application puts in: the layer accepts what is issued, and the claims arrive as they were.
    #[test]
    fn claims_that_are_issued_arrive_as_they_were(own in prop::collection::btree_map(".{0,8}", json(), 0..5)) {
        let (tokens, verifier) = &*SHARED;
        let own = Value::from_iter(own);
        match futures_ready(tokens.for_subject("alice", "web").claims(&own).issue()) {
            Ok(token) => {
                let claims = verifier.verify_now(token.as_str()).unwrap();
                let arrived: Value = claims.deserialize::<Value>().map(|claims| (*claims).clone()).unwrap();
                for (name, value) in own.as_object().unwrap() {
                    prop_assert_eq!(&arrived[name], value);
                }
            }
            Err(error) => prop_assert!(!error.is_unavailable(), "{}", error),
        }
    }
}

static SHARED: LazyLock<(TokenIssuer, Verifier)> = LazyLock::new(|| {
    let tokens = issuer_of(keys(Algorithm::HS256));
    let verifier = tokens.auth().verifier();
    (tokens, verifier)
});

/// RFC9449-5-1: a token that is bound to the key of a proof says so, and is no bearer token.
#[tokio::test]
async fn rfc9449_5_1_a_bound_token_names_its_key_and_its_type() {
    let tokens = issuer();
    let verifier: Verifier = tokens.auth().verifier();
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let key = TokenBinding::dpop_key(thumbprint).unwrap();
    let certificate = ClientCertificate::from_der(b"a certificate");
    let certificate = (
        TokenBinding::certificate(&certificate),
        certificate.thumbprint(),
    );
    for (binding, name, thumbprint, kind) in [
        (&key, "jkt", thumbprint, "DPoP"),
        (&certificate.0, "x5t#S256", certificate.1.as_str(), "Bearer"),
    ] {
        let token = tokens
            .for_subject("alice", "web")
            .bound_to(binding)
            .issue()
            .await
            .unwrap();
        assert_eq!(part(token.as_str(), 1)["cnf"], json!({name: thumbprint}));
        assert_eq!(token.token_type(), kind);
        let rejected = verifier.verify_now(token.as_str()).unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::BindingMismatch);
    }
    for text in [
        "",
        "jkt",
        "0ZcOCORZNYy+DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        &format!("{thumbprint}="),
    ] {
        let error = TokenBinding::dpop_key(text).unwrap_err();
        assert!(matches!(error, ConfigError::Thumbprint { .. }), "{error}");
    }
}

/// A key elsewhere answers at once or later, and what it cannot sign is an outage, not a token.
#[tokio::test]
async fn a_signer_elsewhere_is_waited_for_and_its_failure_is_no_token() {
    struct Elsewhere(EcdsaKeyPair, Option<&'static str>);
    impl Sign for Elsewhere {
        fn sign(&self, message: &[u8]) -> Signing {
            let signed = self
                .0
                .sign(&SystemRandom::new(), message)
                .unwrap()
                .as_ref()
                .to_vec();
            let failure = self.1;
            Signing::Pending(Box::pin(async move {
                tokio::task::yield_now().await;
                match failure {
                    None => Ok(signed),
                    Some("short") => Ok(signed[..63].to_vec()),
                    Some(reason) => Err(SignError::new(reason)),
                }
            }))
        }
    }
    let issuer_with = |failure| {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let [x, y] = [&point[..32], &point[32..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        let jwk =
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "hsm-1", "alg": "ES256"});
        let public = Key::from_jwk(jwk.to_string().as_bytes()).unwrap();
        issuer_of(SigningKeys::from_signer(public, Elsewhere(pair, failure)).unwrap())
    };
    let tokens = issuer_with(None);
    let token = tokens.for_client("batch").issue().await.unwrap();
    assert!(tokens.auth().verifier().verify_now(token.as_str()).is_ok());
    for failure in ["short", "the service is away"] {
        let error = issuer_with(Some(failure))
            .for_client("batch")
            .issue()
            .await
            .unwrap_err();
        assert!(matches!(error, IssueError::Sign { .. }), "{error}");
        assert!(error.is_unavailable());
    }
}
