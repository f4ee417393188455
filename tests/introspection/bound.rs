//! Tokens of introspecting issuers that are bound to a client certificate (RFC 8705, section 3.2).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::VARY;
use http::{HeaderValue, Request};
use serde_json::{Value, json};
use tower_jwt_auth::RejectionKind::{BindingMismatch, InvalidClaim};
use tower_jwt_auth::request::{CertificateSource, ClientCertificate, PeerAddress, TrustedProxies};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Audience, Issuer, JwtAuth, Rejection, RejectionKind};

use crate::network::settle;
use crate::support::{AUDIENCE, ISSUER, get, send, small_cache};
use crate::world::{TOKEN, World, active};

/// Two certificates, as far as this crate reads them: each is one DER sequence.
const ONE: [u8; 5] = [0x30, 3, 2, 1, 1];
const OTHER: [u8; 5] = [0x30, 3, 2, 1, 2];

fn thumbprint(der: &[u8]) -> String {
    ClientCertificate::from_der(der).thumbprint()
}

fn bound_to(der: &[u8]) -> Value {
    json!({"sub": "subject-1", "cnf": {"x5t#S256": thumbprint(der)}})
}

fn over(token: &str, der: &[u8]) -> Request<String> {
    let mut request = get(token);
    request
        .extensions_mut()
        .insert(ClientCertificate::from_der(der));
    request
}

async fn verdict(auth: &JwtAuth, request: Request<String>) -> Option<RejectionKind> {
    let (response, seen) = send(auth, request).await;
    let rejection = response.extensions().get::<Rejection>();
    let kind = rejection.map(Rejection::kind);
    assert_eq!(seen.count() == 1, kind.is_none());
    assert!(kind.is_none() || response.status() == 401);
    kind
}

/// RFC8705-3.2-1
#[tokio::test(start_paused = true)]
async fn rfc8705_3_2_1_an_answer_binds_an_opaque_token_to_a_certificate() {
    let world = World::new();
    world.network.answers(|_| Ok(active(bound_to(&ONE))));
    let auth = world
        .auth()
        .client_certificates(CertificateSource::connection());
    // The first request waits for the answer, and the next ones know it.
    let rejected = verdict(&auth, over("first", &OTHER)).await;
    assert_eq!(rejected, Some(BindingMismatch));
    for _ in 0..2 {
        assert_eq!(verdict(&auth, over(TOKEN, &ONE)).await, None);
        let other = verdict(&auth, over(TOKEN, &OTHER)).await;
        assert_eq!(other, Some(BindingMismatch));
        assert_eq!(verdict(&auth, get(TOKEN)).await, Some(BindingMismatch));
        // An earlier request with the wrong certificate does not change the verdict.
        assert_eq!(verdict(&auth, over("first", &ONE)).await, None);
    }
    assert_eq!(world.network.count(), 2);
    // Without a source no certificate counts.
    let blind = world.auth();
    for _ in 0..2 {
        let rejected = verdict(&blind, over(TOKEN, &ONE)).await;
        assert_eq!(rejected, Some(BindingMismatch));
    }
}

/// RFC8705-3.2-1, RFC9440-4-1: the field of a proxy is kept while the answer is waited for.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_an_answer_keeps_its_field() {
    let world = World::new();
    world.network.answers(|_| Ok(active(bound_to(&ONE))));
    let proxies = TrustedProxies::networks(["10.0.0.7"]).unwrap();
    let auth = world
        .auth()
        .client_certificates(CertificateSource::rfc9440(proxies));
    let with = |token: &str, der: &[u8], peer: [u8; 4]| {
        let mut request = get(token);
        let value = format!(":{}:", BASE64_STANDARD.encode(der));
        let value = HeaderValue::try_from(value).unwrap();
        request.headers_mut().insert("client-cert", value);
        let peer = std::net::IpAddr::from(peer);
        request.extensions_mut().insert(PeerAddress::from(peer));
        request
    };
    let (proxy, stranger) = ([10, 0, 0, 7], [10, 0, 0, 8]);
    for (token, der, peer, expected) in [
        ("a", ONE, proxy, None),
        ("b", OTHER, proxy, Some(BindingMismatch)),
        ("c", ONE, stranger, Some(BindingMismatch)),
    ] {
        for _ in 0..2 {
            assert_eq!(verdict(&auth, with(token, &der, peer)).await, expected);
        }
    }
    let (response, _) = send(&auth, with("d", &ONE, proxy)).await;
    assert_eq!(response.headers()[VARY], "client-cert");
    let mut twice = with("e", &ONE, proxy);
    let line = twice.headers()["client-cert"].clone();
    twice.headers_mut().append("client-cert", line);
    assert_eq!(verdict(&auth, twice).await, Some(BindingMismatch));
}

