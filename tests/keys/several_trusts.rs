//! Several trusts in one issuer. Each has its own audience, keys and rules. All of them count, and
//! none applies to another.

#![cfg(feature = "remote")]

use std::time::{Duration, SystemTime};

use crate::network::{JWKS, Network};
use tower_jwt_auth::RejectionKind::{
    AlgorithmNotAllowed, AudienceMismatch, BadSignature, Expired, InvalidClaim,
    KeySourceUnavailable, MissingClaim, Revoked, UnknownKey,
};
use tower_jwt_auth::keys::RemoteKeys;
use tower_jwt_auth::policy::RequiredClaim;
use tower_jwt_auth::revocation::Denylist;
use tower_jwt_auth::test::{FixedClock, TestIssuer, TestToken};
use tower_jwt_auth::{
    Algorithm, Claims, JwtAuth, KeyStore, RejectionKind, TrustedIssuer, Verifier,
};

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"\x8f\x01\xc4\x55\x1d\xe2\x90\x3a\x77\xb8\x09\xf6\x42\xad\x6c\x13\xd8\x5e\x2b\xf1\x84\x3f\xca\x66\x0d\x97\x71\xbe\x25\xe9\x58\xa3";

/// Two tenants of one issuer, each with its own audience and key. The keys have the same id.
fn tenants() -> [TestIssuer; 2] {
    let clock = FixedClock::at(NOW);
    ["a-api", "b-api"].map(|api| {
        TestIssuer::new()
            .for_audience(api)
            .with_clock(clock.clone())
    })
}

fn both(one: &TestIssuer, other: &TestIssuer) -> JwtAuth {
    one.auth().trust(TrustedIssuer::new(
        other.issuer(),
        other.audience(),
        other.keys(),
    ))
}

#[track_caller]
fn rejects(verifier: &Verifier, token: &str, kind: RejectionKind) {
    let rejection = verifier.verify_now(token).expect_err("accepted");
    assert_eq!(rejection.kind(), kind, "{rejection}");
}

#[test]
fn both_trusts_accept_their_own_tokens_and_nothing_of_the_other() {
    let [a, b] = tenants();
    for auth in [both(&a, &b), both(&b, &a)] {
        let verifier = auth.verifier();
        // Twice, so that the second verdicts come from the cache.
        for _ in 0..2 {
            for issuer in [&a, &b] {
                assert!(verifier.verify_now(&issuer.token().mint()).is_ok());
            }
            rejects(&verifier, &a.token().audience("b-api").mint(), BadSignature);
            rejects(&verifier, &b.token().audience("a-api").mint(), BadSignature);
            rejects(
                &verifier,
                &a.token().audience("c-api").mint(),
                AudienceMismatch,
            );
        }
    }
    // A single trust behaves as usual.
    let alone = a.auth().verifier();
    rejects(&alone, &b.token().mint(), AudienceMismatch);
    rejects(&alone, &b.token().audience("a-api").mint(), BadSignature);
}

/// The reason names the expected values of all trusts, and each issuer once.
#[test]
fn the_reason_of_a_mismatch_is_that_of_all_trusts() {
    let [a, b] = tenants();
    let verifier = both(&a, &b).verifier();
    let reason = |token: String| verifier.verify_now(&token).unwrap_err().to_string();
    assert_eq!(
        reason(a.token().audience("c-api").mint()),
        r#"audience is "c-api", expected "a-api" or "b-api""#
    );
    assert_eq!(
        reason(a.token().issuer("https://elsewhere.example").mint()),
        r#"issuer is "https://elsewhere.example", expected "https://as.example""#
    );
}

/// A token for both APIs is accepted under the key of either tenant, because each may issue tokens
/// for its API.
#[test]
fn the_key_decides_between_trusts_that_fit() {
    let [a, b] = tenants();
    let verifier = both(&a, &b).verifier();
    for issuer in [&a, &b] {
        let token = issuer.token().claim("aud", vec!["a-api", "b-api"]);
        assert!(verifier.verify_now(&token.mint()).is_ok());
        rejects(&verifier, &token.signed_by_stranger().mint(), BadSignature);
    }
}

