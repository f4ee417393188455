//! A layer and the introspection endpoint that it asks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Request, Response};
use serde_json::{Value, json};
use tower_jwt_auth::introspection::{ClientAuth, Introspection};
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Audience, Claims, Issuer, JwtAuth, Rejection, RejectionKind, Verifier};

use crate::network::{Network, json};
use crate::support::{AUDIENCE, ISSUER, NOW, small_cache};

/// The URL of the endpoint.
pub(crate) const ENDPOINT: &str = "https://as.example/introspect";
pub(crate) const TOKEN: &str = "2YotnFZFEjr1zCsicMWpAA";

/// An issuer with an introspection endpoint.
pub(crate) struct World {
    pub(crate) clock: FixedClock,
    pub(crate) network: Network,
    pub(crate) introspection: Introspection,
}

impl World {
    /// An endpoint for which every token is active.
    pub(crate) fn new() -> Self {
        let network = Network::new(|_| Ok(active(json!({}))));
        Self {
            clock: FixedClock::at(NOW),
            introspection: introspection(&network),
            network,
        }
    }

    /// The same with these settings.
    pub(crate) fn with(set: impl FnOnce(Introspection) -> Introspection) -> Self {
        let world = Self::new();
        let introspection = set(world.introspection.clone());
        Self {
            introspection,
            ..world
        }
    }

    /// A layer without keys.
    pub(crate) fn auth(&self) -> JwtAuth {
        JwtAuth::introspected(issuer(), audience(), self.introspection.clone())
            .clock(self.clock.clone())
            .cache(small_cache())
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.auth().verifier()
    }

    /// Makes the endpoint give this answer about every token.
    pub(crate) fn says(&self, members: Value) {
        self.network.answers(move |_| Ok(json(members.to_string())));
    }

    pub(crate) fn says_inactive(&self) {
        self.says(json!({ "active": false }));
    }

    pub(crate) fn advance(&self, seconds: f64) {
        self.clock.advance(Duration::from_secs_f64(seconds));
    }
}

pub(crate) fn issuer() -> Issuer {
    Issuer::new(ISSUER).unwrap()
}

pub(crate) fn audience() -> Audience {
    Audience::new(AUDIENCE).unwrap()
}

pub(crate) fn introspection(network: &Network) -> Introspection {
    let auth = ClientAuth::secret_basic("calendar-api", CLIENT_SECRET).unwrap();
    Introspection::at_with(ENDPOINT, auth, network.clone()).unwrap()
}

/// An answer about an active token for this API, with these members added or replaced. `null`
/// removes a member.
pub(crate) fn active(members: Value) -> Response<Vec<u8>> {
    json(active_text(members))
}

pub(crate) fn active_text(members: Value) -> String {
    let mut answer = json!({
        "active": true,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": "web",
        "scope": "calendar:read",
        "exp": NOW + 3_600,
    });
    let known = answer.as_object_mut().unwrap();
    for (name, value) in members.as_object().unwrap() {
        known.insert(name.clone(), value.clone());
    }
    known.retain(|_, value| !value.is_null());
    answer.to_string()
}

/// The token in a request to the endpoint.
pub(crate) fn asked_for(request: &Request<Vec<u8>>) -> String {
    let body = std::str::from_utf8(request.body()).unwrap();
    let mut members = body.split('&').filter_map(|member| member.split_once('='));
    let (_, token) = members.find(|(name, _)| *name == "token").unwrap();
    token.to_owned()
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(crate) fn kind(verdict: &Result<Claims, Rejection>) -> Option<RejectionKind> {
    verdict.as_ref().err().map(Rejection::kind)
}

pub(crate) const CLIENT_SECRET: &str = "the-secret-of-this-api";
