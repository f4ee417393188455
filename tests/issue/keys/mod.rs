//! Signing keys, their rotation, and what is published of them.

mod ends;
#[path = "../../support/files.rs"]
mod files;
mod mishaps;
mod signers;
mod stores;

use std::convert::Infallible;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tower::{Service, ServiceExt};
use tower_jwt_auth::issue::{Discovery, Jwks, SigningKeyError, SigningKeys};
use tower_jwt_auth::response::FullBody;
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Issuer, KeySet};

use crate::support::NOW;

async fn ask<S>(service: S, method: Method, known: Option<&str>) -> Response<FullBody>
where
    S: Service<Request<()>, Response = Response<FullBody>, Error = Infallible>,
{
    let mut request = Request::builder().method(method).uri("/jwks.json");
    if let Some(known) = known {
        request = request.header("if-none-match", known);
    }
    let Ok(response) = service.oneshot(request.body(()).unwrap()).await;
    response
}

async fn key_set(jwks: Jwks) -> Vec<Value> {
    let response = ask(jwks, Method::GET, None).await;
    let mut set: Value = serde_json::from_slice(response.body().as_bytes()).unwrap();
    let keys = set["keys"].take();
    keys.as_array().unwrap().clone()
}

fn header<'r>(response: &'r Response<FullBody>, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn asymmetric() -> impl Iterator<Item = Algorithm> {
    let all = Algorithm::ALL.iter().copied();
    all.filter(|algorithm| !algorithm.is_symmetric())
}

/// JWKS-PUB-1: public members only, with `kid`, `use` and `alg`. Row RFC7515-4.1.4-2: `kid` is the thumbprint.
#[tokio::test]
async fn jwks_pub_1_the_key_set_has_public_members_alone() {
    for algorithm in asymmetric() {
        let keys = SigningKeys::generate(algorithm).unwrap();
        let response = ask(keys.jwks(), Method::GET, None).await;
        assert_eq!(
            header(&response, "content-type"),
            "application/jwk-set+json"
        );
        let set = KeySet::from_jwks(response.body().as_bytes()).unwrap();
        assert_eq!(
            (set.keys().count(), set.skipped_count()),
            (2, 0),
            "{algorithm}"
        );
        for (jwk, key) in key_set(keys.jwks()).await.iter().zip(set.keys()) {
            assert_eq!(jwk["kid"], key.thumbprint());
            assert_eq!(
                (&jwk["use"], &jwk["alg"]),
                (&"sig".into(), &algorithm.as_str().into())
            );
            let names = jwk.as_object().unwrap().keys().map(String::as_str);
            for name in names {
                let public = ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"];
                assert!(public.contains(&name), "{algorithm}: {name}");
            }
        }
        // The verifying side of the process has the same keys.
        let verifying: Vec<_> = keys
            .keys()
            .snapshot()
            .unwrap()
            .keys()
            .map(|key| key.id().clone())
            .collect();
        let published: Vec<_> = set.keys().map(|key| key.id().clone()).collect();
        assert_eq!(verifying, published);
        assert_eq!(keys.status().signing.as_ref(), published.first());
    }
}

/// JWKS-PUB-1: a secret is never published.
#[tokio::test]
async fn jwks_pub_1_a_secret_is_not_published() {
    let secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 + 3).unwrap());
    let keys = SigningKeys::from_secret(Algorithm::HS256, &secret).unwrap();
    assert!(key_set(keys.jwks()).await.is_empty());
    assert_eq!(keys.keys().snapshot().unwrap().keys().count(), 1);
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let rejected = SigningKeys::generate(algorithm).unwrap_err().to_string();
        assert!(rejected.contains("SigningKeys::from_secret"), "{rejected}");
        assert!(SigningKeys::from_secret(algorithm, b"short").is_err());
    }
    assert!(SigningKeys::from_secret(Algorithm::ES256, &secret).is_err());
}

/// ROT-D2: caches keep the key set for half of the lead at most; an ETag saves the body.
#[tokio::test]
async fn rot_d2_the_key_set_may_be_cached_for_half_of_the_lead() {
    let keys = SigningKeys::generate(Algorithm::ES256).unwrap();
    let keys = keys.publish_lead(Duration::from_secs(1_200)).unwrap();
    let first = ask(keys.jwks(), Method::GET, None).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(header(&first, "cache-control"), "public, max-age=600");
    assert_eq!(header(&first, "access-control-allow-origin"), "*");
    let tag = header(&first, "etag").to_owned();
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"other\", {tag}"),
        "*".into(),
    ] {
        let again = ask(keys.jwks(), Method::GET, Some(&known)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(header(&again, "etag"), tag);
        assert_eq!(header(&again, "cache-control"), "public, max-age=600");
        assert!(again.body().as_bytes().is_empty());
    }
    let other = ask(keys.jwks(), Method::GET, Some("\"other\"")).await;
    assert_eq!(other.status(), StatusCode::OK);
    let head = ask(keys.jwks(), Method::HEAD, None).await;
    assert_eq!(
        (head.status(), header(&head, "etag")),
        (StatusCode::OK, &*tag)
    );
    let length = first.body().as_bytes().len().to_string();
    assert_eq!(header(&head, "content-length"), length);
    assert!(head.body().as_bytes().is_empty());
    let options = ask(keys.jwks(), Method::OPTIONS, None).await;
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        header(&options, "access-control-allow-methods"),
        "GET, HEAD, OPTIONS"
    );
    let post = ask(keys.jwks(), Method::POST, None).await;
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&post, "allow"), "GET, HEAD, OPTIONS");
    // Another key set has another tag.
    let id = keys.status().signing.unwrap();
    keys.revoke_key(id.as_str()).await.unwrap();
    let changed = ask(keys.jwks(), Method::GET, Some(&tag)).await;
    assert_eq!(changed.status(), StatusCode::OK);
}

