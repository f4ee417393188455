//! Opaque tokens of a [`TestIssuer`], and the answers for them.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use aws_lc_rs::rand;
use base64_simd::URL_SAFE_NO_PAD;
use http::{Request, Response};
use serde_json::{Map, Value, json};

use crate::fetch::FetchError;
use crate::introspection::{ClientAuth, Introspection};
use crate::issuer::Audience;
use crate::layer::JwtAuth;
use crate::test::TestIssuer;
use crate::verifier::Verifier;

/// The opaque tokens that an issuer has minted.
#[derive(Default)]
pub(super) struct OpaqueTokens(RwLock<HashMap<String, Option<Map<String, Value>>>>);

impl OpaqueTokens {
    /// Mints a token that begins with this prefix.
    pub(super) fn mint(&self, prefix: &str, claims: Option<Map<String, Value>>) -> String {
        let mut random = [0; 24];
        rand::fill(&mut random).expect("the system has random bytes");
        let token = format!("{prefix}{}", URL_SAFE_NO_PAD.encode_to_string(random));
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(token.clone(), claims);
        token
    }

    /// Makes a token inactive, whether or not it was minted here.
    fn end(&self, token: &str) {
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(token.to_owned(), None);
    }

    fn get(&self, token: &str) -> Option<Option<Map<String, Value>>> {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens.get(token).cloned()
    }
}

impl TestIssuer {
    /// The introspection endpoint of this issuer, in this process. It answers for opaque tokens
    /// ([`mint_opaque`](super::TestToken::mint_opaque)) and JWTs of this issuer, according to its
    /// clock.
    ///
    /// # Example: opaque tokens in a test
    ///
    /// ```
    /// # use http::{Request, Response, StatusCode};
    /// # use tower::{ServiceBuilder, ServiceExt};
    /// use tower_jwt_auth::{JwtAuth, test::TestIssuer};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let issuer = TestIssuer::new();
    /// let auth = JwtAuth::introspected(issuer.issuer(), issuer.audience(), issuer.introspection());
    /// let token = issuer.token().subject("alice").mint_opaque();
    ///
    /// # let service = ServiceBuilder::new().layer(auth).service_fn(async |_: Request<String>| {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    /// # });
    /// # let send = async |token: &str| {
    /// #     let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    /// #     service.clone().oneshot(request.body(String::new()).unwrap()).await.unwrap().status()
    /// # };
    /// assert_eq!(send(&token).await, StatusCode::OK);
    /// assert_eq!(send("unknown").await, StatusCode::UNAUTHORIZED);
    /// # });
    /// ```
    pub fn introspection(&self) -> Introspection {
        let issuer = self.clone();
        let answer = move |request: Request<Vec<u8>>, _limit: usize| {
            let body = String::from_utf8(request.into_body()).unwrap_or_default();
            let mut members = body.split('&').filter_map(|member| member.split_once('='));
            let token = members.find(|(name, _)| *name == "token");
            let answer = issuer
                .answer(token.map_or("", |(_, token)| token))
                .to_string();
            let response = Response::builder().header("content-type", "application/json");
            ready(response.body(answer.into_bytes()).map_err(FetchError::new))
        };
        let auth = ClientAuth::secret_basic("test-api", "the secret of a test");
        let auth = auth.expect("both are usable");
        Introspection::at_with("https://as.example/introspect", auth, answer)
            .expect("the URL is one of an endpoint")
    }

    /// Makes an opaque token or a JWT inactive at this issuer.
    pub fn end(&self, token: &str) {
        self.opaque.end(token);
    }

    fn answer(&self, token: &str) -> Value {
        let claims = match self.opaque.get(token) {
            Some(claims) => claims,
            None => self.claims_of_jwt(token),
        };
        let now = self.clock.now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs_f64();
        let time = |claims: &Map<_, Value>, name| claims.get(name).and_then(Value::as_f64);
        let claims = claims.filter(|claims| {
            time(claims, "exp").is_none_or(|end| now < end)
                && time(claims, "nbf").is_none_or(|start| start <= now)
        });
        let Some(mut claims) = claims else {
            return json!({ "active": false });
        };
        claims.insert("active".into(), true.into());
        Value::Object(claims)
    }

    /// The claims of a JWT with a signature of this issuer.
    fn claims_of_jwt(&self, token: &str) -> Option<Map<String, Value>> {
        let clock = Arc::clone(&self.clock);
        let auth = JwtAuth::new(self.issuer(), Audience::insecure_any(), self.keys());
        let verifier: Verifier<Map<String, Value>> =
            auth.clock(move || clock.now()).verifier().claims();
        verifier
            .verify_now(token)
            .ok()
            .map(|claims| (*claims).clone())
    }
}
