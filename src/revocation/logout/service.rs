//! What the two services share that belongs to their types: setters, `Debug` and [`Service`](tower_service::Service).

/// Makes the setters that the services share, and what makes a type a Tower service. The type has a field
/// `.0` of type `Arc<Inner>`, and `Inner` is a `Notice` with a function `with(&self, Settings)`.
macro_rules! service {
    ($service:ident) => {
        impl $service {
            /// Trusts another issuer, with its own keys and its own audience.
            #[must_use]
            pub fn trust(self, issuer: crate::policy::trusted_issuer::TrustedIssuer) -> Self {
                let mut settings = self.0.receiver.settings.clone();
                settings.issuers.push(issuer);
                Self(std::sync::Arc::new(self.0.with(settings.checked())))
            }

            /// Sets the maximum lifetime of the access tokens that the marks apply to. A mark is kept
            /// for this time after the last of these tokens was issued. Default: 24 hours.
            ///
            /// If access tokens have a longer lifetime, set it here: a revoked token is valid again
            /// if its mark is removed too early. A shorter time only saves memory.
            #[must_use]
            pub fn max_token_lifetime(self, lifetime: std::time::Duration) -> Self {
                self.set(|settings| settings.max_token_lifetime = lifetime)
            }

            /// Sets the maximum size of a request body in bytes. Default: 64 KiB. A longer body is
            /// answered with 400.
            #[must_use]
            pub fn max_body(self, bytes: usize) -> Self {
                self.set(|settings| settings.max_body = bytes)
            }

            /// Marks only the session if the issuer names a session and a subject. Default: both are
            /// marked, so that access tokens without `sid` are revoked too.
            ///
            /// Use this only if the issuer writes `sid` into its access tokens. The other sessions of the
            /// subject then stay active. An event about an account, such as a changed credential or a
            /// disabled account, always marks the subject.
            #[must_use]
            pub fn mark_session_alone(self) -> Self {
                self.set(|settings| settings.marks_session_alone = true)
            }

            /// Sets the clock that times are compared with. Default: the clock of the operating
            /// system.
            #[must_use]
            pub fn clock(self, clock: impl crate::clock::Clock) -> Self {
                self.set(|settings| settings.clock = std::sync::Arc::new(clock))
            }

            /// Accepts tokens without `typ`, or with `typ` `JWT`. Any other type is still rejected.
            /// Default: such tokens are rejected.
            ///
            /// # Security
            ///
            /// Without the type, only the claims distinguish this kind of token from the other tokens
            /// of the issuer. Use this only for an issuer that does not send the type.
            #[must_use]
            pub fn insecure_accept_untyped(self) -> Self {
                self.set(|settings| settings.kind.accepts_untyped = true)
            }

            fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
                let mut settings = self.0.receiver.settings.clone();
                change(&mut settings);
                Self(std::sync::Arc::new(self.0.with(settings)))
            }
        }

        impl std::fmt::Debug for $service {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($service))
                    .field(&self.0.receiver.settings)
                    .finish()
            }
        }

        impl<B> tower_service::Service<http::Request<B>> for $service
        where
            B: http_body::Body + Send + 'static,
            B::Data: Send,
        {
            type Response = http::Response<crate::response::FullBody>;
            type Error = std::convert::Infallible;
            type Future =
                std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), Self::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<B>) -> Self::Future {
                let inner = std::sync::Arc::clone(&self.0);
                Box::pin(async move { Ok(respond(inner, request).await) })
            }
        }
    };
}

pub(super) use service;