/// ROT-D2: a lead that is too short for caches, or too long for the period, is an error at the start.
#[test]
fn rot_d2_a_lead_that_is_too_short_says_the_bound() {
    let keys = || SigningKeys::generate(Algorithm::ES256).unwrap();
    for (seconds, is_usable) in [
        (0, false),
        (60, false),
        (599, false),
        (600, true),
        (604_800, true),
        (604_801, false),
    ] {
        let lead = keys().publish_lead(Duration::from_secs(seconds));
        assert_eq!(lead.is_ok(), is_usable, "{seconds}");
        if let Err(error) = lead {
            assert!(
                error.to_string().contains("expected 600 to 604800 s"),
                "{error}"
            );
        }
    }
    let error = keys().rotate_every(Duration::from_secs(7_199)).unwrap_err();
    assert!(
        error.to_string().contains("expected at least 7200 s"),
        "{error}"
    );
    let error = keys().rotate_every(Duration::from_secs(7_200)).unwrap();
    assert!(error.publish_lead(Duration::from_secs(3_601)).is_err());
}

/// OIDC-CORE-10.1.1-3: published, signing, retiring, removed; a key is published for a period before it signs.
#[tokio::test]
async fn oidc_core_10_1_1_3_a_key_is_published_before_it_signs() {
    let clock = FixedClock::at(NOW);
    let keys = SigningKeys::generate(Algorithm::ES256).unwrap();
    let keys = keys
        .with_clock(clock.clone())
        .rotate_every(Duration::from_secs(86_400))
        .unwrap();
    let mut known: Vec<String> = Vec::new();
    let mut signed = Vec::new();
    for hour in 0..24 * 10 {
        let published: Vec<_> = key_set(keys.jwks()).await;
        let published: Vec<_> = published
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect();
        let signing = keys.status().signing.unwrap().to_string();
        // A copy of the key set that is an hour old has the key.
        assert!(hour == 0 || known.contains(&signing), "hour {hour}");
        assert!(published.contains(&signing));
        if signed.last() != Some(&signing) {
            signed.push(signing);
        }
        known = published;
        clock.advance(Duration::from_secs(3_600));
    }
    assert_eq!(signed.len(), 10);
}

/// One change, and so one line in the log of a program that starts.
#[test]
fn settings_at_the_start_make_no_key_anew() {
    let keys = SigningKeys::generate(Algorithm::ES256).unwrap();
    let ids = |keys: &SigningKeys| {
        let set = keys.keys().snapshot().unwrap();
        let mut ids: Vec<_> = set.keys().map(|key| key.id().clone()).collect();
        ids.sort();
        ids
    };
    let first = ids(&keys);
    assert_eq!((first.len(), keys.keys().generation()), (2, 1));
    let keys = keys.rotate_every(Duration::from_secs(14 * 86_400)).unwrap();
    let keys = keys.publish_lead(Duration::from_secs(7_200)).unwrap();
    let keys = keys.with_clock(FixedClock::at(NOW));
    assert_eq!((ids(&keys), keys.keys().generation()), (first, 1));
}

/// ROT-D3: gone from the key set and the verifying side at once, and the successor signs.
#[tokio::test]
async fn rot_d3_a_revoked_key_is_gone_at_once() {
    let keys = SigningKeys::generate(Algorithm::EdDSA).unwrap();
    let verifying = keys.keys();
    let ids = |set: &[Value]| -> Vec<_> {
        set.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    let before = ids(&key_set(keys.jwks()).await);
    keys.revoke_key(&before[0]).await.unwrap();
    let after = ids(&key_set(keys.jwks()).await);
    assert!(!after.contains(&before[0]));
    assert_eq!(after[0], before[1]);
    assert_eq!(keys.status().signing.unwrap().as_str(), before[1]);
    let set = verifying.snapshot().unwrap();
    assert!(set.keys().all(|key| key.id().as_str() != before[0]));
    assert_eq!(after.len(), 2, "a new successor is published");
    let unknown = keys.revoke_key(&before[0]).await;
    assert!(
        matches!(unknown, Err(SigningKeyError::Unknown { .. })),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn the_metadata_name_the_issuer_and_its_keys() {
    let issuer = Issuer::new("https://login.example.com").unwrap();
    let discovery = Discovery::new(&issuer, "https://login.example.com/jwks.json").unwrap();
    let response = ask(discovery, Method::GET, None).await;
    assert_eq!(header(&response, "content-type"), "application/json");
    let document: Value = serde_json::from_slice(response.body().as_bytes()).unwrap();
    assert_eq!(document["issuer"], "https://login.example.com");
    assert_eq!(document["jwks_uri"], "https://login.example.com/jwks.json");
    for bad in ["http://login.example.com/jwks", "/jwks", "ftp://x/jwks"] {
        assert!(Discovery::new(&issuer, bad).is_err(), "{bad}");
    }
    for bad in [
        "calendar",
        "http://login.example.com",
        "https://login.example.com?a",
    ] {
        let issuer = Issuer::new(bad).unwrap();
        let error = Discovery::new(&issuer, "https://login.example.com/jwks").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("an issuer that is an absolute `https` URL"),
            "{error}"
        );
    }
}
