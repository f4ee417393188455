//! [`TestToken`]: a token to mint.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::request::ClientCertificate;
use crate::test::signer::Signer;

/// Token of a [`TestIssuer`](super::TestIssuer), valid or invalid. [`mint`](Self::mint) returns its text.
#[derive(Clone)]
#[must_use]
pub struct TestToken {
    signer: Arc<Signer>,
    now: u64,
    /// The number of tokens that the issuer has minted. `None` if the id of this token was set.
    minted: Option<Arc<AtomicU64>>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    raw_header: Option<Vec<u8>>,
    raw_claims: Option<Vec<u8>>,
    flaw: Flaw,
    #[cfg(feature = "introspection")]
    opaque: Arc<crate::test::opaque::OpaqueTokens>,
}

/// What is wrong with the signature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    Stranger,
    Tampered,
    Unsigned,
}

impl TestToken {
    pub(super) fn new(
        signer: Arc<Signer>,
        issuer: &str,
        audience: &str,
        now: u64,
        minted: Arc<AtomicU64>,
    ) -> Self {
        let header = object(json!({
            "typ": "at+jwt",
            "alg": signer.algorithm().as_str(),
            "kid": signer.id(),
        }));
        let claims = object(json!({
            "iss": issuer,
            "sub": "subject-1",
            "aud": audience,
            "client_id": "client-1",
            "iat": now,
            "exp": now.saturating_add(LIFETIME),
        }));
        Self {
            signer,
            now,
            minted: Some(minted),
            header,
            claims,
            raw_header: None,
            raw_claims: None,
            flaw: Flaw::None,
            #[cfg(feature = "introspection")]
            opaque: Arc::default(),
        }
    }

    #[cfg(feature = "introspection")]
    pub(super) fn known_to(mut self, opaque: &Arc<crate::test::opaque::OpaqueTokens>) -> Self {
        self.opaque = Arc::clone(opaque);
        self
    }

    /// Sets `sub`.
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Sets `scope`, with names separated by spaces.
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Sets `roles`.
    pub fn roles<'a>(self, roles: impl IntoIterator<Item = &'a str>) -> Self {
        self.claim("roles", roles.into_iter().collect::<Vec<_>>())
    }

    /// Binds the token to this client certificate: sets `cnf` with its thumbprint as `x5t#S256`.
    pub fn bound_to_certificate(self, certificate: ClientCertificate) -> Self {
        self.claim("cnf", json!({"x5t#S256": certificate.thumbprint()}))
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.minted = self.minted.filter(|_| name != "jti");
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    pub fn without(mut self, name: &str) -> Self {
        self.minted = self.minted.filter(|_| name != "jti");
        self.claims.remove(name);
        self
    }

    /// Sets a header parameter.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a header parameter.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets `exp` to this time from now.
    pub fn expires_in(self, lifetime: Duration) -> Self {
        let end = self.now.saturating_add(lifetime.as_secs());
        self.claim("exp", end)
    }

    /// Sets the expiry to an hour ago.
    pub fn expired(self) -> Self {
        let (start, end) = (
            self.now.saturating_sub(2 * HOUR),
            self.now.saturating_sub(HOUR),
        );
        self.claim("iat", start).claim("exp", end)
    }

    /// Sets the start of its validity to an hour from now.
    pub fn not_yet_valid(self) -> Self {
        let start = self.now.saturating_add(HOUR);
        self.claim("nbf", start)
    }

    /// Sets `aud`, for a token that was issued for another API.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// Sets `iss`, for a token that names another issuer.
    pub fn issuer(self, issuer: &str) -> Self {
        self.claim("iss", issuer)
    }

    /// Changes the token after it was signed: adds `"role":"admin"` to its claims.
    pub fn tampered(mut self) -> Self {
        self.flaw = Flaw::Tampered;
        self
    }

    /// Signs the token with a key other than the one that its key id names.
    pub fn signed_by_stranger(mut self) -> Self {
        self.flaw = Flaw::Stranger;
        self
    }

    /// Leaves the token unsigned, with `none` as `alg`.
    pub fn unsigned(mut self) -> Self {
        self.flaw = Flaw::Unsigned;
        self.header("alg", "none")
    }

    /// Signs these bytes as the header instead.
    pub fn raw_header(mut self, header: impl AsRef<[u8]>) -> Self {
        self.raw_header = Some(header.as_ref().to_vec());
        self
    }

    /// Signs these bytes as the claims instead.
    pub fn raw_claims(mut self, claims: impl AsRef<[u8]>) -> Self {
        self.raw_claims = Some(claims.as_ref().to_vec());
        self
    }

    /// Mints the token and returns its text. Each call mints a new token with a new `jti`, unless the
    /// `jti` was set or removed.
    #[must_use]
    pub fn mint(&self) -> String {
        let header = encode(&self.raw_header, &self.header);
        let mut members = self.members();
        let claims = encode(&self.raw_claims, &members);
        let message = format!("{header}.{claims}");
        let signature = match self.flaw {
            Flaw::Unsigned => Vec::new(),
            Flaw::Stranger => {
                Signer::generate(self.signer.algorithm(), self.signer.id()).sign(message.as_bytes())
            }
            Flaw::None | Flaw::Tampered => self.signer.sign(message.as_bytes()),
        };
        let signature = URL_SAFE_NO_PAD.encode_to_string(signature);
        if self.flaw == Flaw::Tampered {
            members.insert("role".into(), "admin".into());
            return format!("{header}.{}.{signature}", encode(&None, &members));
        }
        format!("{message}.{signature}")
    }

    /// Mints an opaque token with these claims and returns its text. The [introspection
    /// endpoint](super::TestIssuer::introspection) of the issuer reports it as active, unless its times
    /// or a flaw of its signature make it inactive. Each call mints a new token.
    #[cfg(feature = "introspection")]
    #[must_use]
    pub fn mint_opaque(&self) -> String {
        self.mint_opaque_with_prefix("")
    }

    /// The same as [`mint_opaque`](Self::mint_opaque), but the text begins with this prefix. Use it
    /// for a layer that distinguishes issuers by
    /// [prefixes](crate::introspection::Introspection::prefix).
    #[cfg(feature = "introspection")]
    #[must_use]
    pub fn mint_opaque_with_prefix(&self, prefix: &str) -> String {
        let claims = (self.flaw == Flaw::None).then(|| self.members());
        self.opaque.mint(prefix, claims)
    }

    /// The claims, with a new `jti` unless it was set or removed.
    fn members(&self) -> Map<String, Value> {
        let mut members = self.claims.clone();
        if let Some(minted) = &self.minted {
            let number = minted.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            members.insert("jti".into(), format!("token-{number}").into());
        }
        members
    }
}

impl fmt::Debug for TestToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestToken")
            .field("header", &self.header)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn encode(raw: &Option<Vec<u8>>, members: &Map<String, Value>) -> String {
    match raw {
        Some(bytes) => URL_SAFE_NO_PAD.encode_to_string(bytes),
        None => URL_SAFE_NO_PAD.encode_to_string(Value::Object(members.clone()).to_string()),
    }
}

const LIFETIME: u64 = 300;
const HOUR: u64 = 3_600;
