//! Sends one request, with a timeout and a maximum size of the response.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::time::timeout;

use crate::error::shown_url::ShownUrl;
use crate::fetch::Fetch;

/// Sends requests to an issuer.
#[derive(Clone)]
pub(crate) struct Documents {
    pub(crate) fetch: Arc<dyn Fetch>,
    /// The timeout of one request.
    pub(crate) timeout: Duration,
    /// The maximum size of the body of a response in bytes.
    pub(crate) max_body: usize,
}

impl Documents {
    /// Fetches a document, and returns the response with any status. The reason for a failure begins with
    /// the URL, without its secret parts.
    pub(crate) async fn get(
        &self,
        uri: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Vec<u8>>, DocumentError> {
        let mut request = Request::get(uri).header(ACCEPT, ACCEPTED);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Vec::new());
        let shown = ShownUrl(uri);
        let request = request.map_err(|error| DocumentError::new(format!("{shown}: {error}")))?;
        self.send(uri, request).await
    }

    /// Sends a request to this URL, and returns the response with any status. The reason for a failure
    /// begins with the URL, without its secret parts.
    pub(crate) async fn send(
        &self,
        uri: &str,
        mut request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, DocumentError> {
        let shown = ShownUrl(uri).to_string();
        let failed = |reason: &dyn fmt::Display| DocumentError::new(format!("{shown}: {reason}"));
        // Without this header, a server may use any content coding, and none is supported.
        let coding = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, coding);
        let (limit, most) = (self.timeout, self.max_body);
        let fetched = timeout(limit, self.fetch.fetch(request, most)).await;
        let response = fetched
            .map_err(|_| failed(&format_args!("no answer within {limit:?}")))?
            // Many clients include the URL in their errors.
            .map_err(|error| failed(&error.to_string().replace(uri, &shown)))?;
        if response.body().len() > most {
            return Err(failed(&format_args!("body is longer than {most} bytes")));
        }
        Ok(response)
    }
}

/// Why there is no document.
#[derive(Clone, Debug)]
pub(crate) struct DocumentError {
    pub(crate) reason: String,
    /// The time after which the server accepts requests again.
    pub(crate) retry_after: Option<Duration>,
}

impl DocumentError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

const ACCEPTED: &str = "application/jwk-set+json, application/json";
