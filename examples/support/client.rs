//! A client for the examples that call their own servers.

use std::error::Error;
use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

#[derive(Clone)]
pub(crate) struct Client(Pool<HttpConnector, String>);

impl Client {
    pub(crate) fn new() -> Self {
        Self(Pool::builder(TokioExecutor::new()).build_http())
    }

    /// `GET /` with a token: the status and the body.
    pub(crate) async fn get(
        &self,
        server: SocketAddr,
        token: &str,
    ) -> Result<(StatusCode, String), Box<dyn Error + Send + Sync>> {
        let request = Request::get(format!("http://{server}/"))
            .header("authorization", format!("Bearer {token}"))
            .body(String::new())?;
        let response = self.0.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.into())?))
    }
}
