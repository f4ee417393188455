//! [`Grants`]: the view of a token that a requirement checks.

use std::fmt;
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use crate::claims::names::NameSet;
use crate::claims::{Token, own};
use crate::token::pointer::ClaimPointer;

/// The view of a verified token that a [`Requirement`](super::Requirement) checks.
#[derive(Clone, Copy)]
pub struct Grants<'a>(&'a Token);

impl<'a> Grants<'a> {
    pub(super) fn of(token: &'a Token) -> Self {
        Self(token)
    }

    /// The scopes.
    #[must_use]
    pub fn scopes(self) -> NameSet<'a> {
        self.0.scopes()
    }

    /// The roles; see [`Claims::roles`](crate::Claims::roles).
    #[must_use]
    pub fn roles(self) -> NameSet<'a> {
        self.0.roles()
    }

    /// The client that the token was issued to; see [`Claims::client_id`](crate::Claims::client_id).
    #[must_use]
    pub fn client_id(self) -> Option<&'a str> {
        self.0.client_id()
    }

    /// Whether the client acts for itself and not for a user; see [`Claims::is_client`](crate::Claims::is_client).
    #[must_use]
    pub fn is_client(self) -> bool {
        self.0.is_client()
    }

    /// Whether the token is bound to something that its caller has proved; see
    /// [`BoundToken`](crate::scope::BoundToken).
    #[must_use]
    pub fn is_bound(self) -> bool {
        self.0.is_bound()
    }

    /// The issuer. If several issuers are trusted, compare it too: subjects, clients and other claims
    /// have a meaning only within their issuer.
    #[must_use]
    pub fn issuer(self) -> &'a str {
        self.0.registered().issuer().unwrap_or_default()
    }

    /// The subject; see [`Claims::subject`](crate::Claims::subject).
    #[must_use]
    pub fn subject(self) -> Option<&'a str> {
        self.0.registered().subject()
    }

    /// The id of the login session; see [`Claims::session_id`](crate::Claims::session_id).
    #[must_use]
    pub fn session_id(self) -> Option<&'a str> {
        self.0.registered().session_id()
    }

    /// How the person signed in (`acr`); see
    /// [`Claims::authentication_context`](crate::Claims::authentication_context).
    #[must_use]
    pub fn acr(self) -> Option<&'a str> {
        self.0.registered().acr()
    }

    /// When the person signed in (`auth_time`); see
    /// [`Claims::authenticated_at`](crate::Claims::authenticated_at).
    #[must_use]
    pub fn auth_time(self) -> Option<SystemTime> {
        let time = self.0.registered().auth_time()?;
        Some(time.to_system_time())
    }

    /// The current time according to the [clock](crate::JwtAuth::clock) of the layer that verified
    /// the token.
    #[must_use]
    pub fn now(self) -> SystemTime {
        self.0.now()
    }

    /// The audiences.
    pub fn audience(self) -> impl Iterator<Item = &'a str> {
        self.0.registered().audience()
    }

    /// Deserializes any claim. The pointer is a JSON pointer such as `/repository_owner`
    /// ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)), and cannot point into an array.
    ///
    /// `None` if the token has no such claim, if the claim does not fit the type, or if the text is not
    /// a pointer. Each call deserializes the claim again.
    ///
    /// # Example: only pipelines of one organization
    ///
    /// ```
    /// use tower_jwt_auth::scope::{Grants, Requirement, Shortfall};
    ///
    /// struct OurPipelines;
    ///
    /// impl Requirement for OurPipelines {
    ///     fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
    ///         let is_ours = grants.issuer() == "https://token.actions.githubusercontent.com"
    ///             && grants.claim::<String>("/repository_owner").as_deref() == Some("acme");
    ///         Shortfall::right_unless(is_ours, Self::describe())
    ///     }
    ///
    ///     fn describe() -> String {
    ///         "a pipeline of acme".into()
    ///     }
    /// }
    /// # #[cfg(feature = "test-util")] {
    /// # let issuer = tower_jwt_auth::test::TestIssuer::new().named("https://token.actions.githubusercontent.com");
    /// # let verifier = issuer.auth().verifier();
    /// # for (owner, may) in [("acme", true), ("mallory", false)] {
    /// #     let claims = verifier.verify_now(&issuer.token().claim("repository_owner", owner).mint()).unwrap();
    /// #     assert_eq!(claims.authorize::<OurPipelines>().is_ok(), may);
    /// # }
    /// # }
    /// ```
    #[must_use]
    pub fn claim<D: DeserializeOwned>(self, pointer: &str) -> Option<D> {
        let pointer = ClaimPointer::new(pointer).ok()?;
        let registered = self.0.registered();
        let value = registered.at(pointer.names())?;
        own::value(value.value(registered.payload()))
    }
}

/// Prints the issuer and the client only, because other values may be personal data.
impl fmt::Debug for Grants<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("issuer", &self.issuer())
            .field("client_id", &self.client_id())
            .finish_non_exhaustive()
    }
}
