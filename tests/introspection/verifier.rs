//! Which tokens are asked for, how answers are judged, and how long they count.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tower_jwt_auth::RejectionKind::{
    AudienceMismatch, BadSignature, BindingMismatch, Expired, Inactive, IntrospectionUnavailable,
    InvalidClaim, IssuerMismatch, MalformedRequest, MalformedToken, MissingClaim, NotYetValid,
    Revoked, UnknownKey, WrongType,
};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::policy::RequiredClaim;
use tower_jwt_auth::revocation::Denylist;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{ConfigError, Issuer, JwtAuth, Rejection, TrustedIssuer, scope};

use crate::network::{Network, json, settle, status_only};
use crate::support::{NOW, get, get_with, send, small_cache};
use crate::world::{
    CLIENT_SECRET, TOKEN, World, active, active_text, asked_for, at, audience, introspection,
    issuer, kind,
};

#[tokio::test(start_paused = true)]
async fn rfc7662_2_2_3_accepts_an_opaque_token_with_the_claims_of_the_answer() {
    let world = World::new();
    world.says(
        serde_json::from_str(&active_text(
            json!({"jti": "t-1", "sid": "s-1", "locale": "de"}),
        ))
        .unwrap(),
    );
    let claims = world.verifier().verify(TOKEN).await.unwrap();
    assert_eq!(claims.issuer(), "https://as.example");
    assert_eq!(claims.subject(), Some("alice"));
    assert_eq!(claims.client_id(), Some("web"));
    assert_eq!(claims.id(), Some("t-1"));
    assert_eq!(claims.session_id(), Some("s-1"));
    assert_eq!(claims.expires_at(), Some(at(NOW + 3_600)));
    assert!(claims.authorize::<scope!("calendar:read")>().is_ok());
    assert!(claims.authorize::<scope!("calendar:write")>().is_err());
    let own = claims
        .deserialize::<serde_json::Map<String, Value>>()
        .unwrap();
    assert_eq!(own["locale"], "de");
    assert_eq!(own["active"], true);
}

