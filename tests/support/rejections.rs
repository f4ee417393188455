//! One response for every kind of rejection.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test target uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::convert::Infallible;

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::request::{CsrfPolicy, TlsSource, TokenCookie, TokenSource};
use tower_jwt_auth::response::RespondTo;
use tower_jwt_auth::revocation::{RevocationCheck, RevocationError, RevocationStatus};
use tower_jwt_auth::scope::AllOf;
use tower_jwt_auth::{
    Audience, Claims, Issuer, JwtAuth, KeyStore, NoClaims, Rejection, RejectionKind, role, scope,
};

use crate::support::{AUDIENCE, Fixture, ISSUER, NOW, get, get_bare, get_with};

/// What the protected service requires: two scopes and a role.
pub type Needed = AllOf<(scope!("calendar:read" & "calendar:write"), role!("admin"))>;

/// A rejection, and the request that caused it.
pub struct RejectedRequest {
    pub kind: RejectionKind,
    pub response: Response<String>,
    pub request: Request<String>,
}

/// Causes every kind of rejection, with layers that `dress` has changed, and requests that `adjust` has
/// changed.
pub async fn rejections<R: RespondTo<String>>(
    dress: impl Fn(JwtAuth) -> JwtAuth<NoClaims, R>,
    adjust: impl Fn(&mut Request<String>),
) -> Vec<RejectedRequest> {
    rejections_but(&[], dress, adjust).await
}

/// The same without some kinds.
pub async fn rejections_but<R: RespondTo<String>>(
    but: &[RejectionKind],
    dress: impl Fn(JwtAuth) -> JwtAuth<NoClaims, R>,
    adjust: impl Fn(&mut Request<String>),
) -> Vec<RejectedRequest> {
    let cases = cases();
    for kind in RejectionKind::ALL {
        let needs_introspection = matches!(
            kind,
            RejectionKind::Inactive | RejectionKind::IntrospectionUnavailable
        );
        if needs_introspection && !cfg!(feature = "introspection") {
            continue;
        }
        let is_known = cases.iter().any(|(known, ..)| known == kind);
        assert!(is_known, "no case of {kind:?}");
    }
    let mut rejections = Vec::new();
    for (kind, layer, mut request) in cases {
        if but.contains(&kind) {
            continue;
        }
        adjust(&mut request);
        let copy = request.clone();
        let inner = service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new("got through".to_owned()))
        });
        let guarded = JwtAuth::require::<Needed>().layer(inner);
        let response = match layer {
            Some(auth) => dress(auth).layer(guarded).oneshot(request).await,
            None => guarded.oneshot(request).await,
        }
        .unwrap();
        let rejection = response.extensions().get::<Rejection>();
        assert_eq!(rejection.map(Rejection::kind), Some(kind), "{rejection:?}");
        rejections.push(RejectedRequest {
            kind,
            response,
            request: copy,
        });
    }
    rejections
}

