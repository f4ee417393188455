//! This crate, as a user sets it up.

use tower::Layer;
use tower_jwt_auth::JwtAuth;

use crate::measure::{Subject, subject};
use crate::plain::Hello;
use crate::support::User;
use crate::tokens::World;

/// What becomes of verified tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// As it comes.
    Default,
    /// Enough for so many tokens.
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
        // The one place where the cache is set. As long as the layer has none, these three are the
        // same, and the tables say so; see `HAS_CACHE`.
        Caching::For(_) => auth,
        Caching::Off => auth,
    }
}

/// Whether the layer has a cache of verified tokens yet.
pub const HAS_CACHE: bool = false;

pub fn service(world: &World, caching: Caching) -> Box<dyn Subject> {
    subject(layer(world, caching).layer(Hello::<()>::new()))
}
