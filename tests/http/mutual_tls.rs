//! A token that is bound to a client certificate, over a real connection with mutual TLS: what the guide
//! shows, from the handshake to the handler.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::{Layer, ServiceExt};
use tower_jwt_auth::request::{CertificateSource, ClientCertificate, TlsConnection, TlsSource};
use tower_jwt_auth::{Claims, JwtAuth, Rejection, RejectionKind};

use crate::certificates::Certificate;
use crate::support::Fixture;

fn chain_of(made: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(made.path("certificate")).unwrap()
}

fn key_of(made: &Certificate) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(made.path("key")).unwrap()
}

fn roots(made: &[&Certificate]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for one in made {
        roots.add(chain_of(one)).unwrap();
    }
    Arc::new(roots)
}

/// Serves one connection, with TLS or without.
async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, auth: JwtAuth) {
    let inner = tower::service_fn(async |request: Request<Incoming>| {
        let claims = request.extensions().get::<Claims>().unwrap();
        let subject = claims.subject().unwrap_or_default().to_owned();
        Ok::<_, Infallible>(Response::new(subject))
    });
    let app = auth.layer(inner);
    let respond = |request: Request<Incoming>| {
        let app = app.clone();
        async move {
            let mut response = app.oneshot(request).await.unwrap();
            // The kind travels to the test in a field.
            if let Some(rejection) = response.extensions().get::<Rejection>() {
                let kind = http::HeaderValue::from_static(rejection.kind().as_str());
                response.headers_mut().insert("x-kind", kind);
            }
            Ok::<_, Infallible>(response)
        }
    };
    let builder = Builder::new(TokioExecutor::new());
    let Some(tls) = tls else {
        let service = service_fn(respond);
        let _ = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
        return;
    };
    let stream = tls.accept(stream).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates();
    let certificate = chain.and_then(|chain| chain.first());
    let certificate = certificate.map(|leaf| ClientCertificate::from_der(leaf));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(TlsConnection::new());
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        respond(request)
    });
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The status, the kind of the rejection, and the body.
async fn ask<S>(stream: S, token: &str) -> (StatusCode, Option<String>, String)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    use http_body_util::BodyExt;

    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("/events")
        .header("host", "api.example")
        .header("authorization", format!("Bearer {token}"))
        .header("client-cert", ":MAMCAQE=:")
        .header("x-forwarded-proto", "https");
    let request = request.body(String::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let kind = response.headers().get("x-kind");
    let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.await.unwrap().unwrap();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

/// RFC8705-3-1, RFC6749-10.3-1: over a real connection.
#[tokio::test]
async fn rfc8705_3_1_a_bound_token_works_over_the_connection_of_its_client_alone() {
    let made = ["IP:127.0.0.1", "DNS:one.example", "DNS:other.example"]
        .map(|host| Certificate::make(host, "mutual-tls"));
    let [Some(server), Some(one), Some(other)] = &made else {
        return;
    };
    let verifier = WebPkiClientVerifier::builder(roots(&[one, other]))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![chain_of(server)], key_of(server))
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));

    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .require_tls(TlsSource::connection())
        .client_certificates(CertificateSource::connection());
    let certificate = ClientCertificate::from_der(&chain_of(one));
    let bound = fixture.token().bound_to_certificate(certificate).mint();
    let plain = fixture.token().mint();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let connect = async |tls: Option<TlsAcceptor>| {
        let stream = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(accepted, tls, auth.clone()));
        stream
    };
    let client = |own: Option<&Certificate>| {
        let config = ClientConfig::builder().with_root_certificates(roots(&[server]));
        let config = match own {
            Some(own) => config.with_client_auth_cert(vec![chain_of(own)], key_of(own)),
            None => Ok(config.with_no_client_auth()),
        };
        TlsConnector::from(Arc::new(config.unwrap()))
    };
    let mismatch = Some(RejectionKind::BindingMismatch.as_str().to_owned());
    for (own, token, status, kind) in [
        (Some(one), &bound, 200, None),
        (Some(other), &bound, 401, mismatch.clone()),
        (None, &bound, 401, mismatch),
        (Some(one), &plain, 200, None),
        (None, &plain, 200, None),
    ] {
        let stream = connect(Some(tls.clone())).await;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = client(own).connect(name, stream).await.unwrap();
        let answer = ask(stream, token).await;
        assert_eq!((answer.0.as_u16(), answer.1), (status, kind));
        let body = if status == 200 { "subject-1" } else { "" };
        assert_eq!(answer.2, body);
    }
    for token in [&bound, &plain] {
        let (status, kind, _) = ask(connect(None).await, token).await;
        let insecure = RejectionKind::InsecureConnection.as_str().to_owned();
        assert_eq!((status.as_u16(), kind), (403, Some(insecure)));
    }
}
