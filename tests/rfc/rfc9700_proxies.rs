//! What a proxy says about a request (RFC 9700, section 4.13), and tokens over TLS alone (RFC 6749,
//! section 10.3).

use std::net::IpAddr;

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response};
use tower_jwt_auth::request::{
    CertificateSource, ClientCertificate, CsrfPolicy, PeerAddress, TlsConnection, TlsSource,
    TokenCookie, TokenSource, TrustedProxies,
};
use tower_jwt_auth::response::Challenge;
use tower_jwt_auth::{JwtAuth, Rejection, RejectionKind};

use crate::support::{Fixture, Seen, challenges, get, get_bare, send};

const PROXY: &str = "10.0.0.7";

fn proxy() -> TrustedProxies {
    TrustedProxies::networks([PROXY]).unwrap()
}

fn from(peer: &str, mut request: Request<String>) -> Request<String> {
    let peer = PeerAddress::from(peer.parse::<IpAddr>().unwrap());
    request.extensions_mut().insert(peer);
    request
}

fn with(name: &'static str, values: &[&str], mut request: Request<String>) -> Request<String> {
    for value in values {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(name, value);
    }
    request
}

/// Asserts that a request is rejected because it did not come over TLS. Gives the reason.
fn is_plaintext((response, seen): (Response<String>, Seen)) -> String {
    assert_eq!((response.status().as_u16(), seen.count()), (403, 0));
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::InsecureConnection);
    let challenge = &challenges(response.headers())[0];
    assert_eq!(challenge.scheme, "Bearer");
    let realm = [("realm".to_owned(), "api".to_owned())];
    assert_eq!(challenge.parameters, realm);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert!(!response.headers().contains_key("location"), "no redirect");
    rejection.to_string()
}

