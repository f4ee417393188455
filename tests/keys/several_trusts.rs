//! Several trusts in one issuer: each has an audience, keys and rules of its own, all of them count,
//! and none lends anything to another.

#![cfg(all(feature = "remote", feature = "test-util"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers fail as tests do"
)]

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

/// Two tenants with one name, each with an API and a key. The keys have the same id.
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
        // Twice, so that the cache cannot tell one for the other.
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
    // One alone is as before.
    let alone = a.auth().verifier();
    rejects(&alone, &b.token().mint(), AudienceMismatch);
    rejects(&alone, &b.token().audience("a-api").mint(), BadSignature);
}

/// The reason names what any of the trusts expects, and each issuer once.
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

/// A token for both APIs is accepted under the key of either tenant, as each may issue for its API.
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

/// The cache knows under which trust a token was accepted: it ends with the keys of that one.
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

/// The rules are those of the trust that accepts the token, remembered or not.
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

/// A rule of a trust takes the place of the layer's. Where it has none, the layer's holds.
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

/// The failure that is told is that of the trust for which the token was meant, in either order.
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
        // The signature is right, so what is wrong behind it counts.
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

fn remote(network: &Network) -> KeyStore {
    let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
    keys.connect_lazy().unwrap()
}

/// A login that moves from a secret to a published key: its store may be down, and then the tokens
/// of the secret are served, and those that nobody can judge are no fault of the client's.
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

/// A new key of either set is found, and no set is asked for a token that the other one verifies.
#[tokio::test(start_paused = true)]
async fn a_new_key_is_looked_for_in_every_set() {
    let issuers = [TestIssuer::new(), TestIssuer::new()];
    let networks = [&issuers[0], &issuers[1]].map(Network::of);
    let [one, other] = [&networks[0], &networks[1]].map(remote);
    let auth = JwtAuth::new(issuers[0].issuer(), issuers[0].audience(), one);
    let auth = auth.trust(TrustedIssuer::new(
        issuers[1].issuer(),
        issuers[1].audience(),
        other,
    ));
    let verifier: Verifier = auth.verifier();
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
        // The stores of the issuers are of the test; what counts is what they publish.
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

/// One set that hangs takes no key away from tokens of the other.
#[tokio::test(start_paused = true)]
async fn a_new_key_of_one_set_counts_though_the_other_set_hangs() {
    let issuers = [TestIssuer::new(), TestIssuer::new()];
    for hanging in [0, 1] {
        let networks = [&issuers[0], &issuers[1]].map(Network::of);
        let [one, other] = [&networks[0], &networks[1]].map(remote);
        one.reload().await;
        other.reload().await;
        let auth = JwtAuth::new(issuers[0].issuer(), issuers[0].audience(), one);
        let auth = auth.trust(TrustedIssuer::new(
            issuers[1].issuer(),
            issuers[1].audience(),
            other,
        ));
        let verifier: Verifier = auth.verifier();

        let successor = TestIssuer::new();
        networks[1 - hanging].publishes_text(successor.jwks().replace("key-1", "next"));
        networks[hanging].answers_after(None);
        let begin = tokio::time::Instant::now();
        let token = successor.token().header("kid", "next").mint();
        let verdict = verifier.verify(&token).await;
        assert!(verdict.is_ok(), "{hanging}: {verdict:?}");
        // It does not wait for a set that is not needed.
        assert!(begin.elapsed() < Duration::from_secs(1), "{hanging}");
        // What neither has may still be a key of the one that hangs.
        let nobody = successor.token().header("kid", "nobody").mint();
        let rejection = verifier.verify(&nobody).await.unwrap_err();
        assert_eq!(rejection.kind(), KeySourceUnavailable, "{rejection}");
        assert!(begin.elapsed() <= Duration::from_secs(11));
    }
}

/// At the start, too: the keys of one set serve while the first load of the other one hangs.
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
        // The twin: a token of the set that hangs waits for it, and is no fault of the client.
        let theirs = issuers[hanging].token().mint();
        let rejection = verifier.verify(&theirs).await.unwrap_err();
        assert_eq!(rejection.kind(), KeySourceUnavailable, "{rejection}");
    }
}

/// Trusts both logins, which have one issuer, each with its keys. The session `gone` is revoked.
fn without_session_gone(issuers: &[TestIssuer; 2], [one, other]: [KeyStore; 2]) -> Verifier {
    let denylist = Denylist::default();
    let end = SystemTime::now() + Duration::from_secs(3_600);
    let name = issuers[0].issuer();
    denylist.revoke_session(name.as_str(), "gone", end).unwrap();
    let second = TrustedIssuer::new(issuers[1].issuer(), issuers[1].audience(), other);
    JwtAuth::new(issuers[0].issuer(), issuers[0].audience(), one)
        .trust(second)
        .revocation(denylist)
        .verifier()
}

/// What is wrong with a token whatever other keys there are is told as it is, and not as an outage.
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

/// No other key makes a token good that is bad under its own: it takes nothing of what new keys need.
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
    // The twin: a token of a key that nobody has may be of a new one in either set.
    let unknown = issuers[0].token().header("kid", "next").mint();
    assert!(verifier.verify(&unknown).await.is_err());
    assert_eq!(asked(), before.map(|asked| asked + 1));
}
