//! [`TokenRequest`]: one token before it is signed.
//!
//! `jsonwebtoken` is not used for signing, because it reads the private key again for each token. With
//! `ES256` it takes 1.7 times as long as a bare signature, and this module takes 1.05 times as long
//! (`benches/issue.rs`). A signer of `jsonwebtoken` that was read once cannot be shared by threads.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64_simd::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::issue::keys::Signing;
use crate::issue::token::binding::TokenBinding;
use crate::issue::token::error::IssueError;
use crate::issue::token::ids::new_id;
use crate::issue::token::issued::IssuedToken;
use crate::issue::token::own_claims::OwnClaims;
use crate::issue::token::settings::Settings;
use crate::scope::{ScopeSet, ScopeTypes};
use crate::token::limits::MaxTokenSize;

/// One token that has not been signed yet. [`issue`](Self::issue) signs it.
///
/// Created by [`TokenIssuer::for_subject`](crate::issue::TokenIssuer::for_subject) and
/// [`TokenIssuer::for_client`](crate::issue::TokenIssuer::for_client). Calling a setter again replaces its
/// value. Scopes are added.
#[must_use]
pub struct TokenRequest<'a> {
    settings: &'a Settings,
    subject: &'a str,
    client_id: &'a str,
    scopes: Vec<&'a str>,
    session_id: Option<&'a str>,
    expires_by: Option<SystemTime>,
    authenticated_at: Option<SystemTime>,
    authentication_context: Option<&'a str>,
    authentication_methods: Vec<&'a str>,
    binding: Option<&'a TokenBinding>,
    own: Option<Result<OwnClaims, IssueError>>,
}

impl<'a> TokenRequest<'a> {
    pub(super) fn new(settings: &'a Settings, subject: &'a str, client_id: &'a str) -> Self {
        Self {
            settings,
            subject,
            client_id,
            scopes: Vec::new(),
            session_id: None,
            expires_by: None,
            authenticated_at: None,
            authentication_context: None,
            authentication_methods: Vec::new(),
            binding: None,
            own: None,
        }
    }

    /// Grants the scopes of these types, which are the types that guard the handlers: one type or a tuple.
    ///
    /// ```
    /// # use tower_jwt_auth::issue::{IssueError, IssuedToken, TokenIssuer};
    /// mod calendar {
    ///     tower_jwt_auth::scopes! {
    ///         pub Read = "calendar:read";
    ///         pub Write = "calendar:write";
    ///     }
    /// }
    ///
    /// async fn token(tokens: &TokenIssuer) -> Result<IssuedToken, IssueError> {
    ///     tokens.for_subject("alice", "web").scopes::<(calendar::Read, calendar::Write)>().issue().await
    /// }
    /// ```
    ///
    /// A token has all of its scopes, so `"a" | "b"` does not compile here:
    ///
    /// ```compile_fail,E0277
    /// # use tower_jwt_auth::{issue::TokenIssuer, scope};
    /// # fn token(tokens: &TokenIssuer) {
    /// let _ = tokens.for_subject("alice", "web").scopes::<scope!("calendar:read" | "calendar:write")>();
    /// # }
    /// ```
    ///
    /// For `.scopes("calendar:read")` the compiler reports
    /// "this method takes 0 arguments but 1 argument was supplied": write `.scopes::<scope!("calendar:read")>()`.
    pub fn scopes<R: ScopeTypes>(mut self) -> Self {
        R::each(&mut |scope| self.add_scope(scope));
        self
    }

    /// Grants scopes that are known only at run time, such as the scopes that a person has allowed.
    pub fn scope_set(mut self, scopes: &'a ScopeSet) -> Self {
        scopes.iter().for_each(|scope| self.add_scope(scope));
        self
    }

    fn add_scope(&mut self, scope: &'a str) {
        if !self.scopes.contains(&scope) {
            self.scopes.push(scope);
        }
    }

    /// Sets `sid`: the session that the token belongs to. A session can be revoked as a whole.
    pub fn session_id(mut self, id: &'a str) -> Self {
        self.session_id = Some(id);
        self
    }

    /// The token expires at this time at the latest.
    pub(crate) fn expires_by(mut self, time: SystemTime) -> Self {
        self.expires_by = Some(time);
        self
    }

    /// Sets `auth_time`: when the person was authenticated, in whole seconds.
    pub fn authenticated_at(mut self, time: SystemTime) -> Self {
        self.authenticated_at = Some(time);
        self
    }

    /// Sets `acr`: how strong the authentication was, such as `urn:example:mfa`.
    pub fn authentication_context(mut self, acr: &'a str) -> Self {
        self.authentication_context = Some(acr);
        self
    }

    /// Sets `amr`: the methods of the authentication, such as `pwd` and `otp`
    /// ([RFC 8176](https://www.rfc-editor.org/rfc/rfc8176)).
    pub fn authentication_methods(mut self, amr: impl IntoIterator<Item = &'a str>) -> Self {
        self.authentication_methods = amr.into_iter().collect();
        self
    }