/// Every kind, with a layer that rejects the request for that reason. `None` if there is no layer.
fn cases() -> Vec<(RejectionKind, Option<JwtAuth>, Request<String>)> {
    use RejectionKind::*;

    let fixture = Fixture::new();
    let good = || fixture.token().subject("very-private-subject");
    let mut cases: Vec<_> = [
        (AlgorithmNotAllowed, good().unsigned().mint()),
        (AlgorithmNotAllowed, good().header("alg", "RS256").mint()),
        (
            AudienceMismatch,
            good().audience("https://other.example").mint(),
        ),
        (BadSignature, good().tampered().mint()),
        (BadSignature, good().signed_by_stranger().mint()),
        (
            BindingMismatch,
            good()
                .claim("cnf", serde_json::json!({"jkt": "0ZcOCORZNYy"}))
                .mint(),
        ),
        (
            DuplicateMember,
            good()
                .raw_claims(format!(
                    r#"{{"iss":"{ISSUER}","sub":"a","sub":"b","aud":"{AUDIENCE}","exp":{}}}"#,
                    NOW + 300
                ))
                .mint(),
        ),
        (EncryptedToken, format!("{}.Zm91cg.Zml2ZQ", good().mint())),
        (Expired, good().expired().mint()),
        (
            InsufficientRole,
            good().scope("calendar:read calendar:write").mint(),
        ),
        (InsufficientScope, good().mint()),
        (InvalidClaim, good().claim("exp", "tomorrow").mint()),
        (
            IssuerMismatch,
            good().issuer("https://other.example").mint(),
        ),
        (MalformedToken, "abcdefghijklmnopqrstuvwxyz".to_owned()),
        (MissingClaim, good().without("exp").mint()),
        (NotYetValid, good().not_yet_valid().mint()),
        (UnknownKey, good().header("kid", "unheard-of-key").mint()),
        (
            UnsupportedCritical,
            good().header("crit", vec!["b64"]).mint(),
        ),
        (WrongType, good().header("typ", "logout+jwt").mint()),
    ]
    .into_iter()
    .map(|(kind, token)| (kind, Some(fixture.auth()), get(&token)))
    .collect();

    let malformed = get_with(format!("Bearer {} {}", good().mint(), good().mint()));
    cases.push((MalformedRequest, Some(fixture.auth()), malformed));
    cases.push((MissingCredentials, Some(fixture.auth()), get_bare()));
    cases.push((MissingLayer, None, get(&good().mint())));

    let cookie = TokenCookie::new("__Host-token", CsrfPolicy::same_origin()).unwrap();
    let cross_site = Request::post("/events")
        .header("sec-fetch-site", "cross-site")
        .header("cookie", format!("__Host-token={}", good().mint()))
        .body(String::new())
        .unwrap();
    let with_cookie = fixture
        .auth()
        .token_source(TokenSource::header().with_cookie(cookie));
    cases.push((CrossSiteRequest, Some(with_cookie), cross_site));

    let over_tls = fixture.auth().require_tls(TlsSource::connection());
    cases.push((InsecureConnection, Some(over_tls), get(&good().mint())));

    let pending = JwtAuth::new(
        Issuer::new(ISSUER).unwrap(),
        Audience::new(AUDIENCE).unwrap(),
        KeyStore::pending(),
    )
    .clock(fixture.clock.clone());
    cases.push((KeySourceUnavailable, Some(pending), get(&good().mint())));

    let down = async |_: Claims| Err(RevocationError::new("store is down"));
    let revoking = fixture.auth().revocation(down);
    cases.push((RevocationUnavailable, Some(revoking), get(&good().mint())));
    #[cfg(feature = "introspection")]
    for (kind, token) in [(Inactive, "unknown"), (IntrospectionUnavailable, "down")] {
        use tower_jwt_auth::introspection::{ClientAuth, Introspection};

        let answer = async |request: Request<Vec<u8>>, _: usize| {
            if request.body().starts_with(b"token=down") {
                return Err(tower_jwt_auth::fetch::FetchError::new("connection refused"));
            }
            let response = Response::builder().header("content-type", "application/json");
            Ok(response.body(br#"{"active":false}"#.to_vec()).unwrap())
        };
        let client = ClientAuth::secret_basic("api", "secret").unwrap();
        let endpoint = Introspection::at_with("https://as.example/introspect", client, answer);
        let asking = fixture.auth().introspection(endpoint.unwrap());
        cases.push((kind, Some(asking), get(token)));
    }
    for (kind, status) in [
        (Revoked, RevocationStatus::Revoked),
        (Suspended, RevocationStatus::Suspended),
    ] {
        let revoking = fixture.auth().revocation(All(status));
        cases.push((kind, Some(revoking), get(&good().mint())));
    }
    cases
}

/// Every token is revoked, and the check answers at once.
struct All(RevocationStatus);

impl tower_jwt_auth::revocation::Revocation for All {
    fn check(&self, _: &Claims) -> RevocationCheck {
        RevocationCheck::Ready(Ok(self.0))
    }
}