/// RFC6749-10.3-1: over a plain connection no token is read, good or bad.
#[tokio::test]
async fn rfc6749_10_3_1_a_plain_connection_is_rejected_before_the_token() {
    let fixture = Fixture::new();
    let auth = fixture.auth().require_tls(TlsSource::connection());
    let tokens = [
        fixture.token().mint(),
        fixture.token().expired().mint(),
        "opaque".to_owned(),
    ];
    let mut requests: Vec<_> = tokens.iter().map(|token| get(token)).collect();
    requests.push(get_bare());
    requests.push(with("authorization", &["Bearer a", "Bearer b"], get_bare()));
    let mut preflight = get_bare();
    *preflight.method_mut() = Method::OPTIONS;
    preflight = with("origin", &["https://app.example"], preflight);
    preflight = with("access-control-request-method", &["GET"], preflight);
    requests.push(preflight);
    for request in requests.clone() {
        let reason = is_plaintext(send(&auth, request.clone()).await);
        assert!(reason.contains("`TlsConnection`"), "{reason}");
        // The client chooses the scheme of the URI, and every header.
        let mut spoofed = with("x-forwarded-proto", &["https"], request.clone());
        spoofed = with("forwarded", &["proto=https"], spoofed);
        *spoofed.uri_mut() = "https://api.example/events".parse().unwrap();
        is_plaintext(send(&auth, spoofed).await);
        is_plaintext(send(&auth.clone().optional(), request).await);
    }
    // The twin: over TLS each of them gets its usual verdict.
    let mut statuses = Vec::new();
    for mut request in requests {
        request.extensions_mut().insert(TlsConnection::new());
        statuses.push(send(&auth, request).await.0.status().as_u16());
    }
    assert_eq!(statuses, [200, 401, 401, 401, 400, 200]);
    // By default the connection does not matter.
    let (response, _) = send(&fixture.auth(), get(&tokens[0])).await;
    assert_eq!(response.status(), 200);
    let named = auth.challenge(Challenge::new("calendar").unwrap());
    let (response, _) = send(&named, get(&tokens[0])).await;
    let challenge = &response.headers()[WWW_AUTHENTICATE];
    assert_eq!(challenge, r#"Bearer realm="calendar""#);
}

/// RFC6749-10.3-1: a trusted proxy says how a request came.
#[tokio::test]
async fn rfc6749_10_3_1_a_trusted_proxy_says_whether_there_was_tls() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let x_forwarded: &[(&[&str], bool)] = &[
        (&["https"], true),
        (&["HTTPS"], true),
        (&["wss"], true),
        (&[" https , https "], true),
        (&["https", "https"], true),
        (&["http"], false),
        (&["https, http"], false),
        (&["http, https"], false),
        (&["https", "http"], false),
        (&["https,"], false),
        (&[""], false),
        (&["httpsx"], false),
        (&["\"https\""], false),
        (&["https;q=1"], false),
        (&["on"], false),
    ];
    let forwarded: &[(&[&str], bool)] = &[
        (&["proto=https"], true),
        (&["for=192.0.2.60;Proto=HTTPS;by=203.0.113.43"], true),
        (&["for=\"[2001:db8::1]:4711\";proto=\"https\""], true),
        (&["for=a;proto=https, for=b;proto=https"], true),
        (&["for=a;proto=https", "proto=wss"], true),
        (&["for=\"a,proto=http\";proto=https"], true),
        (&["proto=http"], false),
        (&["for=a"], false),
        (&[""], false),
        (&["for=a;proto=https, for=b;proto=http"], false),
        (&["for=a;proto=http, for=b;proto=https"], false),
        (&["for=a;proto=https, for=b"], false),
        (&["for=a;proto=https", "for=b"], false),
        (&["proto=https;proto=https"], false),
        (&["proto=https;proto=http"], false),
        (&["for=\"a;proto=https"], false),
        (&["for=\"a,proto=https\""], false),
        (&["proto=\"ht\\tps\""], false),
        (&["https"], false),
    ];
    for (name, source, cases) in [
        (
            "x-forwarded-proto",
            TlsSource::x_forwarded_proto(proxy()),
            x_forwarded,
        ),
        ("forwarded", TlsSource::forwarded(proxy()), forwarded),
    ] {
        let auth = fixture.auth().require_tls(source);
        for (values, is_tls) in cases {
            let request = with(name, values, from(PROXY, get(&token)));
            let (response, seen) = send(&auth, request).await;
            if *is_tls {
                assert_eq!(
                    (response.status().as_u16(), seen.count()),
                    (200, 1),
                    "{values:?}"
                );
                continue;
            }
            let reason = is_plaintext((response, seen));
            assert!(
                reason.contains(&format!("field `{name}` does not say")),
                "{reason}"
            );
        }
        let good = || with(name, cases[0].0, get(&token));
        let reason = is_plaintext(send(&auth, from("10.0.0.8", good())).await);
        assert!(reason.contains("no trusted proxy"), "{reason}");
        let reason = is_plaintext(send(&auth, good()).await);
        assert!(reason.contains("the peer is not known"), "{reason}");
        let reason = is_plaintext(send(&auth, from(PROXY, get(&token))).await);
        assert!(reason.contains("is absent"), "{reason}");
        // The proxy's own connection is not that of the client.
        let mut inside = from(PROXY, get(&token));
        inside.extensions_mut().insert(TlsConnection::new());
        is_plaintext(send(&auth, inside).await);
    }
    // Each source reads its own field.
    let auth = fixture.auth().require_tls(TlsSource::forwarded(proxy()));
    let other = with("x-forwarded-proto", &["https"], from(PROXY, get(&token)));
    is_plaintext(send(&auth, other).await);
}

