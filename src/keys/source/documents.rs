//! Fetches one document, within its time and its size.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::time::timeout;

use crate::fetch::Fetch;
use crate::keys::source::load::LoadError;

/// The way to the documents of an issuer.
pub(crate) struct Documents {
    pub(crate) fetch: Arc<dyn Fetch>,
    /// For one request, whatever happens in it.
    pub(crate) timeout: Duration,
    /// The most bytes of one document.
    pub(crate) max_body: usize,
}

impl Documents {
    /// The answer, whatever it is. The reason of a failure begins with the URL.
    pub(crate) async fn get(
        &self,
        uri: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Vec<u8>>, LoadError> {
        let failed = |reason: &dyn fmt::Display| LoadError::new(format!("{uri}: {reason}"));
        let mut request = Request::get(uri)
            .header(ACCEPT, ACCEPTED)
            // Without this header any coding would do, and none is read here.
            .header(ACCEPT_ENCODING, "identity");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Vec::new()).map_err(|error| failed(&error))?;
        let (limit, most) = (self.timeout, self.max_body);
        let fetched = timeout(limit, self.fetch.fetch(request, most)).await;
        let response = fetched
            .map_err(|_| failed(&format_args!("no answer within {limit:?}")))?
            .map_err(|error| failed(&error))?;
        if response.body().len() > most {
            return Err(failed(&format_args!("body is longer than {most} bytes")));
        }
        Ok(response)
    }
}

const ACCEPTED: &str = "application/jwk-set+json, application/json";