    /// Adds claims of the application: any type that is a JSON object, such as a struct.
    ///
    /// `roles`, `permissions`, `entitlements` and `cognito:groups` must be a string, or an array of strings or
    /// of objects with a `value`. Claims that the issuer writes itself, or that determine the kind of a token,
    /// cannot be set.
    /// [Secrets](crate::issue::TokenIssuer#secrets) are an error. Both errors are returned when the token is
    /// [issued](Self::issue).
    pub fn claims(mut self, own: &impl Serialize) -> Self {
        self.own = Some(OwnClaims::of(own, &self.settings.allowed));
        self
    }

    /// Sets `cnf`: whoever uses the token must prove possession of this key or certificate.
    pub fn bound_to(mut self, binding: &'a TokenBinding) -> Self {
        self.binding = Some(binding);
        self
    }

    /// Signs the token with the active signing key.
    ///
    /// # Errors
    ///
    /// [`IssueError`], for example if one of your own claims looks like a secret, or if no key is available.
    pub async fn issue(self) -> Result<IssuedToken, IssueError> {
        let now = self.settings.clock.now();
        let key = self.settings.keys.active()?;
        let issued_at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut lifetime = self.settings.lifetime.as_secs();
        if let Some(time) = self.expires_by {
            let end = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            lifetime = lifetime.min(end.as_secs().saturating_sub(issued_at));
        }
        let expires_at = issued_at.saturating_add(lifetime);
        let id = new_id().ok_or_else(|| IssueError::Unavailable {
            reason: "the system has no random bytes".to_owned(),
        })?;
        let scope = (!self.scopes.is_empty()).then(|| self.scopes.join(" "));
        let payload = self.payload(issued_at, expires_at, &id, scope.as_deref())?;

        let signature = key
            .algorithm()
            .signature_length()
            .unwrap_or(LARGEST_SIGNATURE);
        let bytes = [
            key.header().len(),
            encoded_length(payload.len()),
            encoded_length(signature),
            2,
        ];
        let bytes = bytes.into_iter().fold(0, usize::saturating_add);
        let maximum = MaxTokenSize::default().bytes();
        if bytes > maximum {
            return Err(IssueError::TooLarge { bytes, maximum });
        }
        // It never grows, so no copy of it stays in memory.
        let mut text = Zeroizing::new(String::with_capacity(bytes));
        text.push_str(key.header());
        text.push('.');
        URL_SAFE_NO_PAD.encode_append(&payload, &mut *text);
        let signature = match key.sign(text.as_bytes()) {
            Signing::Ready(signature) => signature,
            Signing::Pending(signature) => signature.await,
        };
        let signature = signature
            .map(Zeroizing::new)
            .map_err(|error| IssueError::Sign {
                reason: error.to_string(),
            })?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_append(&*signature, &mut *text);
        Ok(IssuedToken {
            text,
            id,
            expires_at: UNIX_EPOCH
                .checked_add(Duration::from_secs(expires_at))
                .unwrap_or(now),
            lifetime: Duration::from_secs(lifetime),
            scope,
            token_type: self.binding.map_or("Bearer", TokenBinding::token_type),
        })
    }

    /// The claims as JSON (RFC 9068, section 2.2).
    fn payload(
        &self,
        issued_at: u64,
        expires_at: u64,
        id: &str,
        scope: Option<&str>,
    ) -> Result<Vec<u8>, IssueError> {
        let own = match &self.own {
            Some(Ok(own)) => own.members(),
            Some(Err(error)) => return Err(error.clone()),
            None => "",
        };
        let mut out = Payload(Vec::with_capacity(PAYLOAD.saturating_add(own.len())));
        out.text("{\"iss\":", self.settings.issuer.as_str());
        out.raw(",\"aud\":");
        self.settings.resources.write(&self.scopes, &mut out.0)?;
        out.text(",\"sub\":", not_empty("subject", self.subject)?);
        out.text(",\"client_id\":", not_empty("client id", self.client_id)?);
        out.number(",\"iat\":", issued_at);
        out.number(",\"exp\":", expires_at);
        out.text(",\"jti\":", id);
        if let Some(scope) = scope {
            out.text(",\"scope\":", scope);
        }
        if let Some(session) = self.session_id {
            out.text(",\"sid\":", not_empty("session id", session)?);
        }
        if let Some(time) = self.authenticated_at {
            let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            out.number(",\"auth_time\":", time.as_secs());
        }
        if let Some(context) = self.authentication_context {
            out.text(",\"acr\":", not_empty("authentication context", context)?);
        }
        for (at, method) in self.authentication_methods.iter().enumerate() {
            let method = not_empty("authentication method", method)?;
            out.text(if at == 0 { ",\"amr\":[" } else { "," }, method);
        }
        if !self.authentication_methods.is_empty() {
            out.raw("]");
        }
        if let Some(binding) = self.binding {
            let (name, thumbprint) = binding.member();
            out.text(",\"cnf\":{", name);
            out.text(":", thumbprint);
            out.raw("}");
        }
        if !own.is_empty() {
            out.raw(",");
            out.raw(own);
        }
        out.raw("}");
        Ok(out.0)
    }
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("client_id", &self.client_id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// JSON text that is being written.
struct Payload(Vec<u8>);

impl Payload {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Writes `before` and a string.
    fn text(&mut self, before: &str, text: &str) {
        self.raw(before);
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.0, text);
    }

    fn number(&mut self, before: &str, number: u64) {
        self.raw(before);
        let _ = serde_json::to_writer(&mut self.0, &number);
    }
}

pub(in crate::issue) fn not_empty<'t>(
    what: &'static str,
    text: &'t str,
) -> Result<&'t str, IssueError> {
    if text.is_empty() {
        return Err(IssueError::Invalid {
            what,
            expected: "a text that is not empty",
        });
    }
    Ok(text)
}

