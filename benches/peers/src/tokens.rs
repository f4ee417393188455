//! The issuer, its tokens, and requests with them.

use std::sync::Arc;

use http::Request;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use tower_jwt_auth::Algorithm;
use tower_jwt_auth::test::TestIssuer;

use crate::support;

/// An issuer with one key, and the URL of its key set.
#[derive(Clone)]
pub struct World {
    pub issuer: TestIssuer,
    pub algorithm: Algorithm,
    /// All keys of the set, if it has more than that of the issuer.
    pub keys: Vec<serde_json::Value>,
    /// The URL of the key set, for a peer that requires one.
    pub jwks_url: String,
}

/// What is wrong with the token of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Accepted,
    BadSignature,
    Expired,
    /// No token, but a text of the same length.
    LongText,
    Malformed,
    NoToken,
    UnknownKey,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::NoToken,
        Self::Malformed,
        Self::LongText,
        Self::UnknownKey,
        Self::BadSignature,
        Self::Expired,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::BadSignature => "bad signature",
            Self::Expired => "expired",
            Self::LongText => "long text",
            Self::Malformed => "malformed",
            Self::NoToken => "no token",
            Self::UnknownKey => "unknown key id",
        }
    }
}

impl World {
    pub fn new(algorithm: Algorithm) -> Self {
        let issuer = TestIssuer::with_algorithm(algorithm);
        let jwks_url = serve(json!({ "keys": [issuer.jwk()] }).to_string());
        Self {
            issuer,
            algorithm,
            keys: Vec::new(),
            jwks_url,
        }
    }

    pub fn issuer_name(&self) -> String {
        self.issuer.issuer().as_str().to_owned()
    }

    pub fn audience(&self) -> String {
        let audience = self.issuer.audience();
        audience.ids().next().unwrap_or_default().to_owned()
    }

    /// The key set. It contains the secret of a symmetric key, because only the peers read it.
    pub fn jwks(&self) -> String {
        if self.keys.is_empty() {
            return json!({ "keys": [self.issuer.jwk()] }).to_string();
        }
        json!({ "keys": self.keys }).to_string()
    }

    pub fn token(&self) -> String {
        support::token(&self.issuer).mint()
    }

    pub fn token_of(&self, kind: Kind) -> Option<String> {
        let good = support::token(&self.issuer);
        Some(match kind {
            Kind::Accepted => good.mint(),
            Kind::BadSignature => good.signed_by_stranger().mint(),
            Kind::Expired => good.expired().mint(),
            Kind::LongText => "x".repeat(1_400),
            Kind::Malformed => good.mint().replace('.', "!"),
            Kind::NoToken => return None,
            Kind::UnknownKey => good.header("kid", "key-2").mint(),
        })
    }

    /// This number of good tokens, each with its own `jti`.
    pub fn pool(&self, count: usize) -> Arc<[String]> {
        let half = count / 2;
        std::thread::scope(|scope| {
            let rest = scope.spawn(|| self.numbered(half..count));
            let mut pool = self.numbered(0..half);
            pool.extend(rest.join().expect("minting does not panic"));
            pool.into()
        })
    }

    /// The same number of forged tokens. Each has the signature of another token.
    pub fn forged(&self, count: usize) -> Vec<String> {
        let donors = self.pool(64.min(count));
        let head = donors.first().and_then(|token| token.split('.').next());
        let head = head.unwrap_or_default();
        let signatures = donors.iter().filter_map(|token| token.rsplit('.').next());
        (0..count)
            .zip(signatures.cycle())
            .map(|(at, signature)| {
                let claims = self.claims_text(&format!("forged-{at}"));
                format!("{head}.{claims}.{signature}")
            })
            .collect()
    }

    fn numbered(&self, numbers: std::ops::Range<usize>) -> Vec<String> {
        let token = support::token(&self.issuer);
        numbers
            .map(|at| token.clone().claim("jti", format!("{at:032}")).mint())
            .collect()
    }

    /// The claims segment of a token with this `jti`, minted without a key pair.
    fn claims_text(&self, id: &str) -> String {
        let token = support::token(&self.issuer).unsigned().claim("jti", id);
        let token = token.mint();
        token.split('.').nth(1).unwrap_or_default().to_owned()
    }
}

/// Serves a key set on a loopback port until the program ends.
fn serve(jwks: String) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it can be");
    let listener = tokio::net::TcpListener::from_std(listener).expect("within a runtime");
    let app = axum::Router::new().route(
        "/jwks.json",
        axum::routing::get(async move || ([(CONTENT_TYPE, "application/json")], jwks)),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/jwks.json")
}

/// All twelve claims, for contenders that have no methods for registered claims.
#[derive(Clone, Deserialize)]
#[allow(dead_code, reason = "there to be read into")]
pub struct Everything {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub client_id: String,
    pub iat: u64,
    pub exp: u64,
    pub jti: String,
    pub scope: String,
    pub roles: Vec<String>,
    pub email: String,
    pub name: String,
    pub permissions: Vec<String>,
}

/// A request as a server receives it.
pub fn request(token: Option<&str>) -> Request<()> {
    let request = Request::get("/events?from=2024-01-01").header("host", "api.example");
    match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
    .body(())
    .expect("it is a request")
}
