//! Shared helpers: the fixture of the conformance rows, a service to protect, and an independent reader of
//! challenges.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test target uses a part of it"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[cfg(feature = "tracing")]
pub mod log;

use std::convert::Infallible;
use std::sync::{Arc, LazyLock, Mutex};

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::test::{FixedClock, TestIssuer, TestToken};
use tower_jwt_auth::{
    Algorithm, Claims, JwtAuth, KeySet, KeyStore, Rejection, RejectionKind, Verifier,
};

/// The time of the fixture.
pub const NOW: u64 = 1_700_000_000;
pub const ISSUER: &str = "https://as.example";
pub const AUDIENCE: &str = "https://api.example";

/// One issuer with four keys: `k1` ES256, `k2` RS256, `h1` HS256, `e1` EdDSA.
#[derive(Clone)]
pub struct Fixture {
    pub clock: FixedClock,
    pub keys: KeyStore,
    signers: Vec<(&'static str, TestIssuer)>,
    /// Created once, because each cache has its own table.
    verifier: Verifier,
}

/// The signers are created once for each test target, because an RSA key takes time.
static SIGNERS: LazyLock<Vec<(&'static str, TestIssuer)>> = LazyLock::new(|| {
    let clock = FixedClock::at(NOW);
    [
        ("k1", Algorithm::ES256),
        ("k2", Algorithm::RS256),
        ("h1", Algorithm::HS256),
        ("e1", Algorithm::EdDSA),
    ]
    .map(|(id, algorithm)| {
        (
            id,
            TestIssuer::with_algorithm(algorithm).with_clock(clock.clone()),
        )
    })
    .to_vec()
});

impl Fixture {
    pub fn new() -> Self {
        let clock = FixedClock::at(NOW);
        let signers = SIGNERS.clone();
        let keys = signers
            .iter()
            .map(|(id, signer)| signer.key().with_key_id(*id));
        let keys = KeyStore::from(KeySet::new(keys).unwrap()).with_clock(clock.clone());
        Self {
            verifier: layer(&keys, &clock).verifier(),
            clock,
            keys,
            signers,
        }
    }

    /// A layer with the four keys and the fixture's clock.
    pub fn auth(&self) -> JwtAuth {
        layer(&self.keys, &self.clock)
    }

    /// The issuer with this one key. Its `TestIssuer::key` has the id `key-1`.
    pub fn signer(&self, id: &str) -> &TestIssuer {
        &self
            .signers
            .iter()
            .find(|(known, _)| *known == id)
            .expect("k1, k2, h1 or e1")
            .1
    }

    /// A good token of this key, minted at [`NOW`].
    pub fn token_of(&self, id: &str) -> TestToken {
        self.signer(id)
            .token()
            .header("kid", id)
            .claim("jti", "token-1")
    }

    /// A good token of `k1`.
    pub fn token(&self) -> TestToken {
        self.token_of("k1")
    }

    /// The verdict of the verifier, without the layer.
    pub fn verify(&self, token: &str) -> Result<Claims, Rejection> {
        self.verifier.verify_now(token)
    }

    /// Asserts that the verifier rejects the token for this reason, and the layer with 401.
    #[track_caller]
    pub fn rejects(&self, token: &str, kind: RejectionKind) {
        let rejection = self.verify(token).expect_err("the token was accepted");
        assert_eq!(rejection.kind(), kind, "{rejection}");
        assert_eq!(rejection.status(), 401, "{rejection}");
    }

    /// Asserts that the verifier accepts the token.
    #[track_caller]
    pub fn accepts(&self, token: &str) -> Claims {
        self.verify(token)
            .unwrap_or_else(|rejection| panic!("refused: {rejection}"))
    }
}

fn layer(keys: &KeyStore, clock: &FixedClock) -> JwtAuth {
    let issuer = tower_jwt_auth::Issuer::new(ISSUER).unwrap();
    let audience = tower_jwt_auth::Audience::new(AUDIENCE).unwrap();
    JwtAuth::new(issuer, audience, keys.clone())
        .clock(clock.clone())
        .cache(small_cache())
}

