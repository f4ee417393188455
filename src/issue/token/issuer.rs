//! [`TokenIssuer`]: issues access tokens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, SystemClock};
use crate::error::config::ConfigError;
use crate::issue::keys::SigningKeys;
use crate::issue::token::error::IssueError;
use crate::issue::token::own_claims::OwnClaims;
use crate::issue::token::request::TokenRequest;
use crate::issue::token::resources::Resources;
use crate::issue::token::secrets;
use crate::issue::token::settings::Settings;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::layer::JwtAuth;
use crate::scope::ScopeSet;

/// Issues access tokens in the format of [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068).
///
/// Each token has `iss`, `aud`, `sub`, `client_id`, `iat`, `exp` and a `jti` of 128 random bits, the header
/// `typ: at+jwt`, and the id of its key. Its default lifetime is 10 minutes. Issuer, audience and keys are
/// required. Clones are cheap.
///
/// The application authenticates the user. This type handles neither login pages nor passwords. For a login
/// that lasts longer than a token, use refresh tokens and not long-lived access tokens.
///
/// # Secrets
///
/// A token is signed and not encrypted. Everyone who has it can read its claims. [Own
/// claims](TokenRequest::claims) that look like a secret are an error, at any depth.
/// [`insecure_allow_claim`](Self::insecure_allow_claim) makes an exception.
///
/// A claim is found by its name if the name ends with one of these terms. Case, separators and digits are
/// ignored, so `userPassword`, `USER-PASSWORDS` and `userpassword2` are found, and `password_changed_at` and
/// `secretary` are not. If the name is a URL, only its last part is checked.
///
/// | | terms |
/// |---|---|
/// | passwords | `password`, `passwd`, `passphrase`, `passcode`, `pwd`, `pswd`, `pw`, `pin`, `user_pass`, `db_pass`, `secret_answer`, `security_answer`, `passwort`, `kennwort`, `mot_de_passe`, `contrasena`, `senha` |
/// | keys | `secret`, `api_key`, `access_key`, `secret_key`, `signing_key`, `encryption_key`, `decryption_key`, `master_key`, `shared_key`, `hmac_key`, `aes_key`, `psk`, `recovery_key`, `recovery_code`, `backup_code` |
/// | private keys | `private_key`, `priv_key`, `seed_phrase`, `recovery_phrase`, `mnemonic` |
/// | tokens | `access_token`, `refresh_token`, `id_token`, `bearer_token`, `api_token`, `auth_token`, `session_token`, `reset_token`, `session_cookie` |
/// | cards | `card` as the whole name, `credit_card`, `debit_card`, `payment_card`, `bank_card`, `card_number`, `card_num`, `card_no`, `cc_number`, `cc_num`, `cvc`, `cvn`, `cvv`, `security_code`, `card_verification_value`, `card_verification_code` |
/// | numbers of a person | `ssn`, `social_security_number`, `social_security_no`, `iban`, `bank_account`, `bank_account_number`, `passport_number`, `passport_no` |
///
/// These words may follow a term: `hash`, `hashed`, `digest`, `salt`, `sha256`, `md5`, `bcrypt`, `argon2`,
/// `argon2id`, `scrypt`, `pbkdf2`, `enc`, a version such as `v2`, `b64`, `value`, `text`, `plain`,
/// `plaintext`, `cleartext`, `encrypted`, `ciphertext`, `base64`, `hex`, `pem`, `raw`, `string`, `data`,
/// `new`, `old`, `current`, `confirm`, `confirmation`, `temporary`, `backup`, `hint`. A boolean or an empty
/// value is never a secret, so `has_password` may be `true`.
///
/// A claim is also found by the shape of its value:
///
/// - a private key: PEM, PuTTY, a private or symmetric JSON Web Key, even as text;
/// - the hash of a password: bcrypt, Argon2, scrypt, PBKDF2, `$1$`, `$5$`, `$6$`, `$y$`, phpass and every
///   other PHC or `crypt` string, `{SSHA}` and similar forms, and the forms of Django, Werkzeug and
///   PostgreSQL;
/// - a key with the prefix of its service: AWS, Anthropic, Atlassian, Databricks, DigitalOcean, Docker,
///   GitHub, GitLab, Google, Grafana, HashiCorp, Hugging Face, Mailgun, New Relic, npm, OpenAI, Postman,
///   PyPI, SendGrid, Shopify, Slack, Square, Stripe, Supabase, age, Azure connection strings, and refresh
///   tokens of this crate;
/// - a JWT, `Basic` credentials, and a URL with a password;
/// - a card number that is alone in its claim, found by the range of its issuer, its length and its
///   check digit.
///
/// # Example: a token for a person
///
/// ```
/// use tower_jwt_auth::issue::{SigningKeys, TokenIssuer};
/// use tower_jwt_auth::{Algorithm, Audience, Issuer, scope};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let keys = SigningKeys::generate(Algorithm::ES256)?;
/// let tokens = TokenIssuer::new(
///     Issuer::new("https://login.example.com")?,
///     Audience::new("calendar-api")?,
///     keys,
/// );
///
/// let token = tokens
///     .for_subject("alice", "calendar-web")
///     .scopes::<scope!("calendar:read")>()
///     .issue()
///     .await?;
///
/// // The layer that accepts these tokens, in the same process.
/// let claims = tokens.auth().verifier().verify(token.as_str()).await?;
/// assert_eq!(claims.subject(), Some("alice"));
/// claims.authorize::<scope!("calendar:read")>()?;
///
/// // A secret in the claims is an error.
/// let error = tokens
///     .for_subject("alice", "calendar-web")
///     .claims(&serde_json::json!({"user": {"apiKey": "0123456789"}}))
///     .issue()
///     .await
///     .unwrap_err();
/// assert!(error.to_string().starts_with("claim \"/user/apiKey\" looks like a secret or a key"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[must_use]
pub struct TokenIssuer(Arc<Settings>);

