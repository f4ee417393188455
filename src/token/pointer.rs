//! [`ClaimPointer`]: the place of a claim in the payload.

use std::fmt;
use std::sync::Arc;

use crate::error::config::ConfigError;
use crate::text_form::text_form;

/// The place of a claim in the payload: a JSON pointer
/// ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)) through objects, such as
/// `/resource_access/calendar/roles`.
///
/// Write a `/` within a name as `~1` and a `~` as `~0`: `/https:~1~1example.com~1roles`.
///
/// ```
/// use tower_jwt_auth::token::ClaimPointer;
/// use tower_jwt_auth::{ConfigError, JwtAuth};
///
/// fn with_roles(auth: JwtAuth) -> Result<JwtAuth, ConfigError> {
///     let auth = auth.roles_from(ClaimPointer::new("/groups")?);
///     Ok(auth.roles_from("/https:~1~1example.com~1roles".parse()?))
/// }
/// # let _ = with_roles;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimPointer(Arc<[String]>);

impl ClaimPointer {
    /// Creates a pointer from its text.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClaimPointer`] if it does not begin with `/`, or has a `~` that is not followed
    /// by `0` or `1`.
    pub fn new(pointer: &str) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::ClaimPointer {
            input: pointer.to_owned(),
        };
        let names = pointer.strip_prefix('/').ok_or_else(invalid)?;
        let unescape = |name: &str| {
            let mut escapes = name.split('~').skip(1);
            escapes
                .all(|escape| escape.starts_with(['0', '1']))
                .then(|| name.replace("~1", "/").replace("~0", "~"))
        };
        names
            .split('/')
            .map(unescape)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(invalid)
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}

/// The text of the pointer.
impl fmt::Display for ClaimPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |name: &String| name.replace('~', "~0").replace('/', "~1");
        self.0
            .iter()
            .try_for_each(|name| write!(f, "/{}", escape(name)))
    }
}

text_form!(ClaimPointer, ClaimPointer::new);