#[tokio::test(start_paused = true)]
async fn rfc7662_2_2_4_an_answer_counts_for_30_seconds() {
    let world = World::new();
    let verifier = world.verifier();
    verifier.verify(TOKEN).await.unwrap();
    world.says_inactive();
    for _ in 0..10 {
        world.advance(2.9);
        verifier.verify_now(TOKEN).unwrap();
    }
    assert_eq!(world.network.count(), 1);
    world.advance(1.0);
    assert_eq!(kind(&verifier.verify(TOKEN).await), Some(Inactive));
    assert_eq!(world.network.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn rfc7662_4_1_a_cached_answer_never_outlives_exp() {
    let world = World::new();
    world.says(serde_json::from_str(&active_text(json!({"exp": NOW + 2}))).unwrap());
    let verifier = world.verifier();
    verifier.verify(TOKEN).await.unwrap();
    world.advance(1.9);
    verifier.verify(TOKEN).await.unwrap();
    assert_eq!(world.network.count(), 1);
    // The leeway would still accept the token, but the issuer decides.
    world.advance(0.1);
    world.says_inactive();
    assert_eq!(kind(&verifier.verify(TOKEN).await), Some(Inactive));
    assert_eq!(world.network.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_times_of_both_caches_can_be_set_and_be_zero() {
    let world = World::with(|introspection| {
        introspection
            .cache_active(Duration::from_secs(60))
            .cache_inactive(Duration::from_secs(20))
    });
    let verifier = world.verifier();
    verifier.verify(TOKEN).await.unwrap();
    world.advance(59.9);
    verifier.verify(TOKEN).await.unwrap();
    world.says_inactive();
    world.advance(0.1);
    assert_eq!(kind(&verifier.verify(TOKEN).await), Some(Inactive));
    world.advance(19.9);
    assert_eq!(kind(&verifier.verify_now(TOKEN)), Some(Inactive));
    assert_eq!(world.network.count(), 2);

    let world = World::with(|introspection| {
        introspection
            .cache_active(Duration::ZERO)
            .cache_inactive(Duration::ZERO)
    });
    let verifier = world.verifier();
    verifier.verify(TOKEN).await.unwrap();
    verifier.verify(TOKEN).await.unwrap();
    world.says_inactive();
    assert_eq!(kind(&verifier.verify(TOKEN).await), Some(Inactive));
    assert_eq!(kind(&verifier.verify(TOKEN).await), Some(Inactive));
    assert_eq!(world.network.count(), 4);

    // The twin: without the cache of tokens, every request causes a question.
    let world = World::new();
    let verifier = world.auth().cache(TokenCache::off()).verifier();
    verifier.verify(TOKEN).await.unwrap();
    verifier.verify(TOKEN).await.unwrap();
    assert_eq!(world.network.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn rfc7662_2_2_2_inactive_is_401_for_5_seconds_and_nothing_else_is_read() {
    let world = World::new();
    world.says(json!({"active": false, "sub": "alice", "scope": 7, "exp": "never"}));
    let auth = world.auth();
    let (response, seen) = send(&auth, get(TOKEN)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(seen.count(), 0);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    world.network.answers(|_| Ok(active(json!({}))));
    world.advance(4.9);
    let (response, _) = send(&auth, get(TOKEN)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.network.count(), 1);
    world.advance(0.1);
    let (response, seen) = send(&auth, get(TOKEN)).await;
    assert_eq!((response.status(), seen.count()), (StatusCode::OK, 1));
}

/// Each of these answers is a fault of the endpoint or of this service, so it gives 503 and never
/// 401, and does so only while it lasts. A token whose answer is known is still accepted.
#[tokio::test(start_paused = true)]
async fn rfc7662_2_2_1_and_2_3_1_a_bad_answer_is_503_and_ends_with_it() {
    let text = |text: &str| json(text.to_owned());
    let html = Response::builder()
        .header("content-type", "text/html")
        .body(b"<h1>Sign in</h1>".to_vec())
        .unwrap();
    let redirect = Response::builder()
        .status(302)
        .header("location", "https://elsewhere.example/")
        .body(Vec::new())
        .unwrap();
    let answers = [
        text("{}"),
        text(r#"{"active":"true"}"#),
        text(r#"{"active":1}"#),
        text(r#"{"active":null}"#),
        text(r#"{"active":true,"active":false}"#),
        text(r#"[{"active":true}]"#),
        text("true"),
        text(""),
        text(&format!(
            r#"{{"active":true,"x":"{}"}}"#,
            "x".repeat(70_000)
        )),
        html,
        redirect,
        status_only(204),
        status_only(400),
        status_only(401),
        status_only(403),
        status_only(404),
        status_only(429),
        status_only(500),
        status_only(503),
    ];
    for answer in answers {
        let world = World::new();
        let auth = world.auth();
        let (before, _) = send(&auth, get("known-token")).await;
        assert_eq!(before.status(), StatusCode::OK);
        let bad = answer.clone();
        world.network.answers(move |_| Ok(bad.clone()));
        let (during, seen) = send(&auth, get(TOKEN)).await;
        assert_eq!(
            during.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "{answer:?}"
        );
        assert!(during.headers().contains_key("retry-after"), "{answer:?}");
        assert!(!during.headers().contains_key("www-authenticate"));
        assert_eq!(seen.count(), 0);
        let rejection = during.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), IntrospectionUnavailable);
        let reason = format!("{rejection} {rejection:?}");
        assert!(
            !reason.contains(TOKEN) && !reason.contains(CLIENT_SECRET),
            "{reason}"
        );
        let (known, _) = send(&auth, get("known-token")).await;
        assert_eq!(known.status(), StatusCode::OK, "{answer:?}");
        world.network.answers(|_| Ok(active(json!({}))));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (after, _) = send(&auth, get(TOKEN)).await;
        assert_eq!(after.status(), StatusCode::OK, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rfc7662_2_2_d1_an_answer_meets_the_same_checks_as_a_payload() {
    for (members, expected) in [
        (json!({}), None),
        (json!({"iss": "https://as.example"}), None),
        (
            json!({"iss": "https://other.example"}),
            Some(IssuerMismatch),
        ),
        (json!({"iss": "https://as.example/"}), Some(IssuerMismatch)),
        (json!({"iss": 7}), Some(InvalidClaim)),
        (
            json!({"aud": ["https://other.example", "https://api.example"]}),
            None,
        ),
        (
            json!({"aud": "https://other.example"}),
            Some(AudienceMismatch),
        ),
        (json!({"aud": null}), Some(MissingClaim)),
        (json!({"exp": NOW - 59}), None),
        (json!({"exp": NOW - 60}), Some(Expired)),
        (json!({"exp": 1_700_000_000.5}), None),
        (json!({"exp": "soon"}), Some(InvalidClaim)),
        (json!({"exp": null}), None),
        (json!({"nbf": NOW + 60}), None),
        (json!({"nbf": NOW + 61}), Some(NotYetValid)),
        (json!({"iat": NOW + 61}), Some(NotYetValid)),
        (json!({"scope": 7}), Some(InvalidClaim)),
        (json!({"scope": ["a", "b"]}), None),
        (
            json!({"cnf": {"x5t#S256": "a".repeat(43)}}),
            Some(BindingMismatch),
        ),
        (json!({"cnf": null}), None),
        (json!({"token_type": "Bearer"}), None),
        (json!({"token_type": "refresh_token"}), Some(WrongType)),
        (json!({"typ": "Refresh"}), Some(WrongType)),
        (json!({"token_use": "refresh_token"}), Some(WrongType)),
        (json!({"typ": "ID", "nonce": "n"}), Some(WrongType)),
        (json!({"typ": "Bearer"}), None),
    ] {
        let world = World::new();
        let answer = active_text(members.clone());
        // A member that is `null` is left out of the answer. `null` itself is tested below, for
        // `cnf`.
        world.network.answers(move |_| Ok(json(answer.clone())));
        let verdict = world.verifier().verify(TOKEN).await;
        assert_eq!(kind(&verdict), expected, "{members}: {verdict:?}");
    }
    let world = World::new();
    world.network.answers(|_| {
        Ok(json(
            active_text(json!({})).replace("\"sub\"", "\"cnf\":null,\"sub\""),
        ))
    });
    assert_eq!(
        kind(&world.verifier().verify(TOKEN).await),
        Some(BindingMismatch)
    );
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_the_layer_hold_for_answers_and_the_header_rules_do_not() {
    let world = World::new();
    let profile = world.auth().access_token_profile();
    let verdict = profile.verifier().verify(TOKEN).await;
    assert_eq!(kind(&verdict), Some(MissingClaim), "{verdict:?}");
    let members = json!({"iat": NOW, "jti": "t-1"});
    world.network.answers(move |_| Ok(active(members.clone())));
    profile.clone().verifier().verify("another").await.unwrap();

    let required = world.auth().required_claims([RequiredClaim::Subject]);
    required.verifier().verify(TOKEN).await.unwrap();
    world.network.answers(|_| Ok(active(json!({"sub": null}))));
    let verdict = required.verifier().verify("third").await;
    assert_eq!(kind(&verdict), Some(MissingClaim));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_answer_is_known_for_a_moment_too() {
    let world = World::new();
    world
        .network
        .answers(|_| Ok(active(json!({"aud": "https://other.example"}))));
    let verifier = world.verifier();
    for _ in 0..3 {
        let verdict = verifier.verify(TOKEN).await;
        assert_eq!(kind(&verdict), Some(AudienceMismatch));
    }
    assert_eq!(world.network.count(), 1);
    // The twin: a token that is not valid yet is asked for again, because it may become valid at
    // any time.
    world
        .network
        .answers(|_| Ok(active(json!({"nbf": NOW + 61}))));
    for _ in 0..2 {
        let verdict = verifier.verify("early").await;
        assert_eq!(kind(&verdict), Some(NotYetValid));
    }
    assert_eq!(world.network.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_missing_audience_is_accepted_only_if_that_is_said() {
    for (members, expected) in [
        (json!({"aud": null}), None),
        (json!({}), None),
        (
            json!({"aud": "https://other.example"}),
            Some(AudienceMismatch),
        ),
        (json!({"aud": []}), Some(AudienceMismatch)),
    ] {
        let world = World::with(|introspection| introspection.insecure_allow_missing_audience());
        let answer = members.clone();
        world.network.answers(move |_| Ok(active(answer.clone())));
        let verdict = world.verifier().verify(TOKEN).await;
        assert_eq!(kind(&verdict), expected, "{members}: {verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_exp_counts_as_long_as_every_answer() {
    let world = World::new();
    world.network.answers(|_| Ok(active(json!({"exp": null}))));
    let verifier = world.verifier();
    assert_eq!(verifier.verify(TOKEN).await.unwrap().expires_at(), None);
    world.advance(29.9);
    verifier.verify_now(TOKEN).unwrap();
    world.advance(0.1);
    let claims = verifier.verify(TOKEN).await.unwrap();
    assert_eq!(world.network.count(), 2);
    // The token has no end, so its revocation is permanent.
    let denylist = Denylist::with_capacity(1).with_clock(world.clock.clone());
    denylist.revoke(&claims).unwrap();
    let verifier = world.auth().revocation(denylist).verifier();
    assert_eq!(kind(&verifier.verify(TOKEN).await), Some(Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_token_without_jti_is_identified_by_its_digest_and_can_be_revoked_at_once() {
    let world = World::new();
    let denylist = Denylist::default().with_clock(world.clock.clone());
    let verifier = world.auth().revocation(denylist.clone()).verifier();
    let claims = verifier.verify(TOKEN).await.unwrap();
    let hash = digest::digest(&digest::SHA256, TOKEN.as_bytes());
    let identity = BASE64_URL_SAFE_NO_PAD.encode(hash.as_ref());
    assert_eq!(claims.id(), Some(&*identity));
    verifier.verify_now(TOKEN).unwrap();
    denylist.revoke(&claims).unwrap();
    assert_eq!(kind(&verifier.verify_now(TOKEN)), Some(Revoked));
    assert_eq!(kind(&verifier.verify_now(TOKEN)), Some(Revoked));
    // The twin: another token of the same subject.
    verifier.verify("another").await.unwrap();
    // The revocation of the token on another instance.
    let other = world.auth().revocation(denylist.clone()).verifier();
    assert_eq!(kind(&other.verify(TOKEN).await), Some(Revoked));
    denylist
        .revoke_subject(claims.subject_id().unwrap(), at(NOW), at(NOW + 3_600))
        .unwrap();
    assert_eq!(kind(&verifier.verify_now("another")), Some(Revoked));
}

#[tokio::test(start_paused = true)]
async fn rfc9110_11_2_1_the_endpoint_sees_the_token_byte_for_byte_and_nothing_else() {
    let world = World::new();
    let auth = world.auth();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&asked);
    world.network.answers(move |request| {
        record.lock().unwrap().push(asked_for(request));
        Ok(active(json!({})))
    });
    for (token, encoded) in [
        ("a~b+c/d==", "a%7Eb%2Bc%2Fd%3D%3D"),
        ("x", "x"),
        ("a.b.c", "a.b.c"),
    ] {
        let (response, _) = send(&auth, get(token)).await;
        assert_eq!(response.status(), StatusCode::OK, "{token}");
        let asked = asked.lock().unwrap().last().unwrap().clone();
        assert_eq!(asked.to_ascii_uppercase(), encoded.to_ascii_uppercase());
    }
    let count = asked.lock().unwrap().len();
    for bad in ["a=b", "a{b", "\"T0\"", "a b", "=="] {
        let (response, _) = send(&auth, get(bad)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{bad}");
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), MalformedRequest);
        assert_eq!(
            kind(&world.verifier().verify(bad).await),
            Some(MalformedToken),
            "{bad}"
        );
    }
    let (response, _) = send(&auth, get_with(b"Bearer \xff\xfe")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    for word in ["undefined", "null"] {
        assert_eq!(
            kind(&world.verifier().verify(word).await),
            Some(MalformedToken)
        );
    }
    assert_eq!(
        asked.lock().unwrap().len(),
        count,
        "nothing of that was asked for"
    );
}

/// A layer with keys and with introspection.
pub(crate) fn both(world: &World, issuer: &TestIssuer) -> JwtAuth {
    JwtAuth::new(issuer.issuer(), issuer.audience(), issuer.keys())
        .introspection(world.introspection.clone())
        .clock(world.clock.clone())
        .cache(small_cache())
}

pub(crate) fn test_issuer(world: &World) -> TestIssuer {
    TestIssuer::new().with_clock(world.clock.clone())
}

#[tokio::test(start_paused = true)]
async fn intro_d2_jwts_are_judged_here_and_everything_else_there() {
    let world = World::new();
    let issuer = test_issuer(&world);
    let verifier = both(&world, &issuer).verifier();
    verifier.verify_now(&issuer.token().mint()).unwrap();
    for (token, expected) in [
        (issuer.token().tampered().mint(), BadSignature),
        (issuer.token().expired().mint(), Expired),
        (
            issuer.token().issuer("https://x.example").mint(),
            IssuerMismatch,
        ),
        (format!("{}~", issuer.token().mint()), MalformedToken),
    ] {
        assert_eq!(kind(&verifier.verify(&token).await), Some(expected));
    }
    assert_eq!(world.network.count(), 0);
    // The twins: tokens of other shapes.
    for token in [TOKEN, "v4.local.c2ln", "eyJhIjoxfQ.e30.c2ln"] {
        verifier.verify(token).await.unwrap();
    }
    let encrypted = format!("{}.Zm91cg.Zml2ZQ", issuer.token().mint());
    verifier.verify(&encrypted).await.unwrap();
    assert_eq!(world.network.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_jwt_that_must_be_active_passes_the_checks_of_both_sides() {
    let world = World::with(|introspection| introspection.introspect_jwts());
    let issuer = test_issuer(&world);
    let verifier = both(&world, &issuer).verifier();
    world
        .network
        .answers(|_| Ok(active(json!({"aud": null, "sub": "subject-1"}))));
    let good = issuer.token().claim("jti", "t-1").mint();
    let claims = verifier.verify(&good).await.unwrap();
    assert_eq!(
        (claims.id(), claims.subject()),
        (Some("t-1"), Some("subject-1"))
    );
    assert!(
        claims.scopes().is_empty(),
        "the claims are those of the JWT"
    );
    verifier.verify_now(&good).unwrap();
    assert_eq!(
        kind(&verifier.verify(&issuer.token().tampered().mint()).await),
        Some(BadSignature)
    );
    assert_eq!(world.network.count(), 1, "a forged token is not asked for");

    world.advance(30.0);
    world.says_inactive();
    assert_eq!(kind(&verifier.verify(&good).await), Some(Inactive));
    assert_eq!(kind(&verifier.verify_now(&good)), Some(Inactive));
    assert_eq!(world.network.count(), 2);
    for (members, expected) in [
        (json!({"sub": "subject-1", "exp": NOW - 60}), Expired),
        (json!({"sub": "subject-2"}), InvalidClaim),
        (
            json!({"sub": null, "iss": "https://x.example"}),
            IssuerMismatch,
        ),
        (
            json!({"sub": null, "aud": "https://x.example"}),
            AudienceMismatch,
        ),
        (json!({"sub": null, "cnf": {"kid": "k"}}), InvalidClaim),
    ] {
        world.network.answers(move |_| Ok(active(members.clone())));
        let verdict = verifier.verify(&issuer.token().mint()).await;
        assert_eq!(kind(&verdict), Some(expected), "{verdict:?}");
    }
    world.network.is_down();
    let verdict = verifier.verify(&issuer.token().mint()).await;
    assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_without_keys_is_asked_for_jwts_only_if_that_is_said() {
    let world = World::new();
    let issuer = test_issuer(&world);
    let jwt = issuer.token().mint();
    let verdict = world.verifier().verify(&jwt).await;
    assert_eq!(kind(&verdict), Some(UnknownKey));
    let reason = verdict.unwrap_err().to_string();
    assert!(reason.contains("introspect_jwts"), "{reason}");
    assert_eq!(world.network.count(), 0);

    let world = World::with(|introspection| introspection.introspect_jwts());
    let verifier = world.verifier();
    let claims = verifier.verify(&jwt).await.unwrap();
    assert_eq!(claims.subject(), Some("alice"), "the answer alone counts");
    verifier.verify_now(&jwt).unwrap();
    assert_eq!(world.network.count(), 1);
    let foreign = issuer.token().issuer("https://x.example").mint();
    assert_eq!(kind(&verifier.verify(&foreign).await), Some(IssuerMismatch));
    assert_eq!(world.network.count(), 1);
}

/// Two issuers with these prefixes, and their networks.
fn two(prefixes: [&str; 2]) -> (JwtAuth, [Network; 2]) {
    let world = World::new();
    let networks = [(); 2].map(|()| Network::new(|_| Ok(active(json!({})))));
    let [one, other] = &networks;
    let second = TrustedIssuer::introspected(
        Issuer::new("https://partner.example").unwrap(),
        audience(),
        introspection(other).prefix(prefixes[1]),
    );
    let auth = JwtAuth::introspected(issuer(), audience(), introspection(one).prefix(prefixes[0]))
        .trust(second)
        .clock(world.clock.clone())
        .cache(small_cache());
    (auth, networks)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shown_to_one_issuer_by_its_prefix() {
    let (auth, [one, other]) = two(["oat_", "pat_"]);
    auth.check_settings().unwrap();
    let verifier = auth.verifier();
    let claims = verifier.verify("oat_1").await.unwrap();
    assert_eq!(claims.issuer(), "https://as.example");
    let claims = verifier.verify("pat_1").await.unwrap();
    assert_eq!(claims.issuer(), "https://partner.example");
    assert_eq!((one.count(), other.count()), (1, 1));
    assert_eq!(kind(&verifier.verify("xat_1").await), Some(MalformedToken));
    assert_eq!((one.count(), other.count()), (1, 1));
    // An outage of one issuer does not affect the other.
    one.is_down();
    assert_eq!(
        kind(&verifier.verify("oat_2").await),
        Some(IntrospectionUnavailable)
    );
    verifier.verify("pat_2").await.unwrap();
    verifier.verify_now("oat_1").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_prefix_that_no_token_can_have_is_told() {
    for prefix in ["oat é", "oat_ ", "oat=", "\"oat", "oat\n"] {
        for prefixes in [[prefix, "pat_"], ["oat_", prefix]] {
            let error = two(prefixes).0.check_settings().unwrap_err().to_string();
            assert!(error.contains("other characters than a token"), "{error}");
        }
    }
    two(["oat.-_~+/9", "pat_"]).0.check_settings().unwrap();
}

#[tokio::test(start_paused = true)]
async fn prefixes_that_contradict_each_other_are_told_and_show_a_token_to_nobody() {
    for (prefixes, claimed, other) in [
        (["", ""], "oat_1", None),
        (["oat_", ""], "oat_1", Some("pat_1")),
        (["oat_", "oat_"], "oat_1", None),
        (["oat_", "oat_eu_"], "oat_eu_1", Some("oat_1")),
    ] {
        let (auth, networks) = two(prefixes);
        let error = auth.check_settings().unwrap_err();
        assert!(matches!(error, ConfigError::Settings { .. }));
        let text = error.to_string();
        assert!(text.contains("https://partner.example"), "{text}");
        assert_eq!(
            text.contains("add `Introspection::prefix`"),
            prefixes == ["", ""]
        );
        let verifier = auth.verifier();
        let verdict = verifier.verify(claimed).await;
        assert_eq!(
            kind(&verdict),
            Some(IntrospectionUnavailable),
            "{prefixes:?}"
        );
        assert!(networks.iter().all(|network| network.count() == 0));
        if let Some(other) = other {
            verifier.verify(other).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_counts_during_an_outage_only_if_that_is_said_and_never_after_exp() {
    for stale in [0, 60] {
        let world =
            World::with(|introspection| introspection.stale_within(Duration::from_secs(stale)));
        let verifier = world.verifier();
        verifier.verify(TOKEN).await.unwrap();
        world.network.is_down();
        world.advance(30.0);
        let verdict = verifier.verify(TOKEN).await;
        let expected = (stale == 0).then_some(IntrospectionUnavailable);
        assert_eq!(kind(&verdict), expected);
        // Whether the question fails, or none is asked any more.
        for _ in 0..7 {
            assert_eq!(kind(&verifier.verify(TOKEN).await), expected);
        }
        world.advance(59.0);
        assert_eq!(kind(&verifier.verify(TOKEN).await), expected);
        world.advance(1.0);
        let verdict = verifier.verify(TOKEN).await;
        assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    }

    let world = World::with(|introspection| introspection.stale_within(Duration::from_secs(300)));
    world
        .network
        .answers(|_| Ok(active(json!({"exp": NOW + 40}))));
    let verifier = world.verifier();
    verifier.verify(TOKEN).await.unwrap();
    world.network.is_down();
    world.advance(39.0);
    verifier.verify(TOKEN).await.unwrap();
    world.advance(1.0);
    assert_eq!(
        kind(&verifier.verify(TOKEN).await),
        Some(IntrospectionUnavailable)
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_dead_after_a_newer_one_that_says_no() {
    for jwts in [false, true] {
        let world = World::with(|introspection| {
            let stale = introspection
                .stale_within(Duration::from_secs(300))
                .cache_inactive(Duration::ZERO);
            if jwts { stale.introspect_jwts() } else { stale }
        });
        let issuer = test_issuer(&world);
        let verifier = both(&world, &issuer).verifier();
        world
            .network
            .answers(|_| Ok(active(json!({"sub": "subject-1"}))));
        let jwt = issuer.token().mint();
        let token = if jwts { &*jwt } else { TOKEN };
        verifier.verify(token).await.unwrap();
        world.advance(30.0);
        world.network.is_down();
        verifier.verify(token).await.unwrap();
        world.says_inactive();
        assert_eq!(kind(&verifier.verify(token).await), Some(Inactive));
        world.network.is_down();
        let verdict = verifier.verify(token).await;
        assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
        // The twin: the token is active again.
        world
            .network
            .answers(|_| Ok(active(json!({"sub": "subject-1"}))));
        verifier.verify(token).await.unwrap();
        world.advance(30.0);
        world.network.is_down();
        verifier.verify(token).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_counts_for_an_old_answer_too() {
    let world = World::with(|introspection| introspection.stale_within(Duration::from_secs(300)));
    let denylist = Denylist::default().with_clock(world.clock.clone());
    let verifier = world.auth().revocation(denylist.clone()).verifier();
    let claims = verifier.verify(TOKEN).await.unwrap();
    world.network.is_down();
    world.advance(30.0);
    verifier.verify(TOKEN).await.unwrap();
    denylist.revoke(&claims).unwrap();
    assert_eq!(kind(&verifier.verify(TOKEN).await), Some(Revoked));
}

#[tokio::test(start_paused = true)]
async fn verify_now_asks_and_does_not_wait() {
    let world = World::new();
    let verifier = world.verifier();
    let verdict = verifier.verify_now(TOKEN);
    assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    let reason = verdict.unwrap_err().to_string();
    assert!(reason.contains("use `verify` instead"), "{reason}");
    crate::network::settle().await;
    verifier.verify_now(TOKEN).unwrap();
    assert_eq!(world.network.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_guard_and_a_grpc_client_get_the_same_answers() {
    let world = World::new();
    let auth = world.auth();
    let grpc = |token: &str| {
        let mut request = get(token);
        *request.method_mut() = http::Method::POST;
        let value = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", value);
        request
    };
    let (response, _) = send(&auth, grpc(TOKEN)).await;
    assert_eq!(response.status(), StatusCode::OK);
    for (inactive, code) in [(true, "16"), (false, "14")] {
        if inactive {
            world.says_inactive();
        } else {
            world.network.is_down();
        }
        let (response, seen) = send(&auth, grpc(&format!("unknown-{code}"))).await;
        assert_eq!(response.headers()["grpc-status"], code);
        assert_eq!(seen.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_an_outage_and_the_hit_rate() {
    let world = World::new();
    let verifier = world.verifier();
    let status = world.introspection.status();
    assert_eq!((status.hit_rate(), status.asked), (None, 0));
    assert!(world.introspection.is_ready());
    for _ in 0..4 {
        verifier.verify(TOKEN).await.unwrap();
    }
    let status = world.introspection.status();
    assert_eq!(
        (status.hits, status.misses, status.asked, status.asking),
        (3, 1, 1, 0)
    );
    assert_eq!(status.hit_rate(), Some(0.75));
    assert_eq!(
        status.to_string(),
        "introspection at https://as.example/introspect: healthy, asked once, asking 0 now, hit rate 75.0 %"
    );
    world.network.is_down();
    for at in 0..5 {
        let verdict = verifier.verify(&format!("unknown-{at}")).await;
        assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    }
    settle().await;
    let status = world.introspection.status();
    assert!(!status.is_healthy && !world.introspection.is_ready());
    assert_eq!(status.failed, 5);
    let text = status.to_string();
    assert!(text.contains("circuit breaker open for 0 s"), "{text}");
    assert!(text.contains("connection refused"), "{text}");
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["is_healthy"], false);
    world.network.answers(|_| Ok(active(json!({}))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    verifier.verify("honest").await.unwrap();
    assert!(world.introspection.is_ready());
    assert!(world.introspection.status().failing.is_none());
}

#[test]
fn without_a_runtime_a_token_is_503_and_nothing_panics() {
    let world = World::new();
    let verifier = world.verifier();
    let mut verdict = std::pin::pin!(verifier.verify(TOKEN));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(verdict) = verdict.as_mut().poll(&mut context) else {
        panic!("it waits for nothing that can come");
    };
    assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    let reason = verdict.unwrap_err().to_string();
    assert!(reason.contains("no tokio runtime"), "{reason}");
}

/// A layer that was created in a runtime serves requests that another executor polls.
#[test]
fn any_executor_can_poll_a_request_while_the_runtime_lives_and_after_it_has_ended() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let verifier = {
        let _inside = runtime.enter();
        World::new().verifier()
    };
    block_on(verifier.verify(TOKEN)).unwrap();
    drop(runtime);
    verifier.clone().verify_now(TOKEN).unwrap();
    let verdict = block_on(verifier.verify("unknown"));
    assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    let reason = verdict.unwrap_err().to_string();
    assert!(reason.contains("runtime"), "{reason}");
}

/// Polls a future on this thread, without tokio.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

#[tokio::test(start_paused = true)]
async fn the_test_kit_mints_opaque_tokens_and_answers_for_them() {
    let issuer = TestIssuer::new();
    let auth = issuer.auth().introspection(issuer.introspection());
    let token = issuer
        .token()
        .subject("bob")
        .scope("calendar:read")
        .mint_opaque();
    let verifier = auth.verifier();
    let claims = verifier.verify(&token).await.unwrap();
    assert_eq!(claims.subject(), Some("bob"));
    verifier.verify(&issuer.token().mint()).await.unwrap();
    for token in [
        issuer.token().expired().mint_opaque(),
        issuer.token().tampered().mint_opaque(),
        TestIssuer::new().token().mint_opaque(),
    ] {
        assert_eq!(kind(&verifier.verify(&token).await), Some(Inactive));
    }
    issuer.end(&token);
    let fresh = issuer
        .auth()
        .introspection(issuer.introspection())
        .verifier();
    assert_eq!(kind(&fresh.verify(&token).await), Some(Inactive));

    // The test issuer takes the place of the issuer of production, with its settings.
    let world = World::with(|introspection| introspection.prefix("oat_").introspect_jwts());
    let (issuer, auth) = TestIssuer::in_place_of(world.auth());
    let verifier = auth.verifier();
    let token = issuer.token().mint_opaque_with_prefix("oat_");
    verifier.verify(&token).await.unwrap();
    assert_eq!(
        kind(&verifier.verify(&issuer.token().mint_opaque()).await),
        Some(MalformedToken)
    );
    let jwt = issuer.token().mint();
    verifier.verify(&jwt).await.unwrap();
    let forged = issuer.token().tampered().mint();
    assert_eq!(kind(&verifier.verify(&forged).await), Some(Inactive));
    assert_eq!(world.network.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_printed_has_a_token_or_a_secret() {
    let world = World::new();
    let auth = world.auth();
    let verifier = auth.verifier();
    let claims = verifier.verify(TOKEN).await.unwrap();
    let introspection = &world.introspection;
    let printed = format!(
        "{auth:?} {verifier:?} {claims:?} {introspection:?} {:?} {}",
        introspection.status(),
        introspection.status()
    );
    for secret in [TOKEN, CLIENT_SECRET, "alice"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

/// The operator reads about an outage, and sees no token.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn rfc7662_4_2_the_log_tells_an_outage_and_shows_no_token() {
    let log = crate::support::log::Log::down_to(tracing_subscriber::filter::LevelFilter::TRACE);
    let world = World::new();
    let auth = world.auth();
    send(&auth, get(TOKEN)).await;
    world.network.answers(|request| {
        let quoted = String::from_utf8_lossy(request.body()).into_owned();
        Err(tower_jwt_auth::fetch::FetchError::new(format!(
            "refused: {quoted}"
        )))
    });
    for at in 0..6 {
        send(&auth, get(&format!("very-private-{at}"))).await;
    }
    world.network.answers(|_| Ok(active(json!({}))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    send(&auth, get("very-private-6")).await;
    let contradictory = two(["", ""]).0;
    let _ = contradictory.verifier();
    let text = log.text();
    for event in [
        "DEBUG tower_jwt_auth: jwt_introspection_asked",
        "WARN tower_jwt_auth: jwt_introspection_failed",
        "WARN tower_jwt_auth: jwt_introspection_opened",
        "INFO tower_jwt_auth: jwt_introspection_recovered",
        "ERROR tower_jwt_auth: jwt_settings_rejected",
        "WARN tower_jwt_auth: jwt_unavailable",
    ] {
        assert!(text.contains(event), "{event} in {text}");
    }
    for secret in [TOKEN, "very-private", CLIENT_SECRET, "alice"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
