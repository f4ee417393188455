//! Only the crate can create a rejection, so that its kind and its sentence fit.

use tower_jwt_auth::{Rejection, RejectionKind};

fn forge(rejection: Rejection) -> Rejection {
    Rejection { kind: RejectionKind::Expired, ..rejection }
}

fn main() {}
