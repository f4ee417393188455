//! Tokens that are bound to a client certificate (RFC 8705), and where the certificate comes from
//! (RFC 9440 and the fields of proxies).

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderName, HeaderValue, Request, Response};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::request::{
    CertificateSource, ClientCertificate, PeerAddress, TlsSource, TrustedProxies,
};
use tower_jwt_auth::scope::{AllOf, AnyOf, BoundToken, Requirement};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Audience, Issuer, JwtAuth, Rejection, RejectionKind, TrustedIssuer, scope};

use crate::support::{AUDIENCE, Fixture, challenges, get, get_bare, send};

/// The certificate of RFC 8705, appendix A, and its thumbprint there.
const PEM: &str = "-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx
ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ
/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID
SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV
bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=
-----END CERTIFICATE-----
";
const THUMBPRINT: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
/// Another certificate.
const OTHER_PEM: &str = include_str!("../data/keys/p256.certificate.pem");
/// The proxy.
const PROXY: &str = "10.0.0.7";

fn base64_of(pem: &str) -> String {
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    lines.collect()
}

fn der_of(pem: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(base64_of(pem)).unwrap()
}

fn certificate(pem: &str) -> ClientCertificate {
    ClientCertificate::from_der(&der_of(pem))
}

/// The thumbprint in hexadecimal, as Envoy writes it.
fn hash_of(pem: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der_of(pem));
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// Every character but letters and digits percent-encoded.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn proxy() -> TrustedProxies {
    TrustedProxies::networks([PROXY]).unwrap()
}

fn bound(fixture: &Fixture, pem: &str) -> String {
    let token = fixture.token();
    token.bound_to_certificate(certificate(pem)).mint()
}

/// A request over a connection with this certificate.
fn over(token: &str, pem: Option<&str>) -> Request<String> {
    let mut request = get(token);
    if let Some(pem) = pem {
        request.extensions_mut().insert(certificate(pem));
    }
    request
}

/// A request from this address.
fn from(peer: &str, mut request: Request<String>) -> Request<String> {
    let peer = PeerAddress::from(peer.parse::<IpAddr>().unwrap());
    request.extensions_mut().insert(peer);
    request
}

/// A request from the proxy, with these fields.
fn forwarded(token: &str, fields: &[(&'static str, String)]) -> Request<String> {
    let mut request = from(PROXY, get(token));
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    request
}

/// Sends a request that is rejected with 401 `invalid_token`. Gives the reason.
async fn mismatch(auth: &JwtAuth, request: Request<String>) -> String {
    let (response, seen) = send(auth, request).await;
    assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
    let challenge = &challenges(response.headers())[0];
    assert_eq!(challenge.parameter("error"), Some("invalid_token"));
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::BindingMismatch);
    let reason = rejection.to_string();
    assert!(!reason.contains(THUMBPRINT) && !reason.contains("MII"));
    reason
}

async fn is_accepted(auth: &JwtAuth, request: Request<String>) -> bool {
    let (response, seen) = send(auth, request).await;
    assert_eq!(response.status() == 200, seen.count() == 1);
    seen.count() == 1
}

/// RFC8705-3-1: the certificate of the connection must be that of the token, in every request, whether or
/// not the token is cached.
#[tokio::test]
async fn rfc8705_3_1_a_bound_token_is_accepted_with_its_certificate_alone() {
    let fixture = Fixture::new();
    for tokens in [0, 100] {
        let auth = fixture
            .auth()
            .cache(TokenCache::default().max_tokens(tokens))
            .client_certificates(CertificateSource::connection());
        let token = bound(&fixture, PEM);
        for _ in 0..3 {
            let reason = mismatch(&auth, over(&token, None)).await;
            assert!(
                reason.contains("no certificate: the extensions have no `ClientCertificate`"),
                "{reason}"
            );
            assert!(is_accepted(&auth, over(&token, Some(PEM))).await);
            let reason = mismatch(&auth, over(&token, Some(OTHER_PEM))).await;
            assert!(reason.contains("another one: the extensions"), "{reason}");
        }
        // A bearer token needs no certificate, and is not harmed by one.
        for pem in [None, Some(PEM)] {
            assert!(is_accepted(&auth, over(&fixture.token().mint(), pem)).await);
        }
        // Where no source is named, the certificate of the connection does not count.
        let plain = fixture.auth();
        let reason = mismatch(&plain, over(&token, Some(PEM))).await;
        assert!(
            reason.contains("`JwtAuth::client_certificates`"),
            "{reason}"
        );
    }
}

/// RFC8705-3-1: without a request there is no certificate.
#[test]
fn a_bound_token_without_a_request_is_rejected() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    let auth = auth.client_certificates(CertificateSource::connection());
    let rejection = auth.verifier().verify_now(&bound(&fixture, PEM));
    let rejection = rejection.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::BindingMismatch);
    assert!(rejection.to_string().contains("without a request"));
}

