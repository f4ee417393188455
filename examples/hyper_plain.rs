//! The layer around a hyper server, with Tower but without a framework or extractors.
//!
//! ```sh
//! cargo run --example hyper_plain --features test-util
//! ```
//!
//! It prints its tokens and these lines. Challenges also have an `error_description`.
//!
//! ```text
//! curl -i http://127.0.0.1:3000/
//! # 401 Bearer realm="api"
//! curl -i -H "Authorization: Bearer $READER" http://127.0.0.1:3000/
//! # 200 hello alice
//! curl -i -X DELETE -H "Authorization: Bearer $READER" http://127.0.0.1:3000/
//! # 403 Bearer realm="api", error="insufficient_scope", scope="files:delete"
//! curl -i -X DELETE -H "Authorization: Bearer $OWNER" http://127.0.0.1:3000/
//! # 200 gone, by alice
//! ```

mod support;

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tower::ServiceBuilder;
use tower_jwt_auth::{Claims, Rejection, scope, test::TestIssuer};

async fn handle(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(respond(&request).unwrap_or_else(Rejection::into_response))
}

/// A returned rejection gets the same status, challenge and realm as the rejections of the layer.
fn respond(request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Rejection> {
    let Some(user) = request.extensions().get::<Claims>() else {
        return Ok(status(StatusCode::FORBIDDEN)); // a CORS preflight, which has no token
    };
    let name = user.subject().unwrap_or("stranger");
    match *request.method() {
        Method::GET => Ok(text(format!("hello {name}\n"))),
        Method::DELETE => {
            user.authorize::<scope!("files:delete")>()?;
            Ok(text(format!("gone, by {name}\n")))
        }
        _ => Ok(status(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn text(text: String) -> Response<Full<Bytes>> {
    Response::new(text.into())
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

#[tokio::main]
async fn main() -> Result<(), support::Failure> {
    support::log(); // why a token is rejected
    let issuer = TestIssuer::new();
    let alice = issuer.token().subject("alice");
    let alice = alice.expires_in(Duration::from_secs(3600));
    let tokens = [
        ("READER", alice.clone().scope("files:read").mint()),
        ("OWNER", alice.scope("files:read files:delete").mint()),
    ];
    let service = ServiceBuilder::new()
        .layer(issuer.auth())
        .service_fn(handle);

    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("hyper_plain.rs"), &listener, &tokens)?;
    let (server, open) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    eprintln!("no connection: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await; // no file descriptors, for example
                    continue;
                }
            },
            () = &mut stopped => break,
        };
        let service = TowerToHyperService::new(service.clone());
        let connection = server
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection failed: {error}");
            }
        });
    }
    open.shutdown().await;
    Ok(())
}
