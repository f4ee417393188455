//! What the services of this folder have in common: reading the request, verifying the token, storing the
//! marks, and reporting the result.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::clock::{Clock, NumericDate, SystemClock};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::response::FullBody;
use crate::revocation::logout::statement::{Statement, StatementKind, Statements};
use crate::revocation::{RevocationMark, RevocationWriter};
use crate::telemetry::{self, LineBudget};
use crate::token::registered::Registered;

/// The settings of a service.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) issuers: Vec<TrustedIssuer>,
    pub(super) writer: Arc<dyn RevocationWriter>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) kind: StatementKind,
    pub(super) max_body: usize,
    pub(super) max_token_lifetime: Duration,
    pub(super) marks_session_alone: bool,
}

/// The settings of a service, and what follows from them.
pub(super) struct Receiver {
    pub(super) settings: Settings,
    statements: Statements,
    /// The lines of rejections and those of failures.
    budgets: [LineBudget; 2],
}

impl Settings {
    pub(super) fn new(
        issuer: TrustedIssuer,
        writer: impl RevocationWriter,
        kind: StatementKind,
    ) -> Self {
        Self {
            issuers: vec![issuer],
            writer: Arc::new(writer),
            clock: Arc::new(SystemClock),
            kind,
            max_body: 64 * 1_024,
            max_token_lifetime: Duration::from_secs(24 * 3_600),
            marks_session_alone: false,
        }
        .checked()
    }

    /// Reports an issuer that was added last and has no keys to verify anything with.
    pub(super) fn checked(self) -> Self {
        let last = self.issuers.last().filter(|issuer| !issuer.has_keys);
        if let Some(TrustedIssuer { issuer, .. }) = last {
            telemetry::settings_rejected(&format!(
                "issuer {issuer} has no keys to verify its notices (`typ` {}) with; see `TrustedIssuer::new`",
                self.kind.typ
            ));
        }
        self
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field(
                "issuers",
                &self.issuers.iter().map(|it| &it.issuer).collect::<Vec<_>>(),
            )
            .field("max_body", &self.max_body)
            .field("max_token_lifetime", &self.max_token_lifetime)
            .field("marks_session_alone", &self.marks_session_alone)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    pub(super) fn new(settings: Settings) -> Self {
        let clock = Arc::clone(&settings.clock);
        Self {
            statements: Statements::new(&settings.issuers, settings.kind, clock),
            settings,
            budgets: Default::default(),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.settings.clock.now()
    }

    /// The `iat` of a notice.
    pub(super) fn issued_at(&self, claims: &Registered) -> SystemTime {
        // Every statement has one.
        let issued_at = claims.issued_at().map(NumericDate::to_system_time);
        issued_at.unwrap_or_else(|| self.now())
    }

    /// The time until which marks are kept: all tokens that were issued until then have expired.
    pub(super) fn end_of_marks(&self, issued_until: SystemTime) -> SystemTime {
        let end = NumericDate::from(issued_until).plus(self.settings.max_token_lifetime);
        end.to_system_time()
    }

    pub(super) async fn verify(&self, token: &[u8]) -> Result<Statement, Rejection> {
        self.statements.verify(token).await
    }

    /// Stores all marks. Succeeds only if each one is stored.
    pub(super) async fn store(&self, marks: Vec<RevocationMark>) -> Result<(), Rejection> {
        let failed = |reason: String| {
            let reason = format!("a mark could not be stored: {reason}");
            Rejection::because(RejectionKind::RevocationUnavailable, reason)
        };
        for mark in marks {
            let written = self.settings.writer.write(mark);
            match within(TIMEOUT, written).await {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(failed(error.to_string())),
                None => return Err(failed("no answer in 5 s".into())),
            }
        }
        Ok(())
    }

    /// Reads the body of a POST request with this media type.
    pub(super) async fn read<B: Body>(
        &self,
        request: Request<B>,
        media_type: &'static str,
    ) -> Result<Vec<u8>, Failure> {
        if request.method() != Method::POST {
            return Err(Failure::Method);
        }
        let mut types = request.headers().get_all(CONTENT_TYPE).iter();
        let essence = |value: &HeaderValue| {
            let essence = value.to_str().ok()?.split(';').next()?;
            Some(essence.trim().eq_ignore_ascii_case(media_type))
        };
        if types.next().and_then(essence) != Some(true) || types.next().is_some() {
            return Err(Failure::MediaType(media_type));
        }
        let limit = self.settings.max_body;
        match within(TIMEOUT, collect(request.into_body(), limit)).await {
            Some(read) => read.map_err(Failure::Rejected),
            None => Err(Failure::Rejected(malformed("the body did not end in 5 s"))),
        }
    }

    /// Reports the result of one request.
    pub(super) fn report(&self, notice: &'static str, result: &Result<Accepted, Failure>) {
        match result {
            Ok(accepted) => telemetry::notice_accepted(notice, &accepted.issuer, accepted.marks),
            Err(failure) => {
                let status = failure.status();
                let [rejections, failures] = &self.budgets;
                let budget = if status.is_server_error() {
                    failures
                } else {
                    rejections
                };
                let suppressed = budget.spend(telemetry::seconds(self.now()));
                telemetry::notice_rejected(notice, status.as_u16(), failure, suppressed);
            }
        }
    }
}

/// A kind of notice that an issuer sends.
pub(super) trait Notice: Send + Sync + 'static {
    /// In events and metrics.
    const NAME: &'static str;
    const MEDIA_TYPE: &'static str;

    fn receiver(&self) -> &Receiver;

    /// Verifies the notice in this body, and stores its marks.
    fn accept(&self, body: &[u8]) -> impl Future<Output = Result<Accepted, Failure>> + Send;

    fn response(result: Result<Accepted, Failure>) -> Response<FullBody>;
}

/// Answers a request with a notice, and reports the result.
pub(super) async fn respond<N: Notice, B: Body>(
    notice: Arc<N>,
    request: Request<B>,
) -> Response<FullBody> {
    let body = match notice.receiver().read(request, N::MEDIA_TYPE).await {
        Ok(body) => body,
        Err(failure) => {
            let result = Err(failure);
            notice.receiver().report(N::NAME, &result);
            return N::response(result);
        }
    };
    // An issuer that hangs up early must not leave a part of the marks undone.
    let result = detached(async move {
        let result = notice.accept(&body).await;
        notice.receiver().report(N::NAME, &result);
        result
    });
    N::response(result.await.unwrap_or_else(|| {
        let reason = "the task of the request has ended";
        Err(Rejection::because(RejectionKind::RevocationUnavailable, reason).into())
    }))
}

/// A notice whose marks are stored.
pub(super) struct Accepted {
    pub(super) issuer: Box<str>,
    pub(super) marks: usize,
}

/// Why a request is answered with an error.
pub(super) enum Failure {
    /// With the one that is expected.
    MediaType(&'static str),
    Method,
    Rejected(Rejection),
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Failure {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Rejected(rejection) if rejection.status().is_server_error() => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Rejected(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The response, with `body` if it is 400.
    pub(super) fn response(
        &self,
        body: impl FnOnce(RejectionKind) -> String,
    ) -> Response<FullBody> {
        let mut response = empty(self.status());
        let headers = response.headers_mut();
        match self {
            Self::MediaType(_) => {}
            Self::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Rejected(rejection) if rejection.status().is_server_error() => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::Rejected(rejection) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *response.body_mut() = FullBody::new(body(rejection.kind()));
            }
        }
        response
    }
}

/// The reason, for the operator.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MediaType(expected) => write!(f, "content type is not {expected}"),
            Self::Method => f.write_str("method is not POST"),
            Self::Rejected(rejection) => rejection.fmt(f),
        }
    }
}