/// The cache stores the trust under which a token was accepted. The entry ends with the keys of
/// that trust.
#[test]
fn a_remembered_token_ends_with_the_keys_of_its_own_trust() {
    let [a, b] = tenants();
    let verifier = both(&a, &b).verifier();
    let [of_a, of_b] = [&a, &b].map(|issuer| issuer.token().mint());
    for token in [&of_a, &of_b, &of_a, &of_b] {
        assert!(verifier.verify_now(token).is_ok());
    }
    b.keys().remove("key-1");
    assert!(verifier.verify_now(&of_a).is_ok());
    rejects(&verifier, &of_b, UnknownKey);
    a.keys().remove("key-1");
    rejects(&verifier, &of_a, UnknownKey);
}

/// The rules are those of the trust that accepts the token, from the cache or not.
#[test]
fn each_trust_has_rules_of_its_own() {
    let [a, b] = tenants();
    let auth = a.auth().trust(
        b.trusted()
            .required_claims([RequiredClaim::NotBefore])
            .max_lifetime(Duration::from_secs(300)),
    );
    let verifier = auth.verifier();
    assert!(verifier.verify_now(&a.token().mint()).is_ok());
    rejects(&verifier, &b.token().mint(), MissingClaim);
    let dated = b.token().claim("nbf", NOW);
    for _ in 0..2 {
        assert!(verifier.verify_now(&dated.mint()).is_ok());
    }
    let long = Duration::from_secs(301);
    rejects(&verifier, &dated.expires_in(long).mint(), InvalidClaim);
    assert!(
        verifier
            .verify_now(&a.token().expires_in(long).mint())
            .is_ok()
    );
}

/// A rule of a trust replaces that of the layer. A rule that the trust does not have comes from the
/// layer.
#[test]
fn a_rule_of_a_trust_takes_the_place_of_that_of_the_layer() {
    let [a, b] = tenants();
    let auth = a.auth().required_claims([RequiredClaim::NotBefore]);
    let auth = auth.require_key_id();
    let auth = auth.trust(b.trusted().required_claims([RequiredClaim::IssuedAt]));
    let verifier = auth.verifier();
    rejects(&verifier, &a.token().mint(), MissingClaim);
    let dated = a.token().claim("nbf", NOW);
    assert!(verifier.verify_now(&dated.mint()).is_ok());
    assert!(verifier.verify_now(&b.token().mint()).is_ok());
    let undated = b.token().without("iat");
    rejects(&verifier, &undated.mint(), MissingClaim);
    let unnamed = b.token().without_header("kid");
    rejects(&verifier, &unnamed.mint(), UnknownKey);
}

/// The reported failure is that of the trust for which the token was meant, in either order of the
/// trusts.
#[test]
fn the_most_telling_failure_is_told() {
    let [a, b] = tenants();
    let hmac = TestIssuer::with_secret(Algorithm::HS256, SECRET)
        .for_audience("a-api")
        .with_clock(FixedClock::at(NOW));
    for auth in [both(&a, &b), both(&b, &a)] {
        let verifier = auth.verifier();
        rejects(&verifier, &a.token().expired().mint(), Expired);
        let unknown = a.token().header("kid", "nobody").mint();
        rejects(&verifier, &unknown, UnknownKey);
        // The signature is valid, so the failure after it is reported.
        rejects(&verifier, &a.token().claim("scope", 5).mint(), InvalidClaim);
        let denylist = Denylist::default();
        let verifier = auth.revocation(denylist.clone()).verifier();
        let token = a.token().mint();
        let claims: Claims = verifier.verify_now(&token).unwrap();
        denylist.revoke(&claims).unwrap();
        rejects(&verifier, &token, Revoked);
    }
    for auth in [both(&a, &hmac), both(&hmac, &a)] {
        let verifier = auth.verifier();
        for issuer in [&a, &hmac] {
            assert!(verifier.verify_now(&issuer.token().mint()).is_ok());
            let forged = issuer.token().signed_by_stranger().mint();
            rejects(&verifier, &forged, BadSignature);
        }
        let other = a.token().header("alg", "RS256").mint();
        rejects(&verifier, &other, AlgorithmNotAllowed);
    }
}

/// A layer that trusts both logins, each with this store.
fn with_stores(issuers: &[TestIssuer; 2], [one, other]: [KeyStore; 2]) -> JwtAuth {
    let second = TrustedIssuer::new(issuers[1].issuer(), issuers[1].audience(), other);
    JwtAuth::new(issuers[0].issuer(), issuers[0].audience(), one).trust(second)
}