impl TokenIssuer {
    /// Creates an issuer of tokens for this API.
    pub fn new(issuer: Issuer, audience: Audience, keys: impl Into<SigningKeys>) -> Self {
        Self(Arc::new(Settings {
            issuer,
            resources: Resources::new(audience.clone()),
            audience,
            keys: keys.into(),
            lifetime: LIFETIME,
            allowed: Vec::new(),
            clock: Arc::new(SystemClock),
        }))
    }

    /// Sets the lifetime of a token, in whole seconds. Default: 10 minutes.
    ///
    /// A thief can use a stolen token until it expires.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TokenLifetime`] below 1 second and above 60 minutes
    /// ([RFC 6750, section 5.3](https://www.rfc-editor.org/rfc/rfc6750#section-5.3)).
    pub fn lifetime(self, lifetime: Duration) -> Result<Self, ConfigError> {
        self.with_lifetime(lifetime, LONGEST)
    }

    /// Sets a lifetime of more than 60 minutes.
    ///
    /// # Security
    ///
    /// Whoever steals such a token can use it for that time. Every API that accepts the tokens should have a
    /// [revocation check](crate::revocation), and the tokens should be [bound](TokenRequest::bound_to) to a
    /// key of the client. Long logins with refresh tokens need neither.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TokenLifetime`] below 1 second and above 366 days. [`ConfigError::SigningKeys`] if the keys
    /// rotate faster than that.
    pub fn insecure_lifetime(self, lifetime: Duration) -> Result<Self, ConfigError> {
        self.with_lifetime(lifetime, LONGEST_INSECURE)
    }

    fn with_lifetime(self, lifetime: Duration, maximum: Duration) -> Result<Self, ConfigError> {
        if !(SHORTEST..=maximum).contains(&lifetime) {
            return Err(ConfigError::TokenLifetime {
                input: lifetime,
                maximum,
            });
        }
        let lifetime = Duration::from_secs(lifetime.as_secs());
        self.0.keys.cover_lifetime(lifetime)?;
        Ok(self.with(|settings| settings.lifetime = lifetime))
    }

    /// Allows one of your own claims, with everything in it, although it looks like a secret. Pass the name
    /// of a claim of the token (`card`), or the JSON pointer of an inner claim as the error prints it
    /// (`/billing/card`).
    ///
    /// # Security
    ///
    /// Everyone who has the token, or a log with it, can read the claim. Allow it only if it is not a
    /// secret.
    pub fn insecure_allow_claim(self, name: &str) -> Self {
        let pointer = match name.strip_prefix('/') {
            Some(_) => name.to_owned(),
            None => format!("/{}", secrets::escaped(name)),
        };
        self.with(|settings| settings.allowed.push(pointer))
    }