/// The length in base64url without padding.
fn encoded_length(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

/// The expected size of the claims of the issuer.
const PAYLOAD: usize = 512;
/// The signature of an RSA key of 8192 bits.
const LARGEST_SIGNATURE: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::issue::keys::SigningKeys;
    use crate::keys::algorithm::Algorithm;

    /// RFC7519-4.1.7-2.
    #[test]
    fn a_million_ids_are_distinct_and_have_128_bits() {
        let ids: HashSet<String> = (0..1_000_000).map(|_| new_id().unwrap()).collect();
        assert_eq!(ids.len(), 1_000_000);
        // Each bit is set in half of them, and differs from the bit 1, 8, 32 or 64 places away in half of them.
        let mut counts = [[0_u32; 128]; 5];
        for id in ids.iter().take(20_000) {
            let id = URL_SAFE_NO_PAD.decode_to_vec(id).unwrap();
            let id = u128::from_be_bytes(id.try_into().unwrap());
            let turned = [1, 8, 32, 64].map(|places| id ^ id.rotate_left(places));
            for (counts, bits) in counts.iter_mut().zip([id].into_iter().chain(turned)) {
                for (bit, count) in counts.iter_mut().enumerate() {
                    *count += u32::from(bits >> bit & 1 == 1);
                }
            }
        }
        // Ten standard deviations.
        let is_half = |count: &u32| count.abs_diff(10_000) < 700;
        assert!(counts.as_flattened().iter().all(is_half), "{counts:?}");
    }

    fn signature(keys: &SigningKeys, message: &[u8]) -> Vec<u8> {
        match keys.active().unwrap().sign(message) {
            Signing::Ready(signature) => signature.unwrap(),
            Signing::Pending(_) => panic!("the key is here"),
        }
    }

    /// A text that grows leaves a copy of a token in freed memory.
    #[tokio::test]
    async fn the_text_of_a_token_never_grows() {
        for algorithm in [
            Algorithm::ES256,
            Algorithm::ES512,
            Algorithm::EdDSA,
            Algorithm::RS256,
        ] {
            let tokens = crate::issue::TokenIssuer::new(
                crate::Issuer::new("https://login.example.com").unwrap(),
                crate::Audience::new("calendar-api").unwrap(),
                SigningKeys::generate(algorithm).unwrap(),
            );
            let token = tokens.for_client("batch").issue().await.unwrap();
            let room = token.text.capacity() - token.text.len();
            let spare = if algorithm == Algorithm::RS256 {
                encoded_length(LARGEST_SIGNATURE) - encoded_length(256)
            } else {
                0
            };
            assert_eq!(room, spare, "{algorithm}");
        }
    }

    /// RFC7518-3.4-4. One in 128 signatures has a number that begins with a zero.
    #[test]
    fn ten_thousand_signatures_keep_their_leading_zeros() {
        let keys = SigningKeys::generate(Algorithm::ES256).unwrap();
        let mut with_zeros = 0;
        for at in 0..10_000_u32 {
            let signature = signature(&keys, &at.to_be_bytes());
            assert_eq!(signature.len(), 64);
            with_zeros += u32::from(signature.first() == Some(&0) || signature.get(32) == Some(&0));
        }
        assert!(with_zeros > 0);
    }

    /// RFC8725-3.2-2. The backend draws a nonce for each signature, from the random generator of the library
    /// and from the key: two signatures of one text differ. `guide::limitations` says so.
    #[test]
    fn signatures_of_ecdsa_are_randomized() {
        let keys = SigningKeys::generate(Algorithm::ES256).unwrap();
        let [one, two] = [(); 2].map(|()| signature(&keys, b"a text"));
        assert_ne!(one, two);
        assert_ne!(one.get(..32), two.get(..32));
    }
}