fn remote(network: &Network) -> KeyStore {
    let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
    keys.connect_lazy().unwrap()
}

/// A login moves from a secret to a published key. During an outage of its key set, tokens of the
/// secret are accepted. A token that cannot be judged is not a fault of the client.
#[tokio::test(start_paused = true)]
async fn a_secret_serves_beside_a_remote_set_that_is_down() {
    let old = TestIssuer::with_secret(Algorithm::HS256, SECRET);
    let new = TestIssuer::new();
    let network = Network::of(&new);
    network.is_down();
    let keys = remote(&network);
    let auth = old
        .auth()
        .trust(TrustedIssuer::new(new.issuer(), new.audience(), &keys));
    let verifier: Verifier = auth.verifier();
    assert!(verifier.verify(&old.token().mint()).await.is_ok());
    let rejection = verifier.verify(&new.token().mint()).await.unwrap_err();
    assert_eq!(rejection.kind(), KeySourceUnavailable, "{rejection}");
    assert_eq!(rejection.status(), 503);

    network.publishes(&new);
    tokio::time::sleep(Duration::from_secs(120)).await;
    for issuer in [&old, &new] {
        assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
        let forged = issuer.token().signed_by_stranger().mint();
        let rejection = verifier.verify(&forged).await.unwrap_err();
        assert_eq!(rejection.kind(), BadSignature, "{rejection}");
    }
}

