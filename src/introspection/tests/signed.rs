//! Signed answers (RFC 9701).

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::keys::RemoteKeys;
use crate::keys::algorithm::Algorithm;
use crate::test::{TestIssuer, TestToken};

const TYPE: &str = "application/token-introspection+jwt";

/// A good answer about an active token.
fn signed(issuer: &TestIssuer) -> TestToken {
    around(
        issuer,
        json!({"active": true, "sub": "alice", "exp": NOW + 60}),
    )
}

fn around(issuer: &TestIssuer, inner: Value) -> TestToken {
    issuer
        .token()
        .header("typ", "token-introspection+jwt")
        .raw_claims(
            json!({
                "iss": "https://as.example",
                "aud": "files-api",
                "iat": NOW,
                "sub": "outer",
                "exp": 1,
                "token_introspection": inner,
            })
            .to_string(),
        )
}

fn claims(issuer: &TestIssuer, name: &str, value: Value) -> TestToken {
    let mut claims = json!({
        "iss": "https://as.example",
        "aud": "files-api",
        "iat": NOW,
        "token_introspection": {"active": true},
    });
    let members = claims.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    let token = issuer.token().header("typ", "token-introspection+jwt");
    token.raw_claims(claims.to_string())
}

async fn judged(issuer: &TestIssuer, reply: Reply) -> Result<Answer, AskFailure> {
    let server = Server::new(move |_| reply.clone());
    let introspection = Introspection::at_with(URL, basic(), server.fetch()).unwrap();
    let answer = ask(&introspection.signed(issuer.keys())).await;
    assert_eq!(server.last_header(ACCEPT).as_deref(), Some(TYPE));
    answer
}

async fn minted(issuer: &TestIssuer, token: &TestToken) -> Result<Answer, AskFailure> {
    judged(issuer, of_type(TYPE, token.mint())).await
}

/// RFC9701-4-1, RFC9701-5-1, RFC9701-5-2, RFC9701-5-3
#[tokio::test]
async fn a_signed_answer_is_read_and_nothing_around_it() {
    for algorithm in [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA] {
        let issuer = TestIssuer::with_algorithm(algorithm);
        for content_type in [TYPE, "application/token-introspection+jwt; charset=utf-8"] {
            let reply = of_type(content_type, format!("{}\n", signed(&issuer).mint()));
            let Ok(Answer::Active(active)) = judged(&issuer, reply).await else {
                panic!("{algorithm}");
            };
            assert_eq!(active.claims().subject(), Some("alice"));
            assert_eq!(active.claims().expires_at().unwrap().0, 1_700_000_060.0);
            assert!(active.claims().issuer().is_none());
        }
    }
    let issuer = TestIssuer::new();
    let inactive = around(&issuer, json!({"active": false, "sub": "x"}));
    assert!(matches!(
        minted(&issuer, &inactive).await,
        Ok(Answer::Inactive)
    ));
    // Some servers write their type with the prefix, or in capitals.
    let typed = signed(&issuer).header("typ", "application/Token-Introspection+JWT");
    assert!(matches!(
        minted(&issuer, &typed).await,
        Ok(Answer::Active(_))
    ));
}

