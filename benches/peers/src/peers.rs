//! The published crates, each configured as its documentation says, with the keys in memory.

mod aliri;
mod axum_jwt_auth;
mod huskarl;
mod jwt_authorizer;
mod oauth_resource_server;
mod tower_oauth2;

use axum::Router;
use axum::routing::get;

use crate::load::BODY;
use crate::measure::Subject;
use crate::tokens::World;

/// A crate that does the same.
pub struct Peer {
    pub name: &'static str,
    /// The peer around a bare service, or the reason why that is not possible.
    pub service: fn(&World) -> Result<Box<dyn Subject>, String>,
    pub router: Routes,
    /// Whether the peer supports a set of many secrets.
    pub takes_many: bool,
    /// A note for the reader of its figures.
    pub note: &'static str,
}

/// A protected route in an application.
pub enum Routes {
    Axum(fn(&World) -> Router),
    /// A router of axum 0.7. Its baseline is a route of axum 0.7 too.
    Axum07(fn(&World) -> axum_07::Router),
}

pub const ALL: [Peer; 6] = [
    jwt_authorizer::PEER,
    tower_oauth2::PEER,
    axum_jwt_auth::PEER,
    aliri::PEER,
    oauth_resource_server::PEER,
    huskarl::PEER,
];

/// Prints the notes, as Markdown.
pub fn print_notes() {
    println!();
    for peer in &ALL {
        println!("- {}: {}", peer.name, peer.note);
    }
}

/// The route that is measured over sockets.
pub fn route() -> Router {
    Router::new().route("/events", get(async || BODY))
}

/// The same for axum 0.7.
pub fn route_07() -> axum_07::Router {
    axum_07::Router::new().route("/events", axum_07::routing::get(async || BODY))
}

/// Waits for a peer that has only an asynchronous constructor.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(future)
}

/// The only peer whose keys can be changed by a call: its service, and the change.
pub fn changing(world: &World) -> Option<Changing> {
    aliri::changing(world)
}

/// A service, and a function that gives it one key set or the other.
pub type Changing = (Box<dyn Subject>, Box<dyn Fn(usize) + Sync>);