/// A cache of a hundred tokens, for tests that make a layer for each case. In a debug build the default table
/// takes longer to make and to drop than the rest of such a test. In test runs with other caches this is the
/// default cache, which those runs choose.
pub fn small_cache() -> TokenCache {
    let cache = TokenCache::default();
    let is_chosen = std::env::var_os("TOWER_JWT_AUTH_CACHE").is_some();
    assert!(
        cfg!(tower_jwt_auth_cache) || !is_chosen,
        "TOWER_JWT_AUTH_CACHE has no effect in this build"
    );
    if is_chosen {
        cache
    } else {
        cache.max_tokens(100)
    }
}

/// What the protected service received.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<http::request::Parts>>>);

impl Seen {
    pub fn requests(&self) -> Vec<http::request::Parts> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Sends one request through the layer to a service that answers 200 `hello`.
pub async fn send<L>(layer: &L, request: Request<String>) -> (Response<String>, Seen)
where
    L: LayerOf,
{
    layer.send(request).await
}

/// A layer that [`send`] can use. Every `JwtAuth` implements it.
pub trait LayerOf {
    fn send(&self, request: Request<String>) -> impl Future<Output = (Response<String>, Seen)>;
}

impl<C, R> LayerOf for JwtAuth<C, R>
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
    R: tower_jwt_auth::response::RespondTo<String>,
{
    async fn send(&self, request: Request<String>) -> (Response<String>, Seen) {
        let seen = Seen::default();
        let record = seen.clone();
        let inner = service_fn(move |request: Request<String>| {
            record.0.lock().unwrap().push(request.into_parts().0);
            async { Ok::<_, Infallible>(Response::new("hello".to_owned())) }
        });
        (self.layer(inner).oneshot(request).await.unwrap(), seen)
    }
}

/// A GET request with this `Authorization` value.
pub fn get_with(authorization: impl AsRef<[u8]>) -> Request<String> {
    let value = http::HeaderValue::from_bytes(authorization.as_ref()).unwrap();
    Request::get("/events")
        .header(AUTHORIZATION, value)
        .body(String::new())
        .unwrap()
}

/// A GET request with this bearer token.
pub fn get(token: &str) -> Request<String> {
    get_with(format!("Bearer {token}"))
}

/// A GET request without credentials.
pub fn get_bare() -> Request<String> {
    Request::get("/events").body(String::new()).unwrap()
}

/// One challenge, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadChallenge {
    pub scheme: String,
    pub parameters: Vec<(String, String)>,
    /// Parameters whose value was quoted.
    pub quoted: Vec<String>,
}

impl ReadChallenge {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads every `WWW-Authenticate` line by the grammar of RFC 9110, section 11.6.1. Panics if a line does not
/// follow it.
pub fn challenges(headers: &HeaderMap) -> Vec<ReadChallenge> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter();
    lines
        .map(|line| read_challenge(line.to_str().expect("a challenge is ASCII")))
        .collect()
}

/// Reads one challenge: a scheme, one space, and parameters with commas between them.
pub fn read_challenge(line: &str) -> ReadChallenge {
    let (scheme, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    assert!(is_token(scheme), "scheme of {line}");
    let (mut parameters, mut quoted) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (name, value) = rest
            .split_once('=')
            .unwrap_or_else(|| panic!("no `=` in {rest:?}"));
        assert!(is_token(name), "parameter name {name:?} in {line}");
        let text;
        if let Some(inside) = value.strip_prefix('"') {
            (text, rest) = unquote(inside);
            quoted.push(name.to_ascii_lowercase());
        } else {
            let end = value.find(',').unwrap_or(value.len());
            text = value[..end].to_owned();
            rest = &value[end..];
            assert!(is_token(&text), "unquoted value {text:?} in {line}");
        }
        parameters.push((name.to_ascii_lowercase(), text));
        if !rest.is_empty() {
            rest = rest
                .strip_prefix(',')
                .unwrap_or_else(|| panic!("no comma before {rest:?}"))
                .trim_start_matches(' ');
            assert!(!rest.is_empty(), "a comma at the end of {line}");
        }
    }
    ReadChallenge {
        scheme: scheme.to_owned(),
        parameters,
        quoted,
    }
}

fn unquote(inside: &str) -> (String, &str) {
    let (mut text, mut chars) = (String::new(), inside.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (text, &inside[at + 1..]),
            '\\' => text.push(chars.next().expect("something behind a backslash").1),
            other => text.push(other),
        }
    }
    panic!("a quoted string without end: {inside:?}")
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
