//! This crate in its usual configuration.

use tower::Layer;
use tower_jwt_auth::JwtAuth;
use tower_jwt_auth::cache::TokenCache;

use crate::measure::{Subject, subject};
use crate::plain::Hello;
use crate::support::User;
use crate::tokens::World;

/// The cache of verified tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// The default.
    Default,
    /// Room for this number of tokens.
    For(usize),
    Off,
}

/// The layer with own claims.
pub fn layer(world: &World, caching: Caching) -> JwtAuth<User> {
    let auth = JwtAuth::new(
        world.issuer.issuer(),
        world.issuer.audience(),
        world.issuer.keys(),
    );
    let auth = auth.claims::<User>();
    match caching {
        Caching::Default => auth,
        Caching::For(tokens) => {
            let cache = TokenCache::default().max_tokens(tokens);
            auth.cache(cache.max_bytes(tokens.saturating_mul(8 << 10)))
        }
        Caching::Off => auth.cache(TokenCache::off()),
    }
}

/// Whether the layer has a cache of verified tokens.
pub const HAS_CACHE: bool = true;

pub fn service(world: &World, caching: Caching) -> Box<dyn Subject> {
    subject(layer(world, caching).layer(Hello::<()>::new()))
}