/// RFC8705-3.1-1: the thumbprint of the RFC, and forms of it that are none.
#[tokio::test]
async fn rfc8705_3_1_1_the_thumbprint_is_that_of_the_rfc() {
    assert_eq!(certificate(PEM).thumbprint(), THUMBPRINT);
    assert_eq!(format!("{:?}", certificate(PEM)), "ClientCertificate");
    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .client_certificates(CertificateSource::connection());
    let hex = hash_of(PEM);
    for (thumbprint, is_that) in [
        (THUMBPRINT.to_owned(), true),
        (format!("{THUMBPRINT}="), false),
        (THUMBPRINT.replace("y5v0", "y5v1"), false),
        (THUMBPRINT.to_lowercase(), false),
        (hex.clone(), false),
        (hex[..43].to_owned(), false),
        (THUMBPRINT[..42].to_owned(), false),
        (String::new(), false),
    ] {
        let token = fixture
            .token()
            .claim("cnf", json!({"x5t#S256": thumbprint}));
        let request = over(&token.mint(), Some(PEM));
        if is_that {
            assert!(is_accepted(&auth, request).await);
        } else {
            mismatch(&auth, request).await;
        }
    }
}

/// RFC7800-3.1-1, CNF-D1: several bindings must all hold, and a proof of DPoP is not checked.
#[tokio::test]
async fn rfc7800_3_1_1_each_binding_must_hold() {
    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .client_certificates(CertificateSource::connection());
    let key = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    for (cnf, is_accepted) in [
        (json!({"x5t#S256": THUMBPRINT}), true),
        (json!({"x5t#S256": THUMBPRINT, "unknown": 1}), true),
        (json!({"x5t#S256": THUMBPRINT, "jkt": key}), false),
        (json!({"x5t#S256": THUMBPRINT, "jkt": "x"}), false),
        (json!({"x5t#S256": THUMBPRINT, "kid": "k"}), false),
        (json!({"x5t#S256": [THUMBPRINT]}), false),
        (json!({"jkt": key}), false),
        (json!({}), false),
        (json!(THUMBPRINT), false),
        (json!(null), false),
    ] {
        let token = fixture.token().claim("cnf", cnf.clone()).mint();
        let mut request = over(&token, Some(PEM));
        let proof = HeaderValue::from_static("eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.AA");
        request.headers_mut().insert("dpop", proof);
        if is_accepted {
            assert!(self::is_accepted(&auth, request).await, "{cnf}");
        } else {
            mismatch(&auth, request).await;
        }
    }
    let twice = format!(r#"{{"x5t#S256":"{THUMBPRINT}","x5t#S256":"{THUMBPRINT}"}}"#);
    let claims = json!({"iss": "https://as.example", "aud": AUDIENCE, "exp": 1_700_000_300});
    let claims = claims
        .to_string()
        .replace('}', &format!(r#","cnf":{twice}}}"#));
    let token = fixture.token().raw_claims(claims).mint();
    fixture.rejects(&token, RejectionKind::DuplicateMember);
}

/// A source, the field that it reads, and how a proxy writes a certificate there.
type FieldForm = (CertificateSource, &'static str, fn(&str) -> String);

/// Each form of a field.
fn forms() -> [FieldForm; 4] {
    let field = HeaderName::from_static("x-client-cert");
    [
        (CertificateSource::rfc9440(proxy()), "client-cert", |pem| {
            format!(":{}:", base64_of(pem))
        }),
        (
            CertificateSource::xfcc(proxy()),
            "x-forwarded-client-cert",
            |pem| {
                format!(
                    "By=spiffe://a/b;Hash={};Subject=\"CN=a,O=\\\"b;c\\\"\";URI=spiffe://c/d",
                    hash_of(pem)
                )
            },
        ),
        (
            CertificateSource::escaped_pem(field.clone(), proxy()),
            "x-client-cert",
            escaped,
        ),
        (
            CertificateSource::base64_der(field, proxy()),
            "x-client-cert",
            base64_of,
        ),
    ]
}

/// RFC8705-6.5-1, RFC9440-4-1: a field counts if the proxy that sent it is trusted, and otherwise it is as
/// if it were not there.
#[tokio::test]
async fn rfc9440_4_1_a_field_counts_if_the_peer_is_trusted() {
    let fixture = Fixture::new();
    for (source, name, value) in forms() {
        let auth = fixture.auth().client_certificates(source.clone());
        let token = bound(&fixture, PEM);
        let with = |pem| forwarded(&token, &[(name, value(pem))]);
        assert!(is_accepted(&auth, with(PEM)).await, "{name}");
        let reason = mismatch(&auth, with(OTHER_PEM)).await;
        assert!(
            reason.contains(name) && reason.contains("another one"),
            "{reason}"
        );
        let reason = mismatch(&auth, forwarded(&token, &[])).await;
        assert!(reason.contains("is absent"), "{reason}");
        // The certificate of the connection is that of the proxy.
        let mut own = forwarded(&token, &[]);
        own.extensions_mut().insert(certificate(PEM));
        mismatch(&auth, own).await;

        let reason = mismatch(&auth, from("10.0.0.8", with(PEM))).await;
        assert!(reason.contains("no trusted proxy"), "{reason}");
        let mut unknown = with(PEM);
        unknown.extensions_mut().remove::<PeerAddress>();
        let reason = mismatch(&auth, unknown.clone()).await;
        assert!(reason.contains("the peer is not known"), "{reason}");
        // A field cannot say who the peer is.
        for claimed in ["forwarded", "x-forwarded-for", "x-real-ip"] {
            let mut unknown = unknown.clone();
            let value =
                format!("for={PROXY}").split_off(if claimed == "forwarded" { 0 } else { 4 });
            let value = HeaderValue::try_from(value).unwrap();
            unknown.headers_mut().insert(claimed, value);
            mismatch(&auth, unknown).await;
        }
        // Another field, another source.
        let elsewhere = forwarded(&token, &[("x-other", value(PEM))]);
        mismatch(&auth, elsewhere).await;
        let by_connection = CertificateSource::connection();
        let by_connection = fixture.auth().client_certificates(by_connection);
        mismatch(&by_connection, with(PEM)).await;
        // A token that is not bound is accepted whatever the field says.
        let plain = fixture.token().mint();
        let bad = forwarded(&plain, &[(name, "?".to_owned())]);
        assert!(is_accepted(&auth, bad).await);
    }
    let any = TrustedProxies::insecure_any();
    let auth = fixture
        .auth()
        .client_certificates(CertificateSource::rfc9440(any));
    let mut unknown = get(&bound(&fixture, PEM));
    let value = HeaderValue::try_from(format!(":{}:", base64_of(PEM))).unwrap();
    unknown.headers_mut().insert("client-cert", value);
    assert!(is_accepted(&auth, unknown).await);
}

/// RFC9440-2.2-1: one byte sequence, and nothing else.
#[tokio::test]
async fn rfc9440_2_2_1_a_field_of_another_form_is_rejected() {
    let fixture = Fixture::new();
    let (good, other) = (base64_of(PEM), base64_of(OTHER_PEM));
    let hash = hash_of(PEM);
    let unpadded = good.trim_end_matches('=').to_owned();
    let [rfc9440, xfcc, escaped_pem, base64_der] = forms();
    let cases: [(_, &[String]); 4] = [
        (
            rfc9440,
            &[
                String::new(),
                ":".into(),
                "::".into(),
                good.clone(),
                format!(":{good}"),
                format!("{good}:"),
                format!("\"{good}\""),
                format!(":{good}:, :{other}:"),
                format!(":{good}:, :{good}:"),
                format!(":{good}:;a=1"),
                format!("(:{good}:)"),
                format!(":{}:", good.replace('/', "_")),
                format!(":{unpadded}:"),
                format!(":{} {}:", &good[..8], &good[8..]),
                format!(":{}:", &good[..good.len() - 8]),
                format!(
                    ":{}:",
                    BASE64_STANDARD.encode([der_of(PEM), der_of(PEM)].concat())
                ),
                format!(":{}:", BASE64_STANDARD.encode(PEM)),
                format!(":{}:", "A".repeat(100_000)),
                format!(":{}:", hash),
                escaped(PEM),
            ],
        ),
        (
            xfcc,
            &[
                String::new(),
                "Hash".into(),
                "Hash=".into(),
                "By=a".into(),
                format!("Hash={}", &hash[..62]),
                format!("Hash={}", &hash[..63]),
                format!("Hash={hash}0"),
                format!("Hash={hash}00"),
                format!("Hash={}", hash.replace('0', "+")),
                format!("Hash=\"{hash}"),
                format!("Hash={hash};Hash={hash}"),
                format!("Hash={hash};hash={}", hash_of(OTHER_PEM)),
                format!("Hash={hash},Hash={hash}"),
                format!("By=a;Hash={hash},By=b;Hash={}", hash_of(OTHER_PEM)),
                format!("Hash={hash},"),
                format!("Cert=\"{}\"", escaped(PEM)),
                format!("Subject=\"Hash={hash}\""),
                format!("Subject=\";Hash={hash}"),
                format!("By=a;{};Hash={hash}", "x"),
                format!("By={};Hash={hash}", "a".repeat(100_000)),
            ],
        ),
        (
            escaped_pem,
            &[
                String::new(),
                "%".into(),
                "%2".into(),
                "%zz".into(),
                "%FF".into(),
                good.clone(),
                escaped(&good),
                escaped(&format!("{PEM}{PEM}")),
                escaped(&format!("{PEM}{OTHER_PEM}")),
                escaped(PEM).replace("%20CERTIFICATE", "%20PRIVATE%20KEY"),
                escaped(&PEM.replace("-----END", "----END")),
                escaped(&PEM.replace('+', " ")),
                escaped(&PEM.replace("MII", "MI!")),
                escaped(PEM.trim_end().trim_end_matches("-----END CERTIFICATE-----")),
                escaped(&PEM.replace("MIIB", &format!("{}MIIB", "A".repeat(100_000)))),
            ],
        ),
        (
            base64_der,
            &[
                String::new(),
                unpadded.clone(),
                good.replace('+', "-"),
                format!("{good},{good}"),
                format!(":{good}:"),
                format!("{good}{good}"),
                BASE64_STANDARD.encode(PEM),
                "A".repeat(100_000),
                hash.clone(),
            ],
        ),
    ];
    for ((source, name, value), bad_values) in cases {
        let auth = fixture.auth().client_certificates(source);
        let token = bound(&fixture, PEM);
        for bad in bad_values {
            let reason = mismatch(&auth, forwarded(&token, &[(name, bad.clone())])).await;
            assert!(reason.contains(&format!("field `{name}`")), "{reason}");
            assert!(reason.len() < 200, "{reason}");
        }
        // Two fields, even if they are the same.
        let good = (name, value(PEM));
        let twice = forwarded(&token, &[good.clone(), good.clone()]);
        let reason = mismatch(&auth, twice).await;
        assert!(reason.contains("occurs twice"), "{reason}");
        assert!(is_accepted(&auth, forwarded(&token, &[good])).await);
    }
}

/// Forms of a good value that proxies send.
#[tokio::test]
async fn the_forms_of_proxies_are_read() {
    let fixture = Fixture::new();
    let hash = hash_of(PEM);
    let [_, xfcc, escaped_pem, _] = forms();
    for ((source, name, _), values) in [
        (
            xfcc,
            vec![
                format!("Hash={hash}"),
                format!("hash=\"{}\"", hash.to_uppercase()),
                format!("Hash={hash};Cert=\"{}\";Subject=\"\"", escaped(PEM)),
                format!(" By=a ; Hash = {hash} ;"),
            ],
        ),
        (
            escaped_pem,
            vec![
                // AWS leaves `+`, `=` and `/` as they are.
                escaped(PEM)
                    .replace("%2B", "+")
                    .replace("%2F", "/")
                    .replace("%3D", "="),
                escaped(&PEM.replace('\n', "\r\n")),
                escaped(PEM.trim_end()),
                escaped(&PEM.replace("-----\nMII", "-----MII")).to_lowercase_escapes(),
            ],
        ),
    ] {
        let auth = fixture.auth().client_certificates(source);
        let token = bound(&fixture, PEM);
        for value in values {
            let request = forwarded(&token, &[(name, value.clone())]);
            assert!(is_accepted(&auth, request).await, "{value}");
        }
    }
}

trait LowercaseEscapes {
    fn to_lowercase_escapes(&self) -> String;
}

impl LowercaseEscapes for String {
    fn to_lowercase_escapes(&self) -> String {
        self.replace("%2B", "%2b")
            .replace("%2F", "%2f")
            .replace("%3D", "%3d")
    }
}

/// RFC9440-2.4-1
#[tokio::test]
async fn rfc9440_2_4_1_a_response_that_depends_on_the_field_says_so() {
    let fixture = Fixture::new();
    let (bound, plain) = (bound(&fixture, PEM), fixture.token().mint());
    for (source, name, value) in forms() {
        let auth = fixture.auth().client_certificates(source);
        for _ in 0..2 {
            let (response, _) = send(&auth, forwarded(&bound, &[(name, value(PEM))])).await;
            assert_eq!(response.status(), 200);
            let vary: Vec<_> = response.headers().get_all(VARY).iter().collect();
            assert_eq!(vary, [name]);
        }
        // A rejection is not stored at all: `mismatch` looks at that.
        mismatch(&auth, forwarded(&bound, &[(name, value(OTHER_PEM))])).await;
        // The twin: the response to any other token does not depend on the field.
        let (response, _) = send(&auth, forwarded(&plain, &[(name, value(PEM))])).await;
        assert!(!response.headers().contains_key(VARY));
    }
    let auth = fixture
        .auth()
        .client_certificates(CertificateSource::connection());
    let (response, _) = send(&auth, over(&bound, Some(PEM))).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key(VARY));
}

/// The certificate is kept while a request waits.
#[tokio::test]
async fn a_request_that_waits_keeps_its_certificate() {
    let fixture = Fixture::new();
    for (source, name, value) in forms() {
        let auth = fixture.auth().client_certificates(source).revocation(
            async |_: tower_jwt_auth::Claims| {
                tokio::task::yield_now().await;
                Ok(tower_jwt_auth::revocation::RevocationStatus::Active)
            },
        );
        let token = bound(&fixture, PEM);
        let (response, seen) = send(&auth, forwarded(&token, &[(name, value(PEM))])).await;
        assert_eq!((response.status().as_u16(), seen.count()), (200, 1));
        assert_eq!(response.headers()[VARY], name);
        mismatch(&auth, forwarded(&token, &[(name, value(OTHER_PEM))])).await;
    }
}

/// RFC9700-2.2.1-1: for a whole layer, and for one of its issuers.
#[tokio::test]
async fn rfc9700_2_2_1_1_bound_tokens_can_be_required() {
    let fixture = Fixture::new();
    let source = CertificateSource::connection;
    let (plain, bound) = (fixture.token().mint(), bound(&fixture, PEM));
    let auth = fixture.auth().client_certificates(source());
    let strict = auth.clone().require_bound_tokens();
    assert!(is_accepted(&auth, over(&plain, Some(PEM))).await);
    for _ in 0..2 {
        let reason = mismatch(&strict, over(&plain, Some(PEM))).await;
        assert!(
            reason.contains("`JwtAuth::require_bound_tokens`"),
            "{reason}"
        );
        assert!(is_accepted(&strict, over(&bound, Some(PEM))).await);
        mismatch(&strict, over(&bound, Some(OTHER_PEM))).await;
    }
    // Without a source the binding cannot be checked, so the token is rejected, and the settings are wrong.
    let blind = fixture.auth().require_bound_tokens();
    mismatch(&blind, over(&bound, Some(PEM))).await;
    let error = blind.check_settings().unwrap_err().to_string();
    assert!(error.contains("add `client_certificates`"), "{error}");
    strict.check_settings().unwrap();
    let (response, _) = send(&strict, get_bare()).await;
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::MissingCredentials);

    let partner = TestIssuer::new()
        .named("https://partner.example")
        .for_audience(AUDIENCE)
        .with_clock(fixture.clock.clone());
    let trusted = TrustedIssuer::new(
        Issuer::new("https://partner.example").unwrap(),
        Audience::new(AUDIENCE).unwrap(),
        partner.keys(),
    );
    let trusted = trusted.require_bound_tokens();
    let error = fixture.auth().trust(trusted.clone()).check_settings();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("https://partner.example"), "{error}");
    let auth = auth.trust(trusted);
    auth.check_settings().unwrap();
    assert!(is_accepted(&auth, over(&plain, Some(PEM))).await);
    mismatch(&auth, over(&partner.token().mint(), Some(PEM))).await;
    let theirs = partner.token().bound_to_certificate(certificate(PEM));
    assert!(is_accepted(&auth, over(&theirs.mint(), Some(PEM))).await);
}

/// Sends a request to a route that requires `R`.
async fn send_to<R: Requirement>(auth: &JwtAuth, request: Request<String>) -> Response<String> {
    let inner = service_fn(async |_: Request<String>| {
        Ok::<_, std::convert::Infallible>(Response::new("in".to_owned()))
    });
    let guarded = JwtAuth::require::<R>().layer(inner);
    auth.layer(guarded).oneshot(request).await.unwrap()
}

/// RFC9700-2.2.1-1: for a single route. Another token is needed, and not more rights, so it is 401.
#[tokio::test]
async fn rfc9700_2_2_1_1_a_route_can_require_a_bound_token() {
    type Read = scope!("read");
    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .client_certificates(CertificateSource::connection());
    let plain = || over(&fixture.token().scope("read").mint(), Some(PEM));
    let bound = || {
        let token = fixture.token().scope("read");
        let token = token.bound_to_certificate(certificate(PEM));
        over(&token.mint(), Some(PEM))
    };
    for (response, is_accepted) in [
        (send_to::<BoundToken>(&auth, bound()).await, true),
        (send_to::<BoundToken>(&auth, plain()).await, false),
        (
            send_to::<AllOf<(BoundToken, Read)>>(&auth, bound()).await,
            true,
        ),
        (
            send_to::<AllOf<(BoundToken, Read)>>(&auth, plain()).await,
            false,
        ),
        // The token lacks a scope as well. The rejection is a 401, because the client needs another token.
        (
            send_to::<AllOf<(scope!("write"), BoundToken)>>(&auth, plain()).await,
            false,
        ),
        (
            send_to::<AnyOf<(BoundToken, Read)>>(&auth, plain()).await,
            true,
        ),
        (
            send_to::<AnyOf<(BoundToken, scope!("write"))>>(&auth, plain()).await,
            false,
        ),
    ] {
        if is_accepted {
            assert_eq!(response.status(), 200);
            continue;
        }
        assert_eq!(response.status(), 401);
        let challenge = &challenges(response.headers())[0];
        assert_eq!(challenge.parameter("error"), Some("invalid_token"));
        assert_eq!(challenge.parameter("scope"), None);
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), RejectionKind::BindingMismatch);
        let reason = rejection.to_string();
        assert!(reason.contains("a bound token (`cnf`)"), "{reason}");
    }
    // The twin: a bound token without the scope lacks a right.
    let response = send_to::<AllOf<(BoundToken, scope!("write"))>>(&auth, bound()).await;
    assert_eq!(response.status(), 403);
    let first = send_to::<AnyOf<(scope!("write"), BoundToken)>>(&auth, plain()).await;
    assert_eq!(first.status(), 403, "the challenge is that of the first");
}

