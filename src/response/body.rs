//! [`FullBody`]: a complete response body.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Response body of the services of this crate: all bytes at once, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FullBody(Option<Bytes>);

impl FullBody {
    pub(crate) fn new(text: impl Into<Bytes>) -> Self {
        let bytes = text.into();
        Self((!bytes.is_empty()).then_some(bytes))
    }

    /// The bytes that have not been sent yet.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Body for FullBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = u64::try_from(self.as_bytes().len()).unwrap_or(u64::MAX);
        SizeHint::with_exact(length)
    }
}