/// A response without a body. No response may be stored.
pub(super) fn empty(status: StatusCode) -> Response<FullBody> {
    let mut response = Response::new(FullBody::default());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// The whole body, if it is not longer than the limit.
async fn collect<B: Body>(body: B, limit: usize) -> Result<Vec<u8>, Rejection> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|_| malformed("the body ended too early"))?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        use bytes::Buf;
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            if bytes.len().saturating_add(length) > limit {
                return Err(malformed("the body is longer than the limit"));
            }
            bytes.extend_from_slice(chunk);
            data.advance(length);
        }
    }
    Ok(bytes)
}

/// The result of a future, which goes on if nobody waits for it any more. `None` if it has panicked. Outside
/// of a tokio runtime it runs as a part of the caller.
async fn detached<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    match Handle::try_current() {
        Ok(runtime) => runtime.spawn(future).await.ok(),
        Err(_) => Some(future.await),
    }
}

/// The result of a future, unless the time is over before. Outside of a tokio runtime there is no timer.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let timer = Handle::try_current().ok().map(|_| sleep(limit));
    let (mut future, mut timer) = (pin!(future), pin!(timer));
    poll_fn(|context| {
        if let Poll::Ready(result) = future.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(context).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

fn malformed(reason: &'static str) -> Rejection {
    Rejection::because(RejectionKind::MalformedRequest, reason)
}

/// The timeout for the body, and that for each mark.
const TIMEOUT: Duration = Duration::from_secs(5);