/// RFC8705-3.2-1: an earlier answer that is used during an outage is bound as before, whether its question fails
/// or is not asked.
#[tokio::test(start_paused = true)]
async fn an_earlier_answer_stays_bound_during_an_outage() {
    let world = World::with(|introspection| {
        introspection.stale_within(std::time::Duration::from_secs(300))
    });
    world.network.answers(|_| Ok(active(bound_to(&ONE))));
    let auth = world
        .auth()
        .client_certificates(CertificateSource::connection());
    assert_eq!(verdict(&auth, over(TOKEN, &ONE)).await, None);
    world.network.is_down();
    world.advance(31.0);
    for _ in 0..10 {
        assert_eq!(verdict(&auth, over(TOKEN, &ONE)).await, None);
        let other = verdict(&auth, over(TOKEN, &OTHER)).await;
        assert_eq!(other, Some(BindingMismatch));
        assert_eq!(verdict(&auth, get(TOKEN)).await, Some(BindingMismatch));
    }
    settle().await;
    assert!(!world.introspection.is_ready());
    let asked = world.network.count();
    assert_eq!(verdict(&auth, over(TOKEN, &ONE)).await, None);
    let other = verdict(&auth, over(TOKEN, &OTHER)).await;
    assert_eq!(other, Some(BindingMismatch));
    assert_eq!(world.network.count(), asked, "the circuit is open");
}

/// RFC9700-2.2.1-1
#[tokio::test(start_paused = true)]
async fn an_answer_can_be_required_to_bind_its_token() {
    let world = World::new();
    let auth = world
        .auth()
        .client_certificates(CertificateSource::connection());
    let strict = auth.clone().require_bound_tokens();
    assert_eq!(verdict(&auth, over(TOKEN, &ONE)).await, None);
    for _ in 0..2 {
        let rejected = verdict(&strict, over(TOKEN, &ONE)).await;
        assert_eq!(rejected, Some(BindingMismatch));
    }
    world.network.answers(|_| Ok(active(bound_to(&ONE))));
    assert_eq!(verdict(&strict, over("bound", &ONE)).await, None);
}

/// RFC8705-3.2-1: a JWT and the answer about it must be bound to the same things, and a JWT stays bound
/// whatever the answer leaves out.
#[tokio::test(start_paused = true)]
async fn a_jwt_and_its_answer_are_bound_to_the_same_certificate() {
    let key = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let one = thumbprint(&ONE);
    for (of_answer, expected) in [
        (json!({"x5t#S256": one}), None),
        (json!({"x5t#S256": one, "unknown": 1}), None),
        (Value::Null, None),
        (json!({"x5t#S256": thumbprint(&OTHER)}), Some(InvalidClaim)),
        (json!({"x5t#S256": one, "kid": "k"}), Some(InvalidClaim)),
        (json!({"jkt": key}), Some(InvalidClaim)),
        (json!({}), Some(InvalidClaim)),
    ] {
        let world = World::with(|introspection| introspection.introspect_jwts());
        let issuer = TestIssuer::new()
            .named(ISSUER)
            .for_audience(AUDIENCE)
            .with_clock(world.clock.clone());
        let auth = JwtAuth::new(
            Issuer::new(ISSUER).unwrap(),
            Audience::new(AUDIENCE).unwrap(),
            issuer.keys(),
        )
        .clock(world.clock.clone())
        .cache(small_cache())
        .introspection(world.introspection.clone())
        .client_certificates(CertificateSource::connection());
        let members = of_answer.clone();
        world.network.answers(move |_| {
            let mut answer = json!({"sub": "subject-1"});
            if !members.is_null() {
                answer["cnf"] = members.clone();
            }
            Ok(active(answer))
        });
        let token = issuer
            .token()
            .bound_to_certificate(ClientCertificate::from_der(&ONE))
            .mint();
        let found = verdict(&auth, over(&token, &ONE)).await;
        assert_eq!(found, expected, "{of_answer}");
        let other = verdict(&auth, over(&token, &OTHER)).await;
        assert!(other.is_some(), "{of_answer}");
    }
}