/// The fields that a client may send to look like a proxy.
const SPOOFED: [(&str, &str); 16] = [
    ("forwarded", "for=10.0.0.7;host=app.example;proto=https"),
    ("x-forwarded-host", "app.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-scheme", "https"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-ssl", "on"),
    ("x-forwarded-for", "10.0.0.7"),
    ("x-forwarded-prefix", "/other"),
    ("x-real-ip", "10.0.0.7"),
    ("x-url-scheme", "https"),
    ("x-original-host", "app.example"),
    ("front-end-https", "on"),
    ("client-cert", ":MAMCAQE=:"),
    ("client-cert-chain", ":MAMCAQE=:"),
    (
        "x-forwarded-client-cert",
        "Hash=2d62e3bbf2bb5c3ae6e9d1a6ff2b5a5c3ae6e9d1a6ff2b5a5c3ae6e9d1a6ff2b",
    ),
    ("x-client-cert", "MAMCAQE="),
];

fn spoof(mut request: Request<String>) -> Request<String> {
    for (name, value) in SPOOFED {
        request = with(name, &[value], request);
    }
    request
}

/// RFC9700-4.13-1: what every client can send changes nothing, unless the peer is trusted: not the rules
/// about other sites, no URL of a response, not the certificate, not the connection.
#[tokio::test]
async fn rfc9700_4_13_1_fields_of_a_proxy_change_nothing_without_a_trusted_peer() {
    let fixture = Fixture::new();
    let bound = fixture
        .token()
        .bound_to_certificate(ClientCertificate::from_der(&[0x30, 3, 2, 1, 1]))
        .mint();
    let good = fixture.token().mint();
    let cookie = TokenCookie::new("__Host-token", CsrfPolicy::same_origin()).unwrap();
    let with_cookie = TokenSource::header().with_cookie(cookie);
    let post = |origin: &str, host: &str| {
        let request = Request::post("/events")
            .header("cookie", format!("__Host-token={good}"))
            .header("host", host)
            .header("origin", origin);
        request.body(String::new()).unwrap()
    };
    let certificates = |source| fixture.auth().client_certificates(source);
    let field = http::HeaderName::from_static("x-client-cert");
    let tls = |source| fixture.auth().require_tls(source);
    let linked = Challenge::new("api")
        .and_then(|challenge| challenge.parameter("resource_metadata", "https://api.example/m"))
        .unwrap();
    let cases: Vec<(JwtAuth, Request<String>, u16)> = vec![
        (fixture.auth(), get(&good), 200),
        (fixture.auth(), get_bare(), 401),
        (fixture.auth().challenge(linked), get_bare(), 401),
        (fixture.auth().optional(), get_bare(), 200),
        (
            fixture.auth().token_source(with_cookie.clone()),
            post("https://app.example", "api.example"),
            403,
        ),
        (
            fixture.auth().token_source(with_cookie.clone()),
            post("https://api.example", "api.example"),
            200,
        ),
        (
            fixture.auth().token_source(with_cookie),
            post("http://api.example", "api.example"),
            403,
        ),
        (fixture.auth(), get(&bound), 401),
        (
            certificates(CertificateSource::connection()),
            get(&bound),
            401,
        ),
        (
            certificates(CertificateSource::rfc9440(proxy())),
            get(&bound),
            401,
        ),
        (
            certificates(CertificateSource::xfcc(proxy())),
            get(&bound),
            401,
        ),
        (
            certificates(CertificateSource::base64_der(field.clone(), proxy())),
            get(&bound),
            401,
        ),
        (
            certificates(CertificateSource::escaped_pem(field, proxy())),
            get(&bound),
            401,
        ),
        (
            certificates(CertificateSource::rfc9440(proxy())),
            get(&good),
            200,
        ),
        (tls(TlsSource::connection()), get(&good), 403),
        (tls(TlsSource::forwarded(proxy())), get(&good), 403),
        (tls(TlsSource::x_forwarded_proto(proxy())), get(&good), 403),
    ];
    for (at, (auth, request, status)) in cases.into_iter().enumerate() {
        for peer in [None, Some("10.0.0.8")] {
            let request = match peer {
                Some(peer) => from(peer, request.clone()),
                None => request.clone(),
            };
            let (plain, _) = send(&auth, request.clone()).await;
            let (spoofed, _) = send(&auth, spoof(request)).await;
            assert_eq!(plain.status(), status, "case {at}");
            assert_eq!(spoofed.status(), status, "case {at}");
            assert_eq!(spoofed.headers(), plain.headers(), "case {at}");
            assert_eq!(spoofed.body(), plain.body(), "case {at}");
            let kind = |response: &Response<String>| {
                response
                    .extensions()
                    .get::<Rejection>()
                    .map(Rejection::kind)
            };
            assert_eq!(kind(&spoofed), kind(&plain), "case {at}");
        }
    }
    // The twins: the same fields count if the peer is trusted.
    for auth in [
        certificates(CertificateSource::rfc9440(proxy())),
        certificates(CertificateSource::base64_der(
            http::HeaderName::from_static("x-client-cert"),
            proxy(),
        )),
        tls(TlsSource::forwarded(proxy())).client_certificates(CertificateSource::rfc9440(proxy())),
        tls(TlsSource::x_forwarded_proto(proxy()))
            .client_certificates(CertificateSource::rfc9440(proxy())),
    ] {
        let (response, _) = send(&auth, spoof(from(PROXY, get(&bound)))).await;
        assert_eq!(response.status(), 200);
    }
}