/// RFC9701-5-1: no silent downgrade.
#[tokio::test]
async fn an_answer_that_is_not_signed_is_a_failure() {
    let issuer = TestIssuer::new();
    let token = signed(&issuer).mint();
    for (content_type, body) in [
        ("application/json", r#"{"active":true}"#),
        ("application/json", &token),
        ("application/jwt", &token),
        (TYPE, r#"{"active":true}"#),
        (TYPE, ""),
        (TYPE, "a.b.c"),
    ] {
        judged(&issuer, of_type(content_type, body))
            .await
            .unwrap_err();
    }
    for typ in ["JWT", "at+jwt", "token-introspection", ""] {
        minted(&issuer, &signed(&issuer).header("typ", typ))
            .await
            .unwrap_err();
    }
    minted(&issuer, &signed(&issuer).without_header("typ"))
        .await
        .unwrap_err();
    minted(&issuer, &signed(&issuer).header("crit", vec!["x"]))
        .await
        .unwrap_err();
    minted(&issuer, &signed(&issuer).header("alg", "none").unsigned())
        .await
        .unwrap_err();
}

/// RFC9701-5-2
#[tokio::test]
async fn a_signed_answer_is_new_and_for_this_service() {
    let issuer = TestIssuer::new();
    for (name, value, is_good) in [
        ("aud", json!("files-api"), true),
        ("aud", json!("files"), true),
        ("aud", json!(["other", "files"]), true),
        ("aud", json!("other"), false),
        ("aud", json!([]), false),
        ("aud", json!(5), false),
        ("aud", Value::Null, false),
        ("iss", json!("https://b.example"), false),
        ("iss", json!("https://as.example/"), false),
        ("iss", Value::Null, false),
        ("iat", json!(NOW - 600), true),
        ("iat", json!(1_699_999_400.5), true),
        ("iat", json!(NOW - 660), false),
        ("iat", json!(NOW + 60), true),
        ("iat", json!(NOW + 61), false),
        ("iat", json!("now"), false),
        ("iat", Value::Null, false),
        ("exp", json!(NOW - 1_000), true),
        ("token_introspection", json!({"active": "true"}), false),
        ("token_introspection", json!({}), false),
        ("token_introspection", json!([{"active": true}]), false),
        ("token_introspection", json!("{\"active\":true}"), false),
        ("token_introspection", Value::Null, false),
        ("active", json!(true), true),
    ] {
        let answer = minted(&issuer, &claims(&issuer, name, value.clone())).await;
        assert_eq!(answer.is_ok(), is_good, "{name} {value}: {answer:?}");
    }
    // A member of the answer is not looked for around it.
    let outside = claims(&issuer, "token_introspection", Value::Null);
    let outside = outside.raw_claims(
        json!({"iss": "https://as.example", "aud": "files", "iat": NOW, "active": true})
            .to_string(),
    );
    minted(&issuer, &outside).await.unwrap_err();
    // What the header repeats of the claims must be the same.
    let repeated = signed(&issuer).header("iss", "https://b.example");
    minted(&issuer, &repeated).await.unwrap_err();
}

/// RFC9701-5-2: without a client id and with any audience, no `aud` can be expected.
#[tokio::test]
async fn the_audience_is_what_is_known_of_this_service() {
    let issuer = TestIssuer::new();
    let clock: Arc<dyn Clock> = Arc::new(|| UNIX_EPOCH + Duration::from_secs(NOW));
    let bearer = || ClientAuth::bearer("token").unwrap();
    for (auth, audience, aud, is_good) in [
        (bearer(), Audience::new("files").unwrap(), "files", true),
        (
            bearer(),
            Audience::new("files").unwrap(),
            "files-api",
            false,
        ),
        (bearer(), Audience::insecure_any(), "other", true),
        (basic(), Audience::insecure_any(), "files-api", true),
        (basic(), Audience::insecure_any(), "other", false),
    ] {
        let token = claims(&issuer, "aud", json!(aud)).mint();
        let server = Server::new(move |_| of_type(TYPE, token.clone()));
        let introspection = Introspection::at_with(URL, auth, server.fetch()).unwrap();
        let introspection = introspection.signed(issuer.keys());
        let answer = introspection
            .ask(TOKEN, &super::issuer(), &audience, &clock)
            .await;
        assert_eq!(answer.is_ok(), is_good, "{audience} {aud}: {answer:?}");
    }
}

/// RFC9701-5-2
#[tokio::test]
async fn only_the_keys_of_the_issuer_verify_an_answer() {
    let issuer = TestIssuer::new();
    for bad in [
        signed(&issuer).signed_by_stranger(),
        signed(&issuer).tampered(),
        signed(&TestIssuer::new()),
        signed(&issuer).header("kid", "another"),
        signed(&TestIssuer::with_algorithm(Algorithm::RS256)),
    ] {
        minted(&issuer, &bad).await.unwrap_err();
    }
    let answer = minted(&issuer, &signed(&issuer).without_header("kid")).await;
    assert!(matches!(answer, Ok(Answer::Active(_))), "{answer:?}");
}

/// The keys that verify tokens verify answers too, and a new one is looked up for either.
#[tokio::test(start_paused = true)]
async fn a_new_key_is_looked_up() {
    let issuer = TestIssuer::new();
    let loads = Arc::new(AtomicU64::new(0));
    let is_up = Arc::new(AtomicU64::new(1));
    let jwks = {
        let (issuer, loads, is_up) = (issuer.clone(), Arc::clone(&loads), Arc::clone(&is_up));
        move |_: Request<Vec<u8>>, _: usize| {
            loads.fetch_add(1, Ordering::Relaxed);
            let jwks = match is_up.load(Ordering::Relaxed) {
                0 => Err(FetchError::new("down")),
                _ => Ok(Response::new(issuer.jwks().into_bytes())),
            };
            async move { jwks }
        }
    };
    let keys = RemoteKeys::jwks("https://as.example/jwks", jwks).unwrap();
    let keys = keys.connect_lazy().unwrap();
    let judged = async |token: String| {
        let server = Server::new(move |_| of_type(TYPE, token.clone()));
        let introspection = Introspection::at_with(URL, basic(), server.fetch()).unwrap();
        ask(&introspection.signed(keys.clone())).await
    };
    // The first load, and a load for a new key id.
    assert!(judged(signed(&issuer).mint()).await.is_ok());
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    issuer.rotate();
    assert!(judged(signed(&issuer).mint()).await.is_ok());
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    // A key that the issuer does not have, and one that it cannot be asked for.
    let stranger = signed(&issuer).header("kid", "unknown").mint();
    assert!(judged(stranger.clone()).await.is_err());
    is_up.store(0, Ordering::Relaxed);
    issuer.rotate();
    let failure = judged(signed(&issuer).mint()).await.unwrap_err();
    assert!(!failure.is_ours && !failure.may_be_the_token, "{failure:?}");
}