    /// Adds another API and its scopes. A token with these scopes has the audience of this API, so each scope
    /// belongs to one API ([RFC 9068, section 3](https://www.rfc-editor.org/rfc/rfc9068#section-3)).
    ///
    /// A token without scopes is for the audience of [`new`](Self::new). So is every scope that was not added
    /// here. A token with scopes of several APIs names all of them.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Settings`] if an API or a scope was already added, or if the audience has several
    /// identifiers or is [any](Audience::insecure_any).
    ///
    /// # Example: a second API
    ///
    /// ```
    /// # use tower_jwt_auth::issue::{SigningKeys, TokenIssuer};
    /// # use tower_jwt_auth::{Algorithm, Audience, ConfigError, Issuer, scope};
    /// # use tower_jwt_auth::scope::ScopeSet;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let (issuer, keys) = (Issuer::new("https://login.example.com")?, SigningKeys::generate(Algorithm::ES256)?);
    /// let tokens = TokenIssuer::new(issuer, Audience::new("calendar-api")?, keys)
    ///     .resource(Audience::new("billing-api")?, ScopeSet::new(["invoice:read"])?)?;
    ///
    /// let token = tokens.for_subject("alice", "web").scopes::<scope!("invoice:read")>().issue().await?;
    /// assert!(tokens.auth().verifier().verify(token.as_str()).await.is_err()); // not for `calendar-api`
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn resource(self, audience: Audience, scopes: ScopeSet) -> Result<Self, ConfigError> {
        let mut resources = self.0.resources.clone();
        resources.add(audience, scopes)?;
        Ok(self.with(|settings| settings.resources = resources))
    }

    /// Sets the clock. Default: the clock of the operating system. The keys have their own clock.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|settings| settings.clock = Arc::new(clock))
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.0));
        self
    }

    /// The issuer: the `iss` of each token.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// The audience of a token without scopes of [other APIs](Self::resource).
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.0.audience
    }

    /// The keys that verify the tokens, in the same process. They follow the rotation at once.
    #[must_use]
    pub fn keys(&self) -> KeyStore {
        self.0.keys.keys()
    }

    /// The layer that accepts these tokens, with the [profile](JwtAuth::access_token_profile) of RFC 9068.
    ///
    /// Other services write `JwtAuth::new(issuer, audience, keys)` with the published
    /// [key set](SigningKeys::jwks).
    pub fn auth(&self) -> JwtAuth {
        let clock = Arc::clone(&self.0.clock);
        JwtAuth::new(self.0.issuer.clone(), self.0.audience.clone(), self.keys())
            .access_token_profile()
            .clock(move || clock.now())
    }

    /// Begins a token for a person. Its `sub` is this subject, and its `client_id` is the application that
    /// the person uses.
    ///
    /// The subject is an id that never changes and is never given to another person.
    pub fn for_subject<'a>(&'a self, subject: &'a str, client_id: &'a str) -> TokenRequest<'a> {
        TokenRequest::new(&self.0, subject, client_id)
    }

    /// Begins a token for a client that acts for itself. Its `sub` and its `client_id` are the
    /// client ([RFC 9068, section 2.2](https://www.rfc-editor.org/rfc/rfc9068#section-2.2)).
    ///
    /// Clients and persons must have different ids.
    pub fn for_client<'a>(&'a self, client_id: &'a str) -> TokenRequest<'a> {
        TokenRequest::new(&self.0, client_id, client_id)
    }

    /// Checks own claims as [`TokenRequest::issue`] does.
    pub(crate) fn check_claims(&self, claims: &impl Serialize) -> Result<(), IssueError> {
        OwnClaims::of(claims, &self.0.allowed).map(drop)
    }

    /// How long a token lives.
    pub(crate) fn token_lifetime(&self) -> Duration {
        self.0.lifetime
    }

    /// The clock of the tokens.
    pub(crate) fn its_clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer")
            .field("issuer", &self.0.issuer)
            .field("audience", &self.0.audience)
            .field("lifetime", &self.0.lifetime)
            .finish_non_exhaustive()
    }
}

const LIFETIME: Duration = Duration::from_secs(10 * 60);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60 * 60);
const LONGEST_INSECURE: Duration = Duration::from_secs(366 * 24 * 60 * 60);