/// Two layers, of which the inner one needs more.
#[tokio::test]
async fn a_strict_layer_inside_of_a_general_one_requires_the_binding() {
    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .client_certificates(CertificateSource::connection());
    let strict = auth.clone().require_bound_tokens();
    for (token, status) in [(fixture.token().mint(), 401), (bound(&fixture, PEM), 200)] {
        let inner = service_fn(async |_: Request<String>| {
            Ok::<_, std::convert::Infallible>(Response::new(String::new()))
        });
        let service = auth.layer(strict.layer(inner));
        let response = service.oneshot(over(&token, Some(PEM))).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

/// A port does not matter, and an address that is mapped to IPv6 is that address.
#[tokio::test]
async fn a_peer_is_told_by_its_address() {
    let fixture = Fixture::new();
    let source = CertificateSource::base64_der(HeaderName::from_static("x-c"), proxy());
    let auth = fixture.auth().client_certificates(source);
    let token = bound(&fixture, PEM);
    for (peer, is_trusted) in [
        ("10.0.0.7:80", true),
        ("[::ffff:10.0.0.7]:80", true),
        ("10.0.0.8:80", false),
        ("[::10.0.0.7]:80", false),
    ] {
        let mut request = forwarded(&token, &[("x-c", base64_of(PEM))]);
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(PeerAddress::from(peer));
        let (response, _) = send(&auth, request).await;
        assert_eq!(response.status() == 200, is_trusted, "{peer}");
    }
}

/// A certificate says that there is TLS.
#[tokio::test]
async fn a_certificate_comes_over_tls() {
    let fixture = Fixture::new();
    let auth = fixture.auth().require_tls(TlsSource::connection());
    let token = fixture.token().mint();
    assert!(is_accepted(&auth, over(&token, Some(PEM))).await);
    assert!(!is_accepted(&auth, over(&token, None)).await);
}