/// A new key of either set is found. A set is not loaded for a token that the other set verifies.
#[tokio::test(start_paused = true)]
async fn a_new_key_is_looked_for_in_every_set() {
    let issuers = [TestIssuer::new(), TestIssuer::new()];
    let networks = [&issuers[0], &issuers[1]].map(Network::of);
    let [one, other] = [&networks[0], &networks[1]].map(remote);
    let verifier = with_stores(&issuers, [one, other]).verifier();
    for issuer in &issuers {
        assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
    }
    let asked = || [&networks[0], &networks[1]].map(Network::count);
    let before = asked();
    for issuer in &issuers {
        assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
    }
    assert_eq!(asked(), before);

    for at in [1, 0] {
        // The test replaces what each issuer publishes. The store of the test issuer does not
        // matter.
        let next = format!("next-{at}");
        let successor = TestIssuer::new();
        let jwks = successor.jwks().replace("key-1", &next);
        networks[at].publishes_text(jwks);
        let token = successor.token().header("kid", next).mint();
        assert!(verifier.verify(&token).await.is_ok(), "set {at}");
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    let nobody = issuers[0].token().header("kid", "nobody").mint();
    let rejection = verifier.verify(&nobody).await.unwrap_err();
    assert_eq!(rejection.kind(), UnknownKey, "{rejection}");
}

/// A set that hangs does not affect tokens of new keys in the other set.
#[tokio::test(start_paused = true)]
async fn a_new_key_of_one_set_counts_though_the_other_set_hangs() {
    let issuers = [TestIssuer::new(), TestIssuer::new()];
    for hanging in [0, 1] {
        let networks = [&issuers[0], &issuers[1]].map(Network::of);
        let [one, other] = [&networks[0], &networks[1]].map(remote);
        one.reload().await;
        other.reload().await;
        let verifier = with_stores(&issuers, [one, other]).verifier();

        let successor = TestIssuer::new();
        networks[1 - hanging].publishes_text(successor.jwks().replace("key-1", "next"));
        networks[hanging].answers_after(None);
        let begin = tokio::time::Instant::now();
        let token = successor.token().header("kid", "next").mint();
        let verdict = verifier.verify(&token).await;
        assert!(verdict.is_ok(), "{hanging}: {verdict:?}");
        // The request does not wait for the set that it does not need.
        assert!(begin.elapsed() < Duration::from_secs(1), "{hanging}");
        // A key that neither set has may be a new key of the set that hangs.
        let nobody = successor.token().header("kid", "nobody").mint();
        let rejection = verifier.verify(&nobody).await.unwrap_err();
        assert_eq!(rejection.kind(), KeySourceUnavailable, "{rejection}");
        assert!(begin.elapsed() <= Duration::from_secs(11));
    }
}

/// The same at the start: the keys of one set are used while the first load of the other one hangs.
#[tokio::test(start_paused = true)]
async fn the_first_keys_of_one_set_serve_though_the_other_set_hangs() {
    let issuers = [TestIssuer::new(), TestIssuer::new()];
    for hanging in [0, 1] {
        let networks = [&issuers[0], &issuers[1]].map(Network::of);
        networks[hanging].answers_after(None);
        networks[1 - hanging].answers_after(Some(Duration::from_millis(200)));
        let [one, other] = [&networks[0], &networks[1]].map(remote);
        let verifier = without_session_gone(&issuers, [one, other]);

        let begin = tokio::time::Instant::now();
        let token = issuers[1 - hanging].token();
        let (good, revoked) = tokio::join!(
            async { verifier.verify(&token.clone().mint()).await },
            async {
                verifier
                    .verify(&token.clone().claim("sid", "gone").mint())
                    .await
            },
        );
        assert!(good.is_ok(), "{hanging}: {good:?}");
        assert_eq!(revoked.unwrap_err().kind(), Revoked);
        assert!(begin.elapsed() < Duration::from_secs(1), "{hanging}");
        // The twin: a token of the set that hangs waits for it, and is not a fault of the client.
        let theirs = issuers[hanging].token().mint();
        let rejection = verifier.verify(&theirs).await.unwrap_err();
        assert_eq!(rejection.kind(), KeySourceUnavailable, "{rejection}");
    }
}

/// A verifier that trusts both logins, which have one issuer and different keys. The session `gone`
/// is revoked.
fn without_session_gone(issuers: &[TestIssuer; 2], stores: [KeyStore; 2]) -> Verifier {
    let denylist = Denylist::default();
    let end = SystemTime::now() + Duration::from_secs(3_600);
    let name = issuers[0].issuer();
    denylist.revoke_session(name.as_str(), "gone", end).unwrap();
    let auth = with_stores(issuers, stores).revocation(denylist);
    auth.verifier()
}

/// A defect that no other key could change is reported as such, and not as an outage.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_bad_under_its_own_key_is_no_outage_though_another_set_hangs() {
    let issuers = [TestIssuer::new(), TestIssuer::new()];
    for hanging in [0, 1] {
        let networks = [&issuers[0], &issuers[1]].map(Network::of);
        let [one, other] = [&networks[0], &networks[1]].map(remote);
        one.reload().await;
        other.reload().await;
        let verifier = without_session_gone(&issuers, [one, other]);
        networks[hanging].answers_after(None);

        type Change = fn(TestToken) -> TestToken;
        let cases: [(Change, RejectionKind); 2] = [
            (|token| token.claim("sid", "gone"), Revoked),
            (|token| token.claim("scope", 5), InvalidClaim),
        ];
        for (at, (change, kind)) in cases.into_iter().enumerate() {
            let (successor, id) = (TestIssuer::new(), format!("next-{at}"));
            networks[1 - hanging].publishes_text(successor.jwks().replace("key-1", &id));
            let token = successor.token().header("kid", &*id);
            let rejection = verifier.verify(&change(token.clone()).mint()).await;
            assert_eq!(rejection.unwrap_err().kind(), kind, "{hanging}");
            assert!(verifier.verify(&token.mint()).await.is_ok(), "{hanging}");
        }
    }
}

/// No other key could make these tokens valid, so they cause no load and do not use up the
/// allowance.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_bad_under_its_own_key_causes_no_load() {
    let issuers = [TestIssuer::new(), TestIssuer::new()];
    let networks = [&issuers[0], &issuers[1]].map(Network::of);
    let [one, other] = [&networks[0], &networks[1]].map(remote);
    one.reload().await;
    other.reload().await;
    let verifier = without_session_gone(&issuers, [one, other]);
    let asked = || networks.each_ref().map(Network::count);
    let before = asked();
    for issuer in &issuers {
        for (token, kind) in [
            (issuer.token().claim("sid", "gone"), Revoked),
            (issuer.token().claim("scope", 5), InvalidClaim),
        ] {
            let rejection = verifier.verify(&token.mint()).await.unwrap_err();
            assert_eq!(rejection.kind(), kind, "{rejection}");
        }
    }
    assert_eq!(asked(), before);
    // The twin: a token with an unknown key id may belong to a new key of either set.
    let unknown = issuers[0].token().header("kid", "next").mint();
    assert!(verifier.verify(&unknown).await.is_err());
    assert_eq!(asked(), before.map(|asked| asked + 1));
}
