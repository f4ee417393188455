//! [`IssuedToken`]: an access token that was signed.

use std::fmt;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

/// A signed access token, and the values for a token response about it ([RFC 6749, section
/// 5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)).
///
/// `Debug` does not print the token. The text is cleared from memory when the value is dropped.
#[derive(Clone)]
pub struct IssuedToken {
    pub(super) text: Zeroizing<String>,
    pub(super) id: String,
    pub(super) expires_at: SystemTime,
    pub(super) lifetime: Duration,
    pub(super) scope: Option<String>,
    pub(super) token_type: &'static str,
}

impl IssuedToken {
    /// The text of the token, for the client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the text of the token. The returned text is not cleared from memory.
    #[must_use]
    pub fn into_string(mut self) -> String {
        std::mem::take(&mut *self.text)
    }

    /// The `jti` of the token, which can be used to revoke the token. It is not secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When the token expires: its `exp`.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// The lifetime of the token in whole seconds: `expires_in` of a token response.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The scopes of the token, separated by spaces. `None` if it has none.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// `Bearer`, or `DPoP` if the token is bound to the key of a DPoP proof.
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        self.token_type
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .field("token_type", &self.token_type)
            .finish_non_exhaustive()
    }
}
